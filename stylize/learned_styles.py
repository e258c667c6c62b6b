"""The paintings of a training run: what the loss asks of each, and which of them each photo of a step gets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from stylize.config import PHOTO_STYLE, TrainConfig
from stylize.evaluation import Losses, Validation, Validator
from stylize.losses import PerceptualLoss, StyleTargets
from stylize.preparation import standardise


class LearnedStyles:
    """What a run learns.

    Args:
        config: The settings of the run.
        paintings: The paintings (1, 3, H, W) in [0, 1], on the device of the loss network.
        loss: The perceptual loss.

    Attributes:
        names: Names of the styles, in the order of the network. The style ``photo``, if it is one of them, has no
            painting: each photo is its own, with the mean and the contrast of an average photo, because its own are
            what instance norm takes away and no network can give back.
    """

    def __init__(self, config: TrainConfig, paintings: Sequence[Tensor], loss: PerceptualLoss) -> None:
        self.names = config.style_names
        self.collection = config.collection
        self.seed = config.seed
        self.loss = loss
        self.painted = [loss.style_targets(painting) for painting in paintings]

    def draw(self, step: int, batch_size: int) -> Tensor:
        """Return the number of the style of each photo of a step, (batch_size,).

        Every style has had its turn before one has its next, in an order that follows from the seed, so that all
        styles see equally many photos; and as with photos, nothing is remembered between steps.
        """
        positions = range(step * batch_size, (step + 1) * batch_size)
        return torch.tensor([self._style_at(position) for position in positions])

    def _style_at(self, position: int) -> int:
        round_number, place = divmod(position, len(self.names))
        return int(np.random.default_rng((self.seed, 4, round_number)).permutation(len(self.names))[place])

    def goals(self, styles: Tensor, photos: Tensor) -> Tensor:
        """Return the pictures whose content the painted ones are to have, (B, 3, H, W) in [0, 1].

        Args:
            styles: The numbers of the styles, (B,).
            photos: The photos, (B, 3, H, W) in [0, 1].
        """
        kept = [self.collection and self.names[style] == PHOTO_STYLE for style in styles.tolist()]
        if not any(kept):
            return photos
        chosen = torch.tensor(kept, device=photos.device)[:, None, None, None]
        return torch.where(chosen, average_photo(photos), photos)

    def targets(self, styles: Tensor, goals: Tensor) -> StyleTargets:
        """Return what the loss asks of a batch.

        Args:
            styles: The numbers of the styles, (B,).
            goals: From :meth:`goals`, (B, 3, H, W) in [0, 1].
        """
        if not self.collection:
            return self.painted[0]
        chosen: list[StyleTargets] = []
        for goal, style in zip(goals.split(1), styles.tolist(), strict=True):
            is_photo = self.names[style] == PHOTO_STYLE
            chosen.append(self.loss.style_targets(goal) if is_photo else self.painted[style])
        layers = chosen[0].grams
        return StyleTargets(
            {name: torch.cat([one.grams[name] for one in chosen]) for name in layers},
            torch.cat([one.content_energy for one in chosen]),
        )

    def validators(self, batches: Sequence[Tensor]) -> dict[str, Validator]:
        """Return what measures each style on held-out photos (B, 3, H, W), by the names of the styles."""
        found = {name: Validator(batches, self.loss, one) for name, one in zip(self.names, self.painted, strict=False)}
        if len(self.names) > len(self.painted):
            found[PHOTO_STYLE] = Validator(batches, self.loss, None, goal=average_photo)
        return found


def average_photo(photos: Tensor) -> Tensor:
    """Return photos (B, 3, H, W) with the mean and contrast of an average photo, in [0, 1]."""
    return standardise(photos).clamp(0, 1)


class OneStyle(nn.Module):
    """A network of several styles as it paints one of them: (B, 3, H, W) -> (B, 3, H, W).

    Args:
        network: A :class:`stylize.transformer.TransformerNet` of several styles.
        style: Number of the style.
    """

    def __init__(self, network: nn.Module, style: int) -> None:
        super().__init__()
        self.network = network
        self.style = style

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images, torch.full((len(images),), self.style))


def validate(network: nn.Module, validators: dict[str, Validator], collection: bool) -> dict[str, Validation]:
    """Measure a network in each of its styles, by their names."""
    if not collection:
        return {name: validator(network) for name, validator in validators.items()}
    return {name: validator(OneStyle(network, number)) for number, (name, validator) in enumerate(validators.items())}


def mean_validation(validations: Sequence[Validation]) -> Validation:
    """Return the mean of the measurements of several styles on the same photos."""

    def mean(losses: Sequence[Losses]) -> Losses:
        names = ("content", "style", "total_variation", "total")
        return Losses(*(sum(getattr(one, name) for one in losses) / len(losses) for name in names))

    if len(validations) == 1:
        return validations[0]
    return Validation(
        mean([one.evaluation_mode for one in validations]),
        mean([one.training_mode for one in validations]),
        mean([one.photo for one in validations]),
        sum(one.contrast_change for one in validations) / len(validations),
        validations[0].photos,
    )
