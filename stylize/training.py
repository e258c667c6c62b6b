"""The training loop: seeded, resumable to the bit, with both modes of the normalisation measured as it goes.

Prints nothing; whoever calls gets a :class:`TrainProgress` after every step.

A run of ``painting.safetensors`` keeps beside it, in ``painting.run/``:

- ``checkpoint.safetensors``: network, optimiser and position; replaced atomically, removed when the run is finished;
- ``log.jsonl``: the settings, then one line per step and per validation;
- ``samples/``: some held-out photos as the network painted them at each validation.

Reference: Johnson et al. 2016, section 4.1 (Adam, 1e-3, batches of 4 crops of 256).
"""

from __future__ import annotations

import hashlib
import math
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stylize.checkpoints import read_training_state, save_network, write_training_state
from stylize.config import PRESETS, TrainConfig
from stylize.data import PhotoStream, find_photos, hold_out, load_square
from stylize.devices import choose_device, choose_precision
from stylize.errors import (
    ImageError,
    InputError,
    OutputError,
    StylizeError,
    TrainingError,
    TrainingInterrupted,
    WeightsError,
)
from stylize.evaluation import Validation, Validator
from stylize.images import to_image, write_image
from stylize.losses import PerceptualLoss
from stylize.paintings import load_painting, painting_facts
from stylize.run_log import RunLog
from stylize.transformer import TransformerNet
from stylize.vgg import LAYERS, check_layers, load_loss_network
from stylize.zoo import example_photos

SAMPLES = 3
SPEED_WINDOW = 20
"""Steps over which photos per second are averaged."""

FREE_SETTINGS = (
    "licence",
    "output",
    "validation_interval",
    "checkpoint_interval",
    "device",
    "validation_photos",
    "weights_dtype",
)
"""Settings that may differ when a run is resumed: they do not change what is learned."""

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
        validation: The final measurements, of the weights as they are in the file, in float32.
        unreadable: Photos that could not be read, with the reason.
        seconds: Seconds of training, over all the parts of a resumed run.
        resumed_at: Step at which this part began; 0 for a run in one piece.
    """

    path: Path
    validation: Validation
    unreadable: dict[Path, str] = field(default_factory=dict)
    seconds: float = 0.0
    resumed_at: int = 0


def output_path(config: TrainConfig) -> Path:
    """Return the weights file that ``config`` writes.

    Raises:
        InputError: Its name does not end in .safetensors.
    """
    if config.output is None:
        return Path(f"{Path(config.style).stem}-{config.norm}.safetensors")
    path = Path(config.output)
    if path.suffix != ".safetensors":
        raise InputError(f"output {path} given; a name that ends in .safetensors is accepted")
    return path


def run_folder(output: Path) -> Path:
    """Return the folder in which a run keeps its checkpoint, log and samples."""
    return output.with_suffix(".run")


def learning_rate(config: TrainConfig, step: int) -> float:
    """Return the learning rate of ``step`` (from 0): linear warm-up, then a cosine to zero at the last step.

    Reference: Loshchilov and Hutter 2017, arXiv 1608.03983, equation 5, without restarts.
    """
    warm = min(1.0, (step + 1) / (config.warmup + 1))
    return config.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * step / config.steps))


def read_resumable(config: TrainConfig) -> TrainConfig:
    """Return the settings of the unfinished run that has the output of ``config``.

    Raises:
        InputError: There is no such run.
    """
    output = output_path(config)
    checkpoint = run_folder(output) / "checkpoint.safetensors"
    if not checkpoint.exists():
        state = "is finished" if output.exists() else "was never started, or stopped before its first checkpoint"
        raise InputError(f"nothing to resume: the run of {output} {state} (no {checkpoint})")
    _, facts = read_training_state(checkpoint)
    try:
        return TrainConfig.from_json(facts["config"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise WeightsError(
            f"{checkpoint} was written by another version of stylize, or is damaged ({error}); start anew with "
            "--overwrite"
        ) from error


def _settings(config: TrainConfig) -> dict[str, Any]:
    """Return the settings by name, those of the loss among them."""
    values = config.to_json()
    return values | values.pop("loss")


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
        self.output = output_path(config)
        self.folder = run_folder(self.output)
        self.checkpoint = self.folder / "checkpoint.safetensors"
        self.log = RunLog(self.folder / "log.jsonl")
        self.resume = resume
        self.overwrite = overwrite
        self._check_output(resume, overwrite)
        self.device = choose_device(config.device)
        self.dtype = choose_precision(config.precision, self.device)
        check_layers([*config.loss.style_layers, config.loss.content_layer])
        self.painting = load_painting(config.style, config.style_size)
        self.painting_facts = painting_facts(Path(config.style))
        self._find_photos()
        self.step = 0
        self.saved = 0
        self.resumed_at = 0
        self.seconds = 0.0

    def _check_output(self, resume: bool, overwrite: bool) -> None:
        if resume:
            stored, given = _settings(read_resumable(self.config)), _settings(self.config)
            for name, value in stored.items():
                if name not in FREE_SETTINGS and given[name] != value:
                    raise InputError(
                        f"the unfinished run of {self.output} has {name} {value!r}, not {given[name]!r}; resume it as "
                        "it is, or start anew with --overwrite"
                    )
            return
        if self.output.is_dir():
            raise OutputError(f"{self.output} is a folder; give a file name that ends in .safetensors")
        if overwrite:
            return
        if self.checkpoint.exists():
            raise OutputError(
                f"{self.output} has an unfinished run in {self.folder}; pass --resume to continue it, --overwrite to "
                "start anew, or another -o"
            )
        if self.output.exists():
            raise OutputError(f"{self.output} exists already; pass --overwrite or another -o")

    def _find_photos(self) -> None:
        config = self.config
        needed = config.batch_size + (config.validation is None)
        purpose = f"batches of {config.batch_size}"
        if config.photos is None:
            paths = example_photos()
            folder = paths[0].parent if paths else Path("examples/photos")
            if len(paths) < needed:
                raise InputError(f"{needed} photos are needed for {purpose}, and only {len(paths)} come with stylize")
        else:
            folder = Path(config.photos)
            paths = find_photos(folder, needed, purpose)
        # The samples of a run beside the photos are no photos; they would also keep that run from being resumed.
        paths = [path for path in paths if not any(p.endswith(".run") for p in path.relative_to(folder).parts[:-1])]
        if len(paths) < needed:
            raise InputError(f"{folder} holds {len(paths)} photos besides samples of runs; {needed} are needed")
        if config.validation is None:
            training, held_out = hold_out(paths, config.seed, config.validation_photos)
        else:
            training = paths
            held_out = find_photos(Path(config.validation), 1, "validation")[: config.validation_photos]
        names = "\n".join(path.relative_to(folder).as_posix() for path in training)
        self.photos_digest = hashlib.sha256(names.encode("utf-8", "surrogateescape")).hexdigest()
        self.stream = PhotoStream(training, config.image_size, config.crop_scale, config.seed)
        self.held_out = []
        for path in held_out:
            try:
                self.held_out.append(load_square(path, config.image_size))
            except ImageError as error:
                self.stream.unreadable[path] = str(error)
        if not self.held_out:
            raise InputError(f"none of the {len(held_out)} held-out photos can be read; the first: {held_out[0]}")

    def _prepare(self) -> None:
        """Build the networks and, when resuming, take up the saved state."""
        config, device = self.config, self.device
        network = TransformerNet(config.transformer, seed=config.seed).to(device)
        if device.type == "cuda":
            network = network.to(memory_format=torch.channels_last)
        self.network = network
        self.forward: nn.Module = torch.compile(network) if config.compile else network
        self.optimizer = torch.optim.Adam(network.parameters(), lr=config.learning_rate)
        if self.resume:
            self._restore()
        self.loss = self._make_loss(self.dtype)
        self.style = self.loss.style_targets(self.painting.to(device))
        self.batches = [
            torch.cat(self.held_out[start : start + config.batch_size]).to(device)
            for start in range(0, len(self.held_out), config.batch_size)
        ]
        self.validator = Validator(self.batches, self.loss, self.style)

    def _make_loss(self, dtype: torch.dtype) -> PerceptualLoss:
        loss = self.config.loss
        deepest = max([*loss.style_layers, loss.content_layer], key=LAYERS.index)
        loss_network = load_loss_network(loss.loss_network, pooling=loss.pooling, last=deepest)
        return PerceptualLoss(loss_network.to(self.device, dtype, memory_format=torch.channels_last), loss)

    def train(self, on_step: Callable[[TrainProgress], None]) -> TrainResult:
        config = self.config
        try:
            self._prepare()
            if not self.resume:
                self._begin()
            began, times = time.perf_counter(), [time.perf_counter()]
            before = self.seconds
            self.network.train()
            for photos in self.stream.batches(self.step, config.steps, config.batch_size):
                rate = learning_rate(config, self.step)
                losses = self._step(photos.to(self.device, non_blocking=True), rate)
                self.step += 1
                validation, sample = None, None
                if self.step % config.validation_interval == 0 and self.step < config.steps:
                    validation, sample = self.validator(self.network), self._write_sample()
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
        """Make the folder of the run with its log and the checkpoint of step 0."""
        with self._writing():
            # Only now, when nothing can be wrong with what was given. A finished network stays until its successor is
            # finished; a stale run makes way at once.
            if self.overwrite and self.folder.exists():
                shutil.rmtree(self.folder)
            fresh = not self.folder.exists()
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                self.log.replace([])
                self._append_log({"config": self.config.to_json(), "photos": self.photos_digest})
                self._save()
            except (OSError, OutputError):
                if fresh:
                    shutil.rmtree(self.folder, ignore_errors=True)
                raise

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(f"cannot write to {self.folder}: {error.strerror or error}") from error

    def _not_finite(self, what: str) -> TrainingError:
        return TrainingError(
            f"{what}; the checkpoint of step {self.saved} is kept in {self.folder}; start anew with --overwrite and "
            "half the --learning-rate, or with --precision float32"
        )

    def _step(self, photos: Tensor, rate: float) -> dict[str, float]:
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        content = self.loss.content_targets(photos)
        with self._autocast():
            painted = self.forward(photos)
        terms = self.loss(painted, content, self.style)
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

    def _finish(self) -> TrainResult:
        """Measure the weights as the file will hold them, in float32, and write the file."""
        final = TransformerNet(self.config.transformer).to(self.device)
        stored = getattr(torch, self.config.weights_dtype)
        state = self.network.state_dict()
        final.load_state_dict({k: v.to(stored).to(v.dtype) if v.is_floating_point() else v for k, v in state.items()})
        if not _finite(final):
            stored_in = self.config.weights_dtype
            raise TrainingError(f"the weights do not fit into {stored_in}; add --resume --weights-dtype float32")
        loss = self._make_loss(torch.float32)
        validator = Validator(self.batches, loss, loss.style_targets(self.painting.to(self.device)))
        validation = validator(final.eval())
        self._write_sample()
        metadata = self._metadata(validation)
        save_network(self.output, final, metadata, dtype=self.config.weights_dtype, overwrite=True)
        self._append_log({"step": self.step, "final": validation.to_json(), "seconds": round(self.seconds, 1)})
        with self._writing():
            self.checkpoint.unlink(missing_ok=True)
        return TrainResult(self.output, validation, dict(self.stream.unreadable), self.seconds, self.resumed_at)

    def _metadata(self, validation: Validation) -> dict[str, Any]:
        config = self.config
        preset = next((n for n, a in PRESETS.items() if replace(a, norm=config.norm) == config.transformer), "custom")
        painting = Path(config.style)
        return {
            "style": painting.stem,
            "norm": config.norm,
            "preset": preset,
            "parameters": self.network.parameter_count,
            "steps": config.steps,
            "batch_size": config.batch_size,
            "photo_steps": config.steps * config.batch_size,
            "image_size": config.image_size,
            "style_size": config.style_size,
            "learning_rate": config.learning_rate,
            "seed": config.seed,
            "seconds": round(self.seconds, 1),
            "device": str(self.device),
            "precision": str(self.dtype).removeprefix("torch."),
            "torch": torch.__version__,
            "training_photos": len(self.stream.paths),
            "loss": config.to_json()["loss"],
            "metrics": validation.to_json(),
            "licence": config.licence,
            "painting": self.painting_facts,
        }

    def _write_sample(self) -> Path:
        """Paint a few held-out photos and put them side by side."""
        photos = torch.cat(self.held_out[:SAMPLES]).to(self.device)
        was_training = self.network.training
        self.network.eval()
        with torch.no_grad():
            painted = self.network(photos)
        self.network.train(was_training)
        path = self.folder / "samples" / f"step-{self.step:06d}.png"
        write_image(to_image(torch.cat(list(painted.cpu()), dim=-1)), path, overwrite=True)
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
            "photos": self.photos_digest,
            "painting": self.painting_facts["sha256"],
            "step": self.step,
            "seconds": self.seconds,
            # A copy, because the threads that read photos add to it.
            "unreadable": {str(path): reason for path, reason in dict(self.stream.unreadable).items()},
        }
        # Crops, flips and order follow from the seed and the step; the weights were drawn from the seed. So there is
        # no random state beyond these.
        write_training_state(self.checkpoint, tensors, facts)
        self.saved = self.step

    def _restore(self) -> None:
        tensors, facts = read_training_state(self.checkpoint)
        if facts.get("photos") != self.photos_digest:
            raise InputError(f"the training photos are not those that the run of {self.output} began with")
        digest = self.painting_facts["sha256"]
        if facts.get("painting", digest) != digest:
            raise InputError(f"the painting {self.config.style} was changed after the run of {self.output} began")
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
            self.stream.unreadable |= {Path(path): reason for path, reason in facts["unreadable"].items()}
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise WeightsError(f"{self.checkpoint} is damaged ({error}); start anew with --overwrite") from error
        # What was logged after the checkpoint will be logged again.
        rows = [row for row in self.log.read() if row.get("step", 0) <= self.step and "final" not in row]
        self.log.replace(rows)

    def _log_progress(self, progress: TrainProgress) -> None:
        row: dict[str, Any] = {"step": progress.step, **progress.losses, "learning_rate": progress.learning_rate}
        row |= {"photos_per_second": round(progress.photos_per_second, 3), "seconds": round(self.seconds, 2)}
        if progress.validation is not None:
            row["validation"] = progress.validation.to_json()
        self._append_log(row)

    def _append_log(self, row: dict[str, Any]) -> None:
        with self._writing():
            self.log.append(row)
