"""Every shipped network: its picture, its header, and what its header claims."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from stylize.checkpoints import load_network
from stylize.config import PHOTO_STYLE
from stylize.evaluation import contrast_change, style_distance
from stylize.images import read_image, resize_short_side, to_image, to_tensor, write_image
from stylize.network_norms import batch_statistics
from stylize.resources import weights_directory
from stylize.style_collections import load_collection
from stylize.style_vectors import all_style_vectors, stacked_names
from stylize.stylizer import load
from stylize.transformer import TransformerNet
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


def apart(one: Image.Image, two: Image.Image) -> np.ndarray:
    """Return the mean difference of two pictures in grey levels for each style of a sheet, from left to right."""
    assert one.size == two.size
    difference = np.abs(np.asarray(one, dtype=float) - np.asarray(two, dtype=float))
    return difference.reshape(one.height, -1, golden.photo().width, 3).mean((0, 2, 3))


def expected(stem: str) -> Image.Image:
    """Return a golden picture."""
    return read_image(golden.FOLDER / f"{stem}.png")


def test_every_shipped_network_and_style_has_a_golden_picture():
    known = {path.stem for path in golden.FOLDER.glob("*.png")}
    assert known == {path.stem for path in weights_directory().glob("*.safetensors")} - {"vgg19"}
    for shipped in SHIPPED:
        assert expected(shipped.path.stem).size == golden.photo().size
    for collection in list_collections():
        size = golden.photo().size
        assert expected(collection.weights.path.stem).size == (size[0] * len(collection.names), size[1])


@EVERY
def test_golden_picture(shipped, tmp_path):
    painted = golden.picture(shipped.path)
    (difference,) = apart(painted, expected(shipped.path.stem))
    if difference >= golden.TOLERANCE:
        write_image(painted, tmp_path / "painted.png")
    assert difference < golden.TOLERANCE, f"compare {tmp_path / 'painted.png'} with {golden.FOLDER}"


def rounded(network: TransformerNet) -> None:
    """Round weights to the 8 bits of bfloat16, of the 11 that they have in their files."""
    for parameter in network.parameters():
        parameter.data = parameter.data.to(torch.bfloat16).to(torch.float32)


def zero_padded(features: torch.Tensor, padding: int) -> torch.Tensor:
    return torch.nn.functional.pad(features, (padding,) * 4)


@torch.no_grad()
def painted_by(network: TransformerNet, styles: int) -> Image.Image:
    """Return what a network makes of the photo in each of its styles, side by side."""
    photo = to_tensor(golden.photo())
    painted = [network(photo, torch.tensor([n])) if styles > 1 else network(photo) for n in range(styles)]
    return to_image(torch.cat(painted, dim=-1))


@pytest.mark.parametrize("path", sorted(golden.FOLDER.glob("*.png")), ids=lambda path: path.stem)
def test_golden_pictures_tell_changed_weights_and_changed_arithmetic(path, monkeypatch):
    """The tolerance is far above what is the same and far below what is not, for every style."""
    weights = weights_directory() / f"{path.stem}.safetensors"
    network, _ = load_network(weights)
    styles = network.config.styles
    assert apart(painted_by(network, styles), expected(path.stem)).max() < golden.TOLERANCE
    with monkeypatch.context() as patch:
        patch.setattr("stylize.transformer.reflected", zero_padded)
        assert apart(painted_by(network, styles), expected(path.stem)).min() > 100 * golden.TOLERANCE
    rounded(network)
    assert apart(painted_by(network, styles), expected(path.stem)).min() > 3 * golden.TOLERANCE


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
    painted, wanted = golden.sheet(collection), expected(collection.weights.path.stem)
    by_style = apart(painted, wanted)
    assert len(by_style) == len(collection.names) >= 17
    if by_style.max() >= golden.TOLERANCE:
        write_image(painted, tmp_path / "painted.png")
    assert by_style.max() < golden.TOLERANCE, f"compare {tmp_path / 'painted.png'} with {golden.FOLDER}: {by_style}"
    # No style passes for another: every two tiles of the sheet are far apart.
    width = golden.photo().width
    tiles = [wanted.crop((n * width, 0, (n + 1) * width, wanted.height)) for n in range(len(by_style))]
    assert min(apart(one, two)[0] for n, one in enumerate(tiles) for two in tiles[:n]) > 20 * golden.TOLERANCE


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
