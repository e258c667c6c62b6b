"""What sharing out each batch over several processes does to a network: its finished runs, measured and painted with.

A process takes the statistics of batch norm over its share of the batch. With one photo in each share they are those
of that photo, so batch norm learns as instance norm does; but it is applied with running averages, which no photo of
the training had. How much of the loss that difference is, shows when the statistics of a share are used again.

References:
    Wu and He 2018, arXiv 1803.08494, section 1 (batch norm with few images in each share).
    Peng et al. 2018, arXiv 1711.07240, section 3.2 (statistics over all shares).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from stylize.checkpoints import load_network
from stylize.comparison.experiments import RunResult, weights_of
from stylize.comparison.plan import MAIN_NORMS, PlannedRun
from stylize.comparison.subject import Ruler, Subject
from stylize.evaluation import Validator
from stylize.norms import differs_between_modes
from stylize.preparation import prepare
from stylize.training_photos import TrainingPhotos


def arrangement(processes: int, synchronised: bool) -> str:
    """Return how a run was trained, in words."""
    if processes == 1:
        return "1 process"
    return f"{processes} processes" + (", synchronised" if synchronised else "")


def losses_with_shares(
    planned: Sequence[PlannedRun], results: Sequence[RunResult], make_ruler: Callable[[], Ruler]
) -> dict[str, float]:
    """Return, by the names of runs, the held-out loss with statistics of so many photos as each process had.

    Only finished runs whose norms have statistics of the batch, each process its own, are measured.

    Args:
        planned: The runs of a study.
        results: What they came to.
        make_ruler: Returns the ruler of the painting of these runs; called where something is to be measured.
    """
    finished = {run.name for run in results if run.final is not None}
    runs = [
        run
        for run in planned
        if run.processes > 1 and not run.config.sync_batch_norm and differs_between_modes(run.norm)
        if run.name in finished
    ]
    if not runs:
        return {}
    found, ruler = {}, make_ruler()
    for run in runs:
        photos = prepare(run.config.preparation, torch.cat(TrainingPhotos(run.config).held_out), None)
        share = run.config.batch_size // run.processes
        network, _ = load_network(weights_of(run))
        measured = Validator(photos.split(share), ruler.loss, ruler.targets)(network)
        found[run.name] = measured.training_mode.total
    return found


def shared_subjects(planned: Sequence[PlannedRun], results: Sequence[RunResult]) -> list[Subject]:
    """Return the networks of seed 0 of the main norms that as many processes as possible trained together."""
    finished = {run.name for run in results if run.final is not None}
    runs = [run for run in planned if run.processes > 1 and run.name in finished and run.seed == 0]
    most = max((run.processes for run in runs), default=1)
    subjects = []
    for run in runs:
        if run.processes == most and run.norm in MAIN_NORMS:
            network, _ = load_network(Path(str(run.config.output)))
            named = f"{run.norm}, {arrangement(run.processes, run.config.sync_batch_norm)}"
            subjects.append(Subject(named, network))
    return subjects
