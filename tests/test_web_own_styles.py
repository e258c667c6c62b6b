"""Styles of a session's own: names, and who sees them."""

from __future__ import annotations

import pytest
from PIL import Image

from stylize.style_collections import read_style_file
from stylize.web.own_styles import OwnStyle, OwnStyles, free_name
from tests.helpers import tiny_collection, tiny_style_file


@pytest.mark.parametrize(
    ("wanted", "taken", "name"),
    [
        ("Starry Night", (), "starry-night"),
        ("starry_night", ("starry-night",), "starry-night-2"),
        ("a", ("a", "a-2"), "a-3"),
        ("  ..//<b>", (), "b"),
        ("", (), "my-painting"),
        ("富士山", (), "富士山"),
        ("x" * 90, (), "x" * 40),
    ],
)
def test_names_are_written_as_here_and_not_taken(wanted, taken, name):
    assert free_name(wanted, taken) == name


def test_no_session_sees_the_styles_of_another(tmp_path):
    collection = tiny_collection(tmp_path / "tiny.safetensors")
    files = [read_style_file(tiny_style_file(tmp_path / f"{name}.safetensors", collection)) for name in "ab"]
    styles = [OwnStyle(file, Image.new("RGB", (4, 4))) for file in files]
    own = OwnStyles()
    own.add("me", styles[0])
    own.add("them", styles[1])
    own.add("them", styles[1])
    assert own.of("me") == (styles[0],) and own.of("them") == (styles[1],) and own.of("nobody") == ()
    files[0].path.unlink()
    assert own.of("me") == ()
