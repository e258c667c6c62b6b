"""Every shipped network: its picture, its header, and what its header claims."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stylize.config import PHOTO_STYLE
from stylize.evaluation import contrast_change, style_distance
from stylize.images import read_image, resize_short_side, to_tensor, write_image
from stylize.network_norms import batch_statistics
from stylize.style_collections import load_collection
from stylize.style_vectors import all_style_vectors, stacked_names
from stylize.stylizer import load
from stylize.vgg import load_loss_network
from stylize.zoo import list_collections, list_weights, painting_of, painting_path
from tests import golden

SHIPPED = list_weights()
EVERY = pytest.mark.parametrize("shipped", SHIPPED, ids=lambda shipped: shipped.path.stem)


@pytest.fixture(scope="module")
def photos():
    return to_tensor(golden.photo())


@pytest.fixture(scope="module")
def loss_network():
    return load_loss_network(last="relu4_1")


def test_both_styles_are_shipped_with_both_norms():
    pairs = {(shipped.style, shipped.norm) for shipped in SHIPPED if shipped.preset == "fast"}
    assert pairs >= {(style, norm) for style in ("starry-night", "great-wave") for norm in ("instance", "batch")}


@EVERY
def test_golden_picture(shipped, tmp_path):
    painted = load(str(shipped.path), device="cpu")(golden.photo())
    expected = np.asarray(read_image(golden.FOLDER / f"{shipped.path.stem}.png"), dtype=float)
    difference = np.abs(np.asarray(painted, dtype=float) - expected)
    if difference.mean() >= 0.5:
        write_image(painted, tmp_path / "painted.png")
    assert difference.mean() < 0.5, f"compare {tmp_path / 'painted.png'} with {golden.FOLDER}"


@EVERY
def test_painting_comes_closer_to_the_painting_than_the_photo_is(shipped, photos, loss_network):
    painting = to_tensor(resize_short_side(read_image(painting_of(shipped.weights)), 384))
    painted = load(str(shipped.path), device="cpu")(photos)
    before, after = (float(style_distance(x, painting, loss_network=loss_network)) for x in (photos, painted))
    assert after < before / 2


@EVERY
def test_the_norm_does_what_the_header_says(shipped, photos):
    network = load(str(shipped.path), device="cpu").network
    with torch.no_grad():
        evaluated = network(photos)
        with batch_statistics(network):
            trained = network(photos)
    apart = float((evaluated - trained).abs().mean())
    moved = float(contrast_change(network, photos))
    metrics = shipped.metadata["metrics"]
    if shipped.norm == "instance":
        assert apart == 0
        assert moved < 0.002
        assert metrics["evaluation_mode"] == metrics["training_mode"]
        assert metrics["contrast_change"] < 0.002
    else:
        assert apart > 0.01
        assert moved > 0.01
        assert metrics["evaluation_mode"]["style"] != metrics["training_mode"]["style"]
        assert metrics["contrast_change"] > 0.01


@EVERY
def test_the_header_is_complete(shipped):
    for key in ("style", "norm", "preset", "steps", "batch_size", "seed", "seconds", "device", "torch", "licence"):
        assert shipped.metadata[key] not in (None, ""), key
    assert shipped.metadata["painting"]["artist"]
    assert shipped.path.stat().st_size < 4 * 1024**2


def test_the_two_norms_were_trained_alike():
    settings = ("steps", "batch_size", "image_size", "style_size", "learning_rate", "seed", "precision", "loss")
    by_style: dict[str, list[dict[str, object]]] = {}
    for shipped in SHIPPED:
        if shipped.preset == "fast":
            by_style.setdefault(shipped.style, []).append({name: shipped.metadata[name] for name in settings})
    assert all(recipe == recipes[0] for recipes in by_style.values() for recipe in recipes)


# ---------------------------------------------------------------------------------------------------------- collections

COLLECTIONS = list_collections()
EVERY_COLLECTION = pytest.mark.parametrize("collection", COLLECTIONS, ids=lambda one: one.weights.path.stem)


def test_paintings_are_shipped():
    assert [one.weights.path.stem for one in COLLECTIONS] == ["paintings-conditional-instance"]
    names = set(COLLECTIONS[0].painted_names)
    assert len(names) >= 16
    assert names >= {"the-scream", "composition-vii", "udnie", "water-lilies", "starry-night", "great-wave"}
    assert COLLECTIONS[0].weights.path.stat().st_size < 4e6


@EVERY_COLLECTION
def test_golden_pictures_of_every_style(collection, tmp_path):
    painted = golden.sheet(collection)
    expected = np.asarray(read_image(golden.FOLDER / f"{collection.weights.path.stem}.png"), dtype=float)
    difference = np.abs(np.asarray(painted, dtype=float) - expected)
    by_style = difference.reshape(difference.shape[0], len(collection.names), -1, 3).mean((0, 2, 3))
    if by_style.max() >= 0.5:
        write_image(painted, tmp_path / "painted.png")
    assert by_style.max() < 0.5, f"compare {tmp_path / 'painted.png'} with {golden.FOLDER}: {by_style}"


@EVERY_COLLECTION
def test_every_style_comes_nearer_to_its_painting_than_other_styles_do(collection, photos, loss_network):
    stylizer = load(collection.weights.path, device="cpu")
    known = [name for name in collection.painted_names if painting_path(name) is not None]
    assert len(known) >= 4
    painted = torch.cat([stylizer.mix({name: 1.0})(photos) for name in known])
    for number, name in enumerate(known):
        painting = to_tensor(resize_short_side(read_image(painting_path(name)), 384))
        distances = style_distance(painted, painting, loss_network=loss_network)
        assert int(distances.argmin()) == number, name
        assert float(distances[number]) < float(style_distance(photos, painting, loss_network=loss_network)) / 2


@EVERY_COLLECTION
def test_the_header_of_a_collection_is_complete(collection):
    metadata = collection.weights.metadata
    for key in ("style", "norm", "preset", "steps", "batch_size", "seed", "seconds", "device", "torch", "licence"):
        assert metadata[key] not in (None, ""), key
    for name in collection.names:
        facts = collection.facts(name)
        assert facts["metrics"]["evaluation_mode"]["total"] > 0
        if name != PHOTO_STYLE:
            assert facts["painting"]["title"] and facts["painting"]["artist"] and facts["painting"]["sha256"]
            assert facts["metrics"]["evaluation_mode"]["total"] < facts["metrics"]["photo"]["total"] / 2


@EVERY_COLLECTION
def test_a_style_has_as_many_numbers_as_the_readme_says(collection):
    network = load_collection(collection)
    own = sum(network.get_parameter(name)[0].numel() for name in stacked_names(network))
    learned = sum(numbers.numel() for numbers in all_style_vectors(network)[0].values())
    assert (own, learned) == (1472, 2339)  # In README, and in benchmarks/conditional_norms.py.
