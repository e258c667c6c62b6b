"""The training loop: seeded, resumable to the bit, with both modes of the normalisation measured as it goes.

Prints nothing; whoever calls gets a :class:`TrainProgress` after every step.

Where a run keeps its checkpoint, log and samples: :mod:`stylize.run_folder`.

Reference: Johnson et al. 2016, section 4.1 (Adam, 1e-3, batches of 4 crops of 256).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stylize.checkpoints import load_network, read_training_state, write_training_state
from stylize.config import TrainConfig
from stylize.devices import choose_device, choose_precision
from stylize.errors import (
    InputError,
    StylizeError,
    TrainingError,
    TrainingInterrupted,
    WeightsError,
)
from stylize.evaluation import Validation
from stylize.images import to_image, write_image
from stylize.initial_weights import adapting_groups, begin_adapting, resolve_collection, start_from
from stylize.learned_styles import LearnedStyles, OneStyle, mean_validation, validate
from stylize.losses import PerceptualLoss
from stylize.network_norms import gate_means, initialise_from_data, parameter_groups
from stylize.paintings import load_painting, painting_facts
from stylize.preparation import prepare
from stylize.run_folder import RunFolder
from stylize.training_photos import TrainingPhotos
from stylize.training_results import History, save_result
from stylize.transformer import TransformerNet
from stylize.vgg import LAYERS, check_layers, load_loss_network

SAMPLES = 3
SPEED_WINDOW = 20
"""Steps over which photos per second are averaged."""

OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")
"""What torch says when memory runs out; on a CPU there is no type for it."""


@dataclass(frozen=True)
class TrainProgress:
    """What is known after a step.

    Attributes:
        step: Steps done.
        steps: Steps in all.
        losses: Means over the batch: content, style, total_variation, total.
        learning_rate: Of this step.
        photos_per_second: Over the last steps.
        seconds_left: Estimate.
        validation: The measurements, when this step had a validation.
        sample: The sample picture written at this step, if any.
    """

    step: int
    steps: int
    losses: dict[str, float]
    learning_rate: float
    photos_per_second: float
    seconds_left: float
    validation: Validation | None = None
    sample: Path | None = None


@dataclass(frozen=True)
class TrainResult:
    """What a finished run leaves behind.

    Attributes:
        path: The weights file.
        validation: The final measurements, of the weights as they are in the file, in float32; of a collection, their
            mean over the styles.
        unreadable: Photos that could not be read, with the reason.
        seconds: Seconds of training, over all the parts of a resumed run.
        resumed_at: Step at which this part began; 0 for a run in one piece.
        validations: The final measurements of each style, by name.
        nearest: When a painting was added to a collection, the style it began as.
    """

    path: Path
    validation: Validation
    unreadable: dict[Path, str] = field(default_factory=dict)
    seconds: float = 0.0
    resumed_at: int = 0
    validations: dict[str, Validation] = field(default_factory=dict)
    nearest: str | None = None


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

    Args:
        config: What to train.
        on_step: Called after every step. When it raises KeyboardInterrupt the run is saved and stops.
        resume: Continue the unfinished run of the same output; it ends in the same weights, to the bit, as a run that
            was never interrupted (on the same machine, with as many threads).
        overwrite: Replace an existing weights file, or start an unfinished run anew.

    Raises:
        InputError: Settings, painting or photos that cannot be used.
        OutputError: The output exists or cannot be written.
        RunInUse: Another process trains this output.
        TrainingInterrupted: ``on_step`` raised KeyboardInterrupt; the run was saved.
        TrainingError: The loss is no longer finite; the last good checkpoint is kept.
    """
    run = _Run(config, resume=resume, overwrite=overwrite)
    return run.train(on_step or (lambda progress: None))


def _finite(network: nn.Module) -> bool:
    """Say whether every weight and every running statistic is a finite number."""
    return all(bool(torch.isfinite(tensor).all()) for tensor in network.state_dict().values())


class _Run:
    """One run: its folder, its network and where it stands."""

    def __init__(self, config: TrainConfig, *, resume: bool, overwrite: bool) -> None:
        self.config = config
        self.files = RunFolder(config, resume=resume, overwrite=overwrite)
        self.resume = resume
        self.files.check()
        self.device = choose_device(config.device)
        self.dtype = choose_precision(config.precision, self.device)
        check_layers([*config.loss.style_layers, config.loss.content_layer])
        self.paintings = [load_painting(path, config.style_size) for path in config.paintings]
        self.painting_facts = [painting_facts(path) for path in config.paintings]
        self.collection = None if config.adapt is None else resolve_collection(config.adapt)
        self.nearest: str | None = None
        self.learned: list[str] = []
        self.photos = TrainingPhotos(config)
        self.stream = self.photos.stream
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
        self.forward: nn.Module = torch.compile(network) if config.compile else network
        groups = adapting_groups(network, self.learned) if self.learned else parameter_groups(network)
        self.optimizer = torch.optim.Adam(groups, lr=config.learning_rate)
        if self.resume:
            self._restore()
        elif config.start_from is None and self.collection is None:
            initialise_from_data(network, self._prepared(self.stream.batch(0, config.batch_size)))
        held_out = self.photos.held_out
        self.batches = [
            self._prepared(torch.cat(held_out[start : start + config.batch_size]))
            for start in range(0, len(held_out), config.batch_size)
        ]
        self.validators = self.styles.validators(self.batches)

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

    def _make_loss(self, dtype: torch.dtype) -> PerceptualLoss:
        loss = self.config.loss
        deepest = max([*loss.style_layers, loss.content_layer], key=LAYERS.index)
        loss_network = load_loss_network(loss.loss_network, pooling=loss.pooling, last=deepest)
        return PerceptualLoss(loss_network.to(self.device, dtype, memory_format=torch.channels_last), loss)

    def _prepared(self, photos: Tensor) -> Tensor:
        """Return photos (B, 3, S, S) on the device, as the network is to see them."""
        return prepare(self.config.preparation, photos.to(self.device, non_blocking=True), self.preparing)

    def train(self, on_step: Callable[[TrainProgress], None]) -> TrainResult:
        with self.files.owned():
            return self._train(on_step)

    def _train(self, on_step: Callable[[TrainProgress], None]) -> TrainResult:
        config = self.config
        try:
            self._prepare()
            if not self.resume:
                self._begin()
            began, times = time.perf_counter(), [time.perf_counter()]
            before = self.seconds
            # What is frozen stays as it is, running averages too.
            self.network.train(self.collection is None)
            for photos in self.stream.batches(self.step, config.steps, config.batch_size):
                rate = learning_rate(config, self.step)
                losses = self._step(self._prepared(photos), rate)
                self.step += 1
                validation, sample = None, None
                if self.step % config.validation_interval == 0 and self.step < config.steps:
                    validation, sample = self._validate(), self._write_sample()
                times = [*times[-SPEED_WINDOW:], time.perf_counter()]
                self.seconds = before + times[-1] - began
                speed = (len(times) - 1) / max(times[-1] - times[0], 1e-9)
                progress = TrainProgress(
                    self.step,
                    config.steps,
                    losses,
                    rate,
                    speed * config.batch_size,
                    (config.steps - self.step) / speed,
                    validation,
                    sample,
                )
                self._log_progress(progress)
                try:
                    on_step(progress)
                except KeyboardInterrupt:
                    self._save()
                    raise TrainingInterrupted(
                        f"stopped after step {self.step} of {config.steps} and saved; the same command with --resume "
                        "continues"
                    ) from None
                if self.step % config.checkpoint_interval == 0 or self.step == config.steps:
                    self._save()
            return self._finish()
        except (RuntimeError, MemoryError) as error:
            if isinstance(error, RuntimeError) and not any(words in str(error) for words in OUT_OF_MEMORY):
                raise
            raise StylizeError(
                f"not enough memory on {self.device} for batches of {config.batch_size} photos of "
                f"{config.image_size} px; lower --batch-size or --image-size"
            ) from error

    def _begin(self) -> None:
        """Begin the log and save the state of step 0."""
        # Only now, when nothing can be wrong with what was given. A finished network stays until its successor is
        # finished; a stale run makes way at once.
        try:
            self.files.begin({"config": self.config.to_json(), "photos": self.photos.digest})
            self._save()
        except StylizeError:
            if not self.files.checkpoint.exists():
                with suppress(OSError):
                    self.files.log.path.unlink(missing_ok=True)
            raise

    def _not_finite(self, what: str) -> TrainingError:
        return TrainingError(
            f"{what}; the checkpoint of step {self.saved} is kept in {self.files.path}; start anew with --overwrite "
            "and half the --learning-rate, or with --precision float32"
        )

    def _step(self, photos: Tensor, rate: float) -> dict[str, float]:
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["rate_factor"]
        styles = self.styles.draw(self.step, len(photos))
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
        values = {name: float(value.detach()) for name, value in losses.items()}
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

    def _finish(self) -> TrainResult:
        """Measure the weights as the file will hold them, in float32, and write the file."""
        final = TransformerNet(self.network.config).to(self.device)
        stored = getattr(torch, self.config.weights_dtype)
        state = self.network.state_dict()
        final.load_state_dict({k: v.to(stored).to(v.dtype) if v.is_floating_point() else v for k, v in state.items()})
        if not _finite(final):
            stored_in = self.config.weights_dtype
            raise TrainingError(f"the weights do not fit into {stored_in}; add --resume --weights-dtype float32")
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
        )
        save_result(self.files.output, final, self.config, history, self.collection)
        row = {"step": self.step, "final": validation.to_json(), "seconds": round(self.seconds, 2)}
        if self.config.collection:
            row["styles"] = {name: one.to_json() for name, one in validations.items()}
        if gates := gate_means(final):
            row["gates"] = gates
        self._append_log(row)
        with self.files.writing():
            self.files.checkpoint.unlink(missing_ok=True)
        return TrainResult(
            self.files.output,
            validation,
            dict(self.stream.unreadable),
            self.seconds,
            self.resumed_at,
            validations,
            self.nearest,
        )

    def _write_sample(self) -> Path:
        """Paint a few held-out photos and put them side by side; of a collection, a row for each style."""
        photos = self._prepared(torch.cat(self.photos.held_out[:SAMPLES]))
        was_training = self.network.training
        self.network.eval()
        several = self.config.collection
        views = [OneStyle(self.network, n) for n in range(len(self.styles.names))] if several else [self.network]
        with torch.no_grad():
            rows = [torch.cat(list(view(photos).cpu()), dim=-1) for view in views]
        self.network.train(was_training)
        path = self.files.path / "samples" / f"step-{self.step:06d}.png"
        write_image(to_image(torch.cat(rows, dim=-2)), path, overwrite=True)
        return path

    def _save(self) -> None:
        # A gradient that is not finite spoils the weights one step before the loss shows it.
        if not _finite(self.network):
            raise self._not_finite(f"the weights are not finite after step {self.step}")
        tensors = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        for index, values in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": tensor for name, tensor in values.items()}
        facts = {
            "config": self.config.to_json(),
            "photos": self.photos.digest,
            "painting": self._paintings_digest(),
            "nearest": self.nearest,
            "step": self.step,
            "seconds": self.seconds,
            # A copy, because the threads that read photos add to it.
            "unreadable": {str(path): reason for path, reason in dict(self.stream.unreadable).items()},
        }
        # Crops, flips and order follow from the seed and the step; the weights were drawn from the seed. So there is
        # no random state beyond these.
        write_training_state(self.files.checkpoint, tensors, facts)
        self.saved = self.step

    def _paintings_digest(self) -> str:
        return " ".join(facts["sha256"] for facts in self.painting_facts)

    def _restore(self) -> None:
        tensors, facts = read_training_state(self.files.checkpoint)
        if facts.get("photos") != self.photos.digest:
            raise InputError(f"the training photos are not those that the run of {self.files.output} began with")
        digest = self._paintings_digest()
        if facts.get("painting", digest) != digest:
            named = ", ".join(str(path) for path in self.config.paintings)
            raise InputError(f"the painting {named} was changed after the run of {self.files.output} began")
        prefix = "network."
        network = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        state: dict[int, dict[str, Tensor]] = {}
        try:
            self.network.load_state_dict(network)
            for name, tensor in tensors.items():
                if name.startswith("optimizer."):
                    _, index, key = name.split(".", 2)
                    state.setdefault(int(index), {})[key] = tensor
            groups = self.optimizer.state_dict()["param_groups"]
            self.optimizer.load_state_dict({"state": state, "param_groups": groups})
            self.step = self.resumed_at = self.saved = int(facts["step"])
            self.seconds = float(facts["seconds"])
            self.nearest = facts.get("nearest")
            self.stream.unreadable |= {Path(path): reason for path, reason in facts["unreadable"].items()}
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise WeightsError(f"{self.files.checkpoint} is damaged ({error}); start anew with --overwrite") from error
        # What was logged after the checkpoint will be logged again.
        rows = [row for row in self.files.log.read() if row.get("step", 0) <= self.step and "final" not in row]
        self.files.log.replace(rows)

    def _log_progress(self, progress: TrainProgress) -> None:
        row: dict[str, Any] = {"step": progress.step, **progress.losses, "learning_rate": progress.learning_rate}
        row |= {"photos_per_second": round(progress.photos_per_second, 3), "seconds": round(self.seconds, 2)}
        if progress.validation is not None:
            row["validation"] = progress.validation.to_json()
            if self.config.collection:
                row["styles"] = {name: one.to_json() for name, one in self.validations.items()}
            if gates := gate_means(self.network):
                row["gates"] = gates
        self._append_log(row)

    def _append_log(self, row: dict[str, Any]) -> None:
        with self.files.writing():
            self.files.log.append(row)
