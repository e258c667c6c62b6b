"""How a style or a mixture is written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stylize.errors import InputError
from stylize.style_mixtures import Part, is_onnx, names_a_file, parse_styles


def weights(text, known=()):
    return [(part.style, part.weight) for part in parse_styles(text, known)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("great-wave", [("great-wave", 1)]),
        ("great-wave:1", [("great-wave", 1)]),
        ("great-wave:0.6,starry-night:0.4", [("great-wave", 0.6), ("starry-night", 0.4)]),
        (" great-wave : 3 , starry-night ", [("great-wave", 3), ("starry-night", 1)]),
        ("a:.5,b:5.,c:1e-2,d:+2,e:0", [("a", 0.5), ("b", 5), ("c", 0.01), ("d", 2), ("e", 0)]),
        ("folder/my.safetensors:0.5,b", [("folder/my.safetensors", 0.5), ("b", 1)]),
        ("my.safetensors", [("my.safetensors", 1)]),
        ("C:\\x.safetensors", [("C:\\x.safetensors", 1)]),
        ("C:\\x.safetensors:0.5,D:/y.safetensors", [("C:\\x.safetensors", 0.5), ("D:/y.safetensors", 1)]),
        ("C:x.safetensors", [("C:x.safetensors", 1)]),
        ("C:x.onnx", [("C:x.onnx", 1)]),
    ],
)
def test_what_is_written(text, expected):
    assert weights(text) == expected


def test_a_name_may_hold_a_comma_or_a_colon():
    known = ("after Monet, 1872", "a:b", "0.5")
    assert weights("after Monet, 1872", known) == [("after Monet, 1872", 1)]
    assert weights("a:b", known) == [("a:b", 1)]
    assert weights("a:b,c", known) == [("a:b", 1), ("c", 1)]
    assert weights("a:b:0.5,c", known) == [("a:b", 0.5), ("c", 1)]


def test_an_existing_file_is_that_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a,b:0.5.safetensors").write_bytes(b"x")
    assert weights("a,b:0.5.safetensors") == [("a,b:0.5.safetensors", 1)]
    assert len(weights("a,c:0.5.safetensors")) == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a:0,b:0", "the weights of 'a:0,b:0' sum to zero; at least one must be above 0"),
        ("a:0", "gives a weight to a style alone.*--strength"),
        ("a:0.5", "gives a weight to a style alone.*--strength"),
        ("a:-0.5,b:1", "the weight -0.5 of style 'a' is negative; 0 or more is accepted"),
        ("a:nan,b", "the weight nan of style 'a' is not finite"),
        ("a:inf,b", "the weight inf of style 'a' is not finite"),
        ("a:-Infinity,b", "the weight -Infinity of style 'a' is negative"),
        ("a:1e999,b", "the weight 1e999 of style 'a' is not finite"),
        ("a:1e308,b:1e308", "are too large; only their ratio matters"),
        ("a:half,b", "the weight 'half' of style 'a' is no number; a mixture is written as"),
        ("a:60%,b:40%", "the weight '60%' of style 'a' is no number"),
        ("a:1_0,b", "the weight '1_0' of style 'a' is no number"),
        ("a:٣,b", "the weight '٣' of style 'a' is no number"),
        ("a:,b", "the weight '' of style 'a' is no number"),
        ("a,", "'a,' names no style in one of its parts"),
        (",", "names no style"),
        ("", "'' names no style"),
        ("a,,b", "names no style"),
        (":0.5,b", "names no style"),
    ],
)
def test_what_cannot_be(text, said):
    with pytest.raises(InputError, match=said) as caught:
        parse_styles(text)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=30))
def test_whatever_is_written_gives_parts_or_one_clear_error(text):
    try:
        parts = parse_styles(text)
    except InputError:
        return
    assert parts and all(part.style and part.weight >= 0 for part in parts)
    assert sum(part.weight for part in parts) > 0


@given(
    st.lists(
        st.tuples(st.from_regex(r"[a-z][a-z-]{0,10}", fullmatch=True), st.floats(0, 1e6, allow_subnormal=False)),
        min_size=2,
        max_size=5,
    ).filter(lambda parts: any(weight for _, weight in parts))
)
def test_what_is_written_is_read_back(parts):
    assert weights(",".join(f"{name}:{weight!r}" for name, weight in parts)) == parts


def test_names_and_files():
    assert Part("a/b").is_file and Part("a.SafeTensors").is_file and Part("a.onnx").is_file
    assert not Part("starry-night").is_file
    assert names_a_file("x.ONNX") and is_onnx("x.ONNX") and not is_onnx("onnx")
