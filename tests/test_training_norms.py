"""Every normalisation trains, resumes to the bit, and is treated like the others."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from stylize.checkpoints import load_network, read_training_state, read_weights_file
from stylize.config import NORM_NAMES, PREPARATIONS
from stylize.errors import InputError, TrainingInterrupted, WeightsError
from stylize.losses import PerceptualLoss
from stylize.network_norms import GATE_RATE_FACTOR, gate_means
from stylize.norms import BatchInstanceNorm
from stylize.preparation import standardise
from stylize.run_folder import run_folder
from stylize.training import learning_rate, train
from stylize.transformer import TransformerNet
from tests.helpers import tiny_config, tiny_weights
from tests.training_helpers import logged_steps, make_material, read_log, tiny_run

NORMS = (*NORM_NAMES, "instance@first", "weight@decoder+none")
RESUMED = ("none", "weight", "batch-instance", "instance@first", "ibn")


class Killed(BaseException):
    """Stands for the end of the process: nothing in the library may handle it."""


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    return make_material(tmp_path_factory.mktemp("material"))


@pytest.fixture(scope="module")
def runs(material, tmp_path_factory):
    """One run for each norm: the file, the state of step 0, and the photos whose content was asked for."""
    folder = tmp_path_factory.mktemp("runs")
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        targets = PerceptualLoss.content_targets
        seen: list[torch.Tensor] = []

        def spy(self, photos):
            seen.append(photos.clone())
            return targets(self, photos)

        patch.setattr(PerceptualLoss, "content_targets", spy)
        for norm in NORMS:
            seen.clear()
            states = []
            config = tiny_run(
                material, folder / f"{norm}.safetensors", norm=norm, validation_interval=2, checkpoint_interval=100
            )
            checkpoint = run_folder(Path(config.output)) / "checkpoint.safetensors"

            def first(progress, checkpoint=checkpoint, states=states):
                if progress.step == 1:
                    states.append(read_training_state(checkpoint)[0])

            result = train(config, first)
            found[norm] = (result, states[0], list(seen))
    return found


@pytest.mark.parametrize("norm", NORMS)
def test_it_trains(runs, norm):
    result, _, _ = runs[norm]
    assert logged_steps(result.path) == [1, 2, 3, 4, 5, 6]
    totals = [row["total"] for row in read_log(result.path) if "total" in row]
    assert all(total == total and total < 100 for total in totals)
    network, weights = load_network(result.path)
    assert (weights.architecture.norm, weights.metadata["norm"]) == (norm, norm)
    assert network(torch.rand(1, 3, 20, 24)).isfinite().all()


@pytest.mark.parametrize("norm", RESUMED)
def test_killed_at_step_three_and_resumed_it_ends_in_the_same_weights(material, runs, tmp_path, norm):
    output = tmp_path / "out.safetensors"
    config = tiny_run(material, output, norm=norm, validation_interval=2, checkpoint_interval=2)

    def kill(progress):
        if progress.step == 3:
            raise Killed

    with pytest.raises(Killed):
        train(config, kill)
    result = train(config, resume=True)
    assert result.resumed_at == 2
    expected, found = load_file(str(runs[norm][0].path)), load_file(str(output))
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        assert torch.equal(tensor, found[name]), name
    assert result.validation == runs[norm][0].validation
    assert [row.get("gates") for row in read_log(output)] == [row.get("gates") for row in read_log(runs[norm][0].path)]


# ------------------------------------------------------------------------------------------------------------- the same


def convolutions(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix("network."): t for name, t in tensors.items() if ".conv" in name and t.dim() == 4}


def test_one_seed_gives_every_norm_the_same_convolutions(runs):
    drawn = convolutions(TransformerNet(tiny_config(), seed=0).state_dict())
    assert len(drawn) > 4
    for norm in NORMS:
        begun = convolutions(runs[norm][1])
        assert begun.keys() == drawn.keys()
        for name, kernel in drawn.items():
            if "none" not in norm:
                assert torch.equal(begun[name], kernel), (norm, name)
                continue
            # Without a norm a filter is scaled once, by the first batch; its direction stays.
            ratio = (begun[name] / kernel).flatten(1)
            assert (ratio > 0).all()
            assert torch.allclose(ratio, ratio[:, :1].expand_as(ratio), rtol=1e-3), (norm, name)


def test_without_a_norm_some_filters_were_scaled(runs):
    drawn = convolutions(TransformerNet(tiny_config(), seed=0).state_dict())
    begun = convolutions(runs["none"][1])
    assert any(not torch.allclose(begun[name], kernel) for name, kernel in drawn.items())
    assert not any(torch.equal(runs["weight"][1][name], t) for name, t in begun.items() if name in runs["weight"][1])


def test_one_seed_gives_every_norm_the_same_photos_in_the_same_order(runs):
    reference = runs["instance"][2]
    assert len(reference) > 6
    for norm in NORMS:
        photos = runs[norm][2]
        assert len(photos) == len(reference)
        assert all(torch.equal(one, other) for one, other in zip(photos, reference, strict=True)), norm


def test_weight_norm_and_none_begin_as_the_batch_norm_network_on_the_first_batch(runs):
    """After the first step's loss they part; before it they are one function of that batch."""
    first = {norm: read_log(runs[norm][0].path)[1] for norm in ("batch", "weight", "none")}
    for norm in ("weight", "none"):
        for term in ("content", "style", "total"):
            assert first[norm][term] == pytest.approx(first["batch"][term], rel=1e-3), (norm, term)


# ---------------------------------------------------------------------------------------------------------------- gates


def test_gates_stay_between_the_two_norms_in_log_and_file(material, tmp_path):
    """At a high learning rate they move far; ten times faster than the rest."""
    output = tmp_path / "out.safetensors"
    train(
        tiny_run(material, output, norm="batch-instance", learning_rate=0.08, steps=12, warmup=0, validation_interval=1)
    )
    logged = [row["gates"] for row in read_log(output) if "gates" in row]
    assert len(logged) == 12  # the finished network's among them
    layers = sum(
        isinstance(module, BatchInstanceNorm) for module in TransformerNet(tiny_config("batch-instance")).modules()
    )
    assert all(len(gates) == layers and all(0 <= gate <= 1 for gate in gates) for gates in logged)
    assert min(min(gates) for gates in logged) < 0.7
    stored = [t.float() for name, t in load_file(str(output)).items() if name.endswith("gate")]
    assert len(stored) == layers
    assert all(0 <= float(gate.min()) and float(gate.max()) <= 1 for gate in stored)
    assert gate_means(load_network(output)[0]) == pytest.approx(logged[-1], abs=1e-6)


def test_other_norms_have_no_gates_in_the_log(runs):
    for norm in NORMS:
        rows = read_log(runs[norm][0].path)
        assert any("gates" in row for row in rows) == (norm == "batch-instance")


def test_gates_learn_faster_by_their_factor(material, tmp_path, monkeypatch):
    used = []
    step = torch.optim.Adam.step

    def spy(self, *arguments, **options):
        used.append([group["lr"] for group in self.param_groups])
        return step(self, *arguments, **options)

    monkeypatch.setattr(torch.optim.Adam, "step", spy)
    config = tiny_run(material, tmp_path / "out.safetensors", norm="batch-instance", steps=4)

    def stop(progress):
        if progress.step == 2:
            raise KeyboardInterrupt

    with pytest.raises(TrainingInterrupted):
        train(config, stop)
    train(config, resume=True)
    rates = [learning_rate(config, number) for number in range(4)]
    assert used == [[rate, pytest.approx(GATE_RATE_FACTOR * rate)] for rate in rates]


# --------------------------------------------------------------------------------------------------------- preparations


@pytest.mark.parametrize("preparation", PREPARATIONS)
def test_every_preparation_trains_on_prepared_photos(material, tmp_path, monkeypatch, preparation):
    seen = []
    targets = PerceptualLoss.content_targets
    monkeypatch.setattr(
        PerceptualLoss, "content_targets", lambda self, photos: seen.append(photos) or targets(self, photos)
    )
    weights = tiny_weights(tmp_path / "other.safetensors") if preparation == "stylize" else None
    output = tmp_path / "out.safetensors"
    config = tiny_run(material, output, steps=2, preparation=preparation, preparation_weights=weights)
    train(config)
    assert read_weights_file(output).metadata["preparation"] == preparation
    # Photos to learn from and photos held out alike.
    batches = [photos for photos in seen if photos.shape[-1] == 32]
    means = torch.cat([photos.mean((2, 3)) for photos in batches])
    if preparation == "standardise":
        assert torch.allclose(means, torch.full_like(means, 0.5), atol=1e-4)
    elif preparation == "equalise":
        assert means.mean(1).sub(0.5).abs().max() < 0.06
    elif preparation == "none":
        assert not torch.allclose(standardise(batches[0]), batches[0], atol=0.05)
    else:
        network, _ = load_network(weights)
        with torch.no_grad():
            plain = {round(float(photos.mean()), 5) for photos in batches}
        assert len(plain) > 1 and network.training is False


def test_a_preparation_is_resumed_with_itself(material, tmp_path):
    whole, parts = tmp_path / "whole.safetensors", tmp_path / "parts.safetensors"
    train(tiny_run(material, whole, preparation="equalise", norm="none"))
    config = tiny_run(material, parts, preparation="equalise", norm="none")

    def stop(progress):
        if progress.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(TrainingInterrupted):
        train(config, stop)
    with pytest.raises(InputError, match="has preparation 'equalise', not 'none'"):
        train(tiny_run(material, parts, norm="none"), resume=True)
    train(config, resume=True)
    expected, found = load_file(str(whole)), load_file(str(parts))
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())


@pytest.mark.parametrize("damage", ["missing", "text"])
def test_weights_of_the_preparation_that_cannot_be_read(material, tmp_path, damage):
    weights = tmp_path / "other.safetensors"
    if damage == "text":
        weights.write_text("no weights")
    config = tiny_run(material, tmp_path / "out.safetensors", preparation="stylize", preparation_weights=weights)
    with pytest.raises(WeightsError, match="other.safetensors"):
        train(config)
    assert not (tmp_path / "out.run").exists()


def test_photo_limit_trains_on_so_many(material, tmp_path):
    output = tmp_path / "out.safetensors"
    train(tiny_run(material, output, photo_limit=3, steps=2))
    assert read_weights_file(output).metadata["training_photos"] == 3
    with pytest.raises(InputError, match="photo_limit is 99, and there are only 9 photos to train on"):
        train(tiny_run(material, tmp_path / "b.safetensors", photo_limit=99))
    assert not (tmp_path / "b.run").exists()
