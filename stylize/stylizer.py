"""Stylizer: a loaded network that repaints pictures."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import overload

import torch
from PIL import Image
from torch import Tensor

from stylize.checkpoints import WeightsFile, load_network
from stylize.devices import choose_device
from stylize.engines.choice import make_engine
from stylize.engines.engine import Engine
from stylize.errors import InputError, StylizeError
from stylize.images import normalise_image, to_image, to_tensor
from stylize.program import Program, lower
from stylize.stroke_size import Enlargement, painting_scale, painting_size, reduce, second_pass
from stylize.style_choice import choose_style, is_onnx
from stylize.transformer import TransformerNet
from stylize.zoo import DEFAULT_STYLE, preset_name, style_name

ENLARGED_ROWS = 256
"""Rows that are enlarged at once."""


def load(
    style: str | os.PathLike[str] = DEFAULT_STYLE,
    norm: str | None = None,
    *,
    preset: str | None = None,
    device: str = "auto",
    engine: str | None = None,
    precision: str = "auto",
    on_fallback: Callable[[str], None] | None = None,
) -> Stylizer:
    """Load a network that repaints pictures.

    Args:
        style: Name of a shipped style (:func:`stylize.list_styles`), or a path to a weights file: a string with the
            suffix .safetensors or with a path separator, or a path object. A file with the suffix .onnx, made by
            ``stylize export``, runs in ONNX Runtime.
        norm: Normalisation the network is built with. None means ``instance`` for a shipped style, and whatever the
            file holds for a path.
        preset: Architecture of a shipped style; None takes ``fast`` where there is one.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        engine: What computes: ``torch``, ``onnxruntime``, ``openvino``, or ``auto`` for the fastest that is installed
            (:func:`stylize.engines.choice.make_engine`). None takes ``torch``, and for an ONNX file ``onnxruntime``.
        precision: ``float32``, ``bfloat16``, ``float16``, ``int8``, or ``auto``: bfloat16 where a CPU multiplies it
            natively and the engine can, else float32.
        on_fallback: Called with a line of text for each engine that ``auto`` had to pass over.

    Raises:
        InputError: No such style, or not with that norm or preset; no such engine, or one that is not installed.
        WeightsError: The weights file is missing, damaged or of another kind.
        DeviceError: The device is not there.
    """
    weights = choose_style(style, norm, preset)
    if is_onnx(weights.path):
        return _load_onnx(weights, device, engine, precision)
    chosen = choose_device(device)
    network, weights = load_network(weights.path, chosen)
    made = make_engine(network, engine or "torch", precision, chosen, on_fallback=on_fallback)
    return Stylizer(network, weights, chosen, made)


def _load_onnx(weights: WeightsFile, device: str, engine: str | None, precision: str) -> Stylizer:
    """Load an ONNX file, which holds a network that is ready to run but cannot be looked into."""
    for given, accepted, what in (
        (engine, (None, "auto", "onnxruntime"), "engine"),
        (precision, ("auto", "float32"), "precision"),
        (device, ("auto", "cpu"), "device"),
    ):
        if given not in accepted:
            named = " or ".join(f"'{one}'" for one in accepted if one)
            raise InputError(f"{what} '{given}' given with the ONNX file '{weights.path}'; {named} is accepted")
    from stylize.engines.onnxruntime_engine import OnnxRuntimeEngine

    return Stylizer(None, weights, "cpu", OnnxRuntimeEngine(weights.path))


class Stylizer:
    """Repaint pictures with one network.

    The pictures of a batch do not influence each other: instance norm takes its statistics from each picture, and
    batch norm uses the ones it gathered during training.

    Args:
        network: The network; it is put in evaluation mode and moved to the device. None where the engine is all there
            is, for an ONNX file.
        weights: The file it came from.
        device: Where it computes.
        engine: What runs it; None takes PyTorch in float32, or bfloat16 where a CPU multiplies that natively.

    Attributes:
        network: The network. The engine has a copy of what it needs: to change the network afterwards changes nothing
            here.
        weights: The file it came from, with its metadata.
        device: Where it computes.
        engine: What runs it.
    """

    def __init__(
        self,
        network: TransformerNet | None,
        weights: WeightsFile,
        device: torch.device | str = "cpu",
        engine: Engine | None = None,
    ) -> None:
        if network is None and engine is None:
            raise InputError("neither a network nor an engine given; one of them is needed")
        self.device = torch.device(device)
        self.weights = weights
        self.network = network
        if network is not None:
            self.network = network.to(self.device, memory_format=torch.channels_last).eval()
        self.engine = engine if engine is not None else make_engine(self.network, device=self.device)

    def __repr__(self) -> str:
        return (
            f"Stylizer(style={self.style!r}, norm={self.norm!r}, preset={self.preset!r}, device='{self.device}', "
            f"engine={self.engine.name!r}, precision={self.engine.precision!r})"
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
    def norm(self) -> str:
        """Normalisation the network is built with."""
        return self.weights.architecture.norm

    @property
    def preset(self) -> str:
        """Name of the architecture."""
        return preset_name(self.weights)

    @overload
    def __call__(self, image: Image.Image, *, scale: float | str = ..., passes: int = ...) -> Image.Image: ...

    @overload
    def __call__(self, image: Tensor, *, scale: float | str = ..., passes: int = ...) -> Tensor: ...

    def __call__(
        self, image: Image.Image | Tensor, *, scale: float | str = 1.0, passes: int = 1
    ) -> Image.Image | Tensor:
        """Repaint a picture or a batch of pictures, of any size from 1x1.

        Args:
            image: A PIL picture of any mode, or float32 pictures (B, 3, H, W), RGB in [0, 1].
            scale: Size at which to paint, as a part of the size of the picture, above 0 up to 1; or ``auto``, which
                falls with the size beyond 1024 px. Strokes have a fixed size in pixels: painted at half the size they
                are twice as bold. The painting is enlarged along its strokes (:mod:`stylize.stroke_size`).
            passes: 2 paints the enlarged painting once more, for fine strokes over the bold ones.

        Returns:
            For a PIL picture, one of the same size, RGB, or RGBA with the alpha of the given one; a photo whose EXIF
            data say that it lies on its side is turned upright first. For a tensor, one of the same shape and on
            the same device, RGB in [0, 1].

        Raises:
            InputError: A tensor of another shape, dtype or range, a damaged picture, or something that is none.
            StylizeError: The picture needs more memory than there is.
        """
        if passes not in (1, 2):
            raise InputError(f"{passes} passes asked for; 1 or 2 are accepted")
        if isinstance(image, Image.Image):
            return self._paint_picture(image, scale, passes)
        if isinstance(image, Tensor):
            return self._paint_batch(image, scale, passes)
        raise InputError(f"a {type(image).__name__} given; a PIL picture or a tensor (B, 3, H, W) is accepted")

    def _paint_picture(self, image: Image.Image, scale: float | str, passes: int) -> Image.Image:
        picture = normalise_image(image)
        painted = to_image(self._paint(to_tensor(picture.image), scale, passes))
        if picture.alpha is not None:
            painted.putalpha(picture.alpha)
        return painted

    def _paint_batch(self, images: Tensor, scale: float | str, passes: int) -> Tensor:
        if images.dim() != 4 or images.shape[1] != 3 or 0 in images.shape:
            raise InputError(f"pictures of shape {tuple(images.shape)} given; (B, 3, H, W) is accepted")
        if images.dtype != torch.float32:
            raise InputError(f"pictures of dtype {images.dtype} given; torch.float32 in [0, 1] is accepted")
        lowest, highest = (float(limit) for limit in images.aminmax())
        if not (lowest >= 0 and highest <= 1):  # Written so that NaN is refused too.
            raise InputError(f"pictures in [{lowest:g}, {highest:g}] given; [0, 1] is accepted")
        return self._paint(images, scale, passes).to(images.device)

    def _paint(self, images: Tensor, scale: float | str, passes: int) -> Tensor:
        """Paint checked pictures (B, 3, H, W), at another size where ``scale`` says so."""
        height, width = images.shape[-2:]
        if painting_scale(width, height, scale) == 1:
            return self._run(images)
        wide, tall = painting_size(width, height, scale)
        return torch.cat([self._paint_enlarged(photo, tall, wide, passes) for photo in images.cpu().split(1)])

    def _paint_enlarged(self, photo: Tensor, tall: int, wide: int, passes: int) -> Tensor:
        """Paint a photo (1, 3, H, W) at the size ``tall`` x ``wide`` and enlarge the painting."""
        height, width = photo.shape[-2:]
        small = reduce(photo, tall, wide)
        enlargement = Enlargement(self._run(small).cpu(), small, height, width)
        painted = torch.empty_like(photo)
        for top in range(0, height, ENLARGED_ROWS):
            rows = slice(top, top + ENLARGED_ROWS)
            painted[:, :, rows] = enlargement.rows(photo[:, :, rows], top)
        if passes == 2:
            painted = second_pass(painted, photo, lambda mixed: self._run(mixed).cpu())
        return painted.clamp(0, 1)

    def _run(self, images: Tensor) -> Tensor:
        """Paint checked pictures (B, 3, H, W); returns the same shape in [0, 1] on the device of the network."""
        batch, _, height, width = images.shape
        try:
            return self.engine.paint(images.detach().to(self.device))
        except (RuntimeError, MemoryError) as error:
            if not _is_out_of_memory(error):
                raise
            many = f"{batch} pictures" if batch > 1 else "a picture"
            smaller = max(1, max(height, width) // 2)
            raise StylizeError(
                f"not enough memory on {self.device} for {many} of {width}x{height} px; "
                f"make it smaller, such as with --size {smaller}"
            ) from error


def _is_out_of_memory(error: Exception) -> bool:
    """Return whether an error of torch says that memory ran out; on a CPU it has no type of its own."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    text = str(error).lower()
    return any(words in text for words in ("out of memory", "can't allocate memory", "not enough memory"))
