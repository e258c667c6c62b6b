"""Architectures of the network: the normalisations by name and by place, the numbers of layers and channels, presets.

References:
    Johnson, Alahi, Fei-Fei: Perceptual Losses for Real-Time Style Transfer and Super-Resolution, ECCV 2016
    (arXiv 1603.08155) and its supplement (the network's layers).
    Ulyanov, Vedaldi, Lempitsky: Instance Normalization: The Missing Ingredient for Fast Stylization, 2016
    (arXiv 1607.08022).
    Dumoulin, Shlens, Kudlur: A Learned Representation for Artistic Style, ICLR 2017 (arXiv 1610.07629).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from stylize.errors import InputError, unknown_name
from stylize.network_size import BYTES_PER_PARAMETER, MAXIMUM_PARAMETERS, count_parameters

NORM_NAMES = ("instance", "batch", "layer", "group", "weight", "none", "ibn", "batch-instance")
"""Names of the normalisations, equal to the keys of ``stylize.norms.NORMS`` (a test compares them)."""

CONDITIONAL_NORMS = {"conditional-instance": "instance", "conditional-batch": "batch"}
"""Normalisations with a scale and a shift for each of several styles, and the norm each of them is for one style."""

PLACEMENTS = ("everywhere", "first", "encoder", "residual", "decoder", "shallow", "deep")
"""Where in the network a normalisation can stand: after every hidden convolution, after the first, in one of the three
parts of the network, or in the shallower or deeper half of the normalised layers."""

MAXIMUM_CHANNELS = 1024
MAXIMUM_STYLES = 4096
MAXIMUM_RESIDUAL_BLOCKS = 64
MAXIMUM_KERNEL_SIZE = 15


def check_choice(kind: str, given: object, known: Iterable[str]) -> None:
    """Raise InputError unless ``given`` is one of the ``known`` names. Values may come from a file somebody made."""
    if not isinstance(given, str) or given not in known:
        raise InputError(unknown_name(kind, str(given), known))


def listed_conditional() -> str:
    """Return the conditional normalisations as a message names them."""
    return " or ".join(CONDITIONAL_NORMS)


def is_number(value: object) -> bool:
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
    check_choice("normalisation", norm, NORM_NAMES if at else (*NORM_NAMES, *CONDITIONAL_NORMS))
    if not at:
        return NormPlacement(norm)
    check_choice("placement", placement, PLACEMENTS)
    if plus:
        check_choice("normalisation", other, NORM_NAMES)
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
        check_choice("output", self.output, ("convolution", "shuffle"))
        if self.output == "shuffle" and self.space_to_depth == 1:
            raise InputError("output 'shuffle' needs space_to_depth 2 or 4")
        if not is_number(self.norm_epsilon) or not 0 < self.norm_epsilon < 1:
            raise InputError(f"norm_epsilon is {self.norm_epsilon!r}; it must lie between 0 and 1")
        if type(self.styles) is not int or not 1 <= self.styles <= MAXIMUM_STYLES:
            raise InputError(f"styles is {self.styles!r}; it must be a whole number from 1 to {MAXIMUM_STYLES}")
        if self.styles > 1 and not self.conditional:
            raise InputError(f"{self.styles} styles given with {self.norm} norm; {listed_conditional()} can hold them")

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
