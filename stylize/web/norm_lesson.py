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
from stylize.images import to_image, to_tensor
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
    def linear(self) -> bool:
        """Whether it is a factor and a sum, which instance norm undoes."""
        return self.gamma == 1


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
        key = (style, photo.size, hash(photo.tobytes()))
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

    def distances(self, style: str, paintings: dict[str, Tensor]) -> dict[str, float]:
        """Return the style distance of each painting to the painting of the style: 0 = the same statistics."""
        batch = torch.cat([paintings[norm] for norm in self.norms]).to(self._device)
        with torch.no_grad():
            measured = style_distance(self._grams(batch), self._target(style), LossConfig())
        return dict(zip(self.norms, measured.tolist(), strict=True))

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
