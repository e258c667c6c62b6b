"""The training loop: seeded, resumable to the bit, with both modes of the normalisation measured as it goes.

Prints nothing; whoever calls gets a :class:`TrainProgress` after every step.

With several processes (:mod:`stylize.distributed`) each computes with its share of the same batch, and the first one
alone writes and validates.

Where a run keeps its checkpoint, log and samples: :mod:`stylize.run_folder`.

Reference: Johnson et al. 2016, section 4.1 (Adam, 1e-3, batches of 4 crops of 256).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stylize.checkpoints import load_network
from stylize.config import TrainConfig
from stylize.devices import choose_precision
from stylize.distributed import Processes, joined, own_device
from stylize.errors import Diverged, ProcessLost, StylizeError, TrainingInterrupted
from stylize.evaluation import Validation
from stylize.initial_weights import adapting_groups, begin_adapting, resolve_collection, start_from
from stylize.launch import launched
from stylize.learned_styles import LearnedStyles, mean_validation, validate
from stylize.losses import PerceptualLoss
from stylize.network_norms import initialise_from_data, parameter_groups
from stylize.paintings import load_painting, painting_facts
from stylize.preparation import prepare
from stylize.run_folder import RunFolder
from stylize.synchronised_norms import check_synchronised, synchronised
from stylize.training_photos import TrainingPhotos
from stylize.training_progress import Pace, TrainProgress, facts_of_network, progress_row, write_sample
from stylize.training_results import History, TrainResult, save_result
from stylize.training_state import Position, TrainingState, is_finite
from stylize.transformer import TransformerNet
from stylize.vgg import LAYERS, check_layers, load_loss_network

SAMPLES = 3

OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")
"""What torch says when memory runs out; on a CPU there is no type for it."""


def learning_rate(config: TrainConfig, step: int) -> float:
    """Return the learning rate of ``step`` (from 0): linear warm-up, then a cosine to zero at the last step.

    Reference: Loshchilov and Hutter 2017, arXiv 1608.03983, equation 5, without restarts.
    """
    warm = min(1.0, (step + 1) / (config.warmup + 1))
    return config.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * step / config.steps))


def train(
    config: TrainConfig,
    on_step: Callable[[TrainProgress], None] | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
) -> TrainResult:
    """Train a stylization network.

    Under torchrun all its processes train one network together: each takes its share of every batch, and all return
    the same result.

    Args:
        config: What to train.
        on_step: Called after every step. When it raises KeyboardInterrupt, in any process, the run is saved and stops.
            The validations and samples of the progress are known to the first process only.
        resume: Continue the unfinished run of the same output; it ends in the same weights, to the bit, as a run that
            was never interrupted (on the same machine, with as many threads and processes).
        overwrite: Replace an existing weights file, or start an unfinished run anew.

    Raises:
        InputError: Settings, painting or photos that cannot be used.
        OutputError: The output exists or cannot be written.
        RunInUse: Another process trains this output.
        TrainingInterrupted: ``on_step`` raised KeyboardInterrupt; the run was saved.
        TrainingError: The loss is no longer finite, or another process of the run ended; the last good checkpoint is
            kept.
    """
    launch = launched()
    with launch.alike():
        launch.items(config.batch_size)
        device = own_device(config.device, launch)
    with joined(launch, device) as processes:
        run = _Run(config, processes, resume=resume, overwrite=overwrite)
        return run.train(on_step or (lambda progress: None))


class _Run:
    """One run: its folder, its network and where it stands."""

    def __init__(self, config: TrainConfig, processes: Processes, *, resume: bool, overwrite: bool) -> None:
        self.config = config
        self.processes = processes
        self.items = processes.launch.items(config.batch_size)
        self.files = RunFolder(config, resume=resume, overwrite=overwrite)
        self.resume = resume
        if processes.first:
            self.files.check()
        self.device = processes.device
        self.dtype = choose_precision(config.precision, self.device)
        check_layers([*config.loss.style_layers, config.loss.content_layer])
        self.paintings = [load_painting(path, config.style_size) for path in config.paintings]
        self.painting_facts = [painting_facts(path) for path in config.paintings]
        self.collection = None if config.adapt is None else resolve_collection(config.adapt)
        self.nearest: str | None = None
        self.validations: dict[str, Validation] = {}
        self.learned: list[str] = []
        self.photos = TrainingPhotos(config)
        self.stream = self.photos.stream
        digest = " ".join(facts["sha256"] for facts in self.painting_facts)
        self.state = TrainingState(self.files.checkpoint, config, self.photos.digest, digest)
        if config.sync_batch_norm:
            check_synchronised(config.norm, adapting=self.collection is not None)
        self.preparing: nn.Module | None = None
        if config.preparation_weights is not None:
            self.preparing, _ = load_network(config.preparation_weights, str(self.device))
        self.step = 0
        self.saved = 0
        self.resumed_at = 0
        self.seconds = 0.0

    def _prepare(self) -> None:
        """Build the networks and, when resuming, take up the saved state."""
        config, device = self.config, self.device
        self.loss = self._make_loss(self.dtype)
        self.styles = LearnedStyles(config, [painting.to(device) for painting in self.paintings], self.loss)
        network = self._make_network().to(device)
        if device.type == "cuda":
            network = network.to(memory_format=torch.channels_last)
        self.network = network
        groups = adapting_groups(network, self.learned) if self.learned else parameter_groups(network)
        self.optimizer = torch.optim.Adam(groups, lr=config.learning_rate)
        if self.resume:
            self._restore()
        elif config.start_from is None and self.collection is None and self.processes.first:
            # The other processes get what the first one has.
            initialise_from_data(network, self._prepared(self.stream.batch(0, config.batch_size)))
        self.forward = self._make_forward()
        held_out = self.photos.held_out if self.processes.first else []
        self.batches = [
            self._prepared(torch.cat(held_out[start : start + config.batch_size]))
            for start in range(0, len(held_out), config.batch_size)
        ]
        self.validators = self.styles.validators(self.batches) if self.processes.first else {}

    def _make_network(self) -> TransformerNet:
        """Return the network as the run begins with it."""
        config = self.config
        if self.collection is not None:
            photos = self._prepared(self.stream.batch(0, config.batch_size))
            network, self.nearest, self.learned = begin_adapting(
                self.collection, photos, self.loss, self.styles.painted[0]
            )
            return network
        network = TransformerNet(config.transformer, seed=config.seed)
        if config.start_from is not None and not self.resume:
            start_from(network, config.style_names, Path(config.start_from))
        return network

    def _make_forward(self) -> nn.Module:
        """Return what a step calls: the network, and whatever makes it faster or one of several."""
        several = self.processes.launch.several
        forward = synchronised(self.network) if several and self.config.sync_batch_norm else self.network
        return self.processes.parallel(torch.compile(forward) if self.config.compile else forward)

    def _make_loss(self, dtype: torch.dtype) -> PerceptualLoss:
        loss = self.config.loss
        deepest = max([*loss.style_layers, loss.content_layer], key=LAYERS.index)
        loss_network = load_loss_network(loss.loss_network, pooling=loss.pooling, last=deepest)
        return PerceptualLoss(loss_network.to(self.device, dtype, memory_format=torch.channels_last), loss)

    def _prepared(self, photos: Tensor) -> Tensor:
        """Return photos (B, 3, S, S) on the device, as the network is to see them."""
        return prepare(self.config.preparation, photos.to(self.device, non_blocking=True), self.preparing)

    def train(self, on_step: Callable[[TrainProgress], None]) -> TrainResult:
        self.processes.agree(self.state.decisive() | {"precision": str(self.dtype), "resume": self.resume})
        with self.files.owned() if self.processes.first else nullcontext():
            return self._train(on_step)

    def _train(self, on_step: Callable[[TrainProgress], None]) -> TrainResult:
        config = self.config
        try:
            self._prepare()
            if not self.resume:
                self._begin()
            pace = Pace(self.seconds)
            # What is frozen stays as it is, running averages too.
            for module in (self.network, self.forward):
                module.train(self.collection is None)
            for photos in self.stream.batches(self.step, config.steps, config.batch_size, self.items):
                rate = learning_rate(config, self.step)
                losses = self._step(self._prepared(photos), rate)
                self.step += 1
                validation, sample = None, None
                due = self.step % config.validation_interval == 0 and self.step < config.steps
                if due and self.processes.first:
                    validation, sample = self._validate(), self._write_sample()
                pace.step_done()
                self.seconds = pace.seconds
                progress = TrainProgress(
                    self.step,
                    config.steps,
                    losses,
                    rate,
                    pace.steps_per_second * config.batch_size,
                    (config.steps - self.step) / pace.steps_per_second,
                    validation,
                    sample,
                )
                if self.processes.first:
                    self._append_log(progress_row(progress, self.seconds, self.network, self._by_style()))
                if self._interrupted(on_step, progress):
                    self._save()
                    raise TrainingInterrupted(
                        f"stopped after step {self.step} of {config.steps} and saved; the same command with --resume "
                        "continues"
                    )
                if self.step % config.checkpoint_interval == 0 or self.step == config.steps:
                    self._save()
            return self._finish()
        except (RuntimeError, MemoryError) as error:
            if self.processes.lost(error):
                raise ProcessLost(
                    f"another process of the run ended or hung after step {self.step} of {config.steps}; the "
                    f"checkpoint of step {self.saved} is kept in {self.files.path}; the same command with --resume "
                    "continues, also with another number of processes"
                ) from error
            if isinstance(error, RuntimeError) and not any(words in str(error) for words in OUT_OF_MEMORY):
                raise
            raise StylizeError(
                f"not enough memory on {self.device} for batches of {config.batch_size} photos of "
                f"{config.image_size} px; lower --batch-size or --image-size"
            ) from error

    def _interrupted(self, on_step: Callable[[TrainProgress], None], progress: TrainProgress) -> bool:
        """Say what happened, and return whether the run is to stop, in this process or in another."""
        try:
            on_step(progress)
        except KeyboardInterrupt:
            return self.processes.any(True)
        return self.processes.any(False)

    def _begin(self) -> None:
        """Begin the log and save the state of step 0."""
        if not self.processes.first:
            return self._save()
        # Only now, when nothing can be wrong with what was given. A finished network stays until its successor is
        # finished; a stale run makes way at once.
        try:
            several = {"processes": self.processes.size} if self.processes.launch.several else {}
            begun = {"config": self.config.to_json(), "photos": self.photos.digest, **several}
            self.files.begin(begun | {"deterministic": torch.are_deterministic_algorithms_enabled()})
            self._save()
        except StylizeError:
            if not self.files.checkpoint.exists():
                with suppress(OSError):
                    self.files.log.path.unlink(missing_ok=True)
            raise

    def _not_finite(self, what: str) -> Diverged:
        return Diverged(
            f"{what}; the checkpoint of step {self.saved} is kept in {self.files.path}; start anew with --overwrite "
            "and half the --learning-rate, or with --precision float32"
        )

    def _step(self, photos: Tensor, rate: float) -> dict[str, float]:
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["rate_factor"]
        styles = self.styles.draw(self.step, self.config.batch_size)[self.items.start : self.items.stop]
        goals = self.styles.goals(styles, photos)
        content = self.loss.content_targets(goals)
        with self._autocast():
            painted = self.forward(photos, styles) if self.config.collection else self.forward(photos)
        terms = self.loss(painted, content, self.styles.targets(styles, goals))
        total = terms.total.mean()
        losses = {
            "content": terms.content.mean(),
            "style": terms.style.mean(),
            "total_variation": terms.total_variation.mean(),
            "total": total,
        }
        values = self.processes.mean({name: float(value.detach()) for name, value in losses.items()})
        if not math.isfinite(values["total"]):
            raise self._not_finite(f"the loss is {values['total']} at step {self.step + 1}")
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        self.optimizer.step()
        return values

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self.dtype)

    def _validate(self) -> Validation:
        """Measure the network on the held-out photos, in the mean over its styles."""
        self.validations = validate(self.network, self.validators, self.config.collection)
        return mean_validation(list(self.validations.values()))

    def _unreadable(self) -> dict[Path, str]:
        """Return the photos that any process could not read."""
        # Copies, because the threads that read photos add to them.
        found = self.processes.gathered(dict(self.stream.unreadable))
        return {path: reason for one in found for path, reason in one.items()}

    def _finish(self) -> TrainResult:
        """Return the result, after the first process has measured and written it."""
        unreadable = self._unreadable()
        return self.processes.from_first(self._write_result(unreadable) if self.processes.first else None)

    def _write_result(self, unreadable: dict[Path, str]) -> TrainResult:
        """Measure the weights as the file will hold them, in float32, and write the file."""
        final = TransformerNet(self.network.config).to(self.device)
        stored = getattr(torch, self.config.weights_dtype)
        state = self.network.state_dict()
        final.load_state_dict({k: v.to(stored).to(v.dtype) if v.is_floating_point() else v for k, v in state.items()})
        if not is_finite(final):
            stored_in = self.config.weights_dtype
            raise Diverged(f"the weights do not fit into {stored_in}; add --resume --weights-dtype float32")
        styles = LearnedStyles(
            self.config, [painting.to(self.device) for painting in self.paintings], self._make_loss(torch.float32)
        )
        validations = validate(final.eval(), styles.validators(self.batches), self.config.collection)
        validation = mean_validation(list(validations.values()))
        self._write_sample()
        history = History(
            seconds=self.seconds,
            device=str(self.device),
            precision=str(self.dtype).removeprefix("torch."),
            training_photos=len(self.stream.paths),
            paintings=self.painting_facts,
            validations=validations,
            nearest=self.nearest,
            processes=self.processes.size,
        )
        save_result(self.files.output, final, self.config, history, self.collection)
        row = {"step": self.step, "final": validation.to_json(), "seconds": round(self.seconds, 2)}
        self._append_log(row | facts_of_network(final, validations if self.config.collection else None))
        with self.files.writing():
            self.files.checkpoint.unlink(missing_ok=True)
        return TrainResult(
            self.files.output, validation, unreadable, self.seconds, self.resumed_at, validations, self.nearest
        )

    def _write_sample(self) -> Path:
        """Paint a few held-out photos."""
        path = self.files.path / "samples" / f"step-{self.step:06d}.png"
        photos = self._prepared(torch.cat(self.photos.held_out[:SAMPLES]))
        write_sample(self.network, photos, len(self.styles.names) if self.config.collection else None, path)
        return path

    def _by_style(self) -> dict[str, Validation] | None:
        """Return the last measurements of each style of a collection."""
        return self.validations if self.config.collection else None

    def _save(self) -> None:
        # A gradient that is not finite spoils the weights one step before the loss shows it.
        if not is_finite(self.network):
            raise self._not_finite(f"the weights are not finite after step {self.step}")
        unreadable = self._unreadable()
        if not self.processes.first:
            self.saved = self.step
            return
        position = Position(self.step, self.seconds, self.nearest, unreadable)
        self.state.write(self.network, self.optimizer, position)
        self.saved = self.step

    def _restore(self) -> None:
        position = self.state.restore(self.network, self.optimizer, self.files.output)
        self.step = self.resumed_at = self.saved = position.step
        self.seconds, self.nearest = position.seconds, position.nearest
        self.stream.unreadable |= position.unreadable
        self.processes.agree({"checkpoint": self.step})
        if not self.processes.first:
            return
        # What was logged after the checkpoint will be logged again.
        rows = [row for row in self.files.log.read() if row.get("step", 0) <= self.step and "final" not in row]
        self.files.log.replace(rows)

    def _append_log(self, row: dict[str, Any]) -> None:
        with self.files.writing():
            self.files.log.append(row)
