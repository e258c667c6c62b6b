"""What a training run is given: the loss, and everything else that decides what is computed and where it goes.

Reference: Johnson, Alahi, Fei-Fei: Perceptual Losses for Real-Time Style Transfer and Super-Resolution, ECCV 2016
(arXiv 1603.08155), for the defaults that say so.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from stylize.architectures import (
    CONDITIONAL_NORMS,
    PRESETS,
    TransformerConfig,
    check_choice,
    is_number,
    listed_conditional,
    parse_norm,
)
from stylize.errors import InputError

PREPARATIONS = ("none", "equalise", "standardise", "stylize")
"""What can be done to every photo before the network sees it (:mod:`stylize.preparation`)."""

PHOTO_STYLE = "photo"
"""Name of the style of a collection that leaves photos as they are."""

IMAGE_SIZE_MINIMUM = 32
"""Smallest training crop in pixels: relu4_1 of the loss network needs a few positions for a Gram matrix."""

STYLE_SIZE_MINIMUM = 32
"""Smallest painting in pixels (short side) that has a texture to learn."""

PRECISIONS = ("auto", "bfloat16", "float32")
"""What training can compute in."""

ADAPTING: dict[str, Any] = {"steps": 300, "learning_rate": 3e-2, "image_size": 192}
"""Settings that the command line uses for a painting that is added to a collection, where others are not given."""


@dataclass(frozen=True)
class LossConfig:
    """Layers and weights of the perceptual loss. The terms are relative (see :mod:`stylize.losses`), so the defaults
    serve every painting; ``style_strength`` is the one knob most people need.

    Attributes:
        content_layer: Where content is compared. relu3_1 keeps a face readable under bold strokes.
        style_layers: Where Gram matrices are compared, from colour and grain to shapes.
        style_layer_weights: Share of each of these layers in the style term, scaled to a sum of 1. The deeper ones
            count more, as they do in the usual absolute loss because their features are larger: they carry the strokes,
            the shallow ones the grain.
        content_weight: Weight of the content term.
        style_weight: Weight of the style term at ``style_strength`` 1.
        tv_weight: Weight of the total variation term.
        style_strength: Factor on the style weight: 0.5 = closer to the photo, 2 = closer to the painting.
        loss_network: ``vgg19`` (in the box), ``torchvision``, or a file.
        pooling: ``max`` or ``average`` pooling in the loss network.
    """

    content_layer: str = "relu3_1"
    style_layers: tuple[str, ...] = ("relu1_2", "relu2_2", "relu3_3", "relu4_1")
    style_layer_weights: tuple[float, ...] = (1.0, 1.0, 3.0, 3.0)
    content_weight: float = 1.0
    style_weight: float = 10.0
    tv_weight: float = 0.2
    style_strength: float = 1.0
    loss_network: str = "vgg19"
    pooling: str = "max"

    def __post_init__(self) -> None:
        for name in ("style_layers", "style_layer_weights"):
            if not isinstance(getattr(self, name), list | tuple):
                raise InputError(f"{name} is {getattr(self, name)!r}; a list is accepted")
        object.__setattr__(self, "style_layers", tuple(self.style_layers))
        object.__setattr__(self, "style_layer_weights", tuple(self.style_layer_weights))
        if not self.style_layers:
            raise InputError("no style layers given; at least one is needed, for example relu3_1")
        shares = self.style_layer_weights
        if len(shares) != len(self.style_layers):
            raise InputError(
                f"{len(shares)} style layer weights given for {len(self.style_layers)} style layers; give one for each"
            )
        if not all(is_number(share) and 0 <= share < float("inf") for share in shares):
            raise InputError(f"style_layer_weights is {shares!r}; finite numbers, 0 or more, are accepted")
        if not sum(shares) > 0:
            raise InputError("all style layer weights are 0; at least one must be above 0")
        for name in ("content_weight", "style_weight", "tv_weight", "style_strength"):
            value = getattr(self, name)
            if not (is_number(value) and 0 <= value < float("inf")):
                raise InputError(f"{name} is {value!r}; it must be a finite number, 0 or more")


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides what a training run computes, and where it goes.

    Attributes:
        style: The painting: a file. Several, a tuple of files, make a collection: one network with a style for each
            (Dumoulin et al. 2017, arXiv 1610.07629), and a norm from :data:`CONDITIONAL_NORMS`.
        photos: Folder of training photos, searched recursively; None = the example photos that are shipped.
        output: The weights file to write; None = ``<painting>-<norm>.safetensors`` in the current folder, for a
            collection ``collection-<norm>.safetensors``, and when adapting ``<painting>.safetensors``. The run
            keeps its checkpoint, log and samples in a folder of that name ending in ``.run``.
        norm: Normalisation, a name from :data:`NORM_NAMES`, or with a placement (:func:`parse_norm`).
        preset: Architecture, a name from :data:`PRESETS`.
        architecture: An architecture of your own instead of a preset (its norm is replaced by ``norm``).
        steps: Optimiser steps.
        batch_size: Photos per step, of all processes together. Batch norm wants at least 4 (Johnson et al. 2016: 4).
        image_size: Side of the square training crops in pixels (Johnson et al. 2016: 256).
        style_size: Short side to which the painting is scaled, in pixels; larger = finer strokes. 384 is what
            jcjohnson/fast-neural-style recommends for crops of 256.
        learning_rate: Peak of Adam's learning rate; it warms up linearly and falls to zero along a cosine (Johnson et
            al. 2016: 1e-3, constant).
        warmup: Steps of the warm-up.
        crop_scale: Smallest side of a training crop as a share of the photo's short side; the largest is 1.
        seed: Seed of the weights, of the order of photos and of their crops and flips.
        precision: ``bfloat16`` (network in autocast, loss network stored so), ``float32``, or ``auto``: bfloat16
            where the device computes it natively.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        sync_batch_norm: With several processes: whether batch norm, and every norm that holds it, takes mean and
            variance over the whole batch, as one process does. Otherwise over each process's share of it, and the
            running averages are those of the first process.
        compile: Let torch.compile fuse the network. Costs up to a minute at the start; only for long runs on a GPU.
        photo_limit: Train on so many of the photos only, chosen by the seed; a smaller choice is part of a larger one.
            None = on all of them.
        preparation: What is done to every photo, held-out ones too, before anything else sees it
            (:mod:`stylize.preparation`): ``none``; ``equalise`` its luminance histogram; ``standardise`` its mean and
            variance; ``stylize`` it with another network. For experiments; the network then expects such photos.
        preparation_weights: The weights file of the network for ``stylize``.
        photo_style: Whether a collection learns one more style, ``photo``, which leaves photos as they are as well as
            the network can; from it the strength of every other style can be moved.
        own_output: Whether each style of a collection has a last convolution of its own, beside its scales and shifts.
        start_from: A weights file of the same architecture whose weights the network begins with; a network of one
            style can begin a collection.
        adapt: A collection, a shipped name or a file, to which the painting is added: only the scales and shifts of
            the norms and the last convolution are learned, everything else stays as it is. The output is then a style
            file of a few kilobytes. Architecture and norm are those of the collection.
        validation: Folder of held-out photos; None = some of ``photos`` are held out.
        validation_photos: At most so many held-out photos.
        validation_interval: Steps between validations.
        checkpoint_interval: Steps between checkpoints.
        weights_dtype: ``float16`` or ``float32`` for the weights file.
        licence: Licence of the weights, written into the file; None = not stated.
        loss: The perceptual loss.
    """

    style: str | Path | tuple[str | Path, ...]
    photos: str | Path | None = None
    output: str | Path | None = None
    norm: str = "instance"
    preset: str = "fast"
    architecture: TransformerConfig | None = None
    steps: int = 2000
    batch_size: int = 4
    image_size: int = 256
    style_size: int = 384
    learning_rate: float = 2e-3
    warmup: int = 20
    crop_scale: float = 0.6
    seed: int = 0
    precision: str = "auto"
    device: str = "auto"
    sync_batch_norm: bool = False
    compile: bool = False
    photo_limit: int | None = None
    preparation: str = "none"
    preparation_weights: str | Path | None = None
    photo_style: bool = True
    own_output: bool = False
    start_from: str | Path | None = None
    adapt: str | Path | None = None
    validation: str | Path | None = None
    validation_photos: int = 16
    validation_interval: int = 250
    checkpoint_interval: int = 100
    weights_dtype: str = "float16"
    licence: str | None = None
    loss: LossConfig = field(default_factory=LossConfig)

    def __post_init__(self) -> None:
        if isinstance(self.style, list):
            object.__setattr__(self, "style", tuple(self.style))
        object.__setattr__(self, "norm", str(parse_norm(self.norm)))
        self._check_styles()
        check_choice("preset", self.preset, PRESETS)
        check_choice("preparation", self.preparation, PREPARATIONS)
        check_choice("precision", self.precision, PRECISIONS)
        check_choice("weights dtype", self.weights_dtype, ("float16", "float32"))
        whole = {"steps": 1, "batch_size": 1, "warmup": 0, "validation_photos": 1, "validation_interval": 1}
        whole |= {"checkpoint_interval": 1, "image_size": IMAGE_SIZE_MINIMUM, "style_size": STYLE_SIZE_MINIMUM}
        for name, least in whole.items():
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise InputError(f"{name} is {value!r}; it must be a whole number, {least} or more")
        if self.photo_limit is not None and (type(self.photo_limit) is not int or self.photo_limit < self.batch_size):
            raise InputError(
                f"photo_limit is {self.photo_limit!r}; it must be a whole number, {self.batch_size} (a batch) or more"
            )
        if (self.preparation == "stylize") != (self.preparation_weights is not None):
            raise InputError("preparation 'stylize' and preparation_weights, a weights file, belong together")
        if not is_number(self.learning_rate) or not 0 < self.learning_rate < 1:
            raise InputError(f"learning_rate is {self.learning_rate!r}; it must lie between 0 and 1 (default 0.002)")
        if not is_number(self.crop_scale) or not 0 < self.crop_scale <= 1:
            raise InputError(f"crop_scale is {self.crop_scale!r}; it must lie above 0 and at most at 1")
        if type(self.seed) is not int or not 0 <= self.seed < 2**63:
            raise InputError(f"seed is {self.seed!r}; it must be a whole number, 0 or more")

    def _check_styles(self) -> None:
        """Check that paintings, norm and what is begun from belong together."""
        if not self.collection:
            if self.norm in CONDITIONAL_NORMS and self.adapt is None:
                raise InputError(f"{self.norm} norm is for collections of styles; give several paintings with --multi")
            if self.adapt is not None and self.style_names == (PHOTO_STYLE,):
                raise InputError(
                    f"a style cannot be called '{PHOTO_STYLE}', which is the photo itself; rename the painting"
                )
            if self.adapt is not None and self.start_from is not None:
                raise InputError("adapt and start_from given; to adapt begins from the collection, so leave one out")
            if self.own_output:
                raise InputError("own_output given for one painting; it is for collections of styles")
            return
        if self.adapt is not None:
            raise InputError("several paintings given to adapt; give one, and put the results together afterwards")
        if self.norm not in CONDITIONAL_NORMS:
            by_plain = {plain: name for name, plain in CONDITIONAL_NORMS.items()}
            if self.norm not in by_plain:
                raise InputError(
                    f"{self.norm} norm given for a collection of styles; {listed_conditional()} is accepted"
                )
            object.__setattr__(self, "norm", by_plain[self.norm])
        if not self.style:
            raise InputError("no painting given; a collection needs at least one")
        names = self.style_names
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise InputError(
                f"two styles are called '{twice[0]}'; styles take the names of their files"
                + (", and that one is kept for the photo itself" if twice[0] == PHOTO_STYLE else "")
                + "; rename one"
            )

    @property
    def collection(self) -> bool:
        """Whether the network is to hold a collection of styles."""
        return isinstance(self.style, tuple)

    @property
    def paintings(self) -> tuple[Path, ...]:
        """The files of the paintings."""
        return tuple(Path(one) for one in self.style) if isinstance(self.style, tuple) else (Path(self.style),)

    @property
    def style_names(self) -> tuple[str, ...]:
        """The names of the styles that are learned, in the order in which the network has them."""
        names = tuple(path.stem for path in self.paintings)
        return (*names, PHOTO_STYLE) if self.collection and self.photo_style else names

    @property
    def transformer(self) -> TransformerConfig:
        """The architecture of the network to train, but for an adapted one, whose collection decides."""
        base = self.architecture or PRESETS[self.preset]
        if not self.collection:
            return replace(base, norm=self.norm)
        return replace(base, norm=self.norm, styles=len(self.style_names), own_output=self.own_output)

    def to_json(self) -> dict[str, Any]:
        """Return the settings as plain JSON values."""
        values = asdict(self)
        for name in ("photos", "output", "validation", "preparation_weights", "start_from", "adapt"):
            values[name] = None if values[name] is None else str(values[name])
        values["style"] = [str(one) for one in self.style] if isinstance(self.style, tuple) else str(self.style)
        return values

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> TrainConfig:
        """Return the settings that :meth:`to_json` gave."""
        values = dict(values)
        values["loss"] = LossConfig(**values["loss"])
        if values["architecture"] is not None:
            values["architecture"] = TransformerConfig(**values["architecture"])
        return cls(**values)
