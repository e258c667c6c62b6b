"""The painting's lightness with the photo's colour: Oklab, its gamut, strips, and matching of the lightness."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from stylize import colour_preservation
from stylize.colour_preservation import (
    LightnessMatch,
    LightnessStatistics,
    from_oklab,
    lightness_statistics,
    match_lightness,
    preserve_colour,
    to_oklab,
)
from stylize.errors import InputError


def pixel(*colour: float) -> Tensor:
    return torch.tensor(colour, dtype=torch.float32).view(1, 3, 1, 1)


def cube(levels: int = 13) -> Tensor:
    """Colours from everywhere in sRGB, its surface included, as a picture of one row."""
    steps = torch.linspace(0, 1, levels)
    return torch.cartesian_prod(steps, steps, steps).T.reshape(1, 3, 1, -1).contiguous()


def noise(height: int, width: int, seed: int, batch: int = 1) -> Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(seed))


def polar(picture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return lightness, chroma and hue in radians."""
    lightness, green_red, blue_yellow = to_oklab(picture)[0]
    return lightness, torch.hypot(green_red, blue_yellow), torch.atan2(blue_yellow, green_red)


def turned(first: Tensor, second: Tensor) -> Tensor:
    """Return the angles between hues."""
    return ((first - second + math.pi) % (2 * math.pi) - math.pi).abs()


@pytest.mark.parametrize(
    "colour, expected",
    [  # from the examples of CSS Color 4 and Ottosson's definition; the grey by hand: cube root of 0.21586
        ((1, 1, 1), (1, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((1, 0, 0), (0.62796, 0.22486, 0.12585)),
        ((0, 1, 0), (0.86644, -0.23389, 0.17950)),
        ((0, 0, 1), (0.45201, -0.03246, -0.31153)),
        ((128 / 255,) * 3, (0.59987, 0, 0)),
        ((5 / 255,) * 3, ((5 / 255 / 12.92) ** (1 / 3), 0, 0)),  # on the straight piece of the curve
    ],
)
def test_known_colours(colour, expected):
    torch.testing.assert_close(to_oklab(pixel(*colour)), pixel(*expected), atol=1e-4, rtol=0)
    # The published digits are rounded, which the steep beginning of the sRGB curve magnifies.
    torch.testing.assert_close(from_oklab(pixel(*expected)), pixel(*colour), atol=1e-2, rtol=0)


def test_round_trip():
    colours = cube(17)
    torch.testing.assert_close(from_oklab(to_oklab(colours)), colours, atol=1e-3, rtol=0)


def test_a_picture_with_its_own_colour_stays():
    picture = noise(9, 11, seed=0)
    torch.testing.assert_close(preserve_colour(picture, picture), picture, atol=5e-4, rtol=0)


def test_a_grey_photo_gives_grey_of_the_lightness_of_the_painting():
    painted, photo = cube(), cube().mean(1, keepdim=True).expand(1, 3, 1, -1)
    result = preserve_colour(painted, photo)
    assert float((result.amax(1) - result.amin(1)).max()) < 1e-3
    torch.testing.assert_close(polar(result)[0], polar(painted)[0], atol=1e-3, rtol=0)


def test_white_and_black_have_no_room_for_colour():
    for level in (0.0, 1.0):
        result = preserve_colour(torch.full_like(cube(), level), cube())
        torch.testing.assert_close(result, torch.full_like(result, level), atol=1e-3, rtol=0)


def test_by_hand_inside_of_the_gamut():
    """Where nothing is outside, lightness comes from one and both axes of colour from the other."""
    painted, photo = pixel(0.5, 0.5, 0.5), pixel(0.6, 0.5, 0.4)
    mixed = torch.cat([to_oklab(painted)[:, :1], to_oklab(photo)[:, 1:]], dim=1)
    result = to_oklab(preserve_colour(painted, photo))
    torch.testing.assert_close(result, mixed, atol=1e-4, rtol=0)


def every_pair(levels: int = 5) -> tuple[Tensor, Tensor]:
    colours = cube(levels)
    count = colours.shape[-1]
    return colours.repeat_interleave(count, dim=3), colours.repeat(1, 1, 1, count)


def test_lightness_and_hue_are_kept_and_chroma_only_falls():
    painted, photo = every_pair()
    lightness, chroma, hue = polar(preserve_colour(painted, photo))
    torch.testing.assert_close(lightness, polar(painted)[0], atol=4e-3, rtol=0)
    _, wanted, photo_hue = polar(photo)
    assert float((chroma - wanted).max()) < 2e-3
    coloured = chroma > 0.03
    assert coloured.float().mean() > 0.5
    assert float(turned(hue, photo_hue)[coloured].max()) < math.radians(1.5)


def test_no_more_chroma_is_lost_than_needed():
    """A little more chroma of the same lightness and hue would leave sRGB."""
    painted, photo = every_pair()
    result = to_oklab(preserve_colour(painted, photo))
    wanted = to_oklab(photo)
    reduced = torch.hypot(*result[0, 1:]) < 0.99 * torch.hypot(*wanted[0, 1:])
    reduced &= torch.hypot(*wanted[0, 1:]) > 0.02
    lightness = to_oklab(painted)[:, :1]
    reduced &= (lightness[0, 0] > 0.1) & (lightness[0, 0] < 0.98)
    assert 0.1 < reduced.float().mean() < 0.9
    # Written down here on its own: cubes of the roots, then the matrix back to linear light.
    more = torch.cat([lightness, result[:, 1:] * 1.02], dim=1).double()[0].flatten(1)
    to_roots = torch.tensor(colour_preservation._LAB, dtype=torch.double).inverse()
    to_light = torch.tensor(colour_preservation._CONES, dtype=torch.double).inverse()
    light = (to_light @ (to_roots @ more) ** 3).view(3, *reduced.shape)
    assert bool(((light.amin(0) < 0) | (light.amax(0) > 1))[reduced].all())


@pytest.mark.parametrize("colour", [(0, 0, 1), (0.05, 0.1, 0.95), (1, 0, 0), (0, 1, 0), (1, 0.5, 0)])
def test_a_ramp_of_lightness_has_no_jumps(colour):
    """Beside pure blue the gamut is bent inwards, where a search without tolerance jumps."""
    ramp = torch.linspace(0.02, 1, 2000).view(1, 1, 1, -1).expand(1, 3, 1, -1)
    chroma = polar(preserve_colour(ramp, pixel(*colour).expand(1, 3, 1, 2000)))[1]
    assert float(chroma.max()) > 0.1
    assert float(chroma.diff().abs().max()) < 0.004


levels = st.floats(0, 1, width=32)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(*[levels] * 6), min_size=1, max_size=8))
def test_any_colours(pairs):
    both = torch.tensor(pairs, dtype=torch.float32).T.reshape(6, 1, -1)
    painted, photo = both[None, :3], both[None, 3:]
    result = preserve_colour(painted, photo)
    assert bool(((result >= 0) & (result <= 1)).all())
    lightness, chroma, hue = polar(result)
    torch.testing.assert_close(lightness, polar(painted)[0], atol=5e-3, rtol=0)
    _, wanted, photo_hue = polar(photo)
    assert bool((chroma <= wanted + 3e-3).all())
    coloured = chroma > 0.05
    assert bool((turned(hue, photo_hue)[coloured] < 0.04).all())


def test_strips_and_batches_are_the_whole(monkeypatch):
    painted, photo = noise(23, 17, seed=1, batch=2), noise(23, 17, seed=2, batch=2)
    match = LightnessMatch(1.2, -0.1)
    whole = preserve_colour(painted, photo, match)
    cuts = [0, 1, 8, 23]
    strips = [preserve_colour(painted[:, :, a:b], photo[:, :, a:b], match) for a, b in itertools.pairwise(cuts)]
    torch.testing.assert_close(torch.cat(strips, dim=2), whole, atol=5e-4, rtol=0)
    for one in (0, 1):
        single = preserve_colour(painted[one : one + 1], photo[one : one + 1], match)
        torch.testing.assert_close(single, whole[one : one + 1], atol=5e-4, rtol=0)
    monkeypatch.setattr(colour_preservation, "CHUNK_PIXELS", 20)
    torch.testing.assert_close(preserve_colour(painted, photo, match), whole, atol=5e-4, rtol=0)
    other = LightnessMatch(0.8, 0.2)
    each = preserve_colour(painted, photo, [other, *[match] * (len(painted) - 1)])
    torch.testing.assert_close(each[1:], whole[1:], atol=5e-4, rtol=0)
    torch.testing.assert_close(each[:1], preserve_colour(painted[:1], photo[:1], other), atol=5e-4, rtol=0)


def test_the_work_is_done_in_pieces(monkeypatch):
    seen = []
    original = colour_preservation._rgb

    def spy(lightness: Tensor, colour: Tensor) -> Tensor:
        seen.append(lightness.numel())
        return original(lightness, colour)

    monkeypatch.setattr(colour_preservation, "_rgb", spy)
    monkeypatch.setattr(colour_preservation, "CHUNK_PIXELS", 100)
    preserve_colour(noise(40, 30, seed=1), noise(40, 30, seed=2))
    assert sum(seen) == 1200 and max(seen) <= 100


def test_inputs_are_left_and_other_layouts_accepted():
    painted, photo = noise(6, 5, seed=1), noise(6, 5, seed=2)
    copies = painted.clone(), photo.clone()
    plain = preserve_colour(painted, photo)
    assert torch.equal(painted, copies[0]) and torch.equal(photo, copies[1])
    last = preserve_colour(painted.to(memory_format=torch.channels_last), photo.requires_grad_())
    torch.testing.assert_close(last, plain, atol=1e-5, rtol=0)
    assert not last.requires_grad
    half = preserve_colour(painted.half(), photo.detach().half())
    assert half.dtype == torch.float16
    torch.testing.assert_close(half.float(), plain, atol=4e-3, rtol=0)
    beyond = preserve_colour(pixel(1.5, 1.5, 1.5), pixel(-0.2, 0.5, 0.5))
    torch.testing.assert_close(beyond, pixel(1, 1, 1), atol=1e-4, rtol=0)


def greys(*levels: float) -> Tensor:
    """Greys of the given Oklab lightnesses."""
    return from_oklab(torch.tensor([[[levels]], [[[0.0] * len(levels)]], [[[0.0] * len(levels)]]]).view(1, 3, 1, -1))


def test_statistics_by_hand_and_in_strips():
    found = lightness_statistics([greys(0.2, 0.4), greys(0.9)])
    assert found.mean == pytest.approx(0.5, abs=1e-4)
    assert found.deviation == pytest.approx(math.sqrt((0.09 + 0.01 + 0.16) / 3), abs=1e-4)
    picture = noise(31, 8, seed=3)
    whole, strips = lightness_statistics([picture]), lightness_statistics(picture.split(7, dim=2))
    assert strips.mean == pytest.approx(whole.mean) and strips.deviation == pytest.approx(whole.deviation)
    assert whole.deviation == pytest.approx(float(to_oklab(picture)[:, 0].std(correction=0)), rel=1e-4)


def test_a_match_brings_the_lightness_of_the_photo():
    painted, photo = greys(0.4, 0.6), greys(0.3, 0.36)
    here, there = lightness_statistics([painted]), lightness_statistics([photo])
    all_the_way = preserve_colour(painted, photo, match_lightness(here, LightnessStatistics(0.33, 0.06), 1.0))
    assert to_oklab(all_the_way)[0, 0].flatten().tolist() == pytest.approx([0.27, 0.39], abs=1e-3)
    half = match_lightness(here, LightnessStatistics(0.33, 0.08))
    assert half.gain == pytest.approx(math.sqrt(0.8), abs=1e-3)
    assert half.gain * 0.5 + half.offset == pytest.approx((0.5 + 0.33) / 2, abs=1e-3)
    none = match_lightness(here, there, 0.0)
    assert (none.gain, none.offset) == pytest.approx((1.0, 0.0))


def test_the_gain_of_a_match_is_limited():
    flat, wide = LightnessStatistics(0.5, 0.0), LightnessStatistics(0.4, 0.3)
    assert match_lightness(flat, wide, 1.0).gain == colour_preservation.GAIN_LIMIT
    assert match_lightness(wide, flat, 1.0).gain == 1 / colour_preservation.GAIN_LIMIT
    assert math.isfinite(match_lightness(flat, flat, 1.0).gain)


def test_bad_inputs():
    good = noise(4, 5, seed=0)
    for call, message in (
        (lambda: preserve_colour(good, noise(4, 6, seed=0)), r"\(1, 3, 4, 5\).*\(1, 3, 4, 6\).*same shape"),
        (lambda: preserve_colour(good[0], good), r"painting of shape \(3, 4, 5\)"),
        (lambda: preserve_colour(good, good[:, :1]), r"photo of shape \(1, 1, 4, 5\)"),
        (lambda: preserve_colour(good, (good * 255).byte()), "photo of uint8 given"),
        (lambda: preserve_colour(good, "photo.jpg"), "a str given as the photo"),
        (lambda: to_oklab(good[:, :, :0]), r"picture of shape \(1, 3, 0, 5\)"),
        (lambda: preserve_colour(good, good, [LightnessMatch()] * 2), "2 matches given for 1 paintings"),
        (lambda: lightness_statistics([]), "at least one strip"),
        (lambda: match_lightness(LightnessStatistics(0, 1), LightnessStatistics(0, 1), 1.5), "1.5 .* 0 to 1"),
    ):
        with pytest.raises(InputError, match=message):
            call()
