"""What the tabs of the page do, without a browser and without Gradio."""

from __future__ import annotations

import re

import pytest
from PIL import Image

from stylize.errors import InputError
from stylize.web import painting
from stylize.web.adapt_tab import AdaptActions
from stylize.web.adapting import EFFORTS
from stylize.web.context import Context
from stylize.web.norm_lesson import NormLesson
from stylize.web.norm_tab import NormActions
from stylize.web.offers import Offers
from stylize.web.painting import FINE_STROKES, SAME_STROKES, FullSize, Stopped, paint_full_size
from stylize.web.painting_tab import PaintingActions, choose, shares_of
from stylize.web.private_folder import PrivateFolder
from stylize.web.settings import Limits, Settings
from stylize.web.uploads import open_photo
from tests.helpers import save_photo, synthetic_image, tiny_collection


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    collection = tiny_collection(tmp_path_factory.mktemp("weights") / "tiny.safetensors")
    with PrivateFolder() as folder:
        settings = Settings(collection=collection, device="cpu", precision="float32")
        offers = Offers(settings)
        yield Context(settings, folder, offers, NormLesson(offers.with_both_norms(), offers.alone, "cpu"))


@pytest.fixture
def photo(tmp_path):
    return open_photo(save_photo(tmp_path / "my-photo.png", 60, 40), Limits())


def test_offers_are_those_of_the_collection_and_the_shipped_networks(context):
    names = [offer.name for offer in context.offers.all]
    assert names[:2] == ["first", "second"] and "photo" not in names
    assert context.offers.can_mix
    assert context.offers.named("first").mixable and context.offers.named("first").norms == ("instance",)
    for name in context.offers.with_both_norms():
        assert context.offers.named(name).norms == ("instance", "batch")
    with pytest.raises(InputError, match="there is no style 'x' here"):
        context.offers.named("x")


def test_without_a_collection_there_are_single_networks(monkeypatch):
    monkeypatch.setattr("stylize.zoo.list_collections", list)
    offers = Offers(Settings(device="cpu"))
    assert offers.collection is None and not offers.can_mix
    assert offers.first == "starry-night"


def test_without_any_network_it_says_so(monkeypatch):
    monkeypatch.setattr("stylize.zoo.list_collections", list)
    monkeypatch.setattr("stylize.zoo.list_weights", list)
    with pytest.raises(InputError, match="no network is shipped"):
        Offers(Settings())


def test_mixtures_are_kept_and_wrong_ones_refused(context):
    offers = context.offers
    mixed = offers.stylizer({"first": 0.5, "second": 0.5})
    assert mixed is offers.stylizer({"first": 1, "second": 1})
    assert mixed is not offers.stylizer({"first": 1, "second": 0.5})
    for shares, norm, said in (
        ({}, "instance", "no style chosen"),
        ({"first": 0.0}, "instance", "no style chosen"),
        ({"first": 1.0}, "batch", "no network with batch norm"),
    ):
        with pytest.raises(InputError, match=said):
            offers.stylizer(shares, norm)


def test_thumbnails_are_square_for_paintings_and_for_styles_without_one(context):
    thumbnails = context.offers.thumbnails()
    assert set(thumbnails) == {offer.name for offer in context.offers.all}
    assert {image.size for image in thumbnails.values()} == {(160, 160)}


def test_clicks_choose_one_or_several():
    assert choose(["a"], "b", False) == ["b"]
    assert choose(["a"], "b", True) == ["a", "b"]
    assert choose(["a", "b"], "a", True) == ["b"]
    assert choose(["a"], "a", True) == ["a"]
    assert choose(list("abcd"), "e", True) == list("bcde")
    assert shares_of(["a", "b"], False, [1, 1]) == {"b": 1}
    assert shares_of(["a", "b"], True, [1, 0.5, 1, 1]) == {"a": 1, "b": 0.5}
    assert shares_of([], True, [1]) == {}


def sizes(text):
    return [(int(w), int(h)) for w, h in re.findall(r'<img[^>]* width="(\d+)" height="(\d+)"', text)]


def test_a_repaint_shows_photo_and_painting(context, photo):
    actions = PaintingActions(context)
    shown = actions.repaint(photo, ["first"], False, "instance", 1.0, False, 30.0, 1, 1, 1, 1)
    assert sizes(shown) == [(30, 20), (30, 20)]
    assert "My photo · First · instance norm · 30 × 20 px" in shown
    mixed = actions.repaint(photo, ["first", "second"], True, "instance", 0.5, True, 30, 3, 1, 1, 1)
    assert "75% First + 25% Second" in mixed
    assert "Drop a photo" in actions.repaint(None, ["first"], False, "instance", 1.0, False, 30)


def test_names_of_files_cannot_become_part_of_the_page(context, tmp_path):
    photo = open_photo(save_photo(tmp_path / "<img src=x onerror=alert(1)>.png", 20, 20), Limits())
    shown = PaintingActions(context).repaint(photo, ["first"], False, "instance", 1.0, False, 20)
    assert "<img src=x" not in shown and "&lt;img src=x" in shown.lower()


@pytest.mark.parametrize("strokes", [SAME_STROKES, FINE_STROKES])
def test_the_picture_to_keep_is_as_large_as_the_photo(context, photo, tmp_path, strokes):
    stylizer = context.offers.stylizer({"first": 1.0})
    path = paint_full_size(stylizer, photo, tmp_path, FullSize(None, strokes, 30), Limits())
    assert path.name == "my-photo-first.jpg"
    with Image.open(path) as kept:
        assert kept.size == (60, 40)


def test_a_smaller_picture_to_keep_and_a_transparent_one(context, tmp_path):
    synthetic_image(60, 40, mode="RGBA").save(tmp_path / "clear.png")
    photo = open_photo(tmp_path / "clear.png", Limits())
    stylizer = context.offers.stylizer({"first": 1.0})
    path = paint_full_size(stylizer, photo, tmp_path, FullSize(30, FINE_STROKES, 512), Limits())
    with Image.open(path) as kept:
        assert (kept.size, kept.mode, path.suffix) == ((30, 20), "RGBA", ".png")


def test_a_large_picture_is_painted_in_strips_with_progress_and_can_be_stopped(context, photo, tmp_path, monkeypatch):
    monkeypatch.setattr(painting, "STRIPS_FROM", 100)
    stylizer = context.offers.stylizer({"first": 1.0})
    wanted, parts = FullSize(None, FINE_STROKES, 512), []
    path = paint_full_size(
        stylizer, photo, tmp_path, wanted, Limits(), on_part=lambda done, total: parts.append((done, total))
    )
    assert parts and parts[-1][0] == parts[-1][1]
    assert path.is_file()

    def stop(done, total):
        raise Stopped("stopped")

    (tmp_path / "second").mkdir()
    with pytest.raises(Stopped):
        paint_full_size(stylizer, photo, tmp_path / "second", wanted, Limits(), on_part=stop)
    assert list((tmp_path / "second").iterdir()) == []


def test_the_full_size_action_ends_with_a_file(context, photo):
    actions = PaintingActions(context)
    settings = ("instance", 1.0, False, 32, 0, SAME_STROKES, 1, 1, 1, 1)
    steps = list(actions.full_size("me", photo, ["first"], False, *settings))
    assert "<progress" in steps[0][0] and steps[0][1] is None
    assert steps[-1][1].is_file() and context.folder.holds(steps[-1][1])
    assert "Drop a photo first" in next(actions.full_size("me", None, ["first"], False, *settings))[0]


def test_the_lesson_shows_pictures_first_and_numbers_after(context, photo):
    style = context.offers.with_both_norms()[0]
    steps = list(NormActions(context).compare(photo, style, 0.4, 0.0, 1.0, "alone, as it is applied"))
    assert len(steps) == 2
    assert "…" in steps[0][1] and "…" not in steps[1][1]
    assert re.search(r"style distance <b>\d\.\d{3}</b>", steps[1][2])
    assert steps[1][3].count("255") >= 1
    assert "Choose a photo" in list(NormActions(context).compare(None, style, 1, 0, 1, "x"))[0][3]


def test_a_painting_is_learned_with_samples_and_stopped(context, tmp_path, monkeypatch):
    monkeypatch.setitem(EFFORTS, "quick look", {"steps": 2, "image_size": 64, "style_size": 64})
    photos = tmp_path / "photos"
    for number in range(4):
        save_photo(photos / f"{number}.png", 80, 70, seed=number)
    painting_path = save_photo(tmp_path / "cloth.png", 120, 100, seed=9)
    photo = open_photo(photos / "0.png", Limits())
    actions = AdaptActions(context, photos)
    assert sizes(actions.painting(str(painting_path))) == [(120, 100)]
    assert "Choose a painting first" in next(actions.learn("me", None, "quick look", photo)).text
    stages = list(actions.learn("me", str(painting_path), "quick look", photo))
    assert stages[0].running and not stages[-1].running
    assert "Learned in" in stages[-1].text and "Style distance" in stages[-1].text
    assert stages[-1].file.endswith("cloth.safetensors") and context.folder.holds(stages[-1].file)
    assert "painting" in stages[-1].picture

    monkeypatch.setitem(EFFORTS, "quick look", {"steps": 10_000, "image_size": 64, "style_size": 64})
    learning = actions.learn("me", str(painting_path), "quick look", photo)
    stages = [next(learning)]
    for stage in learning:
        stages.append(stage)
        context.running.stop("me")
    assert "Stopped" in stages[-1].text and stages[-1].file is None


def test_without_a_collection_nothing_can_be_learned(context, monkeypatch):
    monkeypatch.setattr(context.offers, "collection", None)
    with pytest.raises(InputError, match="start with --collection FILE"):
        next(AdaptActions(context).learn("me", "x.jpg", "quick look", None))
