"""The lesson of the second tab: a photo is changed as a camera or a lamp would, and painted with both norms.

Instance norm divides what it sees by the contrast of the photo and subtracts its brightness, so that a linear change of
the photo changes nothing (Ulyanov et al. 2016, arXiv 1607.08022, section 2). Batch norm does so with numbers gathered
in training, or, in training itself, with those of all photos of the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from stylize.comparison.batch_mates import MATES
from stylize.comparison.photo_changes import brighten, change_brightness, change_gamma, darken
from stylize.config import LossConfig
from stylize.devices import choose_device, choose_precision
from stylize.errors import InputError
from stylize.evaluation import change_contrast, painting_size
from stylize.images import resize_short_side, to_image, to_tensor
from stylize.losses import PerceptualLoss, gram_matrix, style_distance
from stylize.network_norms import batch_statistics
from stylize.paintings import load_painting
from stylize.stylizer import Stylizer
from stylize.vgg import load_loss_network
from stylize.zoo import painting_path

ALONE, DARK, BRIGHT = "alone, as it is applied", "beside dark photos", "beside bright photos"
MATES_CHOICES = (ALONE, DARK, BRIGHT)
"""What lies beside the photo in its batch. Alone, batch norm uses the statistics gathered in training."""

LESSON_EDGE = 320
"""Long edge of the pictures in pixels: small enough to follow a slider on two cores."""

LEAST_SIDE = 32
"""Short side in pixels below which a photo is enlarged: the loss network halves it several times."""

STILL = 2 / 255
"""Mean change of a painting, of 1, up to which it is called the same: two grey levels, which paintings side by side do
not show. The numbers are shown beside it."""


@dataclass(frozen=True)
class Change:
    """What is done to the photo.

    Attributes:
        contrast: Factor about the photo's own mean; 1 changes nothing.
        brightness: Added to every value, of 1; 0 changes nothing.
        gamma: Power of every value; 1 changes nothing. It is the only change here that is not linear.
        mates: What lies beside the photo, of :data:`MATES_CHOICES`.
    """

    contrast: float = 1.0
    brightness: float = 0.0
    gamma: float = 1.0
    mates: str = ALONE

    def __post_init__(self) -> None:
        if self.mates not in MATES_CHOICES:
            raise InputError(f"'{self.mates}' given; {', '.join(MATES_CHOICES)} are accepted")
        if not (0 <= self.contrast <= 4 and -1 <= self.brightness <= 1 and 0.05 <= self.gamma <= 20):
            raise InputError("contrast from 0 to 4, brightness from -1 to 1 and gamma from 0.05 to 20 are accepted")

    def apply(self, photo: Tensor) -> Tensor:
        """Return the changed photo (1, 3, H, W); not clipped, which a network sees and a screen does not show."""
        return change_brightness(change_contrast(change_gamma(photo, self.gamma), self.contrast), self.brightness)

    @property
    def words(self) -> str:
        """What is done, in words; empty where nothing is."""
        parts = []
        if self.gamma != 1:
            parts.append(f"gamma {self.gamma:g}")
        if self.contrast != 1:
            parts.append(f"contrast {self.contrast:g}")
        if self.brightness != 0:
            parts.append(f"brightness {self.brightness:+g}")
        if self.mates != ALONE:
            parts.append(self.mates)
        return ", ".join(parts)

    @property
    def linear(self) -> bool:
        """Whether it is a factor and a sum, which instance norm undoes."""
        return self.gamma == 1


SCENES: dict[str, Change] = {
    "Fog": Change(contrast=0.25, brightness=0.2),
    "Dusk": Change(contrast=0.4, brightness=-0.3),
    "Gamma 2.2": Change(gamma=2.2),
    "Dark neighbours": Change(mates=DARK),
}
"""Changes to begin with, by the words on their buttons."""


@dataclass(frozen=True)
class Distances:
    """Style distances to the painting: 0 is the same statistics.

    Attributes:
        now: By the norm, of the paintings of the changed photo.
        before: By the norm, of the paintings of the photo as it is.
        photo: Of the photo as it is, unpainted.
    """

    now: dict[str, float]
    before: dict[str, float]
    photo: float


@dataclass(frozen=True)
class Painted:
    """What both networks made of a changed photo.

    Attributes:
        changed: The changed photo, (1, 3, H, W), not clipped.
        paintings: By the norm, (1, 3, H, W) in [0, 1].
        moved: By the norm, the mean absolute difference, of 1, from the painting of the photo unchanged and alone.
    """

    changed: Tensor
    paintings: dict[str, Tensor]
    moved: dict[str, float]

    def pictures(self) -> dict[str, Image.Image]:
        """Return the changed photo as ``photo``, clipped as a screen does, and the paintings by their norm."""
        return {"photo": to_image(self.changed.clamp(0, 1))} | {
            norm: to_image(painting) for norm, painting in self.paintings.items()
        }


class NormLesson:
    """Both networks of the styles that have two, and the loss network that measures them; each loaded when needed.

    Args:
        styles: Names of styles with an instance-norm and a batch-norm network of their own.
        network: Returns the Stylizer of a style with a norm.
        device: Where it computes.
    """

    def __init__(self, styles: Sequence[str], network: Callable[[str, str], Stylizer], device: str = "auto") -> None:
        self.styles = tuple(styles)
        self.norms = ("instance", "batch")
        self._network = network
        self._device = choose_device(device)
        self._dtype = choose_precision("auto", self._device)
        self._loss: PerceptualLoss | None = None
        self._targets: dict[str, dict[str, Tensor]] = {}
        self._plain: tuple[object, dict[str, Tensor]] | None = None
        self._measured: tuple[object, dict[str, float]] | None = None

    def paint(self, photo: Image.Image, style: str, change: Change) -> Painted:
        """Paint a changed photo with both norms.

        Raises:
            InputError: The style does not have both.
        """
        if style not in self.styles:
            raise InputError(f"style '{style}' has no pair of networks; {', '.join(self.styles) or 'none'} has")
        pixels = to_tensor(photo)
        changed = change.apply(pixels)
        paintings = {norm: self._paint(self._network(style, norm), changed, change.mates) for norm in self.norms}
        plain = self._unchanged(photo, pixels, style)
        moved = {norm: float((paintings[norm] - plain[norm]).abs().mean()) for norm in self.norms}
        return Painted(changed, paintings, moved)

    def _unchanged(self, photo: Image.Image, pixels: Tensor, style: str) -> dict[str, Tensor]:
        """Return the paintings of the photo as it is, kept for the next change of the same photo."""
        key = _key(style, photo)
        if self._plain is None or self._plain[0] != key:
            made = {norm: self._paint(self._network(style, norm), pixels, ALONE) for norm in self.norms}
            self._plain = (key, made)
        return self._plain[1]

    def _paint(self, stylizer: Stylizer, photo: Tensor, mates: str) -> Tensor:
        """Paint one photo (1, 3, H, W) that need not lie in [0, 1]."""
        network, where = stylizer.network, stylizer.device
        batch = photo
        if mates != ALONE:
            others = (darken if mates == DARK else brighten)(photo).expand(MATES, -1, -1, -1)
            batch = torch.cat([photo, others])
        batch = batch.to(where, memory_format=torch.channels_last)
        casting = nullcontext() if self._dtype == torch.float32 else torch.autocast(where.type, self._dtype)
        mode = nullcontext() if mates == ALONE else batch_statistics(network)
        with torch.no_grad(), mode, casting:
            return network(batch)[:1].float().clamp(0, 1).cpu()

    def measure(self, photo: Image.Image, style: str, painted: Painted) -> Distances:
        """Measure paintings of a photo, and for comparison those of the photo as it is and the photo itself.

        Args:
            photo: The photo as it is.
            style: The style.
            painted: What :meth:`paint` made of it.
        """
        key = _key(style, photo)
        if self._measured is None or self._measured[0] != key:
            pixels = to_tensor(photo)
            plain = self.distances(style, self._unchanged(photo, pixels, style) | {"photo": pixels})
            self._measured = (key, plain)
        before = dict(self._measured[1])
        return Distances(self.distances(style, painted.paintings), before, before.pop("photo"))

    def distances(self, style: str, pictures: dict[str, Tensor]) -> dict[str, float]:
        """Return the style distance of each picture (1, 3, H, W) to the painting of the style."""
        batch = torch.cat(list(pictures.values())).to(self._device)
        with torch.no_grad():
            measured = style_distance(self._grams(batch), self._target(style), LossConfig())
        return dict(zip(pictures, measured.tolist(), strict=True))

    def _loss_network(self) -> PerceptualLoss:
        if self._loss is None:
            config = LossConfig()
            vgg = load_loss_network(last=config.style_layers[-1])
            vgg = vgg.to(self._device, self._dtype, memory_format=torch.channels_last)
            self._loss = PerceptualLoss(vgg, config)
        return self._loss

    def _grams(self, images: Tensor) -> dict[str, Tensor]:
        layers = LossConfig().style_layers
        features = self._loss_network().loss_network(images, layers)
        return {name: gram_matrix(features[name]) for name in layers}

    def _target(self, style: str) -> dict[str, Tensor]:
        if style not in self._targets:
            path = painting_path(style)
            if path is None:
                raise InputError(f"the painting of style '{style}' is not shipped, so nothing can be compared with it")
            size = painting_size(self._network(style, "instance").weights.metadata)
            with torch.no_grad():
                self._targets[style] = self._grams(load_painting(path, size).to(self._device))
        return self._targets[style]


def large_enough(photo: Image.Image) -> Image.Image:
    """Return a photo whose sides are long enough to be measured, enlarged if need be."""
    return photo if min(photo.size) >= LEAST_SIDE else resize_short_side(photo, LEAST_SIDE)


def _key(style: str, photo: Image.Image) -> object:
    return (style, photo.size, hash(photo.tobytes()))


def measured_finding(change: Change, distances: Distances) -> str:
    """Say in plain words what the change did to the style distances, from the numbers."""
    if change == Change():
        return ""
    parts = []
    for norm, now in distances.now.items():
        before = distances.before[norm]
        times = f" ({now / before:.1f} times)" if before > 0 else ""
        parts.append(f"{norm} norm {before:.3f} → {now:.3f}{times}")
    return f"Style distance: {', '.join(parts)}; the unpainted photo has {distances.photo:.3f}."


def finding(change: Change, painted: Painted) -> str:
    """Say in plain words what the change did to the two paintings, from the numbers."""
    levels = {norm: 255 * amount for norm, amount in painted.moved.items()}
    if change == Change():
        return "Move a slider: the photo changes, and both networks paint it again."
    still = [norm for norm, amount in painted.moved.items() if amount <= STILL]
    moved = [norm for norm in levels if norm not in still]
    parts = []
    if moved:
        named = " and ".join(f"{norm} norm by {levels[norm]:.1f}" for norm in moved)
        parts.append(f"The painting changed with {named} of 255 grey levels.")
    if still:
        named = " and ".join(f"{norm} norm ({levels[norm]:.1f} of 255)" for norm in still)
        parts.append(f"It stayed the same, to what an eye can see, with {named}.")
    if "instance" in moved and not change.linear:
        parts.append("Gamma is no linear change, so instance norm cannot undo it.")
    return " ".join(parts)
