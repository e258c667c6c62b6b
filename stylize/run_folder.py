"""The folder in which a training run keeps its checkpoint, its log and its samples, and which one process owns.

A run of ``painting.safetensors`` keeps beside it, in ``painting.run/``:

- ``checkpoint.safetensors``: network, optimiser and position; replaced atomically, removed when the run is finished;
- ``log.jsonl``: the settings, then one line per step and per validation;
- ``samples/``: some held-out photos as the network painted them at each validation;
- ``.lock``: held by the process that trains.
"""

from __future__ import annotations

import glob
import shutil
from pathlib import Path
from typing import Any

from stylize.checkpoints import read_training_state
from stylize.config import TrainConfig
from stylize.errors import InputError, OutputError, WeightsError
from stylize.owned_folder import LOCK, OwnedFolder
from stylize.run_log import RunLog

COLLECTION = "collection"
"""Name of a collection that was given none."""

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


def output_path(config: TrainConfig) -> Path:
    """Return the weights file that ``config`` writes.

    Raises:
        InputError: Its name does not end in .safetensors.
    """
    if config.output is None:
        if config.adapt is not None:
            return Path(f"{config.paintings[0].stem}.safetensors")
        return Path(f"{COLLECTION if config.collection else config.paintings[0].stem}-{config.norm}.safetensors")
    path = Path(config.output)
    if path.suffix != ".safetensors":
        raise InputError(f"output {path} given; a name that ends in .safetensors is accepted")
    return path


def run_folder(output: Path) -> Path:
    """Return the folder in which the run of a weights file keeps its checkpoint, log and samples."""
    return output.with_suffix(".run")


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


class RunFolder(OwnedFolder):
    """The files of one run.

    Args:
        config: The settings of the run.
        resume: Whether an unfinished run is to be continued.
        overwrite: Whether what is there makes way.

    Attributes:
        output: The weights file that the run ends in.
        path: The folder.
        checkpoint: The state of the unfinished run.
        log: The log.
    """

    def __init__(self, config: TrainConfig, *, resume: bool, overwrite: bool) -> None:
        self.config = config
        self.resume = resume
        self.overwrite = overwrite
        self.output = output_path(config)
        super().__init__(run_folder(self.output), f"training {self.output}")
        self.checkpoint = self.path / "checkpoint.safetensors"
        self.log = RunLog(self.path / "log.jsonl")

    def check(self) -> None:
        """Check that the run can be begun, or resumed, with these settings.

        Raises:
            InputError: There is nothing to resume, or it has other settings.
            OutputError: The output or an unfinished run exists and is not to be overwritten.
        """
        if self.resume:
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
        if self.overwrite:
            return
        if self.checkpoint.exists():
            raise OutputError(
                f"{self.output} has an unfinished run in {self.path}; pass --resume to continue it, --overwrite to "
                "start anew, or another -o"
            )
        if self.output.exists():
            raise OutputError(f"{self.output} exists already; pass --overwrite or another -o")

    def abandoned(self) -> list[Path]:
        """See :meth:`stylize.owned_folder.OwnedFolder.abandoned`; the weights file may be half-written as well."""
        beside = self.output.parent.glob(f".{glob.escape(self.output.name)}.{'[0-9a-f]' * 8}.tmp")
        return [*super().abandoned(), *beside]

    def clear(self) -> None:
        """Remove what another run left in the folder."""
        for path in self.path.glob("*"):
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != LOCK:
                path.unlink()

    def begin(self, row: dict[str, Any]) -> None:
        """Begin the log with ``row``, after clearing the folder where that is asked for."""
        with self.writing():
            if self.overwrite:
                self.clear()
            self.log.replace([])
            self.log.append(row)
