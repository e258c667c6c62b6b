"""How fast this machine runs the networks, beside how fast it could.

Every network is run by every engine, and by PyTorch as the network itself stands there: the plain run. They take turns
(A B C, B C A, C A B, ...), so that whatever else the machine does meets all of them; the first round warms up and does
not count, and what is compared is compared within rounds.

What a machine could do is measured in the same run: the rate of its best matrix multiplication or convolution, in each
precision. A network is little but convolutions, so the share of that ceiling that it reaches says how much an engine
leaves unused.
"""

from __future__ import annotations

import copy
import importlib.metadata
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from statistics import median
from time import perf_counter
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from stylize import __version__
from stylize.config import ENGINE_NAMES, PRESETS, parse_norm, preset
from stylize.devices import choose_device
from stylize.engines.choice import EXTRAS, installed_engines, make_engine, precisions
from stylize.errors import InputError, StylizeError, WeightsError, unknown_name
from stylize.images import read_image, to_tensor
from stylize.program import lower
from stylize.provenance import cpu_model
from stylize.style_choice import choose_style, load_style
from stylize.transformer import TransformerNet
from stylize.zoo import DEFAULT_STYLE, example_photos

REPEATS = 7
"""Rounds that count."""

TOTAL_SECONDS = 40
"""Time for all counted rounds, unless the caller says how many rounds or how much time he wants."""

CEILING_SECONDS = 1.0
"""Time for the counted rounds of one multiplication or convolution, whatever the number of rounds."""

CEILING_PRECISIONS = ("float32", "bfloat16", "int8")
"""Precisions whose ceiling is measured in any case."""

MATRIX_SIDES = {"cuda": 8192}
"""Rows and columns of the matrices that are multiplied, by kind of device; see :data:`MATRIX_SIDE`."""

MATRIX_SIDE = 2048
"""The same on other devices: enough for the full rate of a CPU, and soon done."""

PICTURE_SIDES = {"cuda": 512}
"""Height and width of what is convolved, by kind of device; see :data:`PICTURE_SIDE`."""

PICTURE_SIDE = 128
"""The same on other devices: what the residual blocks of ``johnson`` see of a picture of 512 px."""

CHANNELS = 128
"""Channels of what is convolved, as in the residual blocks of ``johnson``."""

FAILURES = (StylizeError, RuntimeError, MemoryError, ImportError, OSError, ValueError)
"""What an engine may raise without stopping the others."""

NOT_MEASURED = "not measured: stopped before"


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


@dataclass(frozen=True)
class Row:
    """What was measured of one contestant in one case; the field names are those of the JSON document.

    Attributes:
        preset: Name of the architecture.
        norm: Its normalisation.
        weights: Style whose shipped network was run, or ``random``: weights change nothing about the time.
        engine: Name of the engine, or ``plain``.
        precision: What it computes in.
        size: Side of the square picture in pixels.
        repeats: Rounds that counted.
        capped: Whether it had fewer rounds than planned, to save time.
        ms: Median time in milliseconds.
        ms_min: Shortest.
        ms_max: Longest.
        megapixels_per_second: At the median time.
        gflops: 10^9 multiplications and additions of the convolutions each second, at the median time; what padding
            adds does not count.
        percent_of_ceiling: That, as a share of the machine's ceiling in the same precision.
        percent_of_float32_ceiling: The same against the ceiling in float32.
        times_faster: Median over the rounds of the plain run's time divided by the own time in the same round.
        largest_difference: Largest difference of any value of the picture from that of the plain run, in grey levels
            of 0..255.
        mean_difference: Mean absolute difference, in grey levels.
        error: Why there are no numbers, in one line; None where there are. What is not known is None.
    """

    preset: str
    norm: str
    weights: str | None
    engine: str
    precision: str
    size: int
    repeats: int = 0
    capped: bool = False
    ms: float | None = None
    ms_min: float | None = None
    ms_max: float | None = None
    megapixels_per_second: float | None = None
    gflops: float | None = None
    percent_of_ceiling: float | None = None
    percent_of_float32_ceiling: float | None = None
    times_faster: float | None = None
    largest_difference: float | None = None
    mean_difference: float | None = None
    error: str | None = None


@dataclass(frozen=True)
class Progress:
    """How far a speed test is.

    Attributes:
        done: Rounds done, of all cases.
        total: Rounds at most.
        doing: What is measured now.
    """

    done: int
    total: int
    doing: str


@dataclass
class Turn:
    """Something that is timed, once in each round.

    Attributes:
        work: What is timed; returns a result, which is looked at after the round of warming up.
        look: Looks at that result; raises one of :data:`FAILURES` where it is wrong.
        seconds: Of the counted rounds.
        capped: Whether it left for lack of time.
        error: Why it left.
    """

    work: Callable[[], Any]
    look: Callable[[Any], None] = lambda result: None
    seconds: list[float] = field(default_factory=list)
    capped: bool = False
    error: str | None = None


@dataclass(frozen=True)
class Probe:
    """One operation that may reach the ceiling of the machine.

    Attributes:
        name: What it is.
        precision: What it computes in.
        operations: Multiplications and additions of one run.
        run: Runs it to its end.
    """

    name: str
    precision: str
    operations: float
    run: Callable[[], Any]


def take_turns(
    turns: Sequence[Turn],
    repeats: int,
    seconds: float | None = None,
    clock: Callable[[], float] = perf_counter,
    on_round: Callable[[int], None] = lambda number: None,
) -> None:
    """Time several things in interleaved rounds; each round begins with another one. Round 0 does not count.

    What fails is left out from then on, with the reason in :attr:`Turn.error`.

    Args:
        turns: What is timed; the samples are put in there, as they come.
        repeats: Rounds that count.
        seconds: One that has used so much in counted rounds is left out from then on; None = no limit.
        clock: Returns seconds.
        on_round: Called with the number of each round before it.
    """
    for number in range(repeats + 1):
        for turn in turns:
            turn.capped = turn.capped or (seconds is not None and sum(turn.seconds) >= seconds)
        if all(turn.capped or turn.error is not None for turn in turns):
            return
        on_round(number)
        for position in range(len(turns)):
            turn = turns[(number + position) % len(turns)]
            if turn.capped or turn.error is not None:
                continue
            try:
                begin = clock()
                result = turn.work()
                elapsed = clock() - begin
                if number == 0:
                    turn.look(result)
                else:
                    turn.seconds.append(elapsed)
            except FAILURES as error:
                turn.error = reason_of(error)


def reason_of(error: BaseException) -> str:
    """Return what an error says, in one line that is not too long."""
    words = " ".join(str(error).split()) or type(error).__name__
    return words if len(words) <= 300 else f"{words[:297]}..."


def ceiling_probes(precision: str, device: torch.device) -> Iterator[Probe]:
    """Make what is run to find the ceiling in one precision: the kinds of work that processors are best at.

    Args:
        precision: ``float32``, ``bfloat16``, ``float16`` or ``int8``; of others there are none.
        device: Where to compute.
    """
    side = MATRIX_SIDES.get(device.type, MATRIX_SIDE)
    generator = torch.Generator().manual_seed(0)

    def run(operation: Callable[[], Tensor]) -> Callable[[], None]:
        def timed() -> None:
            with torch.inference_mode():
                operation()
            finish(device)

        return timed

    name = f"matrix multiplication {side} x {side}"
    if precision == "int8":
        multiply = getattr(torch, "_int_mm", None)  # There is no public one.
        if multiply is not None:
            first, second = (
                torch.randint(-128, 128, (side, side), generator=generator).to(device, torch.int8) for _ in range(2)
            )
            if device.type == "cuda":
                second = second.t()  # The only order that the GPU's kernels take.
            yield Probe(name, precision, 2.0 * side**3, run(lambda: multiply(first, second)))
        return
    dtype = getattr(torch, precision, None)
    if not isinstance(dtype, torch.dtype):
        return
    left, right = (torch.randn(side, side, generator=generator).to(device, dtype) for _ in range(2))
    yield Probe(name, precision, 2.0 * side**3, run(lambda: torch.mm(left, right)))
    height = PICTURE_SIDES.get(device.type, PICTURE_SIDE)
    features = torch.randn(1, CHANNELS, height, height, generator=generator)
    kernels = torch.randn(CHANNELS, CHANNELS, 3, 3, generator=generator) / CHANNELS
    operations = 2.0 * 9 * CHANNELS**2 * height**2
    for order, layout in (("contiguous", torch.contiguous_format), ("channels-last", torch.channels_last)):
        x, weight = (tensor.to(device, dtype).contiguous(memory_format=layout) for tensor in (features, kernels))
        convolve = run(lambda x=x, weight=weight: F.conv2d(x, weight, padding=1))
        yield Probe(f"3x3 convolution of {CHANNELS} channels, {order}", precision, operations, convolve)


def finish(device: torch.device) -> None:
    """Wait until a device has done what it was told; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


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


def photo(size: int) -> Tensor:
    """Return the middle of a shipped photo as a square, (1, 3, size, size) float32, RGB in [0, 1].

    Raises:
        StylizeError: The installation is incomplete.
    """
    photos = example_photos()
    if not photos:
        raise StylizeError("the example photos that are shipped with stylize are missing; install stylize again")
    whole = to_tensor(read_image(photos[0]))
    height, width = whole.shape[-2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = whole[:, :, top : top + side, left : left + side]
    return F.interpolate(square, size=(size, size), mode="bicubic", align_corners=False, antialias=True).clamp(0, 1)


def shipped_or_random(preset_name: str, norm: str) -> tuple[TransformerNet, str]:
    """Return a network in evaluation mode and the name of its style; ``random`` where none is shipped.

    With a norm of several styles it is what paints one of them: the network that is taken out of the collection.

    Raises:
        WeightsError: The shipped network is damaged.
    """
    try:
        chosen = choose_style(DEFAULT_STYLE, norm, preset_name)
    except WeightsError:
        raise
    except InputError:
        return TransformerNet(preset(preset_name, norm).of_one_style).eval(), "random"
    network, _ = load_style(chosen)
    return network.eval(), DEFAULT_STYLE


class SpeedTest:
    """One speed test: :meth:`run` measures, :meth:`report` says at any time what was measured so far.

    Args:
        plan: What to measure.
        clock: Returns seconds.

    Raises:
        InputError: torch computes with another number of threads in this process than the plan wants.
        DeviceError: The device is not there.
    """

    def __init__(self, plan: SpeedPlan, clock: Callable[[], float] = perf_counter) -> None:
        self.plan = plan
        self.device = choose_device(plan.device)
        threads = torch.get_num_threads()
        if plan.threads not in (None, threads):
            raise InputError(
                f"{plan.threads} threads asked for, but torch computes with {threads} in this process; set "
                f"OMP_NUM_THREADS={plan.threads} before it is imported"
            )
        self._clock = clock
        self._date = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
        self._probes: list[tuple[Probe, Turn]] = []
        self._turns: dict[tuple[Case, Contestant], Turn] = {}
        self._differences: dict[tuple[Case, Contestant], tuple[float, float]] = {}
        self._weights: dict[tuple[str, str], str] = {}
        self._multiplications: dict[str, float] = {}

    def run(self, on_step: Callable[[Progress], None] | None = None) -> None:
        """Measure everything. An engine that fails does not stop the others; Ctrl-C leaves what was measured.

        Args:
            on_step: Called before each round.

        Raises:
            StylizeError: The installation is incomplete.
        """
        say = on_step or (lambda progress: None)
        rounds = self.plan.repeats + 1
        total = rounds * (len(self.plan.cases) + 1)

        def saying(stage: int, doing: str) -> Callable[[int], None]:
            return lambda number: say(Progress(stage * rounds + number, total, doing))

        self._run_probes(saying(0, "the machine's ceilings"))
        networks: dict[tuple[str, str], list[Case]] = {}
        for case in self.plan.cases:
            networks.setdefault((case.preset, case.norm), []).append(case)
        stage = 1
        for (preset_name, norm), cases in networks.items():
            network, self._weights[preset_name, norm] = shipped_or_random(preset_name, norm)
            self._multiplications[preset_name] = lower(network).multiplications_per_pixel
            saying(stage, f"{preset_name}, {norm} norm: making the engines")(0)
            engines = self._engines(network, cases)
            for case in cases:
                self._run_case(case, engines, saying(stage, str(case)))
                stage += 1
        say(Progress(total, total, "done"))

    def _run_probes(self, on_round: Callable[[int], None]) -> None:
        wanted = [*CEILING_PRECISIONS, *(one.precision for one in self.plan.contestants)]
        for precision in dict.fromkeys(wanted):
            try:
                probes = list(ceiling_probes(precision, self.device))
            except FAILURES:
                continue  # The device does not know this precision; the report has no ceiling for it.
            self._probes += [(probe, Turn(probe.run)) for probe in probes]
        turns = [turn for _, turn in self._probes]
        take_turns(turns, self.plan.repeats, CEILING_SECONDS, self._clock, on_round)

    def _engines(
        self, network: TransformerNet, cases: Sequence[Case]
    ) -> dict[Contestant, tuple[Callable[[Tensor], Tensor], torch.device]]:
        """Return what paints, and where, for each contestant that can be made; others get the reason in their turns."""
        plain = copy.deepcopy(network).to(self.device)
        engines: dict[Contestant, Any] = {PLAIN: (lambda images: plain(images), self.device)}
        for one in self.plan.everyone[1:]:
            try:
                # All with as many threads as torch has; some engines would take all cores by themselves.
                engine = make_engine(network, one.engine, one.precision, self.device, torch.get_num_threads())
            except FAILURES as error:
                for case in cases:
                    self._turns[case, one] = Turn(lambda: None, error=reason_of(error))
            else:
                engines[one] = (engine.paint, torch.device(engine.device))
        return engines

    def _run_case(
        self,
        case: Case,
        engines: dict[Contestant, tuple[Callable[[Tensor], Tensor], torch.device]],
        on_round: Callable[[int], None],
    ) -> None:
        images = photo(case.size)
        pictures: dict[Contestant, Tensor] = {}
        for one, (paint, device) in engines.items():
            self._turns[case, one] = self._turn(case, one, paint, images.to(device), pictures)
        # The plain run is the first in the round of warming up, so its picture is there when others are compared.
        turns = [self._turns[case, one] for one in engines]
        take_turns(turns, self.plan.repeats, self.plan.seconds, self._clock, on_round)

    def _turn(
        self,
        case: Case,
        contestant: Contestant,
        paint: Callable[[Tensor], Tensor],
        images: Tensor,
        pictures: dict[Contestant, Tensor],
    ) -> Turn:
        def work() -> Tensor:
            with torch.inference_mode():
                painted = paint(images)
            finish(images.device)
            return painted

        def look(painted: Tensor) -> None:
            if painted.shape != images.shape:
                raise StylizeError(f"it returned a picture of shape {tuple(painted.shape)}, not {tuple(images.shape)}")
            if not bool(painted.isfinite().all()):
                raise StylizeError("its picture has values that are no finite numbers")
            picture = painted.float().cpu().clamp(0, 1)
            if contestant == PLAIN:
                pictures[PLAIN] = picture
            if PLAIN in pictures:
                difference = 255 * (picture - pictures[PLAIN]).abs()
                self._differences[case, contestant] = float(difference.max()), float(difference.mean())

        return Turn(work, look)

    def rows(self) -> list[Row]:
        """Return one row for each contestant in each case, whether it was measured yet or not."""
        ceilings = {name: one["gflops"] for name, one in self.ceilings().items()}
        return [self._row(case, one, ceilings) for case in self.plan.cases for one in self.plan.everyone]

    def _row(self, case: Case, contestant: Contestant, ceilings: dict[str, float | None]) -> Row:
        weights = self._weights.get((case.preset, case.norm))
        name = (case.preset, case.norm, weights, contestant.engine, contestant.precision, case.size)
        turn = self._turns.get((case, contestant))
        if turn is None or turn.error is not None or not turn.seconds:
            return Row(*name, error=NOT_MEASURED if turn is None or turn.error is None else turn.error)
        typical = median(turn.seconds)
        plain = self._turns[case, PLAIN].seconds
        # Both began with the first round, so what one of them lacks is at the end.
        ratios = [other / own for other, own in zip(plain, turn.seconds, strict=False)]
        largest, mean = self._differences.get((case, contestant), (None, None))
        pixels = case.size**2
        gflops = 2 * self._multiplications[case.preset] * pixels / typical / 1e9
        return Row(
            *name,
            repeats=len(turn.seconds),
            capped=turn.capped,
            ms=1000 * typical,
            ms_min=1000 * min(turn.seconds),
            ms_max=1000 * max(turn.seconds),
            megapixels_per_second=pixels / typical / 1e6,
            gflops=gflops,
            percent_of_ceiling=_percent(gflops, ceilings.get(contestant.precision)),
            percent_of_float32_ceiling=_percent(gflops, ceilings.get("float32")),
            times_faster=median(ratios) if ratios else None,
            largest_difference=largest,
            mean_difference=mean,
        )

    def ceilings(self) -> dict[str, dict[str, Any]]:
        """Return the ceiling in each precision: the best rate in ``gflops`` (10^9 multiplications and additions each
        second, at the median time), the ``probe`` that reached it, and the rates of all ``probes``; None where nothing
        could be measured."""
        precision_names = dict.fromkeys([*CEILING_PRECISIONS, *(one.precision for one in self.plan.contestants)])
        found: dict[str, dict[str, Any]] = {}
        for precision in precision_names:
            rates = {
                probe.name: probe.operations / median(turn.seconds) / 1e9
                for probe, turn in self._probes
                if probe.precision == precision and turn.error is None and turn.seconds
            }
            best = max(rates, key=lambda name: rates[name], default=None)
            found[precision] = {"gflops": rates[best] if best else None, "probe": best, "probes": rates}
        return found

    def machine(self) -> dict[str, Any]:
        """Return what all this was measured on, as plain values for JSON."""
        cuda = self.device.type == "cuda"
        versions = {"stylize": __version__, "torch": str(torch.__version__)}
        for name in dict.fromkeys(one.engine for one in self.plan.contestants):
            if name not in versions:
                try:
                    versions[name] = importlib.metadata.version(name)
                except importlib.metadata.PackageNotFoundError:
                    versions[name] = "unknown"
        return {
            "date": self._date,
            "cpu": cpu_model(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "device": torch.cuda.get_device_name(self.device) if cuda else str(self.device),
            "system": f"{platform.system()}, Python {platform.python_version()}",
            "versions": versions,
        }

    def report(self) -> dict[str, Any]:
        """Return what was measured so far as plain values for JSON: ``machine``, ``ceilings`` and ``rows``."""
        rows = [asdict(row) for row in self.rows()]
        return {"machine": self.machine(), "ceilings": self.ceilings(), "rows": rows}


def _percent(rate: float, ceiling: float | None) -> float | None:
    return 100 * rate / ceiling if ceiling else None


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
