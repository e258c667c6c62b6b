"""How fast this machine runs the networks, beside how fast it could.

Every network is run by every engine, and by PyTorch as the network itself stands there: the plain run. They take turns
(A B C, B C A, C A B, ...), so that whatever else the machine does meets all of them; the first round warms up and does
not count, and what is compared is compared within rounds.

What a machine could do (:mod:`stylize.speed_ceilings`) is measured in the same run.
"""

from __future__ import annotations

import copy
import importlib.metadata
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from statistics import median
from time import perf_counter
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from stylize import __version__
from stylize.config import preset
from stylize.devices import choose_device
from stylize.engines.choice import make_engine
from stylize.errors import InputError, StylizeError, WeightsError
from stylize.images import read_image, to_tensor
from stylize.program import lower
from stylize.provenance import cpu_model
from stylize.speed_ceilings import Ceilings
from stylize.speed_plan import PLAIN, Case, Contestant, SpeedPlan
from stylize.speed_turns import FAILURES, Turn, finish, reason_of, take_turns
from stylize.style_choice import choose_style, load_style
from stylize.transformer import TransformerNet
from stylize.zoo import DEFAULT_STYLE, example_photos

NOT_MEASURED = "not measured: stopped before"


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
        self._ceilings = Ceilings(self.device, [one.precision for one in plan.contestants])
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

        self._ceilings.measure(self.plan.repeats, self._clock, saying(0, "the machine's ceilings"))
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
        """See :meth:`stylize.speed_ceilings.Ceilings.found`."""
        return self._ceilings.found()

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
