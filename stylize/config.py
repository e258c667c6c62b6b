"""Every hyperparameter of stylize, once, with its unit and its source. Imports nothing heavy.

The command line reads its defaults from these dataclasses, so no number is written twice.

References:
    Johnson, Alahi, Fei-Fei: Perceptual Losses for Real-Time Style Transfer and Super-Resolution, ECCV 2016
    (arXiv 1603.08155) and its supplement (the network's layers).
    Ulyanov, Vedaldi, Lempitsky: Instance Normalization: The Missing Ingredient for Fast Stylization, 2016
    (arXiv 1607.08022).
    Dumoulin, Shlens, Kudlur: A Learned Representation for Artistic Style, ICLR 2017 (arXiv 1610.07629).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from stylize.errors import InputError, unknown_name
from stylize.network_size import BYTES_PER_PARAMETER, MAXIMUM_PARAMETERS, count_parameters

NORM_NAMES = ("instance", "batch", "layer", "group", "weight", "none", "ibn", "batch-instance")
"""Names of the normalisations, equal to the keys of ``stylize.norms.NORMS`` (a test compares them)."""

CONDITIONAL_NORMS = {"conditional-instance": "instance", "conditional-batch": "batch"}
"""Normalisations with a scale and a shift for each of several styles, and the norm each of them is for one style."""

PLACEMENTS = ("everywhere", "first", "encoder", "residual", "decoder", "shallow", "deep")
"""Where in the network a normalisation can stand: after every hidden convolution, after the first, in one of the three
parts of the network, or in the shallower or deeper half of the normalised layers."""

PREPARATIONS = ("none", "equalise", "standardise", "stylize")
"""What can be done to every photo before the network sees it (:mod:`stylize.preparation`)."""

PHOTO_STYLE = "photo"
"""Name of the style of a collection that leaves photos as they are."""

IMAGE_SIZE_MINIMUM = 32
"""Smallest training crop in pixels: relu4_1 of the loss network needs a few positions for a Gram matrix."""

STYLE_SIZE_MINIMUM = 32
"""Smallest painting in pixels (short side) that has a texture to learn."""

MAXIMUM_CHANNELS = 1024
MAXIMUM_STYLES = 4096
MAXIMUM_RESIDUAL_BLOCKS = 64
MAXIMUM_KERNEL_SIZE = 15


def _check_choice(kind: str, given: object, known: Iterable[str]) -> None:
    """Raise InputError unless ``given`` is one of the ``known`` names. Values may come from a file somebody made."""
    if not isinstance(given, str) or given not in known:
        raise InputError(unknown_name(kind, str(given), known))


def _listed_conditional() -> str:
    return " or ".join(CONDITIONAL_NORMS)


def _is_number(value: object) -> bool:
    """Return whether ``value`` is a number; bool, which Python counts among the whole numbers, is none here."""
    return isinstance(value, int | float) and not isinstance(value, bool)


@dataclass(frozen=True)
class NormPlacement:
    """A normalisation as users write it, taken apart: ``NORM`` or ``NORM@PLACEMENT`` or ``NORM@PLACEMENT+OTHER``.

    Attributes:
        norm: The normalisation at the placement, a name from :data:`NORM_NAMES`.
        placement: Where it stands, a name from :data:`PLACEMENTS`.
        other: The normalisation of all other layers; batch norm unless stated, and instance norm beside batch norm.
    """

    norm: str
    placement: str = "everywhere"
    other: str = ""

    def __post_init__(self) -> None:
        # One network has one name: with the same norm on both sides the placement says nothing.
        if self.other == self.norm:
            object.__setattr__(self, "placement", "everywhere")
        if not self.other or self.placement == "everywhere":
            object.__setattr__(self, "other", "instance" if self.norm == "batch" else "batch")

    def __str__(self) -> str:
        if self.placement == "everywhere":
            return self.norm
        usual = NormPlacement(self.norm).other
        return f"{self.norm}@{self.placement}" + (f"+{self.other}" if self.other != usual else "")


def parse_norm(text: object) -> NormPlacement:
    """Take a normalisation apart: ``instance``, or ``instance@encoder`` (batch norm in the rest of the network), or
    ``instance@encoder+none``.

    Raises:
        InputError: No such normalisation or placement.
    """
    if not isinstance(text, str):
        raise InputError(unknown_name("normalisation", str(text), NORM_NAMES))
    norm, at, rest = text.partition("@")
    placement, plus, other = rest.partition("+")
    _check_choice("normalisation", norm, NORM_NAMES if at else (*NORM_NAMES, *CONDITIONAL_NORMS))
    if not at:
        return NormPlacement(norm)
    _check_choice("placement", placement, PLACEMENTS)
    if plus:
        _check_choice("normalisation", other, NORM_NAMES)
    return NormPlacement(norm, placement, other)


@dataclass(frozen=True)
class TransformerConfig:
    """Architecture of a :class:`stylize.transformer.TransformerNet`; stored in every weights file.

    Attributes:
        norm: Normalisation after every hidden convolution, a name from :data:`NORM_NAMES`; or one for a part of the
            network and another for the rest, as :func:`parse_norm` reads it. Kept in its shortest form.
        space_to_depth: Side of the pixel blocks that become channels before the first convolution; 1 = none.
        channels: Channels at each resolution, from the first convolution to the residual trunk; each further
            entry halves the resolution. The decoder mirrors them.
        residual_blocks: Number of residual blocks in the trunk.
        first_kernel: Kernel size of the first convolution (odd).
        last_kernel: Kernel size of the last convolution (odd). Where the last convolution upsamples (``output``
            "convolution" with ``space_to_depth`` above 1) it is 3 whatever stands here.
        output: ``"convolution"``: the last convolution runs at the resolution of the picture, after nearest
            upsampling where the first layer went below it. ``"shuffle"``: it runs below it and its pixel blocks
            are shuffled out (cheaper, but prone to a checkerboard).
        norm_epsilon: Added to the variance by the normalisation.
        styles: Number of styles of a network with one of the :data:`CONDITIONAL_NORMS`; 1 for all others.
        own_output: Whether each of these styles has a last convolution of its own, beside its scales and shifts.
    """

    norm: str = "instance"
    space_to_depth: int = 1
    channels: tuple[int, ...] = (32, 64, 128)
    residual_blocks: int = 5
    first_kernel: int = 9
    last_kernel: int = 9
    output: str = "convolution"
    norm_epsilon: float = 1e-5
    styles: int = 1
    own_output: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.channels, list | tuple):
            raise InputError(f"channels is {self.channels!r}; a list of whole numbers is accepted")
        object.__setattr__(self, "channels", tuple(self.channels))
        object.__setattr__(self, "norm", str(parse_norm(self.norm)))
        if type(self.space_to_depth) is not int or self.space_to_depth not in (1, 2, 4):
            raise InputError(f"space_to_depth is {self.space_to_depth!r}; it must be 1, 2 or 4")
        widths = self.channels
        if not 1 <= len(widths) <= 4 or any(type(c) is not int or not 1 <= c <= MAXIMUM_CHANNELS for c in widths):
            raise InputError(f"channels is {widths!r}; it must be 1 to 4 whole numbers from 1 to {MAXIMUM_CHANNELS}")
        if type(self.residual_blocks) is not int or not 0 <= self.residual_blocks <= MAXIMUM_RESIDUAL_BLOCKS:
            raise InputError(f"residual_blocks is {self.residual_blocks!r}; it must be 0 to {MAXIMUM_RESIDUAL_BLOCKS}")
        for name in ("first_kernel", "last_kernel"):
            size = getattr(self, name)
            if type(size) is not int or not (1 <= size <= MAXIMUM_KERNEL_SIZE and size % 2):
                raise InputError(f"{name} is {size!r}; it must be an odd number from 1 to {MAXIMUM_KERNEL_SIZE}")
        _check_choice("output", self.output, ("convolution", "shuffle"))
        if self.output == "shuffle" and self.space_to_depth == 1:
            raise InputError("output 'shuffle' needs space_to_depth 2 or 4")
        if not _is_number(self.norm_epsilon) or not 0 < self.norm_epsilon < 1:
            raise InputError(f"norm_epsilon is {self.norm_epsilon!r}; it must lie between 0 and 1")
        if type(self.styles) is not int or not 1 <= self.styles <= MAXIMUM_STYLES:
            raise InputError(f"styles is {self.styles!r}; it must be a whole number from 1 to {MAXIMUM_STYLES}")
        if self.styles > 1 and not self.conditional:
            raise InputError(f"{self.styles} styles given with {self.norm} norm; {_listed_conditional()} can hold them")

        if type(self.own_output) is not bool or (self.own_output and not self.conditional):
            raise InputError(
                f"own_output is {self.own_output!r} with {self.norm} norm; it needs a collection of styles"
            )
        if self.most_parameters > MAXIMUM_PARAMETERS:
            size = f"{self.most_parameters:,} parameters, {self.most_parameters * BYTES_PER_PARAMETER / 1e9:,.1f} GB"
            raise InputError(f"a network of {size} asked for; at most {MAXIMUM_PARAMETERS:,} parameters are accepted")

    @property
    def most_parameters(self) -> int:
        """How many numbers the network learns: exactly, but for norms with a placement, where it has no more."""
        chosen = parse_norm(self.single_norm)
        names = (chosen.norm,) if chosen.placement == "everywhere" else (chosen.norm, chosen.other)
        return count_parameters(self, names)

    @property
    def single_norm(self) -> str:
        """The norm of one style: another name than :attr:`norm` where that is conditional."""
        return CONDITIONAL_NORMS.get(self.norm, self.norm)

    @property
    def conditional(self) -> bool:
        """Whether the normalisation has a scale and a shift for each of several styles."""
        return self.norm in CONDITIONAL_NORMS

    @property
    def of_one_style(self) -> TransformerConfig:
        """The architecture that a network with conditional norms has for one of its styles."""
        return replace(self, norm=self.single_norm, styles=1, own_output=False)

    @property
    def reduction(self) -> int:
        """How many pixels of the picture one position of the residual trunk spans in each direction."""
        return self.space_to_depth * 2 ** (len(self.channels) - 1)


PRESETS: dict[str, TransformerConfig] = {
    "fast": TransformerConfig(space_to_depth=4, channels=(64,), first_kernel=3, last_kernel=3),
    "johnson": TransformerConfig(),
}
"""Architectures by name. ``johnson`` is the network of the field (1,679,235 parameters); ``fast`` (417,795) was chosen
among candidates trained under equal conditions, see ``benchmarks/results/presets.md``."""


def preset(name: str, norm: str = "instance") -> TransformerConfig:
    """Return the architecture called ``name`` with the normalisation ``norm``.

    Raises:
        InputError: No such preset or normalisation.
    """
    if name not in PRESETS:
        raise InputError(unknown_name("preset", name, PRESETS))
    return replace(PRESETS[name], norm=norm)


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
        if not all(_is_number(share) and 0 <= share < float("inf") for share in shares):
            raise InputError(f"style_layer_weights is {shares!r}; finite numbers, 0 or more, are accepted")
        if not sum(shares) > 0:
            raise InputError("all style layer weights are 0; at least one must be above 0")
        for name in ("content_weight", "style_weight", "tv_weight", "style_strength"):
            value = getattr(self, name)
            if not (_is_number(value) and 0 <= value < float("inf")):
                raise InputError(f"{name} is {value!r}; it must be a finite number, 0 or more")


PRECISIONS = ("auto", "bfloat16", "float32")
"""What training can compute in."""

ENGINE_NAMES = ("torch", "onnxruntime", "openvino")
"""What can run a network (:mod:`stylize.engines`)."""

PRECISION_NAMES = ("float32", "bfloat16", "float16", "int8")
"""What one engine or another can compute in."""


ADAPTING: dict[str, Any] = {"steps": 300, "learning_rate": 3e-2, "image_size": 192}
"""Settings that the command line uses for a painting that is added to a collection, where others are not given."""


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
        batch_size: Photos per step. Batch norm wants at least 4 (Johnson et al. 2016: 4).
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
        _check_choice("preset", self.preset, PRESETS)
        _check_choice("preparation", self.preparation, PREPARATIONS)
        _check_choice("precision", self.precision, PRECISIONS)
        _check_choice("weights dtype", self.weights_dtype, ("float16", "float32"))
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
        if not _is_number(self.learning_rate) or not 0 < self.learning_rate < 1:
            raise InputError(f"learning_rate is {self.learning_rate!r}; it must lie between 0 and 1 (default 0.002)")
        if not _is_number(self.crop_scale) or not 0 < self.crop_scale <= 1:
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
                    f"{self.norm} norm given for a collection of styles; {_listed_conditional()} is accepted"
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
