"""Tiny comparisons and training studies, and made-up results of both, for the tests of `stylize compare`."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from stylize.comparison.batch_mates import BatchMates, MatesRow
from stylize.comparison.claims import judge
from stylize.comparison.cost import Cost, Pass
from stylize.comparison.evidence import Evidence
from stylize.comparison.experiments import Point, RunResult
from stylize.comparison.frozen_statistics import FrozenStatistics, Outcome, Variant
from stylize.comparison.halves import Halves
from stylize.comparison.inference import Comparison, Painted
from stylize.comparison.limits import Brightness, BrightnessRow, Flat, FlatRow, Limits, Mixed, MixedRow
from stylize.comparison.modes import Identity, Modes, ModesRow
from stylize.comparison.optimum import Descent, Optimum
from stylize.comparison.photo_changes import CHANGES
from stylize.comparison.plan import Study
from stylize.comparison.report import Figure, Picture, PictureRow, Section, Slider, Table
from stylize.comparison.study import StudyOutcome
from stylize.comparison.summaries import summarise
from stylize.comparison.survival import Layer, NetworkSurvival, Stage, Survival
from stylize.comparison.sweeps import SweepRow
from tests.helpers import save_photo, tiny_weights
from tests.training_helpers import TINY_LOSS

EDGE = 48
"""Pixels: the side of the squares that a small comparison measures."""


@contextmanager
def small_comparisons(examples: Path) -> Iterator[None]:
    """Make comparisons small: few pixels, few samples, few rounds, and five made-up example photos."""
    photos = [save_photo(examples / f"example-{index}.png", 60 + index, 52, seed=50 + index) for index in range(5)]
    with pytest.MonkeyPatch.context() as patched:
        make_small(patched.setattr, photos)
        yield


def make_small(put: Any, photos: Sequence[Path]) -> None:
    """Do what :func:`small_comparisons` does, with ``put(object, name, value)``."""
    from stylize.comparison import cost, inference, survival

    put(inference, "PROBE_SIZE", EDGE)
    put(inference, "example_photos", lambda: list(photos))
    put(cost, "measure_cost", partial(cost.measure_cost, sizes=(EDGE,), repeats=1))
    put(survival, "make_samples", partial(survival.make_samples, count=12))


def small_networks(folder: Path, *norms: str, **metadata: Any) -> list[Path]:
    """Write weights files whose training had a loss of shallow layers, one for each norm."""
    told = {"loss": asdict(TINY_LOSS), "style_size": 40} | metadata
    folder.mkdir(parents=True, exist_ok=True)
    return [tiny_weights(folder / f"{norm}.safetensors", norm=norm, **told) for norm in norms]


def without_charts(put: Any) -> None:
    """Put empty charts into reports, with ``put(object, name, value)``: drawing is what takes most of the time."""
    from stylize.comparison import (
        inference_sections,
        learning_sections,
        norm_sections,
        photo_sections,
        price_sections,
        sharing_section,
        statistics_sections,
    )

    of_training = (learning_sections, norm_sections, photo_sections, sharing_section)
    for module in (inference_sections, price_sections, statistics_sections, *of_training):
        for name in ("bars", "grouped_bars", "lines", "panels", "cube_figure"):
            if hasattr(module, name):
                put(module, name, lambda *arguments, **options: "<svg></svg>")


# ----------------------------------------------------------------------------------------------- made-up comparisons


def planted_comparison(labels: Sequence[str] = ("instance", "batch"), style: str = "test-style") -> Comparison:
    """Return a comparison in which the first network is the better one by every number, and blind to contrast."""
    numbers = {label: 0.04 * 2**index for index, label in enumerate(labels)}
    blind = labels[0]
    rows = []
    for label, base in numbers.items():
        for name, change in CHANGES.items():
            for factor in change.factors:
                away = abs(factor - change.neutral)
                moved = 0.004 * away if label == blind and change.removable else 31 * away
                far = base * (1 + (0 if label == blind else away))
                unchanged = factor == change.neutral
                rows.append(
                    SweepRow(
                        label, label == blind, name, factor, unchanged, change.removable,
                        far, 0.01, (0.95 * far, 1.05 * far), moved, 40.0,
                    )
                )  # fmt: skip
    picture = Image.new("RGB", (40, 30), "orange")
    same = Identity(0.0001, 0.0002)
    first = Stage("before", 0.3, 8, 0.9, 0.8)
    behind = {label: Stage("after", 0.0 if label == blind else 0.25, 8, 0.1, 0.2) for label in labels}
    onward = {
        label: Stage("passed on", 0.05 + 0.1 * index, 8, 0.2 + 0.3 * index, 0.3) for index, label in enumerate(labels)
    }
    return Comparison(
        style=style,
        networks=tuple(
            {"label": label, "norm": label.partition(" ")[0], "file": f"{label}.safetensors", "batch_size": 4}
            for label in labels
        ),
        photos=("a.jpg", "b.jpg", "c.jpg"),
        companions=8,
        size=EDGE,
        sweeps=tuple(rows),
        batch_mates=BatchMates(
            "chosen",
            0.2,
            0.8,
            4.0,
            tuple(MatesRow(label, *((0.0, 0.0) if label == blind else (21.5, 88.5))) for label in labels),
        ),
        modes=Modes(
            8,
            4,
            tuple(
                ModesRow(label, base, base, 0.51, 0.52, 0.0, None)
                if label == blind
                else ModesRow(label, base * 0.9, base, 0.53, 0.54, 17.5, same if label == "batch" else None)
                for label, base in numbers.items()
            ),
        ),
        frozen=FrozenStatistics(
            blind,
            0.25,
            5,
            3,
            tuple(
                Variant(name, kept, frozen, Outcome(one, 0.01, 44.0, (one,) * 3), Outcome(two, 0.02, 33.0, (two,) * 3))
                for name, kept, frozen, one, two in (
                    ("everywhere", ("a", "b"), (), 0.04, 0.041),
                    ("nowhere", (), ("a", "b"), 0.16, 0.45),
                    ("first layer only", ("a",), ("b",), 0.1, 0.12),
                )
            ),
        ),
        survival=Survival(
            8,
            12,
            4,
            tuple(
                NetworkSurvival(
                    label,
                    tuple(
                        Layer(name, "Norm", "after the ReLU", first, behind[label], onward[label])
                        for name in ("encoder 1", "residual 1.1")
                    ),
                )
                for label in labels
            ),
        ),
        cost=Cost(
            (
                *(
                    Pass(label, False, labels[-1], 48, 0.01 * factor, factor, 2.0, 1.0)
                    for label, factor in zip(labels, [1.31 - 0.31 * index for index in range(len(labels))], strict=True)
                ),
                Pass(f"{labels[-1]}, folded", True, labels[-1], 48, 0.008, 0.8, 1.8, 0.9),
            ),
            tuple(Halves(label, 8, True, 33.5 if label == blind else 0.01, 1.5) for label in labels),
            0.003,
            1,
            1,
            "cpu",
        ),
        limits=Limits(
            Flat(
                tuple(
                    FlatRow(label, noise, *((30.0, 2.5) if label == blind else (0.2, 0.1)))
                    for label in labels
                    for noise in (0.0, 0.0255, 0.255)
                ),
                {label: 50.0 for label in labels},
            ),
            Brightness(
                8,
                tuple(
                    BrightnessRow(label, *((0.0, 0.0, 0.4, 0.3) if label == blind else (0.7, 0.6, 0.9, 0.85)))
                    for label in labels
                ),
            ),
            Mixed(
                "chosen",
                24,
                tuple(MixedRow(label, *((6.5, 8.5) if label == blind else (0.0, 4.5))) for label in labels),
            ),
        ),
        seconds={"sweeps": 1.25},
        pictures=(Painted("a", picture, dict.fromkeys(labels, picture)),),
        mates_pictures=(),
        frozen_pictures={"everywhere": picture, "nowhere": picture},
    )  # fmt: skip


def renamed(value: Any, names: Mapping[str, str]) -> Any:
    """Return a result in which the networks have other labels and nothing else has changed."""
    if isinstance(value, str):
        words = "|".join(map(re.escape, names))
        return re.sub(rf"\b({words})\b", lambda match: names[match[0]], value)
    if isinstance(value, Mapping):
        return {renamed(key, names): renamed(inner, names) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(renamed(inner, names) for inner in value)
    if is_dataclass(value) and not isinstance(value, type):
        changes = {field.name: renamed(getattr(value, field.name), names) for field in fields(value)}
        return dataclasses.replace(value, **changes)
    return value


SWAPPED = {"instance": "batch", "batch": "instance"}


# --------------------------------------------------------------------------------------------------- made-up studies

LOSSES: Mapping[str, float] = {
    "instance": 1.0, "batch": 1.5, "weight": 1.6, "none": 2.0, "batch-instance": 1.1, "ibn": 1.2,
    "instance@first": 1.3, "instance@shallow": 1.15, "instance@deep": 1.4,
}  # fmt: skip


def planted_run(
    norm: str,
    loss: float,
    *,
    seed: int = 0,
    painting: str = "wave",
    purpose: str = "norms",
    rate: float = 0.002,
    preparation: str = "none",
    limit: int | None = None,
    failure: str = "",
    processes: int = 1,
    synchronised: bool = False,
) -> RunResult:
    """Return a run whose held-out loss falls in a straight line to ``loss``."""
    gates = {"batch-instance": (0.9, 0.8, 0.7, 0.4)}.get(norm, ())
    trained = loss * (0.95 if norm == "batch" else 1.0)
    curve = tuple(
        Point(
            step, step / 10, 0.5 * at, 0.05 * at * loss, at * loss, 0.5 * at, 0.05 * at * trained, at * trained,
            0.05 if norm == "batch" else 0.0001, tuple(1 - (1 - gate) * step / 100 for gate in gates),
        )
        for step, at in ((25, 3.0), (50, 2.0), (100, 1.0))
    )  # fmt: skip
    name = "-".join(map(str, (painting, norm, seed, preparation, limit, rate, processes, synchronised)))
    return RunResult(
        name,
        purpose,
        painting,
        norm,
        seed,
        rate,
        preparation,
        limit,
        curve,
        0.9,
        10.0,
        failure,
        processes,
        synchronised,
    )


def planted_study(losses: Mapping[str, float] = LOSSES, **changes: Any) -> StudyOutcome:
    """Return a study of made-up losses by norm: two seeds of the main norms, controls, counts of photos, two rates."""
    results = []
    for norm, loss in losses.items():
        for seed in (0, 1) if norm in ("instance", "batch") else (0,):
            results.append(planted_run(norm, loss * (1 + 0.01 * seed), seed=seed))
    main = [norm for norm in ("instance", "batch") if norm in losses]
    # Whichever norm is behind comes closer to the other where the photos are alike, and worse with more of them.
    best = min((losses[norm] for norm in main), default=1.0)
    for norm in main:
        for kind, power in (("equalise", 0.9), ("standardise", 0.8), ("stylize", 0.1)):
            total = best * (losses[norm] / best) ** power
            results.append(planted_run(norm, total, preparation=kind, purpose="controls"))
        for count in (8, 64):
            few = losses[norm] * (0.9 if losses[norm] > best else 1.2) * (1 + 0.001 * count)
            results.append(planted_run(norm, few, limit=count, purpose="photos"))
        for count in (2, 4):
            harmed = losses[norm] * (1 + 0.1 * count if losses[norm] > best else 1.01)
            several = {"purpose": "processes", "processes": count}
            results.append(planted_run(norm, harmed, **several))
            if norm == "batch":
                mended = losses[norm] * (1.03 if losses[norm] > best else 1.005)
                results.append(planted_run(norm, mended, synchronised=True, **several))
    study = Study(
        paintings=("/somewhere/paintings/wave.jpg",),
        photos="/somewhere/photos",
        runs="/somewhere/runs",
        norms=tuple(losses),
        steps=100,
        control_weights="/somewhere/weights/other.safetensors",
        **({"processes": (2, 4)} | changes),
    )
    return outcome_of(study, results, {})


def outcome_of(study: Study, results: Sequence[RunResult], rates: Mapping[str, float]) -> StudyOutcome:
    """Return what made-up runs come to."""
    evidence = Evidence(results, rates, Path(study.paintings[0]).stem)
    falling = {
        norm: tuple(final.total * (1 - 0.01 * step) for step in range(11))
        for norm in ("instance", "batch")
        if (final := next((run.final for run in results if run.norm == norm), None)) is not None
    }
    optimum = Optimum(
        (
            Descent("photo", tuple(4 - 0.28 * step for step in range(11))),
            *(Descent(norm, losses) for norm, losses in falling.items()),
        ),
        2,
        10,
        1.2,
        {"photo": 10, **{norm: None if losses[-1] > 1.2 else 0 for norm, losses in falling.items()}},
    )
    shares = {
        run.name: 0.9 * run.final.total
        for run in results
        if run.norm == "batch" and run.processes > 1 and run.final is not None and not run.synchronised
    }
    claims, summaries = judge(evidence), summarise(results, rates)
    return StudyOutcome(study, list(results), dict(rates), summaries, claims, evidence.noise, optimum, [], shares)


# ------------------------------------------------------------------------------------------------ what a report says


def texts(section: Section) -> list[str]:
    """Return every text that a section shows or reads out, but what is drawn in its charts."""
    found = [section.title, section.question, section.finding, *section.caveats]
    for block in section.body:
        if isinstance(block, str):
            found.append(block)
        elif isinstance(block, Figure):
            found += [block.finding, block.alt]
        elif isinstance(block, Table):
            found += [block.caption, *map(str, block.header)]
        elif isinstance(block, Picture):
            found.append(block.caption)
        elif isinstance(block, PictureRow):
            found += [picture.caption for picture in block.pictures]
        elif isinstance(block, Slider):
            found += [block.caption, block.before.caption, block.after.caption]
    return found


def sentences(parts: Sequence[str]) -> set[str]:
    """Return the sentences of some texts."""
    return {sentence for text in parts for sentence in re.split(r"(?<=[.!?:;])\s+", text) if sentence}


def unswayed(before: Sequence[str], after: Sequence[str]) -> set[str]:
    """Return the sentences that name instance or batch norm and stay as they are when the labels are swapped."""
    return {
        one for one in sentences(before) & sentences(after) if re.search(r"\b(instance|batch)\b", one, re.IGNORECASE)
    }


def numbers_in(text: str) -> list[str]:
    """Return the numbers in a text, as they are written."""
    return re.findall(r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?:×10[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)?", text)
