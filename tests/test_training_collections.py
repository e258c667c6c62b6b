"""Training of several styles in one network, of networks that begin with another, and of one more style."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from stylize.checkpoints import load_network, read_weights_file, save_network
from stylize.config import NORM_NAMES, TrainConfig, TransformerConfig
from stylize.errors import InputError, TrainingInterrupted, WeightsError
from stylize.evaluation import Validator
from stylize.initial_weights import begin_adapting, resolve_collection, start_from
from stylize.losses import PerceptualLoss
from stylize.paintings import load_painting
from stylize.run_folder import output_path
from stylize.style_collections import (
    StyleFile,
    collect,
    load_collection,
    load_mixture,
    load_style_vectors,
    read_collection,
    read_style_file,
)
from stylize.style_vectors import (
    all_style_vectors,
    network_digest,
    stacked_names,
    style_vectors,
    take_style,
    vector_names,
)
from stylize.training import train
from stylize.training_photos import TrainingPhotos
from stylize.transformer import TransformerNet
from stylize.vgg import load_loss_network
from tests.helpers import synthetic_image, tiny_collection, tiny_config, tiny_metadata, tiny_weights
from tests.training_helpers import make_material, read_log, tiny_run

STYLES = ("painting", "other")


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    folder = make_material(tmp_path_factory.mktemp("material"))
    synthetic_image(40, 44, seed=5).rotate(45).save(folder / "other.png")
    synthetic_image(44, 44, seed=8).transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(folder / "third.png")
    return folder


def collection_run(material: Path, output: Path, **changes) -> TrainConfig:
    paintings = (material / "painting.png", material / "other.png")
    return tiny_run(material, output, **({"style": paintings, "norm": "conditional-instance"} | changes))


BOTH_OUTPUTS = pytest.mark.parametrize("own_output", [False, True], ids=["shared output", "own output"])


@pytest.fixture(scope="module", params=[False, True], ids=["shared output", "own output"])
def trained(request, material, tmp_path_factory):
    """A collection of two paintings and the photo style, trained for a few steps, in float16."""
    output = tmp_path_factory.mktemp("trained") / "mine.safetensors"
    settings = {"steps": 60, "learning_rate": 0.02, "weights_dtype": "float16", "own_output": request.param}
    return train(collection_run(material, output, **settings))


# ---------------------------------------------------------------------------------------------------------- collections


def test_a_collection_learns_each_of_its_styles(material, trained, tmp_path):
    assert set(trained.validations) == {"painting", "other", "photo"}
    config = collection_run(material, trained.path)
    loss = PerceptualLoss(load_loss_network(last="relu2_1"), config.loss)
    photos = torch.cat(TrainingPhotos(config).held_out)
    images = {name: load_mixture(read_collection(trained.path), {name: 1.0})[0](photos).detach() for name in STYLES}
    for name, another in (STYLES, STYLES[::-1]):
        target = loss.style_targets(load_painting(material / f"{name}.png", config.style_size))
        content = loss.content_targets(photos)
        style = {one: float(loss(image, content, target).style.mean()) for one, image in images.items()}
        assert style[name] < 0.7 * style[another], name
    collection = read_collection(trained.path)
    assert collection.names == ("painting", "other", "photo") and collection.has_photo_style
    network = load_collection(collection)
    assert collection.digest == network_digest(network)
    facts = collection.facts("other")
    assert facts["painting"]["file"] == "other.png"
    assert facts["metrics"] == trained.validations["other"].to_json()
    metadata = collection.weights.metadata
    assert (metadata["style"], metadata["norm"], metadata["preset"]) == ("mine", "conditional-instance", "custom")
    assert metadata["metrics"] == trained.validation.to_json()
    vectors = [style_vectors(network, [float(n == k) for n in range(3)]) for k in range(3)]
    # Whatever the network holds for each style has become different, and nothing else has.
    different = {name for name in vectors[0] if not torch.equal(vectors[0][name], vectors[1][name])}
    assert different == set(stacked_names(network))
    output = {"decoder.3.conv.weight", "decoder.3.conv.bias"}
    assert output < set(vectors[0]) and different & output == (output if network.config.own_output else set())


def test_the_measurements_are_those_of_the_style_taken_out(material, trained):
    """An independent way to the numbers in the file: the network of one style, by the ordinary validator."""
    config = collection_run(material, trained.path)
    loss = PerceptualLoss(load_loss_network(last="relu2_1"), config.loss)
    target = loss.style_targets(load_painting(material / "other.png", config.style_size))
    network = take_style(load_collection(read_collection(trained.path)), [0.0, 1.0, 0.0])
    measured = Validator(TrainingPhotos(config).held_out, loss, target)(network)
    assert measured.evaluation_mode.total == pytest.approx(trained.validations["other"].evaluation_mode.total, rel=1e-4)


@BOTH_OUTPUTS
def test_a_resumed_collection_ends_in_the_same_weights(material, tmp_path, own_output):
    whole = train(collection_run(material, tmp_path / "whole.safetensors", own_output=own_output))
    config = collection_run(material, tmp_path / "parts.safetensors", own_output=own_output)
    assert read_weights_file(whole.path).architecture.own_output == own_output

    def stop(progress):
        if progress.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(TrainingInterrupted):
        train(config, stop)
    parts = train(config, resume=True)
    expected, found = load_file(str(whole.path)), load_file(str(parts.path))
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_a_step_changes_the_last_convolution_of_the_painted_styles_only(material, tmp_path):
    # One step of one photo: one style had its turn.
    settings = {"steps": 1, "batch_size": 1, "own_output": True, "weights_dtype": "float32"}
    config = collection_run(material, tmp_path / "c.safetensors", **settings)
    network = load_collection(read_collection(train(config).path))
    begun = TransformerNet(config.transformer, seed=config.seed)
    for name in ("weight", "bias"):
        moved = (
            (getattr(network.output.conv, name) - getattr(begun.output.conv, name)).detach().abs().flatten(1).amax(1)
        )
        assert sorted(float(one) > 0 for one in moved) == [False, False, True]


def test_the_log_has_every_style_at_every_validation(material, tmp_path):
    config = collection_run(material, tmp_path / "c.safetensors", validation_interval=3)
    train(config)
    rows = [row for row in read_log(config.output) if "styles" in row]
    assert [row["step"] for row in rows] == [3, 6]
    assert all(set(row["styles"]) == {"painting", "other", "photo"} for row in rows)
    with Image.open(tmp_path / "c.run/samples/step-000003.png") as samples:
        assert samples.height == 3 * config.image_size


def test_batch_norm_makes_collections_too(material, tmp_path):
    result = train(collection_run(material, tmp_path / "b.safetensors", norm="batch", photo_style=False))
    collection = read_collection(result.path)
    assert collection.weights.architecture.norm == "conditional-batch" and collection.names == ("painting", "other")
    network, description = load_mixture(collection, {"painting": 0.5, "other": 0.5})
    assert network.config.norm == description.architecture.norm == "batch"
    assert float(network.encoder[1].running_mean.abs().max()) > 0


def test_the_output_of_a_collection_has_a_name(material):
    assert output_path(collection_run(material, None)) == Path("collection-conditional-instance.safetensors")
    assert output_path(tiny_run(material, None, adapt="paintings")) == Path("painting.safetensors")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"norm": "layer"}, "layer norm given for a collection"),
        ({"style": ("a/wave.jpg", "b/wave.png")}, "two styles are called 'wave'"),
        ({"style": ("a/wave.jpg", "b/photo.png")}, "kept for the photo itself"),
        ({"style": ()}, "no painting"),
        ({"adapt": "paintings"}, "several paintings given to adapt"),
    ],
)
def test_settings_that_make_no_collection(changes, message):
    with pytest.raises(InputError, match=message):
        TrainConfig(**({"style": ("a.jpg", "b.jpg"), "norm": "conditional-instance"} | changes))


def test_a_conditional_norm_is_not_for_one_style():
    with pytest.raises(InputError, match="collections of styles"):
        TrainConfig(style="a.jpg", norm="conditional-instance")
    with pytest.raises(InputError, match="3 styles given with instance norm"):
        TransformerConfig(styles=3)
    with pytest.raises(InputError, match="normalisation"):
        TrainConfig(style="a.jpg", norm="conditional-instance@encoder")
    assert not set(NORM_NAMES) & {"conditional-instance", "conditional-batch"}


def test_settings_survive_json(material):
    for config in (collection_run(material, None), tiny_run(material, None, adapt="x.safetensors")):
        again = TrainConfig.from_json(config.to_json())
        assert again.to_json() == config.to_json() and again.style_names == config.style_names


# ------------------------------------------------------------------------------------------------------------ beginning


@BOTH_OUTPUTS
def test_a_collection_begins_as_the_network_it_is_given(material, tmp_path, own_output):
    single = tiny_weights(tmp_path / "single.safetensors", seed=4)
    settings = {"steps": 1, "learning_rate": 1e-12, "start_from": single, "own_output": own_output}
    config = collection_run(material, tmp_path / "c.safetensors", **settings)
    network = load_collection(read_collection(train(config).path))
    images = torch.rand(2, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = load_network(single)[0](images)
        for style in range(3):
            torch.testing.assert_close(network(images, torch.full((2,), style)), expected, atol=1e-5, rtol=0)


def begun(names, path: Path, own_output: bool = False) -> TransformerNet:
    """Return a collection of these styles that begins with a weights file."""
    config = tiny_config("conditional-instance", styles=len(names), own_output=own_output)
    network = TransformerNet(config, seed=11)
    start_from(network, names, path)
    return network


@BOTH_OUTPUTS
@pytest.mark.parametrize("before_own", [False, True], ids=["from shared output", "from own output"])
def test_styles_keep_their_numbers_and_new_ones_begin_as_the_mean(tmp_path, before_own, own_output):
    path = tiny_collection(tmp_path / "before.safetensors", ("painting", "elsewhere", "photo"), own_output=before_own)
    network, old = begun(("painting", "other", "photo"), path, own_output), load_collection(read_collection(path))
    theirs, own = all_style_vectors(old), set(stacked_names(network))
    for name in vector_names(network):
        painting, elsewhere, photo = (style[name] for style in theirs)
        expected = [painting, (painting + elsewhere) / 2, photo]  # a new one begins as the mean of the paintings
        found = network.get_parameter(name).detach()
        if name in own:
            torch.testing.assert_close(found, torch.stack(expected), atol=1e-6, rtol=0)
        else:  # the last convolution, where it is shared: what all of them have, or their mean
            torch.testing.assert_close(found, sum(expected) / 3, atol=1e-6, rtol=0)
            assert before_own or torch.equal(found, old.get_parameter(name))
    fixed = set(network.state_dict()) - set(vector_names(network))
    assert all(torch.equal(network.state_dict()[name], old.state_dict()[name]) for name in fixed)
    assert network_digest(network) == network_digest(old)


def test_the_last_convolution_goes_from_shared_to_own_and_back_unchanged(tmp_path):
    names = ("first", "second", "photo")
    path = tiny_collection(tmp_path / "shared.safetensors", names)
    shared, own = load_collection(read_collection(path)), begun(names, path, own_output=True)
    images, styles = torch.rand(3, 3, 12, 13, generator=torch.Generator().manual_seed(0)), torch.arange(3)
    with torch.no_grad():
        torch.testing.assert_close(own(images, styles), shared(images, styles), atol=2e-6, rtol=0)
    facts = {"styles": [{"name": name} for name in names], "network": network_digest(own)}
    save_network(tmp_path / "own.safetensors", own, tiny_metadata() | facts)
    again = begun(names, tmp_path / "own.safetensors").state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in shared.state_dict().items())


@BOTH_OUTPUTS
def test_a_network_of_one_style_begins_as_that_style_of_a_collection_or_as_the_mean(tmp_path, own_output):
    path = tiny_collection(tmp_path / "c.safetensors", ("painting", "other", "photo"), own_output=own_output)
    old = load_collection(read_collection(path))
    for name, shares in (("other", [0.0, 1.0, 0.0]), ("new", [0.5, 0.5, 0.0])):
        network = TransformerNet(tiny_config(), seed=11)
        start_from(network, (name,), path)
        expected = take_style(old, shares).state_dict()
        for key, tensor in network.state_dict().items():
            torch.testing.assert_close(tensor, expected[key], atol=1e-6, rtol=0)


def test_a_run_begins_with_the_last_convolutions_of_a_collection(material, tmp_path):
    before = tiny_collection(tmp_path / "before.safetensors", ("painting", "other", "photo"), own_output=True)
    settings = {"steps": 1, "learning_rate": 1e-12, "start_from": before, "own_output": True}
    result = train(collection_run(material, tmp_path / "c.safetensors", **settings))
    old, network = load_network(before)[0].state_dict(), load_network(result.path)[0].state_dict()
    assert all(torch.allclose(network[name], tensor, atol=1e-6) for name, tensor in old.items())


def test_a_network_of_another_architecture_is_no_beginning(material, tmp_path):
    other = tiny_weights(tmp_path / "other.safetensors", norm="batch")
    with pytest.raises(InputError, match="another architecture"):
        train(tiny_run(material, tmp_path / "o.safetensors", start_from=other))


def test_one_style_begins_as_another(material, tmp_path):
    other = tiny_weights(tmp_path / "other.safetensors", seed=4)
    config = tiny_run(material, tmp_path / "o.safetensors", start_from=other, steps=1, learning_rate=1e-12)
    begun, expected = load_file(str(train(config).path)), load_file(str(other))
    assert all(torch.allclose(begun[name], expected[name], atol=1e-6) for name in expected)


# ------------------------------------------------------------------------------------------------------------- adapting


@pytest.fixture(scope="module")
def adapted(material, trained, tmp_path_factory):
    output = tmp_path_factory.mktemp("adapted") / "third.safetensors"
    config = tiny_run(material, output, style=material / "third.png", adapt=trained.path, steps=30, learning_rate=0.02)
    reported = []
    return train(config, reported.append), reported


def test_adapting_learns_only_the_numbers_of_the_new_style(material, trained, adapted):
    result, reported = adapted
    assert result.path.stat().st_size < 6000
    style = read_style_file(result.path)
    collection = read_collection(trained.path)
    assert isinstance(style, StyleFile) and style.name == "third" and style.digest == collection.digest
    assert style.metadata["nearest"] == result.nearest and result.nearest in collection.names
    assert style.metadata["painting"]["file"] == "third.png"
    assert style.architecture == replace(tiny_config(), norm="instance")
    losses = [progress.losses["total"] for progress in reported]
    assert sum(losses[-5:]) < sum(losses[:5])
    # The file holds what was learned, the last convolution among it, and nothing else.
    base = load_collection(collection)
    stored = load_file(str(result.path))
    assert set(stored) == set(vector_names(base)) and {"decoder.3.conv.weight", "decoder.3.conv.bias"} < set(stored)
    begun = style_vectors(base, [float(name == result.nearest) for name in collection.names])
    assert {name: tensor.shape for name, tensor in stored.items()} == {n: tensor.shape for n, tensor in begun.items()}
    assert not any(torch.equal(stored[name].float(), begun[name]) for name in stored)
    # The file and the collection together are what was trained: the numbers in the file repeat the measurement.
    network, _ = load_mixture(collection, {"third": 1.0}, [style])
    vectors = load_style_vectors(style, base)
    assert all(torch.equal(network.state_dict()[name], vector) for name, vector in vectors.items())
    fixed = set(network.state_dict()) - set(vectors)
    assert fixed and all(torch.equal(network.state_dict()[name], base.state_dict()[name]) for name in fixed)


def test_what_was_adapted_measures_as_the_run_says(material, trained, adapted):
    result, _ = adapted
    config = tiny_run(material, result.path, style=material / "third.png")
    loss = PerceptualLoss(load_loss_network(last="relu2_1"), config.loss)
    target = loss.style_targets(load_painting(material / "third.png", config.style_size))
    network, _ = load_mixture(read_collection(trained.path), {"third": 1.0}, [read_style_file(result.path)])
    measured = Validator(TrainingPhotos(config).held_out, loss, target)(network)
    # The run is of float32 weights, the file holds float16.
    assert measured.evaluation_mode.total == pytest.approx(result.validation.evaluation_mode.total, rel=1e-2)


def test_an_adapted_style_joins_the_collection(trained, adapted, tmp_path):
    result, _ = adapted
    base = read_collection(trained.path)
    path = collect(base, [read_style_file(result.path)], tmp_path / "larger.safetensors")
    larger = read_collection(path)
    assert larger.names == ("painting", "other", "photo", "third") and larger.digest == base.digest
    assert larger.weights.architecture.own_output
    images = torch.rand(1, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for name, additions in (("third", [read_style_file(result.path)]), ("other", [])):
            expected = load_mixture(base, {name: 1.0}, additions)[0](images)
            torch.testing.assert_close(load_mixture(larger, {name: 1.0})[0](images), expected)
    with pytest.raises(InputError, match="two styles are called 'third'"):
        collect(larger, [read_style_file(result.path)], tmp_path / "twice.safetensors")


def test_adapting_freezes_all_but_the_norms_and_the_last_convolution(material, trained):
    config = tiny_run(material, None)
    loss = PerceptualLoss(load_loss_network(last="relu2_1"), config.loss)
    target = loss.style_targets(load_painting(material / "third.png", config.style_size))
    photos = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    network, _, learned = begin_adapting(read_collection(trained.path), photos, loss, target)
    free = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    norms = {name for name, _ in network.named_parameters() if ".conv." not in name}
    assert free == set(learned) == norms | {"decoder.3.conv.weight", "decoder.3.conv.bias"}


def test_a_resumed_adaptation_ends_in_the_same_numbers(material, trained, tmp_path):
    settings = {"style": material / "third.png", "adapt": trained.path}
    whole = train(tiny_run(material, tmp_path / "whole.safetensors", **settings))
    config = tiny_run(material, tmp_path / "parts.safetensors", **settings)

    def stop(progress):
        if progress.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(TrainingInterrupted):
        train(config, stop)
    parts = train(config, resume=True)
    assert parts.nearest == whole.nearest
    expected, found = load_file(str(whole.path)), load_file(str(parts.path))
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_adapting_to_what_is_no_collection(material, tmp_path):
    single = tiny_weights(tmp_path / "single.safetensors")
    with pytest.raises(WeightsError, match="network of one style"):
        train(tiny_run(material, tmp_path / "o.safetensors", adapt=single))
    with pytest.raises(WeightsError, match="not found"):
        train(tiny_run(material, tmp_path / "o.safetensors", adapt=tmp_path / "none.safetensors"))
    with pytest.raises(InputError, match="'nowhere'"):
        resolve_collection("nowhere")
    with pytest.raises(InputError, match="leave one out"):
        tiny_run(material, None, adapt="paintings", start_from=single)
    with pytest.raises(InputError, match="the photo itself"):
        tiny_run(material, None, adapt="paintings", style="here/photo.jpg")
    assert not (tmp_path / "o.safetensors").exists() and not (tmp_path / "o.run").exists()


@pytest.mark.parametrize(("picture", "message"), [((1, 1), "at least 32"), ((64, 64), "nearly one colour")])
def test_paintings_with_nothing_in_them(material, tmp_path, picture, message):
    Image.new("RGB", picture, (120, 130, 140)).save(tmp_path / "flat.png")
    with pytest.raises(InputError, match=message):
        train(tiny_run(material, tmp_path / "o.safetensors", style=tmp_path / "flat.png"))


def test_what_a_weights_file_says_of_styles_is_checked(tmp_path):
    collection = tiny_collection(tmp_path / "c.safetensors", ("a", "b"))
    assert read_weights_file(collection).architecture.styles == 2
    for styles, message in (
        ([{"name": "a"}], "names 1 styles"),
        ([{"name": "a"}, {"name": "a"}], "names 1 styles"),
        ([{"name": ""}, {"name": "b"}], "does not name"),
        ("ab", "does not name"),
    ):
        path = tiny_collection(tmp_path / "d.safetensors", ("a", "b"), **{"styles": styles})
        with pytest.raises(WeightsError, match=message):
            read_collection(path)
