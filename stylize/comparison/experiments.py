"""Carrying out a training study: every planned run is trained, continued, or taken as it is, and read from its log."""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from stylize.checkpoints import read_weights_file, replacing
from stylize.comparison.plan import PlannedRun, Study, planned_runs
from stylize.comparison.shared_runs import train_together
from stylize.config import TrainConfig
from stylize.distributed import own_device
from stylize.errors import Diverged, InputError, OutputError, RunInUse
from stylize.launch import Launch, launched
from stylize.paintings import load_painting, painting_facts
from stylize.run_folder import RunFolder, run_folder
from stylize.run_log import RunLog
from stylize.training import TrainProgress, train
from stylize.training_photos import choose_photos, names_digest

WAIT = 2.0
"""Seconds between looks at runs that another process is training."""

TRIAL_STEPS = 4
"""Steps of the throw-away run that tells how long a study takes."""


@dataclass(frozen=True)
class Point:
    """A measurement on held-out photos during a run.

    Attributes:
        step: Steps done.
        seconds: Seconds of training until then.
        content: Content distance as the network is applied.
        style: Style distance as the network is applied.
        total: Weighted loss as the network is applied.
        training_content: Content distance with batch statistics.
        training_style: Style distance with batch statistics.
        training_total: Weighted loss with batch statistics.
        contrast_change: Mean change of the result when the contrast is halved, in [0, 1].
        gates: Mean gate of each batch-instance norm in order of depth; empty for other norms.
    """

    step: int
    seconds: float
    content: float
    style: float
    total: float
    training_content: float
    training_style: float
    training_total: float
    contrast_change: float
    gates: tuple[float, ...] = ()


@dataclass(frozen=True)
class RunResult:
    """What a run of a study came to.

    Attributes:
        name: Name of the run.
        purpose: As in :class:`~stylize.comparison.plan.PlannedRun`.
        painting: Stem of the painting's file.
        norm: The normalisation.
        seed: The seed.
        learning_rate: Peak learning rate.
        preparation: What was done to the photos.
        photo_limit: How many photos it was limited to; None = all.
        curve: Measurements during the run, the last of them of the finished network; empty where it diverged.
        photo_style: Style distance of the untouched held-out photos.
        seconds: Seconds of training.
        failure: Why the run stopped before its end; empty when it is finished.
        processes: How many trained it together, each with its share of every batch.
        synchronised: Whether these took the statistics of the batch over all of them.
    """

    name: str
    purpose: str
    painting: str
    norm: str
    seed: int
    learning_rate: float
    preparation: str
    photo_limit: int | None
    curve: tuple[Point, ...] = ()
    photo_style: float = math.nan
    seconds: float = 0.0
    failure: str = ""
    processes: int = 1
    synchronised: bool = False

    @property
    def final(self) -> Point | None:
        """The measurement of the finished network; None where the run diverged."""
        return self.curve[-1] if self.curve and not self.failure else None

    def to_json(self) -> dict[str, Any]:
        """Return the numbers as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class StudyProgress:
    """Where a study stands, after every step of training.

    Attributes:
        run: Name of the run.
        done: Runs finished before it.
        runs: Runs in all.
        step: Steps done in the whole study.
        steps: Steps of the whole study.
        training: The progress of this run.
    """

    run: str
    done: int
    runs: int
    step: int
    steps: int
    training: TrainProgress


def carry_out(
    study: Study,
    on_step: Callable[[StudyProgress], None] | None = None,
    on_wait: Callable[[], None] | None = None,
) -> list[RunResult]:
    """Train all networks of a study.

    Finished runs are taken as they are, unfinished ones are continued, and runs that another process is training are
    left to it: the same command started twice shares the work.

    Args:
        study: The study.
        on_step: Called after every step. When it raises KeyboardInterrupt the run is saved and the study stops.
        on_wait: Called now and then while all that is left is being trained by other processes.

    Raises:
        InputError: Material is missing for one of the runs, or a finished run in the folder has other settings.
        TrainingInterrupted: ``on_step`` raised KeyboardInterrupt; the same study continues later.
    """
    check_material(study)
    if study.rates:
        stage = [run for run in planned_runs(study) if run.purpose == "rates"]
        total = len(planned_runs(study))
        tried = _train_all(stage, on_step, on_wait, 0, total)
        runs = planned_runs(study, best_rates(tried))
        rest = [run for run in runs if run.name not in {result.name for result in tried}]
        tried += _train_all(rest, on_step, on_wait, len(tried), len(tried) + len(rest))
        return tried
    runs = planned_runs(study)
    return _train_all(runs, on_step, on_wait, 0, len(runs))


def check_material(study: Study) -> None:
    """Check that paintings, photos and weights are there for all runs of a study, before hours go into some of them.

    Raises:
        InputError: A painting or the weights cannot be read, there are too few photos for a run, several processes were
            started together, or the study starts more of them than there are GPUs.
    """
    if launched().several:
        raise InputError(
            f"{launched().size} processes started together for a study; they can train one network with `stylize "
            "train`, a study is for one process: start it without torchrun"
        )
    for count in study.processes:
        own_device(study.device, Launch(size=count, local_size=count))
    for painting in study.paintings:
        load_painting(painting, study.style_size)
    if study.control_weights is not None:
        read_weights_file(study.control_weights)
    seen = set()
    for run in planned_runs(study):
        if (run.seed, run.config.photo_limit) not in seen:
            seen.add((run.seed, run.config.photo_limit))
            choose_photos(run.config)


def best_rates(results: Sequence[RunResult]) -> dict[str, float]:
    """Return the learning rate of each norm whose network has the lowest held-out loss as it is applied.

    A norm all of whose runs diverged has none.
    """
    best: dict[str, tuple[float, float]] = {}
    for result in results:
        if result.final is not None:
            found = (result.final.total, result.learning_rate)
            best[result.norm] = min(best.get(result.norm, found), found)
    return {norm: rate for norm, (_, rate) in best.items()}


def weights_of(run: PlannedRun) -> Path:
    """Return the weights file that a planned run ends in."""
    return Path(str(run.config.output))


def _train_all(
    runs: Sequence[PlannedRun],
    on_step: Callable[[StudyProgress], None] | None,
    on_wait: Callable[[], None] | None,
    before: int,
    total: int,
) -> list[RunResult]:
    results: dict[str, RunResult] = {}
    waiting = list(runs)
    while waiting:
        in_use = []
        for run in waiting:
            done = before + len(results)

            def report(progress: TrainProgress, run: PlannedRun = run, done: int = done) -> None:
                if on_step is not None:
                    steps = progress.steps
                    on_step(StudyProgress(run.name, done, total, done * steps + progress.step, total * steps, progress))

            try:
                results[run.name] = train_or_take(run, report)
            except RunInUse:
                in_use.append(run)
        if len(in_use) == len(waiting):
            if on_wait is not None:
                on_wait()
            time.sleep(WAIT)
        waiting = in_use
    return [results[run.name] for run in runs]


def train_or_take(run: PlannedRun, on_step: Callable[[TrainProgress], None] | None = None) -> RunResult:
    """Return the result of a run: trained now, continued, or taken as it is.

    Raises:
        InputError: A finished run of that name has other settings.
        RunInUse: Another process is training it.
        TrainingInterrupted: It was stopped and saved.
    """
    files = RunFolder(run.config, resume=False, overwrite=False)
    failed = failure_of(run)
    if not is_done(run):
        if files.checkpoint.exists():
            check_settings(run)
        try:
            _train(run, on_step, resume=files.checkpoint.exists())
        except Diverged as error:
            # The same seed would fail in the same way again: this is a result.
            with replacing(failed) as temporary:
                temporary.write_text(json.dumps({"failure": str(error)}), encoding="utf-8")
        except RunInUse:
            raise
        except (InputError, OutputError):
            # Another process may have finished the run after the look at it.
            if not is_done(run):
                raise
    check_settings(run)
    if files.output.exists():
        return read_result(run)
    return replace(read_result(run), failure=json.loads(failed.read_text(encoding="utf-8"))["failure"])


def _train(run: PlannedRun, on_step: Callable[[TrainProgress], None] | None, resume: bool) -> None:
    """Train a run, by as many processes as are planned for it."""
    if run.processes == 1:
        train(run.config, on_step, resume=resume)
        return
    files = RunFolder(run.config, resume=resume, overwrite=False)
    if files.path.exists():
        with files.owned():
            pass  # Told before several processes are started that another one trains it.
    try:
        train_together(run.config, run.processes, on_step, resume=resume)
    except OutputError as error:
        if not resume and files.checkpoint.exists() and not isinstance(error, RunInUse):
            raise RunInUse(f"another process began {run.config.output} meanwhile") from error
        raise


def failure_of(run: PlannedRun) -> Path:
    """Return the file that says why a run stopped before its end."""
    return weights_of(run).with_suffix(".failed.json")


def is_done(run: PlannedRun) -> bool:
    """Say whether nothing is left to do for a run: it is finished, or known to diverge."""
    if weights_of(run).exists():
        # The checkpoint goes last of all, after the final measurement was written down.
        return not (run_folder(weights_of(run)) / "checkpoint.safetensors").exists()
    return failure_of(run).exists()


def check_settings(run: PlannedRun) -> None:
    """Check that a run that was begun or finished has the settings that are planned.

    Raises:
        InputError: It was not.
    """
    output = weights_of(run)
    rows = RunLog(run_folder(output) / "log.jsonl").read()
    if not rows:
        raise InputError(f"the run {output} has no log; give another folder for the runs, or delete it")
    # What is not there came with a later version, which does by default what was done before.
    stored = TrainConfig(style="").to_json() | dict(rows[0].get("config", {}))
    planned = run.config.to_json()
    # Through JSON once, because lists and tuples are told apart otherwise.
    planned = json.loads(json.dumps(planned))
    free = (
        "output",
        "device",
        "checkpoint_interval",
        "licence",
        "photos",
        "validation",
        "style",
        "preparation_weights",
    )
    different = sorted(name for name in planned if name not in free and stored.get(name) != planned[name])
    if rows[0].get("processes", 1) != run.processes:
        different.append("number of processes")
    # Folders may have moved, but what is in them must be the same.
    folder, training, _ = choose_photos(run.config)
    if rows[0].get("photos") != names_digest(folder, training):
        different.append("choice of photos")
    if output.exists():
        painting = read_weights_file(output).metadata.get("painting", {})
        if painting.get("sha256") != painting_facts(Path(run.config.style))["sha256"]:
            different.append("painting")
    if different:
        raise InputError(
            f"the run {output} has another {', '.join(different)}; give another folder for the runs, or delete it"
        )


def read_result(run: PlannedRun) -> RunResult:
    """Return what the log of a run says."""
    rows = RunLog(run_folder(weights_of(run)) / "log.jsonl").read()
    curve, photo, gates = [], math.nan, ()
    for row in rows:
        measured = row.get("validation") or row.get("final")
        if not measured:
            continue
        evaluated, trained = measured["evaluation_mode"], measured["training_mode"]
        photo = measured["photo"]["style"]
        gates = tuple(row.get("gates", gates))
        curve.append(
            Point(
                row["step"],
                row["seconds"],
                evaluated["content"],
                evaluated["style"],
                evaluated["total"],
                trained["content"],
                trained["style"],
                trained["total"],
                measured["contrast_change"],
                gates,
            )
        )
    lost = curve and not math.isfinite(curve[-1].total)
    return RunResult(
        run.name,
        run.purpose,
        run.painting,
        run.norm,
        run.seed,
        run.config.learning_rate,
        run.config.preparation,
        run.config.photo_limit,
        tuple(curve),
        photo,
        curve[-1].seconds if curve else 0.0,
        "its held-out loss is no finite number" if lost else "",
        run.processes,
        run.config.sync_batch_norm,
    )


def estimate(study: Study) -> float:
    """Return about how many seconds are left for a study on this machine, from a few steps of a throw-away run."""
    best = None
    tuning = [run for run in planned_runs(study) if run.purpose == "rates"]
    if tuning and all(is_done(run) for run in tuning):
        best = best_rates([train_or_take(run) for run in tuning])
    runs = [run for run in planned_runs(study, best) if not is_done(run)]
    if not runs:
        return 0.0
    times: list[float] = []
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="stylize-trial-") as folder:
        trial = replace(runs[0].config, steps=TRIAL_STEPS, output=str(Path(folder) / "trial.safetensors"))
        train(replace(trial, validation_interval=2), lambda progress: times.append(time.perf_counter()))
    # Step 1 comes after the loading, step 2 has a measurement of the held-out photos in it, the others are plain.
    step = min(times[2] - times[1], times[3] - times[2])
    loading = max(0.0, times[0] - began - step)
    measuring = max(0.0, times[1] - times[0] - step)
    # The last measurement is in float32, and takes about twice as long.
    return sum(loading + run.config.steps * step + (study.validations + 1) * measuring for run in runs)
