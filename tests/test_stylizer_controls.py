"""Mixtures, strength, colours and masks of the object that repaints pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import stylize
from stylize import lightness_matching, zoo
from stylize.colour_preservation import lightness_statistics, match_lightness, preserve_colour
from stylize.controls import Controls
from stylize.errors import InputError, WeightsError
from stylize.images import to_image, to_tensor
from stylize.large_pictures import paint_large
from stylize.reduction import reduce
from stylize.style_choice import choose_style
from stylize.stylizer import Stylizer, load, load_styles
from tests.helpers import save_photo, synthetic_image, tiny_collection, tiny_style_file, tiny_weights

PLAIN = {"device": "cpu", "precision": "float32"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("controls")
    collection = tiny_collection(folder / "paintings-conditional-instance.safetensors")
    tiny_collection(folder / "faded.safetensors", ("first", "second"), seed=5)
    tiny_style_file(folder / "own.safetensors", collection)
    tiny_weights(folder / "alone.safetensors", "alone")
    return folder


@pytest.fixture(scope="module")
def first(folder):
    return load("first", collection=folder / "paintings-conditional-instance.safetensors", **PLAIN)


@pytest.fixture
def shipped(folder, monkeypatch):
    monkeypatch.setattr(zoo, "weights_directory", lambda: folder)
    return folder


def photo(seed=0, width=24, height=18):
    return to_tensor(synthetic_image(width, height, seed))


def close(one, other):
    return torch.allclose(one, other, atol=1e-5, rtol=0)


# -- what is loaded


def test_a_collection_stands_for_its_first_style(shipped, folder):
    for style in ("paintings", folder / "paintings-conditional-instance.safetensors"):
        loaded = load(style, **PLAIN)
        assert (loaded.style, loaded.norm, loaded.styles) == ("first", "instance", ("first", "second"))
    assert load(collection=str(folder / "faded.safetensors"), **PLAIN).style == "first"


def test_a_style_of_the_name_of_the_collection_comes_first(tmp_path, monkeypatch):
    tiny_collection(tmp_path / "paintings.safetensors", ("first", "paintings"))
    monkeypatch.setattr(zoo, "weights_directory", lambda: tmp_path)
    assert load("paintings", **PLAIN).style == "paintings"


def test_a_mixture_by_its_text_is_that_of_mix(shipped):
    text = load("first:3,second:1", strength=0.8, **PLAIN)
    mixed = load("paintings", strength=0.8, **PLAIN).mix({"first": 0.75, "second": 0.25})
    assert text.style == mixed.style == "first-75-second-25"
    assert text.strength == mixed.strength == 0.8
    assert torch.equal(text(photo()), mixed(photo()))
    assert mixed.weights.metadata["mixture"] == {"first": 0.75, "second": 0.25}


def test_a_style_file_and_a_mixture_with_it(folder):
    collection = folder / "paintings-conditional-instance.safetensors"
    own = load(folder / "own.safetensors", collection=collection, **PLAIN)
    assert (own.style, own.styles) == ("own", ("first", "second", "own"))
    mixed = load(f"{folder / 'own.safetensors'}:1,first:1", collection=collection, **PLAIN)
    assert torch.equal(own.mix({"own": 1, "first": 1})(photo()), mixed(photo()))


def test_several_styles_share_one_file(folder, monkeypatch):
    from stylize import palette

    read = []
    original = palette.load_collection
    monkeypatch.setattr(palette, "load_collection", lambda given: read.append(given) or original(given))
    path = folder / "paintings-conditional-instance.safetensors"
    chosen = [choose_style(name, collection=path) for name in ("second", "first")]
    chosen += [choose_style(folder / "own.safetensors"), choose_style(folder / "alone.safetensors")]
    loaded = list(load_styles(chosen, **PLAIN))
    assert [one.style for one in loaded] == ["second", "first", "own", "alone"]
    assert len(read) == 1
    alone = load(chosen[0], **PLAIN)
    assert torch.equal(alone(photo()), loaded[0](photo()))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"style": "frist"}, "did you mean 'first'"),
        ({"style": "first:0,second:0"}, "sum to zero"),
        ({"style": "first:-1,second:2"}, "negative"),
        ({"style": "first", "strength": 2}, r"a number from 0 to 1\.5"),
        ({"style": "first", "collection": "painting"}, "did you mean 'paintings'"),
        ({"style": "first", "collection": "alone.safetensors"}, "network of one style"),
        ({"style": "absent.safetensors"}, "not found"),
    ],
)
def test_what_cannot_be_loaded(shipped, monkeypatch, arguments, said):
    monkeypatch.chdir(shipped)
    with pytest.raises((InputError, WeightsError), match=said):
        load(**arguments)


def test_what_cannot_be_mixed(first, folder):
    with pytest.raises(InputError, match="'alone' is a network of one style, which cannot be mixed"):
        load(folder / "alone.safetensors", **PLAIN).mix({"alone": 1})
    with pytest.raises(InputError, match="did you mean 'second'"):
        first.mix({"first": 1, "secnd": 1})


def test_a_network_of_one_style_names_itself(folder):
    assert load(folder / "alone.safetensors", **PLAIN).styles == ("alone",)


# -- mixtures


def test_mix_of_one_style_is_that_style(first, folder):
    second = load("second", collection=folder / "paintings-conditional-instance.safetensors", **PLAIN)
    assert torch.equal(first.mix({"second": 7})(photo()), second(photo()))
    assert not close(first(photo()), second(photo()))
    assert first.mix({"second": 7}).engine.precision == "float32"


def test_the_order_of_a_mixture_makes_no_difference(first):
    one, other = first.mix({"first": 1, "second": 2}), first.mix({"second": 2, "first": 1})
    assert torch.equal(one(photo()), other(photo()))


# -- strength


@settings(max_examples=15, deadline=None)
@given(strength=st.floats(0, 1.5))
def test_strength_by_the_photo_style_is_what_it_says(first, strength):
    images = photo()
    moved = first.mix({"first": 1}, strength=strength)
    assert moved.strength_by == "photo style"
    with torch.no_grad():
        style, of_photo = moved._palette.take({"first": 1.0}, strength), moved._palette.take({"photo": 1.0})
        painted, lost = style(images).clamp(0, 1), images - of_photo(images).clamp(0, 1)
        expected = (painted + max(0.0, 1 - strength) * lost).clamp(0, 1)
    torch.testing.assert_close(moved(images), expected, atol=2e-5, rtol=0)


@settings(max_examples=15, deadline=None)
@given(strength=st.floats(0, 1.5))
def test_strength_without_a_photo_style_is_a_fade(folder, strength):
    images = photo()
    style = load("first", collection=folder / "faded.safetensors", **PLAIN)
    faded = style.with_strength(strength)
    assert (faded.strength_by, faded.strength) == ("fade", strength)
    expected = (images + strength * (style(images) - images)).clamp(0, 1)
    torch.testing.assert_close(faded(images), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["paintings-conditional-instance.safetensors", "faded.safetensors"])
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_strength_0_is_the_photo_and_1_is_the_style(folder, name, scale):
    image = synthetic_image(40, 30)
    style = load("first", collection=folder / name, device="cpu")
    assert style.with_strength(0)(image, scale=scale).tobytes() == image.tobytes()
    assert style.with_strength(1)(image, scale=scale).tobytes() == style(image, scale=scale).tobytes()
    assert style.with_strength(0.5).with_strength(1)(image).tobytes() == style(image).tobytes()


def test_a_given_tensor_is_not_the_result(first):
    images = photo()
    result = first.with_strength(0)(images)
    assert torch.equal(result, images) and result.data_ptr() != images.data_ptr()


def test_strength_in_a_description(first):
    assert "strength" not in repr(first)
    assert "strength=0.5" in repr(first.with_strength(0.5))
    with pytest.raises(InputError):
        first.with_strength(1.6)


# -- colours and masks


def matched(painted, images, small_painted, small):
    """Return a painting in the colours of its photo, by the statistics of a small copy of both."""
    match = match_lightness(lightness_statistics([small_painted]), lightness_statistics([small]))
    return preserve_colour(painted, images, match)


def test_colours_of_the_photo(first):
    images = photo()
    painted = first(images)
    expected = matched(painted, images, painted, images)
    assert torch.equal(first(images, preserve_colour=True), expected)
    assert not close(expected, preserve_colour(painted, images))


def test_the_lightness_of_a_large_photo_is_that_of_a_small_copy(first, monkeypatch):
    monkeypatch.setattr(lightness_matching, "COPY_EDGE", 12)
    images, stylizer = torch.cat([photo(1), photo(2)]), first.with_strength(0.7)
    result = stylizer(images, preserve_colour=True)
    for one in range(2):
        small = reduce(images[[one]], 9, 12)
        expected = matched(stylizer(images)[[one]], images[[one]], stylizer(small), small)
        assert close(result[[one]], expected)
        assert close(result[[one]], stylizer(images[[one]], preserve_colour=True))
    assert torch.equal(result, stylizer(images, preserve_colour=True))


@pytest.mark.parametrize("edge", [12, 512])
def test_a_dark_photo_stays_dark_in_a_light_style(first, monkeypatch, edge):
    monkeypatch.setattr(lightness_matching, "COPY_EDGE", edge)
    dark = 0.15 * photo()
    monkeypatch.setattr(first.engine, "paint", lambda images: 0.6 + images.clone())  # what is dark becomes light
    kept, painted = first(dark, preserve_colour=True), first(dark)
    here, without, there = (lightness_statistics([one]).mean for one in (kept, preserve_colour(painted, dark), dark))
    assert there < here < 0.7 * without
    assert here == pytest.approx((there + without) / 2, abs=0.02)


def test_each_style_of_a_mask_has_the_lightness_it_has_alone(first):
    images, second = photo(), first.mix({"second": 1})
    mask = torch.zeros(1, 1, 18, 24)
    mask[..., 12:] = 1
    both = first(images, mask=mask, second=second, preserve_colour=True)
    assert torch.equal(both[..., :12], second(images, preserve_colour=True)[..., :12])
    assert torch.equal(both[..., 12:], first(images, preserve_colour=True)[..., 12:])


def test_a_mask_and_a_second_style(first):
    images, second = photo(), first.mix({"second": 1})
    mask = torch.zeros(1, 1, 18, 24)
    mask[..., 12:] = 1
    masked = first(images, mask=mask)
    assert torch.equal(masked[..., :12], images[..., :12])
    assert torch.equal(masked[..., 12:], first(images)[..., 12:])
    both = first(images, mask=mask, second=second)
    assert torch.equal(both[..., :12], second(images)[..., :12])
    assert torch.equal(both[..., 12:], first(images)[..., 12:])
    with pytest.raises(InputError, match="a second style given without a mask"):
        first(images, second=second)


def test_each_style_of_a_mask_has_its_own_strength(first):
    images, mask = photo(), torch.zeros(1, 1, 18, 24)
    second = first.mix({"second": 1}, strength=0)
    assert torch.equal(first(images, mask=mask, second=second), images)


def test_a_mask_for_a_picture_that_lies_on_its_side_and_has_alpha(first):
    exif = Image.Exif()
    exif[0x0112] = 6
    image = synthetic_image(40, 30, mode="RGBA")
    image.info["exif"] = exif.tobytes()
    upright = image.transpose(Image.Transpose.ROTATE_270)
    mask = Image.new("L", (30, 40), 0)
    result = first(image, mask=mask, preserve_colour=True)
    assert result.size == (30, 40)
    assert result.tobytes() == upright.tobytes()
    with pytest.raises(InputError, match="lies on its side"):
        first(image, mask=Image.new("L", (40, 30)))


def test_paint_takes_the_controls_in_one_object(first):
    image = synthetic_image(40, 30)
    mask = Image.linear_gradient("L").resize((40, 30))
    together = first.paint(image, Controls(0.5, 2, True), mask)
    assert together.tobytes() == first(image, scale=0.5, passes=2, preserve_colour=True, mask=mask).tobytes()


def test_all_controls_twice_give_the_same(first):
    image, mask = synthetic_image(40, 30), Image.linear_gradient("L").resize((40, 30))
    stylizer = first.mix({"first": 1, "second": 1}, strength=0.7)
    pictures = [stylizer(image, mask=mask, preserve_colour=True, second=first).tobytes() for _ in range(2)]
    assert pictures[0] == pictures[1]


def test_the_photos_of_a_batch_do_not_influence_each_other(first):
    images = torch.cat([photo(0), photo(1)])
    stylizer = first.with_strength(0.5)
    mask = torch.rand(2, 1, 18, 24, generator=torch.Generator().manual_seed(0))
    together = stylizer(images, mask=mask, preserve_colour=True)
    apart = [stylizer(images[[n]], mask=mask[[n]], preserve_colour=True) for n in range(2)]
    assert close(together, torch.cat(apart))


# -- strips


@pytest.mark.parametrize(("strength", "edge"), [(0, 512), (0.6, 512), (1.4, 512), (1, 30), (0.6, 30)])
def test_strips_finish_pixels_as_the_whole_does(folder, tmp_path, monkeypatch, strength, edge):
    monkeypatch.setattr(lightness_matching, "COPY_EDGE", edge)
    source = save_photo(tmp_path / "a.png", 61, 83, mode="RGBA")
    stylizer = load("first", collection=folder / "faded.safetensors", strength=strength, **PLAIN)
    controls, mask = Controls(preserve_colour=True), Image.linear_gradient("L").resize((61, 83))
    whole = stylizer.paint(Image.open(source), controls, mask)
    from stylize.masks import open_mask

    def finishing(width, height):
        assert (width, height) == (61, 83)
        return stylizer.finishing(controls, open_mask(mask, (width, height)))

    paint_large(stylizer, source, tmp_path / "b.png", strip=8, finishing=finishing)
    with Image.open(tmp_path / "b.png") as painted:
        assert painted.mode == "RGBA"
        assert np.abs(np.asarray(painted, np.int16) - np.asarray(whole, np.int16)).max() <= 1


def test_strips_fade_by_themselves_and_refuse_a_strength_by_the_photo_style(folder, first, tmp_path):
    source = save_photo(tmp_path / "a.png", 30, 40)
    faded = load(folder / "alone.safetensors", strength=0.5, **PLAIN)
    paint_large(faded, source, tmp_path / "b.png", strip=8)
    with Image.open(tmp_path / "b.png") as painted:
        whole = np.asarray(faded(Image.open(source)), np.int16)
        assert np.abs(np.asarray(painted, np.int16) - whole).max() <= 1
    with pytest.raises(InputError, match=r"strength of 0\.5, which is made by the photo style, cannot .* strips"):
        paint_large(first.with_strength(0.5), source, tmp_path / "c.png", strip=8)
    assert not (tmp_path / "c.png").exists()
    for strength in (0, 1.3):
        moved = first.with_strength(strength)
        paint_large(moved, source, tmp_path / f"{strength}.png", strip=8)
        with Image.open(tmp_path / f"{strength}.png") as painted:
            whole = np.asarray(moved(Image.open(source)), np.int16)
            assert np.abs(np.asarray(painted, np.int16) - whole).max() <= 1


def test_the_public_names(first):
    assert isinstance(first, Stylizer) and stylize.Stylizer is Stylizer
    assert to_image(first(photo())).size == (24, 18)
