"""A collection that is loaded once."""

from __future__ import annotations

import pytest
import torch

from stylize import palette as palettes
from stylize.errors import InputError
from stylize.palette import Palette
from stylize.style_collections import load_mixture, read_collection, read_style_file
from tests.helpers import tiny_collection, tiny_style_file


@pytest.fixture(scope="module", params=[False, True], ids=["shared output", "own output"])
def files(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("palette")
    collection = tiny_collection(folder / "tiny.safetensors", own_output=request.param)
    return read_collection(collection), read_style_file(tiny_style_file(folder / "own.safetensors", collection))


def same(network, other):
    mine, theirs = network.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.allclose(mine[key], theirs[key], atol=1e-6) for key in mine)


@pytest.mark.parametrize("shares", [{"first": 1.0}, {"first": 0.25, "own": 0.75}, {"second": 0.5, "photo": 0.5}])
def test_what_is_taken_out_is_what_the_file_gives(files, shares):
    collection, style = files
    network = Palette(collection, [style]).take(shares)
    assert network.config == collection.weights.architecture.of_one_style and not network.config.own_output
    assert same(network, load_mixture(collection, shares, [style])[0])
    assert network.config.norm == "instance" and not network.training


def test_strength_moves_the_numbers_from_the_photo_style(files):
    collection, style = files
    palette = Palette(collection, [style])
    expected, _ = load_mixture(collection, {"own": 0.5, "photo": 0.5}, [style])
    assert same(palette.take({"own": 1.0}, 0.5), expected)
    beyond, _ = load_mixture(collection, {"first": 1.5, "photo": -0.5})
    assert same(palette.take({"first": 1.0}, 1.5), beyond)
    assert same(palette.take({"first": 1.0}, 0.0), palette.take({"photo": 1.0}))
    half = palette.take({"first": 0.5, "photo": 0.5}, 0.5)
    assert same(half, load_mixture(collection, {"first": 0.25, "photo": 0.75})[0])


def test_the_file_is_read_once(files, monkeypatch):
    collection, style = files
    palette = Palette(collection)
    monkeypatch.setattr(palettes, "load_collection", lambda given: pytest.fail("read again"))
    palette.take({"first": 1.0})
    assert palette.with_additions([style]).names == ("first", "second", "own")
    assert palette.names == ("first", "second")


def test_a_style_file_with_the_name_of_a_style_changes_no_other_palette(files, tmp_path):
    collection, _ = files
    path = tiny_style_file(tmp_path / "first.safetensors", collection.weights.path)
    palette = Palette(collection)
    other = palette.with_additions([read_style_file(path)])
    assert other.names == ("first", "second")
    assert not same(other.take({"first": 1.0}), palette.take({"first": 1.0}))
    assert same(palette.take({"first": 1.0}), load_mixture(collection, {"first": 1.0})[0])
    assert same(other.with_additions([]).take({"first": 1.0}), palette.take({"first": 1.0}))


def test_choose_divides_by_the_sum_and_leaves_out_what_has_no_share(files):
    collection, style = files
    palette = Palette(collection, [style])
    chosen = palette.choose({"first": 3, "second": 0, "own": 1})
    assert chosen.shares == {"first": 0.75, "own": 0.25}
    assert chosen.name == "first-75-own-25"
    assert chosen.additions == (style,)
    assert palette.choose({"photo": 2}).shares == {"photo": 1}


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ({}, "more than zero, and none is given"),
        ({"first": 0, "second": 0.0}, "more than zero, and they sum to 0"),
        ({"frist": 1}, "did you mean 'first'"),
        ({"first": -1, "second": 2}, "a share of -1 given for style 'first'"),
        ({"first": float("nan")}, "a share of nan"),
        ({"first": float("inf")}, "a share of inf"),
        ({"first": "1"}, "a share of '1'"),
    ],
)
def test_mixtures_that_there_are_not(files, shares, said):
    with pytest.raises(InputError, match=said):
        Palette(files[0]).choose(shares)
