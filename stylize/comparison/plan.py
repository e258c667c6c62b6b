"""The plan of a training study: which networks are trained, all alike but for the one thing in question.

Fairness, which public comparisons lack: every run of a study starts from the same convolutions (drawn from its seed),
sees the same photos in the same order with the same crops, and has the same width, batch, epsilon, loss, steps and
schedule. The learning rate is the same for all, or each norm's own best from one grid.

Reference: Huang and Belongie 2017, arXiv 1703.06868, section 4 and figure 1 (the three kinds of training photos).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from stylize.config import NORM_NAMES, LossConfig, TrainConfig, parse_norm
from stylize.errors import InputError, unknown_name
from stylize.launch import Launch
from stylize.norms import differs_between_modes

MAIN_NORMS = ("instance", "batch")
"""The two sides of the argument; they get every seed, every painting and every control."""

PLACED_NORMS = (
    "instance@first",
    "instance@residual",
    "instance@decoder",
    "instance@shallow",
    "instance@deep",
    "batch@first",
    "batch@residual",
    "batch@decoder",
)
"""Instance norm in one part of the network and batch norm in the rest, and the reverse. ``encoder`` is not among them
because the encoder of the ``fast`` preset has a single norm: it is ``first``."""

FULL_NORMS = (*NORM_NAMES, *PLACED_NORMS)
QUICK_NORMS = ("instance", "batch", "weight", "none", "batch-instance")

CONTROLS = ("equalise", "standardise", "stylize")
"""What is done to the photos in the controls of the argument (:mod:`stylize.preparation`)."""

RATES = (5e-4, 2e-3, 8e-3)
"""Peak learning rates that ``--tune-lr`` tries for every norm: the default and four times less and more."""


QUICK: dict[str, Any] = {
    "norms": QUICK_NORMS,
    "seeds": 2,
    "steps": 250,
    # Weight norm saturates at the common rate within 25 steps; at the lower one it learns.
    "rates": (5e-4, 2e-3),
    "controls": ("equalise", "stylize"),
    "photo_counts": (),
    "validations": 5,
    "validation_photos": 8,
}
"""What ``--quick`` changes: about a quarter of an hour on two cores."""


@dataclass(frozen=True)
class Study:
    """What a training study compares, and how.

    Attributes:
        paintings: Pictures of the paintings. The first gets every run, the others the two main norms.
        photos: Folder of training photos; None = the example photos in the box.
        runs: Folder in which the runs are kept, so that a study can be stopped and continued.
        validation: Folder of held-out photos; None = some of ``photos``.
        norms: The normalisations, as ``parse_norm`` reads them.
        seeds: Seeds of the two main norms: 0, 1, ...
        other_seeds: Seeds of all other norms.
        steps: Optimiser steps of every run.
        batch_size: Photos per step.
        image_size: Side of the training crops in pixels.
        style_size: Short side of the paintings in pixels.
        learning_rate: Peak learning rate of every run, unless it is tuned.
        rates: Grid of peak learning rates to choose from for each norm; empty = the same for all. Norms with a
            placement are not tuned: they take the lower one of the best rates of their two norms.
        controls: What is done to the photos, for the two main norms.
        control_weights: Weights file of another style, for the control ``stylize``.
        photo_counts: Trains the two main norms on so many photos only.
        processes: Trains every norm without a placement with its batches shared out over so many processes, norms with
            statistics of the batch also with synchronised ones; each 2 or more, empty = none.
        validations: Measurements on held-out photos during a run, evenly spaced.
        validation_photos: Held-out photos, at most.
        preset: Architecture.
        precision: As in :class:`~stylize.config.TrainConfig`.
        device: As in :class:`~stylize.config.TrainConfig`.
        loss: The perceptual loss.
    """

    paintings: tuple[str, ...]
    photos: str | None
    runs: str
    validation: str | None = None
    norms: tuple[str, ...] = FULL_NORMS
    seeds: int = 3
    other_seeds: int = 1
    steps: int = 1000
    batch_size: int = 4
    image_size: int = 128
    style_size: int = 192
    learning_rate: float = 2e-3
    rates: tuple[float, ...] = ()
    controls: tuple[str, ...] = CONTROLS
    control_weights: str | None = None
    photo_counts: tuple[int, ...] = (8, 64)
    processes: tuple[int, ...] = ()
    validations: int = 10
    validation_photos: int = 16
    preset: str = "fast"
    precision: str = "auto"
    device: str = "auto"
    loss: LossConfig = field(default_factory=LossConfig)

    def __post_init__(self) -> None:
        if not self.paintings:
            raise InputError("no painting given; a study needs at least one")
        norms = tuple(dict.fromkeys(str(parse_norm(norm)) for norm in self.norms))
        if len(norms) < 2:
            raise InputError(f"{len(norms)} normalisation given ({', '.join(norms)}); a comparison needs two or more")
        object.__setattr__(self, "norms", norms)
        stems = [Path(painting).stem for painting in self.paintings]
        if len(set(stems)) < len(stems):
            raise InputError(f"two paintings have one name ({', '.join(stems)}); rename one")
        for name, least in {"seeds": 1, "other_seeds": 0, "steps": 1, "validations": 1}.items():
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise InputError(f"{name} is {value!r}; it must be a whole number, {least} or more")
        for count in self.processes:
            if type(count) is not int or count < 2:
                raise InputError(f"processes is {count!r}; it must be a whole number, 2 or more")
            Launch(size=count, local_size=count).items(self.batch_size)
        for control in self.controls:
            if control not in CONTROLS:
                raise InputError(unknown_name("control", str(control), CONTROLS))
        if "stylize" in self.controls and self.control_weights is None:
            raise InputError("the control 'stylize' needs the weights file of another style")
        planned_runs(self)  # Every setting is checked by the runs it leads to.

    def to_json(self) -> dict[str, Any]:
        """Return the settings as plain JSON values."""
        return asdict(self)

    @property
    def main_norms(self) -> tuple[str, ...]:
        """The norms of this study that get all seeds and controls."""
        return tuple(norm for norm in self.norms if norm in MAIN_NORMS)


@dataclass(frozen=True)
class PlannedRun:
    """One network to train.

    Attributes:
        name: Unique within the study; the stem of its files.
        painting: Stem of the painting's file.
        norm: The normalisation.
        seed: The seed.
        config: All settings.
        purpose: ``norms`` (the comparison itself), ``rates``, ``controls``, ``photos`` or ``processes``.
        processes: How many train it together.
    """

    name: str
    painting: str
    norm: str
    seed: int
    config: TrainConfig
    purpose: str
    processes: int = 1


def planned_runs(study: Study, best_rates: Mapping[str, float] | None = None) -> list[PlannedRun]:
    """Return the runs of a study in the order in which they are trained: what matters most first.

    Args:
        study: The study.
        best_rates: With tuned learning rates: the best of each norm; until it is known (None) the runs that find it
            are followed by runs at the common rate, so that the number of runs is right.
    """
    rates = chosen_rates(study, best_rates or {})
    usual = study.learning_rate
    if best_rates is None and study.rates and usual not in study.rates:
        usual = study.rates[0]  # The best will be one of the grid, whose runs are counted already.
    planned: dict[str, PlannedRun] = {}

    def add(purpose: str, painting: str, norm: str, seed: int, rate: float | None = None, **changes: Any) -> None:
        rate = rate if rate is not None else rates.get(norm, usual)
        run = _run(study, purpose, painting, norm, seed, learning_rate=rate, **changes)
        if planned.setdefault(run.name, run).config != run.config:
            raise InputError(f"two runs would be called {run.name}; rename a painting, or give rates further apart")

    first, *other_paintings = study.paintings
    for norm in tuned_norms(study):
        for rate in study.rates:
            add("rates", first, norm, 0, rate)
    for seed in range(max(study.seeds, study.other_seeds)):
        main = study.main_norms if seed < study.seeds else ()
        others = [norm for norm in study.norms if norm not in MAIN_NORMS] if seed < study.other_seeds else []
        for norm in (*main, *others):
            add("norms", first, norm, seed)
    for control in study.controls:
        for norm in study.main_norms:
            weights = study.control_weights if control == "stylize" else None
            add("controls", first, norm, 0, preparation=control, preparation_weights=weights)
    for count in study.photo_counts:
        for norm in study.main_norms:
            add("photos", first, norm, 0, photo_limit=count)
    for count in study.processes:
        for seed, norm in _shared_out(study):
            for together in (False, True) if differs_between_modes(norm) else (False,):
                add("processes", first, norm, seed, processes=count, sync_batch_norm=together)
    for painting in other_paintings:
        for seed in range(study.seeds):
            for norm in study.main_norms:
                add("norms", painting, norm, seed)
    return list(planned.values())


def _shared_out(study: Study) -> list[tuple[int, str]]:
    """Return seed and norm of the runs whose batches are shared out: those of the comparison, without placements."""
    norms = [norm for norm in study.norms if parse_norm(norm).placement == "everywhere"]
    return [
        (seed, norm)
        for seed in range(max(study.seeds, study.other_seeds))
        for norm in norms
        if seed < (study.seeds if norm in MAIN_NORMS else study.other_seeds)
    ]


def tuned_norms(study: Study) -> list[str]:
    """Return the norms whose learning rate is chosen from the grid: those that stand in a study without a placement,
    and those that stand in it as a part of a mixture."""
    parts: dict[str, None] = {}
    for norm in study.norms if study.rates else ():
        chosen = parse_norm(norm)
        parts[chosen.norm] = None
        if chosen.placement != "everywhere":
            parts[chosen.other] = None
    return list(parts)


def chosen_rates(study: Study, best_rates: Mapping[str, float]) -> dict[str, float]:
    """Return the learning rate of every norm of a study, given the best of those that were tuned."""
    rates = dict(best_rates)
    for norm in study.norms:
        chosen = parse_norm(norm)
        known = [best_rates[part] for part in (chosen.norm, chosen.other) if part in best_rates]
        if chosen.placement != "everywhere" and known:
            rates[norm] = min(known)
    return rates


def _run(
    study: Study, purpose: str, painting: str, norm: str, seed: int, processes: int = 1, **changes: Any
) -> PlannedRun:
    stem = Path(painting).stem
    parts = [stem, norm, f"seed{seed}"]
    if changes.get("preparation"):
        parts.append(changes["preparation"])
    if changes.get("photo_limit"):
        parts.append(f"{changes['photo_limit']}photos")
    if processes > 1:
        parts.append(f"{processes}processes")
    if changes.get("sync_batch_norm"):
        parts.append("synchronised")
    if changes["learning_rate"] != study.learning_rate:
        parts.append(f"rate{changes['learning_rate']:g}")
    name = "-".join(parts)
    interval = -(-study.steps // study.validations)  # rounded up, so that there are not more than asked for
    config = TrainConfig(
        style=painting,
        photos=study.photos,
        output=str(Path(study.runs) / f"{name}.safetensors"),
        norm=norm,
        preset=study.preset,
        steps=study.steps,
        batch_size=study.batch_size,
        image_size=study.image_size,
        style_size=study.style_size,
        # The photos held out, and those chosen by photo_limit, follow from the seed; so does the order.
        seed=seed,
        precision=study.precision,
        device=study.device,
        validation=study.validation,
        validation_photos=study.validation_photos,
        validation_interval=interval,
        checkpoint_interval=min(100, max(1, study.steps // 2)),
        loss=study.loss,
    )
    return PlannedRun(name, stem, norm, seed, replace(config, **changes), purpose, processes)
