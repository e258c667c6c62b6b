"""Every shipped network: its picture, its header, and what its header claims."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stylize.evaluation import contrast_change, style_distance
from stylize.images import read_image, resize_short_side, to_tensor, write_image
from stylize.norms import batch_statistics
from stylize.stylizer import load
from stylize.vgg import load_loss_network
from stylize.zoo import list_weights, painting_of
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
