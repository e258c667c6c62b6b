"""A finished training study: its runs, what they decide, and pictures by its networks."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from stylize.checkpoints import load_network
from stylize.comparison.claims import Claim, judge
from stylize.comparison.evidence import Evidence
from stylize.comparison.experiments import RunResult, best_rates, weights_of
from stylize.comparison.optimum import Optimum, measure_optimum
from stylize.comparison.plan import MAIN_NORMS, Study, chosen_rates, planned_runs
from stylize.comparison.sharing import losses_with_shares, shared_subjects
from stylize.comparison.subject import Ruler, Subject
from stylize.comparison.summaries import NormSummary, select, summarise
from stylize.data import load_square
from stylize.images import to_image
from stylize.paintings import load_painting
from stylize.provenance import shown_path
from stylize.vgg import LAYERS, load_loss_network

OPTIMUM_PHOTOS = 2
OPTIMUM_STEPS = 100


@dataclass(frozen=True)
class Painted:
    """A photo as the networks of a study paint it.

    Attributes:
        photo: Name of the photo.
        original: The photo.
        by_norm: Norm to picture, in the order of the study.
    """

    photo: str
    original: Image.Image
    by_norm: dict[str, Image.Image] = field(default_factory=dict)


@dataclass(frozen=True)
class StudyOutcome:
    """Everything that a study came to.

    Attributes:
        study: Its settings.
        results: Its runs.
        rates: The learning rate of each norm that has one of its own.
        summaries: Summed up by painting and norm.
        claims: What is said about the norms, with verdicts.
        noise: The share by which seeds alone change a loss.
        optimum: Optimisation of the picture from the networks' outputs; None where it was not measured.
        pictures: Photos as the networks of the first painting and seed 0 paint them.
        shares: By the names of runs whose batches were shared out: the held-out loss with the statistics of as many
            photos as each process had.
        shared_pictures: The first photo as the main norms paint it that several processes trained together.
    """

    study: Study
    results: list[RunResult]
    rates: dict[str, float]
    summaries: list[NormSummary]
    claims: list[Claim]
    noise: float
    optimum: Optimum | None
    pictures: list[Painted]
    shares: dict[str, float] = field(default_factory=dict)
    shared_pictures: list[Painted] = field(default_factory=list)

    @property
    def painting(self) -> str:
        """Name of the first painting, which has all the runs."""
        return Path(self.study.paintings[0]).stem

    def sentence(self, key: str) -> str:
        """Return what was measured for a claim, by its short name."""
        return next(claim.sentence for claim in self.claims if claim.key == key)

    def to_json(self) -> dict[str, Any]:
        """Return the settings and the numbers as plain values; where the files lay on this machine is left out."""
        study = self.study.to_json()
        for name in ("photos", "runs", "validation", "control_weights"):
            study[name] = None if study[name] is None else shown_path(study[name])
        study["paintings"] = [shown_path(painting) for painting in self.study.paintings]
        study["loss"]["loss_network"] = shown_path(self.study.loss.loss_network)
        runs = [result.to_json() for result in self.results]
        for run in runs:
            run["failure"] = run["failure"].replace(f"{self.study.runs}{os.sep}", "")
        return {
            "study": study,
            "rates": self.rates,
            "noise": self.noise,
            "claims": [asdict(claim) for claim in self.claims],
            "summaries": [asdict(summary) for summary in self.summaries],
            "share_losses": self.shares,
            "optimum": asdict(self.optimum) if self.optimum is not None else None,
            "runs": runs,
        }


def conclude(
    study: Study,
    results: Sequence[RunResult],
    photos: Sequence[Path],
    *,
    picture_size: int = 256,
    optimum_steps: int = OPTIMUM_STEPS,
    on_step: Callable[[int, int], None] | None = None,
) -> StudyOutcome:
    """Sum up a study, paint some photos with its networks, and measure their gap to the optimum.

    Args:
        study: The study.
        results: Its runs, from :func:`~stylize.comparison.experiments.carry_out`.
        photos: Photos to paint; the first few are those of the gap to the optimum.
        picture_size: Side of the pictures in pixels.
        optimum_steps: Steps of the optimisation; 0 leaves it away.
        on_step: Called with steps done and steps in all of the optimisation.
    """
    tuned = best_rates([result for result in results if result.purpose == "rates"])
    rates = chosen_rates(study, tuned)
    if study.rates:
        rates = {norm: rates.get(norm, study.learning_rate) for norm in study.norms}
    painting = Path(study.paintings[0]).stem
    evidence = Evidence(results, rates, painting)
    subjects = _subjects(study, results, rates)
    planned = planned_runs(study, rates)
    shared = shared_subjects(planned, results)
    optimum = None
    if subjects and photos and optimum_steps:
        chosen = photos[:OPTIMUM_PHOTOS]
        squares = torch.cat([load_square(path, study.image_size) for path in chosen])
        of_main = [subject for subject in subjects if subject.label in MAIN_NORMS] or subjects[:2]

        def report(done: int) -> None:
            if on_step is not None:
                on_step(done, optimum_steps * len(chosen))

        optimum = measure_optimum(of_main, squares, _ruler(study), optimum_steps, report)
    return StudyOutcome(
        study,
        list(results),
        rates,
        summarise(results, rates),
        judge(evidence),
        evidence.noise,
        optimum,
        [_paint(path, picture_size, subjects) for path in photos],
        losses_with_shares(planned, results, lambda: _ruler(study)),
        [_paint(path, picture_size, shared) for path in photos[:1] if shared],
    )


def _subjects(study: Study, results: Sequence[RunResult], rates: dict[str, float]) -> list[Subject]:
    """Return the networks of seed 0 on the first painting, one for each norm that was trained to the end."""
    painting = Path(study.paintings[0]).stem
    files = {run.name: weights_of(run) for run in planned_runs(study, rates)}
    subjects = []
    for norm in study.norms:
        runs = [run for run in select(results, painting, norm, rates) if run.seed == 0 and run.final is not None]
        for run in runs[:1]:
            network, _ = load_network(files.get(run.name) or Path(study.runs) / f"{run.name}.safetensors")
            subjects.append(Subject(norm, network))
    return subjects


def _ruler(study: Study) -> Ruler:
    loss = study.loss
    deepest = max([*loss.style_layers, loss.content_layer], key=LAYERS.index)
    network = load_loss_network(loss.loss_network, pooling=loss.pooling, last=deepest)
    return Ruler(network, loss, load_painting(study.paintings[0], study.style_size))


def _paint(path: Path, size: int, subjects: Sequence[Subject]) -> Painted:
    photo: Tensor = load_square(path, size)
    pictures = {subject.label: to_image(subject.paint(photo)) for subject in subjects}
    return Painted(path.stem, to_image(photo), pictures)
