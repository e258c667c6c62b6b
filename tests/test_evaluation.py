"""What validation measures: both modes of the normalisation, the change with contrast, and nothing left behind."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from stylize.config import LossConfig, TrainConfig
from stylize.evaluation import (
    Losses,
    Validator,
    change_contrast,
    contrast_change,
    painting_size,
    style_distance,
)
from stylize.losses import PerceptualLoss, gram_matrix, style_loss
from stylize.transformer import TransformerNet
from stylize.vgg import VGG19, load_loss_network
from tests.helpers import tiny_config

CONFIG = LossConfig(content_layer="relu1_2", style_layers=("relu1_1", "relu2_1"), style_layer_weights=(1.0, 1.0))


def pictures(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def batches() -> list[torch.Tensor]:
    # Of different brightness and contrast, so that a batch is not like its pictures; the last batch is smaller.
    return [torch.cat([pictures(1, 3, 16, 16), 0.2 * pictures(1, 3, 16, 16, seed=1)]), pictures(1, 3, 16, 16, seed=2)]


@pytest.fixture(scope="module")
def loss() -> PerceptualLoss:
    return PerceptualLoss(load_loss_network(last="relu2_1"), CONFIG)


@pytest.fixture(scope="module")
def validator(batches, loss) -> Validator:
    return Validator(batches, loss, loss.style_targets(pictures(1, 3, 24, 20, seed=3)))


# ----------------------------------------------------------------------------------------------------------- contrast


def test_contrast_is_changed_about_each_photos_own_mean():
    photos = torch.tensor([0.0, 1.0, 0.2, 0.2]).view(2, 1, 1, 2).expand(2, 3, 1, 2)
    assert change_contrast(photos, 0.5)[:, 0, 0].tolist() == pytest.approx(
        [pytest.approx([0.25, 0.75]), pytest.approx([0.2, 0.2])]
    )
    assert torch.allclose(change_contrast(photos, 1.0), photos)
    assert torch.allclose(change_contrast(photos, 0.0)[0], torch.full((3, 1, 2), 0.5))


def test_contrast_change_of_a_network_that_does_nothing_is_by_hand():
    photos = torch.tensor([0.0, 1.0, 0.2, 0.6]).view(2, 1, 1, 2).expand(2, 3, 1, 2)
    # Halved about 0.5: 0.25 and 0.75, a change of 0.25 everywhere; halved about 0.4: 0.3 and 0.5, a change of 0.1.
    assert contrast_change(nn.Identity(), photos).tolist() == pytest.approx([0.25, 0.1])
    assert contrast_change(nn.Identity(), photos, factor=0.0).tolist() == pytest.approx([0.5, 0.2])
    assert contrast_change(nn.Identity(), photos, factor=1.0).tolist() == pytest.approx([0, 0], abs=1e-7)


def test_contrast_change_is_that_of_the_visible_result():
    class Glaring(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return 5 + images  # white, whatever the photo

    assert contrast_change(Glaring(), pictures(2, 3, 8, 8)).tolist() == [0, 0]


def test_contrast_change_of_instance_norm_is_nothing_and_of_batch_norm_is_not():
    photos = pictures(2, 3, 24, 24)
    instance, batch = (TransformerNet(tiny_config(norm), seed=1).eval() for norm in ("instance", "batch"))
    assert contrast_change(instance, photos).max() < 2e-4
    assert contrast_change(batch, photos).min() > 2e-3
    assert contrast_change(instance, photos).requires_grad is False


# ------------------------------------------------------------------------------------------------------ style distance


@pytest.fixture(scope="module")
def full_network() -> VGG19:
    return load_loss_network(last="relu4_1")


def test_style_distance_is_the_weighted_mean_over_the_default_layers(full_network):
    config = LossConfig()
    painting, images = pictures(1, 3, 40, 32), pictures(2, 3, 32, 32, seed=1) * 0.5
    layers = config.style_layers
    found, wanted = full_network(images, layers), full_network(painting, layers)
    shares = torch.tensor(config.style_layer_weights) / sum(config.style_layer_weights)
    terms = torch.stack([style_loss(gram_matrix(found[name]), gram_matrix(wanted[name])) for name in layers])
    result = style_distance(images, painting, loss_network=full_network)
    assert torch.allclose(result, (terms * shares[:, None]).sum(0), rtol=1e-4)
    assert result.shape == (2,)
    assert not result.requires_grad


def test_style_distance_without_a_loss_network_takes_the_one_in_the_box(full_network):
    painting, images = pictures(1, 3, 32, 32), pictures(1, 3, 32, 32, seed=1)
    expected = style_distance(images, painting, loss_network=full_network)
    assert style_distance(images, painting).item() == pytest.approx(expected.item(), rel=1e-5)
    assert style_distance(painting, painting, loss_network=full_network).item() == pytest.approx(0, abs=1e-9)


def test_painting_size_comes_from_the_metadata_or_is_the_default():
    assert painting_size({"style_size": 512}) == 512
    assert painting_size({}) == TrainConfig("a").style_size


# ---------------------------------------------------------------------------------------------------------- validator


def numbers(losses: Losses) -> list[float]:
    return [losses.content, losses.style, losses.total_variation, losses.total]


def test_losses_are_means_over_the_photos_and_not_over_the_batches(validator, batches, loss):
    network = TransformerNet(tiny_config(), seed=1).eval()
    single = Validator([photo[None] for batch in batches for photo in batch], loss, validator.style)
    assert numbers(single(network).evaluation_mode) == pytest.approx(
        numbers(validator(network).evaluation_mode), rel=1e-3
    )
    assert validator(network).photos == single(network).photos == 3
    with torch.no_grad():
        terms = [
            loss(network(batch).clamp(0, 1), loss.content_targets(batch), validator.style).total for batch in batches
        ]
    assert validator(network).evaluation_mode.total == pytest.approx(torch.cat(terms).mean().item(), rel=1e-5)


def test_both_modes_are_one_for_instance_norm_and_two_for_batch_norm(validator):
    instance = validator(TransformerNet(tiny_config("instance"), seed=1))
    assert instance.training_mode == instance.evaluation_mode
    batch = validator(TransformerNet(tiny_config("batch"), seed=1))
    assert batch.training_mode.style != pytest.approx(batch.evaluation_mode.style, rel=1e-2)
    assert batch.training_mode.content != pytest.approx(batch.evaluation_mode.content, rel=1e-2)
    assert instance.contrast_change < 1e-3 < batch.contrast_change


def test_batch_norm_is_measured_with_the_batch_in_training_mode(validator, batches, loss):
    network = TransformerNet(tiny_config("batch"), seed=1)
    result = validator(network)
    twin = TransformerNet(tiny_config("batch"), seed=1).train()
    with torch.no_grad():
        terms = [loss(twin(batch).clamp(0, 1), loss.content_targets(batch), validator.style).total for batch in batches]
    assert result.training_mode.total == pytest.approx(torch.cat(terms).mean().item(), rel=1e-5)


def test_the_untouched_photo_has_no_content_loss_and_is_measured_once(validator, batches, loss):
    assert validator.photo.content == 0
    assert validator.photo.style > 0
    assert validator(TransformerNet(tiny_config())).photo == validator.photo
    through = validator(nn.Identity())
    assert numbers(through.evaluation_mode) == pytest.approx(numbers(validator.photo), rel=1e-6)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_the_network_is_as_before_afterwards(validator, norm, training):
    network = TransformerNet(tiny_config(norm), seed=1).train(training)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    first = validator(network)
    assert network.training is training
    assert all(module.training is training for module in network.modules())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert validator(network) == first  # nothing carried over


def test_a_part_that_was_frozen_in_evaluation_mode_stays_frozen(validator):
    network = TransformerNet(tiny_config("batch"), seed=1).train()
    network.encoder.eval()
    before = [module.training for module in network.modules()]
    validator(network)
    assert [module.training for module in network.modules()] == before


def test_the_mode_is_restored_after_a_failure(validator):
    class Failing(TransformerNet):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            raise ZeroDivisionError

    network = Failing(tiny_config()).train()
    with pytest.raises(ZeroDivisionError):
        validator(network)
    assert network.training


def test_a_validation_is_plain_json(validator):
    result = validator(TransformerNet(tiny_config()))
    values = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert values["evaluation_mode"]["style"] == result.evaluation_mode.style
    assert set(values) == {"evaluation_mode", "training_mode", "photo", "contrast_change", "photos"}
    assert set(values["photo"]) == {"content", "style", "total_variation", "total"}
