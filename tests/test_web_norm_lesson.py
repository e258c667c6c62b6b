"""The lesson: instance norm does not see what batch norm sees, and the sentence says what the numbers say."""

from __future__ import annotations

import pytest
import torch

from stylize.errors import InputError
from stylize.evaluation import style_distance
from stylize.images import read_image, resize_long_edge, to_tensor
from stylize.paintings import load_painting
from stylize.stylizer import load
from stylize.web.norm_lesson import (
    ALONE,
    BRIGHT,
    DARK,
    LESSON_EDGE,
    SCENES,
    Change,
    Distances,
    NormLesson,
    Painted,
    finding,
    measured_finding,
)
from stylize.web.offers import EXAMPLE_PHOTO
from stylize.zoo import example_photos, painting_path
from tests.helpers import synthetic_image, tiny_weights

STYLE = "starry-night"


@pytest.fixture(scope="module")
def lesson(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    made = {
        norm: load(tiny_weights(folder / f"{norm}.safetensors", STYLE, norm), device="cpu")
        for norm in ("instance", "batch")
    }
    lesson = NormLesson([STYLE], lambda style, norm: made[norm], "cpu")
    lesson._dtype = torch.float32
    return lesson


@pytest.fixture(scope="module")
def photo():
    return synthetic_image(64, 48)


@pytest.mark.parametrize(
    "change",
    [Change(contrast=0.5), Change(brightness=0.3), Change(1.5, -0.2), Change(mates=DARK), Change(mates=BRIGHT)],
)
def test_a_linear_change_moves_batch_norm_alone(lesson, photo, change):
    painted = lesson.paint(photo, STYLE, change)
    assert 255 * painted.moved["instance"] < 0.5
    assert painted.moved["batch"] > 4 * painted.moved["instance"] + 0.5 / 255


def test_gamma_moves_both(lesson, photo):
    painted = lesson.paint(photo, STYLE, Change(gamma=3))
    assert min(painted.moved.values()) > 0
    assert not Change(gamma=3).linear and Change(contrast=2).linear


def test_no_change_moves_nothing_and_the_networks_are_as_before(lesson, photo):
    before = lesson.paint(photo, STYLE, Change()).paintings["batch"]
    lesson.paint(photo, STYLE, Change(mates=DARK))
    again = lesson.paint(photo, STYLE, Change())
    assert max(again.moved.values()) < 1e-5
    assert torch.allclose(again.paintings["batch"], before, atol=1e-5)
    assert "Move a slider" in finding(Change(), again)


def test_the_pictures_fit_on_a_screen(lesson, photo):
    painted = lesson.paint(photo, STYLE, Change(brightness=0.5))
    assert float(painted.changed.max()) > 1
    assert {name: image.size for name, image in painted.pictures().items()} == dict.fromkeys(
        ("photo", "instance", "batch"), (64, 48)
    )


def test_the_distance_is_that_of_the_evaluation(lesson, photo):
    images = {"instance": to_tensor(photo), "batch": 0.5 * to_tensor(photo)}
    measured = lesson.distances(STYLE, images)
    painting = load_painting(painting_path(STYLE), 384)
    expected = style_distance(torch.cat(list(images.values())), painting)
    assert list(measured.values()) == pytest.approx(expected.tolist(), rel=1e-3)


def test_measuring_compares_with_the_photo_as_it_is(lesson, photo):
    painted = lesson.paint(photo, STYLE, Change(contrast=0.3))
    measured = lesson.measure(photo, STYLE, painted)
    plain = lesson.paint(photo, STYLE, Change())
    assert measured.before == pytest.approx(lesson.distances(STYLE, plain.paintings), rel=1e-3)
    assert measured.photo == pytest.approx(lesson.distances(STYLE, {"photo": to_tensor(photo)})["photo"], rel=1e-3)
    assert measured.now["instance"] == pytest.approx(measured.before["instance"], rel=0.01)
    assert abs(measured.now["batch"] / measured.before["batch"] - 1) > 0.003
    assert lesson.measure(photo, STYLE, plain).now == pytest.approx(measured.before, rel=1e-3)


@pytest.mark.parametrize("style", ["starry-night", "great-wave"])
def test_the_shipped_batch_norm_falls_apart_and_instance_norm_does_not(style):
    """What the page shows a class, by numbers: of the shipped networks, on the photo it begins with."""
    networks = {norm: load(style, norm, device="cpu") for norm in ("instance", "batch")}
    lesson = NormLesson([style], lambda name, norm: networks[norm], "cpu")
    path = next(path for path in example_photos() if path.stem == EXAMPLE_PHOTO)
    photo = resize_long_edge(read_image(path), LESSON_EDGE)
    for name, change in SCENES.items():
        painted = lesson.paint(photo, style, change)
        assert 255 * painted.moved["batch"] > 10, name
        if change.linear:
            measured = lesson.measure(photo, style, painted)
            assert 255 * painted.moved["instance"] < 2, name
            assert measured.now["instance"] == pytest.approx(measured.before["instance"], rel=0.03), name
            assert measured.now["batch"] > 1.2 * measured.before["batch"], name
            assert measured.before["instance"] < measured.before["batch"] < 0.2 * measured.photo
        else:
            assert 255 * painted.moved["instance"] > 5, name


def test_the_sentence_about_distances_follows_the_numbers():
    measured = Distances({"instance": 0.05, "batch": 0.4}, {"instance": 0.05, "batch": 0.1}, 0.9)
    said = measured_finding(Change(contrast=0.5), measured)
    assert "instance norm 0.050 → 0.050 (1.0 times)" in said and "batch norm 0.100 → 0.400 (4.0 times)" in said
    assert "0.900" in said and measured_finding(Change(), measured) == ""


def test_the_sentence_follows_the_numbers():
    def said(change, instance, batch):
        return finding(change, Painted(torch.zeros(1), {}, {"instance": instance / 255, "batch": batch / 255}))

    assert "changed with batch norm by 20.0" in said(Change(contrast=0.5), 0.1, 20)
    assert "changed with instance norm by 9.0 of" in said(Change(contrast=0.5), 9, 0.1)
    assert "changed" not in said(Change(contrast=0.5), 0.1, 0.1)
    assert "stayed" not in said(Change(gamma=2), 5, 5) and "no linear change" in said(Change(gamma=2), 5, 5)


@pytest.mark.parametrize("wrong", [{"mates": "x"}, {"contrast": -1}, {"gamma": 0}, {"brightness": float("nan")}])
def test_changes_out_of_range_are_refused(wrong):
    with pytest.raises(InputError, match="accepted"):
        Change(**wrong)


def test_a_style_without_a_pair_is_refused(lesson, photo):
    with pytest.raises(InputError, match="'poppies' has no pair of networks"):
        lesson.paint(photo, "poppies", Change(mates=ALONE))
