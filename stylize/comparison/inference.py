"""`stylize compare PHOTO…`: every probe of trained networks, which need no training, on a user's photos."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from stylize.checkpoints import WeightsFile, load_network
from stylize.comparison import batch_mates, cost, frozen_statistics, limits, modes, survival, sweeps
from stylize.comparison.networks import choose_networks
from stylize.comparison.subject import Ruler, Subject
from stylize.config import IMAGE_SIZE_MINIMUM, NORM_NAMES, STYLE_SIZE_MINIMUM, LossConfig
from stylize.data import load_square
from stylize.devices import choose_device
from stylize.errors import InputError, WeightsError
from stylize.evaluation import painting_size
from stylize.images import read_image, resize_long_edge, to_image, to_tensor
from stylize.norms import InstanceNorm
from stylize.paintings import load_painting
from stylize.provenance import shown_path
from stylize.transformer import TransformerNet
from stylize.vgg import LAYERS, check_layers, load_loss_network
from stylize.zoo import example_photos, painting_of, style_name

PICTURE_SIZE = 512
PROBE_SIZE = 256
"""Side in pixels of the squares that are measured."""

PROBE_PHOTOS = 3
"""Photos that are measured; with fewer given, example photos of the package join them."""


@dataclass(frozen=True)
class Painted:
    """A photo and what the networks made of it, in their order."""

    photo: str
    original: Image.Image
    by_label: dict[str, Image.Image]


@dataclass(frozen=True)
class Comparison:
    """Everything that was measured, and the pictures to it.

    Attributes:
        style: Name of the style.
        networks: Of each network: label, norm, preset, file and what its training wrote down.
        photos: Names of the photos that were measured: those given first.
        companions: How many photos the probes of many photos used.
        size: Side of the measured squares in pixels.
        sweeps: Rows of the sweeps.
        batch_mates: What neighbours in a batch do.
        modes: Training against evaluation mode.
        frozen: Frozen statistics; None where no network has instance norm.
        survival: What survives normalisation.
        cost: What the norms cost.
        limits: Where instance norm hurts.
        seconds: Seconds of each probe.
        pictures: The photos painted.
        mates_pictures: The photo beside dark and beside bright photos.
        frozen_pictures: The first photo by the network with frozen statistics, by variant.
    """

    style: str
    networks: tuple[dict[str, Any], ...]
    photos: tuple[str, ...]
    companions: int
    size: int
    sweeps: tuple[sweeps.SweepRow, ...]
    batch_mates: batch_mates.BatchMates
    modes: modes.Modes
    frozen: frozen_statistics.FrozenStatistics | None
    survival: survival.Survival
    cost: cost.Cost
    limits: limits.Limits
    seconds: dict[str, float]
    pictures: tuple[Painted, ...] = field(repr=False)
    mates_pictures: tuple[batch_mates.MatesPictures, ...] = field(repr=False)
    frozen_pictures: dict[str, Image.Image] = field(repr=False)

    @property
    def labels(self) -> list[str]:
        """The networks' labels, in order."""
        return [str(network["label"]) for network in self.networks]

    def norm_of(self, label: str) -> str:
        """Return the norm of the network with a label; the label itself where there is none."""
        return next((str(one["norm"]) for one in self.networks if one["label"] == label), label)

    def to_json(self) -> dict[str, Any]:
        """Return the numbers as plain values, without the pictures."""
        names = ("style", "networks", "photos", "companions", "size", "seconds")
        probes = ("batch_mates", "modes", "survival", "cost", "limits")
        return {
            **{name: getattr(self, name) for name in names},
            "sweeps": [asdict(row) for row in self.sweeps],
            **{name: asdict(getattr(self, name)) for name in probes},
            "frozen_statistics": asdict(self.frozen) if self.frozen is not None else None,
        }


PROBES = (
    "pictures",
    "sweeps",
    "batch mates",
    "modes",
    "frozen statistics",
    "what survives",
    "limits",
    "cost",
)
"""The steps of a comparison, in order."""


def compare(
    photos: Sequence[str | os.PathLike[str]] | str | os.PathLike[str] = (),
    *,
    style: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = "starry-night",
    norms: Sequence[str] = (),
    preset: str | None = None,
    painting: str | os.PathLike[str] | None = None,
    size: int = PICTURE_SIZE,
    device: str = "auto",
    on_probe: Callable[[str], None] | None = None,
) -> Comparison:
    """Compare networks that differ in their normalisation, without training.

    Args:
        photos: A photo or several; none = example photos of the package.
        style: Name of a shipped style, or weights files of networks trained on one painting.
        norms: Normalisations to compare; none = instance and batch, or those of the files.
        preset: Architecture of a shipped style.
        painting: Picture of the painting; None = the shipped one of that style.
        size: Long edge of the pictures in pixels; what is measured is measured on squares of 256.
        device: As for :func:`stylize.load`.
        on_probe: Called with the name of each step before it begins (:data:`PROBES`).

    Raises:
        InputError: Fewer than two networks, an unknown painting, or a photo that cannot be read.
    """
    say = on_probe if on_probe is not None else lambda name: None
    styles = [style] if isinstance(style, str | os.PathLike) else list(style)
    chosen = choose_networks(styles, norms, preset)
    given = [photos] if isinstance(photos, str | os.PathLike) else list(photos)
    examples = example_photos()
    paths = list(dict.fromkeys(Path(photo) for photo in given)) or examples[:PROBE_PHOTOS]
    source = Path(painting) if painting is not None else painting_of(chosen[0])
    if source is None:
        raise InputError(
            f"the painting that {chosen[0].path} was trained on is not known; give its picture with --painting"
        )
    where = choose_device(device)
    ruler = _ruler(chosen[0], source, where)
    # In the memory format in which networks are applied; it is the faster one, too.
    subjects = [
        Subject(label, load_network(file.path, str(where))[0].to(memory_format=torch.channels_last))
        for label, file in _labelled(chosen)
    ]
    seconds: dict[str, float] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        say(name)
        began = time.perf_counter()
        result = work()
        seconds[name] = round(time.perf_counter() - began, 2)
        return result

    pictures = timed("pictures", lambda: [_paint(path, subjects, size, where) for path in paths])
    known = {path.resolve() for path in paths}
    others = [path for path in examples if path.resolve() not in known]
    measured = [*paths, *others][:PROBE_PHOTOS]
    squares = torch.cat([load_square(path, PROBE_SIZE) for path in measured]).to(where)
    crowd = torch.cat([load_square(path, PROBE_SIZE) for path in [*paths[:8], *others]]).to(where)
    rows = timed("sweeps", lambda: sweeps.sweep(subjects, squares, ruler))
    mates, mates_pictures = timed("batch mates", lambda: batch_mates.batch_mates(subjects, squares[:1], crowd[1:]))
    found_modes = timed("modes", lambda: modes.modes(subjects, crowd[:8], ruler))
    frozen, frozen_pictures = timed("frozen statistics", lambda: _freeze(subjects, ruler, crowd, squares))
    survived = timed("what survives", lambda: survival.measure_survival(subjects, crowd))
    hurt = timed("limits", lambda: limits.limits(subjects, crowd[:8]))
    costs = timed("cost", lambda: cost.measure_cost(subjects, squares, others=_untrained(subjects)))
    return Comparison(
        style_name(chosen[0]),
        tuple(_facts(subject.label, file) for subject, file in zip(subjects, chosen, strict=True)),
        tuple(path.name for path in measured),
        len(crowd),
        PROBE_SIZE,
        tuple(rows),
        mates,
        found_modes,
        frozen,
        survived,
        costs,
        hurt,
        seconds,
        tuple(pictures),
        tuple(mates_pictures),
        frozen_pictures,
    )


def _labelled(chosen: Sequence[WeightsFile]) -> list[tuple[str, WeightsFile]]:
    """Label every network by its norm, and by the name of its file too where two have the same norm."""
    norms = [weights.architecture.norm for weights in chosen]
    labels = [
        norm if norms.count(norm) == 1 else f"{norm} ({weights.path.stem})"
        for norm, weights in zip(norms, chosen, strict=True)
    ]
    numbered = [
        label if labels.count(label) == 1 else f"{label} {labels[: index + 1].count(label)}"
        for index, label in enumerate(labels)
    ]
    return list(zip(numbered, chosen, strict=True))


def _ruler(weights: WeightsFile, painting: Path, device: torch.device) -> Ruler:
    """Return the ruler with the very loss that a network was trained with."""
    stored = weights.metadata.get("loss")
    try:
        config = LossConfig(**stored) if isinstance(stored, dict) else LossConfig()
        _check_named(config.loss_network)
        check_layers([*config.style_layers, config.content_layer])
        short_side = painting_size(weights.metadata)
        if short_side < STYLE_SIZE_MINIMUM:
            raise InputError(f"style_size is {short_side}; it must be {STYLE_SIZE_MINIMUM} or more")
    except (TypeError, ValueError, OverflowError) as error:
        raise WeightsError(f"{weights.path}: what it says of its training cannot be used ({error})") from error
    deepest = max([*config.style_layers, config.content_layer], key=LAYERS.index)
    network = load_loss_network(config.loss_network, pooling=config.pooling, last=deepest).to(device)
    return Ruler(network, config, load_painting(painting, short_side).to(device))


def _check_named(loss_network: object) -> None:
    """Refuse a loss network that a weights file must not make us read: it may come from a stranger.

    Raises:
        InputError: It is none of the known names, no safetensors file, or on another machine.
    """
    if loss_network in ("vgg19", "torchvision"):
        return
    shares = ("//", "\\\\")
    if (
        not isinstance(loss_network, str)
        or loss_network.startswith(shares)
        or Path(loss_network).suffix != ".safetensors"
    ):
        raise InputError(
            f"it was trained with the loss network {str(loss_network)[:100]!r}, and a weights file cannot make us read "
            "anything but vgg19, torchvision or a .safetensors file of this machine"
        )


def _paint(path: Path, subjects: Sequence[Subject], size: int, device: torch.device) -> Painted:
    photo = read_image(path)
    if min(photo.size) < IMAGE_SIZE_MINIMUM:
        raise InputError(
            f"photo {path} is {photo.width}x{photo.height} pixels; at least {IMAGE_SIZE_MINIMUM} on each side are "
            "needed"
        )
    if max(photo.size) > size:
        photo = resize_long_edge(photo, size)
    pixels: Tensor = to_tensor(photo).to(device)
    return Painted(path.stem, photo, {subject.label: to_image(subject.paint(pixels).cpu()) for subject in subjects})


def _freeze(
    subjects: Sequence[Subject], ruler: Ruler, crowd: Tensor, photos: Tensor
) -> tuple[frozen_statistics.FrozenStatistics | None, dict[str, Image.Image]]:
    """Freeze the statistics of the first network that has instance norm everywhere, or else somewhere."""
    able = [
        subject
        for subject in subjects
        if any(isinstance(place.norm, InstanceNorm) for place in subject.network.norm_places())
    ]
    if not able:
        return None, {}
    subject = next((one for one in able if one.network.config.norm == "instance"), able[0])
    # The photos measured on come first in the crowd; fixed statistics should be of other photos.
    population = crowd[len(photos) :] if len(crowd) > len(photos) else crowd
    result = frozen_statistics.measure_frozen_statistics(subject, ruler, population, photos)
    statistics = frozen_statistics.population_statistics(subject.network, population)
    pictures = {
        variant.name: to_image(
            frozen_statistics.frozen_subject(subject, statistics, variant.kept).paint(photos[:1]).cpu()
        )
        for variant in result.variants
    }
    return result, pictures


def _untrained(subjects: Sequence[Subject]) -> list[Subject]:
    """Return a network for every norm that is not compared: time and memory do not depend on weights."""
    config = subjects[0].network.config
    present = {subject.network.config.norm for subject in subjects}
    device = next(subjects[0].network.parameters()).device
    missing = [norm for norm in NORM_NAMES if norm not in present]
    return [
        Subject(f"{norm}, untrained", TransformerNet(replace(config, norm=norm)).to(device).eval()) for norm in missing
    ]


def _facts(label: str, weights: WeightsFile) -> dict[str, Any]:
    names = ("preset", "parameters", "steps", "batch_size", "image_size", "learning_rate", "seed", "loss", "metrics")
    known = {name: weights.metadata[name] for name in names if name in weights.metadata}
    if isinstance(known.get("loss"), dict):
        known["loss"] = {k: shown_path(str(v)) if k == "loss_network" else v for k, v in known["loss"].items()}
    return {"label": label, "norm": weights.architecture.norm, "file": weights.path.name, **known}
