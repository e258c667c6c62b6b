"""What a speed test measures: networks, pictures and what runs them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stylize.config import ENGINE_NAMES, PRESETS, parse_norm, preset
from stylize.devices import choose_device
from stylize.engines.choice import EXTRAS, installed_engines, precisions
from stylize.errors import InputError, unknown_name

REPEATS = 7
"""Rounds that count."""

TOTAL_SECONDS = 40
"""Time for all counted rounds, unless the caller says how many rounds or how much time he wants."""


@dataclass(frozen=True)
class Contestant:
    """What runs a network.

    Attributes:
        engine: Name of an engine, or ``plain``.
        precision: What it computes in.
    """

    engine: str
    precision: str

    def __str__(self) -> str:
        return self.engine if self == PLAIN else f"{self.engine} {self.precision}"


PLAIN = Contestant("plain", "float32")
"""The network as :class:`stylize.transformer.TransformerNet` runs by itself."""


@dataclass(frozen=True)
class Case:
    """A network and a picture.

    Attributes:
        preset: Name of the architecture.
        norm: Its normalisation, as :func:`stylize.config.parse_norm` spells it.
        size: Side of the square picture in pixels.
    """

    preset: str
    norm: str
    size: int

    def __str__(self) -> str:
        return f"{self.preset}, {self.norm} norm, {self.size} px"


@dataclass(frozen=True)
class SpeedPlan:
    """What is to be measured.

    Attributes:
        cases: Networks and pictures; those of one network follow each other.
        contestants: What runs them, beside the plain run, which is always there.
        repeats: Rounds that count.
        seconds: A contestant begins no further round of a case once its counted rounds took so long; None = no limit.
        threads: Threads of the CPU; None = as many as torch takes by itself.
        device: Where to compute: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.

    Raises:
        InputError: A value that cannot be.
    """

    cases: tuple[Case, ...]
    contestants: tuple[Contestant, ...]
    repeats: int = REPEATS
    seconds: float | None = None
    threads: int | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        if not self.cases:
            raise InputError("no network and size given to measure; at least one is needed")
        for case in self.cases:
            preset(case.preset, case.norm)
            if case.size < 1:
                raise InputError(f"size is {case.size}; it must be 1 px or more")
        if self.repeats < 1:
            raise InputError(f"{self.repeats} rounds given; it must be 1 or more")
        if self.seconds is not None and not self.seconds > 0:
            raise InputError(f"{self.seconds:g} seconds for each contestant given; it must be more than 0")
        if self.threads is not None and self.threads < 1:
            raise InputError(f"{self.threads} threads given; it must be 1 or more")

    @property
    def everyone(self) -> tuple[Contestant, ...]:
        """The contestants, the plain run first."""
        return (PLAIN, *(one for one in self.contestants if one != PLAIN))


def available_contestants(
    device: str = "cpu", engines: Sequence[str] = (), wanted: Sequence[str] = ()
) -> tuple[Contestant, ...]:
    """Return the engines and precisions that can be measured here.

    Args:
        device: As in :class:`SpeedPlan`.
        engines: Engines to choose from; none = all that are installed and compute there.
        wanted: Precisions to choose from; none = all that an engine has.

    Raises:
        InputError: An engine that is not known or not installed, or a precision that no chosen engine has.
    """
    place, installed = choose_device(device), installed_engines()
    for name in engines:
        if name not in ENGINE_NAMES:
            raise InputError(unknown_name("engine", name, ENGINE_NAMES))
        if name not in installed:
            extra = f"pip install 'stylize[{EXTRAS[name]}]'"
            raise InputError(f"the engine {name} is not installed; {extra}, or choose another: {', '.join(installed)}")
    # The others have the CPU alone; who asks for them by name is told so in their rows.
    usual = [name for name in installed if name == "torch" or place.type == "cpu"]
    chosen = tuple(dict.fromkeys(engines or usual))
    offered = {name: precisions(name, place) for name in chosen}
    for precision in wanted:
        if not any(precision in names for names in offered.values()):
            known = dict.fromkeys(one for names in offered.values() for one in names)
            where = f"precision of {' and '.join(chosen)} on {place}"
            raise InputError(unknown_name(where, precision, known))
    return tuple(
        Contestant(name, precision)
        for name, names in offered.items()
        for precision in names
        if not wanted or precision in wanted
    )


def default_seconds(cases: Sequence[Case], contestants: Sequence[Contestant]) -> float:
    """Return the time for each contestant in each case with which all of it ends in about a minute."""
    return TOTAL_SECONDS / (len(cases) * (len(contestants) + 1))


def plan_cases(presets: Sequence[str], norms: Sequence[str], sizes: Sequence[int]) -> tuple[Case, ...]:
    """Return every preset with every norm at every size, each once.

    Raises:
        InputError: No such preset or norm.
    """
    for name in presets:
        if name not in PRESETS:
            raise InputError(unknown_name("preset", name, PRESETS))
    spelled = [str(parse_norm(norm)) for norm in norms]
    return tuple(dict.fromkeys(Case(name, norm, size) for name in presets for norm in spelled for size in sizes))
