"""Stylizer: a loaded network that repaints pictures.

Strength. A Stylizer of strength s, from 0 (the photo) over 1 (the style) to 1.5 (beyond it), paints in one of two ways:

``photo style``
    Where the network has a style that leaves photos as they are. The numbers of the styles are moved: N_s has
    s times those of the style plus 1 - s times those of the photo style. What the photo style cannot reproduce is added
    as far as s is below 1, so that the result is N_s(x) + max(0, 1 - s) (x - N_0(x)): at 0 exactly the photo x, at 1
    exactly the style. The strokes themselves get weaker or bolder. Moving along these numbers between two styles is
    Dumoulin et al. 2017 (arXiv 1610.07629), section 3.4.
``fade``
    Everywhere else: x + s (N(x) - x), the painting laid over the photo.

Both end in [0, 1]. The same photo and the same settings give the same picture.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import TypeVar

import torch
from PIL import Image
from torch import Tensor

from stylize.checkpoints import WeightsFile
from stylize.config import PHOTO_STYLE
from stylize.controls import BY_FADE, BY_PHOTO_STYLE, PLAIN, Controls, checked_strength
from stylize.engines.choice import make_engine
from stylize.engines.engine import Engine
from stylize.errors import InputError, StylizeError
from stylize.finishing import AnyMask, Finishing, add_lost_detail, checked_mask
from stylize.images import normalise_image, to_image, to_tensor
from stylize.lightness_matching import lightness_matches
from stylize.masks import Mask
from stylize.palette import Palette
from stylize.program import Program, lower
from stylize.scaled_painting import paint_at_scale
from stylize.style_choice import ChosenStyle
from stylize.style_collections import StyleFile
from stylize.transformer import TransformerNet
from stylize.zoo import preset_name, style_name

Pictures = TypeVar("Pictures", Image.Image, Tensor)
"""A PIL picture, or pictures (B, 3, H, W): what goes in is what comes out."""


class Stylizer:
    """Repaint pictures with one network.

    The pictures of a batch do not influence each other: instance norm takes its statistics from each picture, and
    batch norm uses the ones it gathered during training.

    Args:
        network: The network; it is put in evaluation mode and moved to the device. None where the engine is all there
            is, for an ONNX file.
        weights: The file it came from.
        device: Where it computes.
        engine: What runs it; None takes PyTorch in the precision that ``auto`` means (:func:`stylize.load`).
        strength: From 0, the photo, over 1, the style, to 1.5. Where it is made by the photo style, ``network`` is
            already moved (:meth:`stylize.palette.Palette.take`).
        palette: The collection that the network was taken from; None for a network of one style.
        shares: How much of each of its styles.

    Attributes:
        network: The network. The engine has a copy of what it needs: to change the network afterwards changes nothing
            here.
        weights: The file it came from, with its metadata.
        device: Where it computes.
        engine: What runs it.
        strength: From 0, the photo, over 1, the style, to 1.5.
    """

    def __init__(
        self,
        network: TransformerNet | None,
        weights: WeightsFile,
        device: torch.device | str = "cpu",
        engine: Engine | None = None,
        *,
        strength: float = 1.0,
        palette: Palette | None = None,
        shares: Mapping[str, float] | None = None,
    ) -> None:
        if network is None and engine is None:
            raise InputError("neither a network nor an engine given; one of them is needed")
        self.device = torch.device(device)
        self.weights = weights
        self.strength = checked_strength(strength)
        self.network = network
        if network is not None:
            self.network = network.to(self.device, memory_format=torch.channels_last).eval()
        self.engine = engine if engine is not None else make_engine(self.network, device=self.device)
        self._palette, self._shares = palette, dict(shares or {})
        # Paints what the photo style makes of a photo, of which only the difference to the photo is wanted.
        self._photo_engine: Engine | None = None
        if self.strength_by == BY_PHOTO_STYLE and 0 < self.strength < 1:
            self._photo_engine = self._engine_like_this(palette.take({PHOTO_STYLE: 1.0}))

    def __repr__(self) -> str:
        strength = "" if self.strength == 1 else f", strength={self.strength:g}"
        return (
            f"Stylizer(style={self.style!r}, norm={self.norm!r}, preset={self.preset!r}{strength}, "
            f"device='{self.device}', engine={self.engine.name!r}, precision={self.engine.precision!r})"
        )

    @functools.cached_property
    def program(self) -> Program:
        """The network as a list of convolutions, for painting in strips.

        Raises:
            InputError: There is no network, only an engine (an ONNX file).
        """
        if self.network is None:
            raise InputError("an ONNX file cannot paint in strips; give the name of a style or its weights file")
        return lower(self.network)

    @property
    def style(self) -> str:
        """Name of the style."""
        return style_name(self.weights)

    @property
    def styles(self) -> tuple[str, ...]:
        """Names of the styles that :meth:`mix` can mix; of a network of one style, its own name alone."""
        return (self.style,) if self._palette is None else self._palette.names

    @property
    def norm(self) -> str:
        """Normalisation the network is built with."""
        return self.weights.architecture.norm

    @property
    def preset(self) -> str:
        """Name of the architecture."""
        return preset_name(self.weights)

    @property
    def strength_by(self) -> str:
        """How a strength other than 1 is made: by the ``photo style``, or by a ``fade`` (:mod:`stylize.repainting`)."""
        has_photo_style = self._palette is not None and self._palette.collection.has_photo_style
        return BY_PHOTO_STYLE if has_photo_style else BY_FADE

    @property
    def can_paint_in_strips(self) -> bool:
        """Whether a painting can be done in strips; one with a strength below 1 by the photo style cannot."""
        return self._photo_engine is None

    def mix(self, shares: Mapping[str, float], *, strength: float | None = None) -> Stylizer:
        """Return a Stylizer of another style of the same collection, or of a mixture; the loaded file is shared.

        Args:
            shares: How much of each style, by name (:attr:`styles`, and ``photo`` where there is a photo style): 0 or
                more each; they are divided by their sum.
            strength: See :func:`load`; None keeps that of this one.

        Raises:
            InputError: The network is of one style, there is no style of that name, or a share is negative, or their
                sum is zero.
        """
        if self._palette is None:
            raise InputError(
                f"'{self.style}' is a network of one style, which cannot be mixed; load a collection, such as "
                "stylize.load('paintings')"
            )
        return self._sibling(self._palette.choose(shares), self.strength if strength is None else strength)

    def with_style_files(self, files: Iterable[StyleFile]) -> Stylizer:
        """Return the same Stylizer, whose :meth:`mix` knows the styles of these files too.

        Args:
            files: Style files that were made for the same network.

        Raises:
            InputError: The network is of one style, or a file was made for another one.
            WeightsError: A file is damaged.
        """
        if self._palette is None:
            raise InputError(f"'{self.style}' is a network of one style, to which no style file can be added")
        same = (self.network, self.weights, self.device, self.engine)
        palette = self._palette.with_additions(files)
        return Stylizer(*same, strength=self.strength, palette=palette, shares=self._shares)

    def with_strength(self, strength: float) -> Stylizer:
        """Return a Stylizer of the same style with another strength; the loaded file is shared.

        Args:
            strength: From 0, the photo, over 1, the style, to 1.5.

        Raises:
            InputError: A strength out of range.
        """
        if self.strength_by == BY_FADE:
            same = (self.network, self.weights, self.device, self.engine)
            return Stylizer(*same, strength=strength, palette=self._palette, shares=self._shares)
        return self._sibling(self._palette.choose(self._shares), strength)

    def _sibling(self, chosen: ChosenStyle, strength: float) -> Stylizer:
        """Return a Stylizer of a style of the same collection, on the same device and with the same kind of engine."""
        network = self._palette.take(chosen.shares, self._palette.movable(checked_strength(strength)))
        made = (network, chosen.described, self.device, self._engine_like_this(network))
        return Stylizer(*made, strength=strength, palette=self._palette, shares=chosen.shares)

    def _engine_like_this(self, network: TransformerNet) -> Engine:
        return make_engine(network.to(self.device), self.engine.name, self.engine.precision, self.device)

    def __call__(
        self,
        image: Pictures,
        *,
        scale: float | str = 1.0,
        passes: int = 1,
        preserve_colour: bool = False,
        mask: AnyMask | None = None,
        second: Stylizer | None = None,
    ) -> Pictures:
        """Repaint a picture or a batch of pictures, of any size from 1x1.

        Args:
            image: A PIL picture of any mode, or float32 pictures (B, 3, H, W), RGB in [0, 1].
            scale: Size at which to paint, as a part of the size of the picture, above 0 up to 1; or ``auto``, which
                falls with the size beyond 1024 px. Strokes have a fixed size in pixels: painted at half the size they
                are twice as bold. The painting is enlarged along its strokes (:mod:`stylize.stroke_size`).
            passes: 2 paints the enlarged painting once more, for fine strokes over the bold ones.
            preserve_colour: Take the colours of the photo, and of the painting only light and dark, moved half of the
                way to those of the photo (:mod:`stylize.colour_preservation`). A picture of more than 512 pixels is
                painted once more as a small copy for it, at scale 1.
            mask: Where to paint: white is painted, black stays as it is in the photo, and grey is in between. A file, a
                PIL picture, one that was read (:func:`stylize.masks.open_mask`), or float32 in [0, 1] of shape
                (1, 1, H, W) or (B, 1, H, W). It has the size of the upright photo, or at least its proportions.
            second: A style for the black parts of the mask, which then are not those of the photo.

        Returns:
            For a PIL picture, one of the same size, RGB, or RGBA with the alpha of the given one; a photo whose EXIF
            data say that it lies on its side is turned upright first. For a tensor, one of the same shape and on
            the same device, RGB in [0, 1].

        Raises:
            InputError: A tensor of another shape, dtype or range, a damaged picture, or something that is none; a mask
                of another size; a second style without a mask.
            StylizeError: The picture needs more memory than there is.
        """
        return self.paint(image, Controls(scale, passes, preserve_colour), mask, second)

    def paint(
        self,
        image: Pictures,
        controls: Controls = PLAIN,
        mask: AnyMask | None = None,
        second: Stylizer | None = None,
    ) -> Pictures:
        """Repaint pictures as a call does, with the controls in one object."""
        if second is not None and mask is None:
            raise InputError(
                "a second style given without a mask, which says where each goes; give a mask, or mix them"
            )
        if isinstance(image, Image.Image):
            picture = normalise_image(image)
            painted = to_image(self._paint(to_tensor(picture.image), controls, mask, second))
            if picture.alpha is not None:
                painted.putalpha(picture.alpha)
            return painted
        if isinstance(image, Tensor):
            _check_batch(image)
            return self._paint(image, controls, mask, second).to(image.device)
        raise InputError(f"a {type(image).__name__} given; a PIL picture or a tensor (B, 3, H, W) is accepted")

    def finishing(self, controls: Controls, mask: Mask | None = None) -> Finishing:
        """Return what is done to a painting of the network after it, pixel by pixel, for painting in strips.

        How the lightness is matched is not known before something is painted, and is left out.

        Args:
            controls: Of which only those that concern single pixels count.
            mask: Where to paint; None is everywhere.
        """
        fade = self.strength if self.strength_by == BY_FADE or self.strength == 0 else 1.0
        return Finishing(fade, controls.preserve_colour, mask=mask)

    def _paint(self, images: Tensor, controls: Controls, mask: AnyMask | None, second: Stylizer | None) -> Tensor:
        """Paint checked pictures (B, 3, H, W)."""
        where = None if mask is None else checked_mask(mask, images.shape)
        painted = self._coloured(images, controls)
        other = None if second is None else second._coloured(images, controls)
        return Finishing(second=other, mask=where).picture(painted, images)

    def _coloured(self, images: Tensor, controls: Controls) -> Tensor:
        """Paint pictures (B, 3, H, W) with the strength of this Stylizer, in their own colours if that is wanted."""
        painted = self._styled(images, controls)
        if not controls.preserve_colour:
            return painted
        # The size of the strokes says next to nothing about how light a painting is, so the copies need no scale.
        match = lightness_matches(images, painted, functools.partial(self._styled, controls=PLAIN))
        return Finishing(preserve_colour=True, match=match).picture(painted, images)

    def _styled(self, images: Tensor, controls: Controls) -> Tensor:
        """Paint pictures (B, 3, H, W) with the strength of this Stylizer, in memory of their own."""
        if self.strength == 0:
            return images.clone()
        painted = paint_at_scale(self._run, images, controls.scale, controls.passes)
        if self._photo_engine is not None:
            paint = functools.partial(self._run, engine=self._photo_engine)
            add_lost_detail(
                painted, images, paint_at_scale(paint, images, controls.scale, controls.passes), self.strength
            )
            return painted
        return Finishing(self.finishing(controls).fade).picture(painted, images)

    def _run(self, images: Tensor, engine: Engine | None = None) -> Tensor:
        """Paint checked pictures (B, 3, H, W); returns the same shape in [0, 1] on the device of the network."""
        batch, _, height, width = images.shape
        try:
            return (engine or self.engine).paint(images.detach().to(self.device))
        except (RuntimeError, MemoryError) as error:
            if not _is_out_of_memory(error):
                raise
            many = f"{batch} pictures" if batch > 1 else "a picture"
            smaller = max(1, max(height, width) // 2)
            raise StylizeError(
                f"not enough memory on {self.device} for {many} of {width}x{height} px; "
                f"make it smaller, such as with --size {smaller}"
            ) from error


def _check_batch(images: Tensor) -> None:
    if images.dim() != 4 or images.shape[1] != 3 or 0 in images.shape:
        raise InputError(f"pictures of shape {tuple(images.shape)} given; (B, 3, H, W) is accepted")
    if images.dtype != torch.float32:
        raise InputError(f"pictures of dtype {images.dtype} given; torch.float32 in [0, 1] is accepted")
    lowest, highest = (float(limit) for limit in images.aminmax())
    if not (lowest >= 0 and highest <= 1):  # Written so that NaN is refused too.
        raise InputError(f"pictures in [{lowest:g}, {highest:g}] given; [0, 1] is accepted")


def _is_out_of_memory(error: Exception) -> bool:
    """Return whether an error of torch says that memory ran out; on a CPU it has no type of its own."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    text = str(error).lower()
    return any(words in text for words in ("out of memory", "can't allocate memory", "not enough memory"))
