"""What the tabs of the page do, without a browser and without Gradio."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import pytest
from PIL import Image

from stylize.config import ADAPTING
from stylize.errors import ImageError, InputError
from stylize.style_collections import read_style_file
from stylize.web import painting
from stylize.web.adapt_actions import AdaptActions, Stage
from stylize.web.adapting import Effort, adapting_config
from stylize.web.context import FULL_SIZE, LEARNING, PAINTING, Context
from stylize.web.line import Stopped, Wait
from stylize.web.norm_lesson import Change, NormLesson
from stylize.web.norm_tab import NormActions
from stylize.web.offers import Offers, style_title
from stylize.web.own_styles import OwnStyle
from stylize.web.painting import FINE_STROKES, SAME_STROKES, FullSize, paint_full_size
from stylize.web.painting_actions import Look, PaintingActions, choose, shares_of
from stylize.web.private_folder import PrivateFolder
from stylize.web.settings import Limits, Settings
from stylize.web.uploads import open_photo
from tests.helpers import save_photo, synthetic_image, tiny_collection, tiny_style_file

QUICK = Effort(5, 64)


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


@pytest.mark.parametrize(
    ("name", "title"),
    [("composition-vii", "Composition VII"), ("the-scream", "The Scream"), ("mine", "Mine"), ("", "")],
)
def test_titles_are_written_as_people_do(name, title):
    assert style_title(name) == title


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


def test_thumbnails_say_what_is_painted_by_the_network(context):
    thumbnails = context.offers.thumbnails()
    assert set(thumbnails) == {offer.name for offer in context.offers.all}
    assert {image.size for image, _ in thumbnails.values()} == {(160, 160)}
    assert thumbnails["first"][1] and not thumbnails["starry-night"][1]
    shown = {one["name"]: one for one in PaintingActions(context).thumbnails()}
    assert "painted by the network" in shown["first"]["hint"] and 'class="badge"' in shown["first"]["inner"]
    assert "badge" not in shown["starry-night"]["inner"]


def test_what_the_network_paints_for_a_thumbnail_differs_between_styles(context):
    first, second = (context.offers.thumbnails()[name][0] for name in ("first", "second"))
    assert first.tobytes() != second.tobytes()


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
    [shown] = actions.repaint("me", photo, Look(["first"], size=30))
    assert sizes(shown) == [(30, 20), (30, 20)]
    assert "My photo · First · instance norm · 30 × 20 px" in shown
    weights = (3, 1, 1, 1)
    [mixed] = actions.repaint("me", photo, Look(["first", "second"], True, "instance", 0.5, True, 30, weights))
    assert "75% First + 25% Second" in mixed
    assert "Drop a photo" in next(actions.repaint("me", None, Look(["first"])))


def test_whoever_comes_second_sees_the_place(context, photo):
    actions = PaintingActions(context)
    with context.place("them", PAINTING):
        steps = actions.repaint("me", photo, Look(["first"], size=30))
        assert "One user is before you" in next(steps).shown
    assert "My photo" in next(step for step in steps if not isinstance(step, Wait))


def test_a_refused_photo_is_not_kept_and_an_accepted_one_is_the_sessions(context):
    actions, folder = PaintingActions(context), context.folder
    bad, good = folder.new_folder() / "bad.jpg", folder.new_folder() / "good.png"
    bad.write_bytes(b"<html>")
    with pytest.raises(ImageError, match=r"bad\.jpg") as caught:
        list(actions.open("session", str(bad)))
    assert str(folder.path) not in str(caught.value) and not bad.exists()
    [photo] = actions.open("session", str(save_photo(good)))
    folder.left_seconds = 0
    folder.tidy()
    assert photo.path.exists()
    context.left("session")
    folder.tidy()
    assert not photo.path.exists()


def test_names_of_files_cannot_become_part_of_the_page(context, tmp_path):
    photo = open_photo(save_photo(tmp_path / "<img src=x onerror=alert(1)>.png", 20, 20), Limits())
    [shown] = PaintingActions(context).repaint("me", photo, Look(["first"], size=20))
    assert "<img src=x" not in shown and "&lt;img src=x" in shown.lower()


def test_another_norm_or_no_mixture_leaves_what_can_be_painted(context):
    actions = PaintingActions(context)
    assert actions.with_norm("me", ["first", "starry-night"], True, "batch") == (["starry-night"], False)
    assert actions.with_norm("me", ["first"], False, "batch")[0] == ["great-wave"]
    assert actions.with_mixing("me", ["starry-night"], True) == ["first"]
    assert actions.with_mixing("me", ["first", "second"], False) == ["second"]
    assert actions.clicked("me", "second", ["first"], True, "instance") == ["first", "second"]
    assert actions.clicked("me", "first", ["starry-night"], False, "batch") == ["starry-night"]


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


def kept_file(context, shown: str) -> Path:
    """Return the file behind the link of an answer."""
    return context.folder.published(re.search(r'href="kept/([^"]+)"', shown)[1])


def test_a_picture_that_needs_too_much_memory_is_refused_before(context, photo, tmp_path):
    stylizer = context.offers.stylizer({"first": 1.0}, strength=0.5)
    with pytest.raises(InputError, match="60 x 40 pixels need .* choose a smaller size"):
        paint_full_size(stylizer, photo, tmp_path, FullSize(None, SAME_STROKES, 30), Limits(), memory=50_000)
    assert list(tmp_path.iterdir()) == [photo.path]


def test_the_full_size_action_ends_with_a_file_to_download(context, photo):
    actions = PaintingActions(context)
    steps = list(actions.full_size("me", photo, Look(["first"], size=32), 0, SAME_STROKES))
    assert "<progress" in steps[0][0] and steps[0][1]
    shown, going = steps[-1]
    path = kept_file(context, shown)
    assert not going and path.name == "my-photo-first.jpg" and context.folder.holds(path)
    assert "Drop a photo first" in next(actions.full_size("me", None, Look(["first"]), 0, SAME_STROKES))[0]


def test_waiting_for_a_full_size_can_be_stopped(context, photo):
    with context.place("them", FULL_SIZE):
        steps = PaintingActions(context).full_size("me", photo, Look(["first"]), 0, SAME_STROKES)
        text, going = next(steps).shown
        assert "One user is before you" in text and going
        context.running.stop("me", FULL_SIZE)
        *_, (text, going) = steps
        assert "Stopped" in text and not going


def test_the_lesson_shows_pictures_first_and_numbers_after(context, photo):
    style = context.offers.with_both_norms()[0]
    steps = list(NormActions(context).compare("me", photo, style, Change(contrast=0.4)))
    assert len(steps) == 2
    assert "…" in steps[0][1] and "…" not in steps[1][1]
    assert re.search(r"style distance <b>\d\.\d{3}</b> <small>before: \d\.\d{3}", steps[1][2])
    assert steps[1][3].count("255") >= 1 and "times)" in steps[1][3]
    assert "Choose a photo" in list(NormActions(context).compare("me", None, style, Change()))[0][3]


@pytest.mark.parametrize("size", [(1, 1), (3, 200)])
def test_a_tiny_photo_is_measured_too(context, tmp_path, size):
    photo = open_photo(save_photo(tmp_path / "tiny.png", *size), Limits())
    style = context.offers.with_both_norms()[0]
    assert "style distance" in list(NormActions(context).compare("me", photo, style, Change(contrast=0.4)))[-1][1]
    assert "Tiny" in next(PaintingActions(context).repaint("me", photo, Look(["first"])))


@pytest.fixture
def photos(tmp_path):
    for number in range(4):
        save_photo(tmp_path / "photos" / f"{number}.png", 80, 70, seed=number)
    return tmp_path / "photos"


def uploaded(context, name="cloth.png", **settings) -> str:
    """Return a painting as the page stores it."""
    return str(save_photo(context.folder.new_folder() / name, 120, 100, seed=9, **settings))


def test_the_usual_effort_is_that_of_the_command_line(context, tmp_path):
    config = adapting_config(tmp_path / "x.png", context.offers.collection, tmp_path, Effort())
    assert {name: getattr(config, name) for name in ADAPTING} == ADAPTING
    assert config.style_size == 384
    with pytest.raises(InputError, match="1 steps given; 5 to 1000"):
        Effort(1)


def test_a_painting_is_learned_kept_and_mixed(context, photos):
    photo = open_photo(photos / "0.png", Limits())
    actions, first_tab = AdaptActions(context, photos), PaintingActions(context)
    [(shown, path)] = actions.painting("me", uploaded(context, "Second.png"))
    assert sizes(shown) == [(120, 100)]
    assert "Choose a painting first" in next(actions.learn("me", None, QUICK, photo)).text
    stages = list(actions.learn("me", path, QUICK, photo))
    assert stages[0].running and not stages[-1].running
    assert any("Step 5 of 5" in stage.text for stage in stages) and any(stage.picture for stage in stages[:-1])
    last = stages[-1]
    assert "Learned in" in last.text and "Style distance" in last.text and "painting" in last.picture
    # Its name is not that of another style, and its file is one that the command line reads.
    assert last.learned == "second-2"
    file = read_style_file(kept_file(context, last.text))
    assert file.name == "second-2" and file.digest == context.offers.collection.digest
    # It can be chosen and mixed, by this session alone.
    assert [one["name"] for one in first_tab.own_thumbnails("me")] == ["second-2"]
    [alone] = first_tab.repaint("me", photo, Look(["second-2"], size=40))
    [mixed] = first_tab.repaint("me", photo, Look(["first", "second-2"], True, size=40))
    [plain] = first_tab.repaint("me", photo, Look(["first"], size=40))
    assert "50% First + 50% Second 2" in mixed
    assert len({one.split("<figcaption>")[0] for one in (alone, mixed, plain)}) == 3
    with pytest.raises(InputError, match="there is no style 'second-2' here"):
        list(first_tab.repaint("them", photo, Look(["second-2"], size=40)))
    assert first_tab.own_thumbnails("them") == []


def test_one_name_in_two_sessions_is_two_styles(context, photo, tmp_path):
    collection = context.offers.collection.weights.path
    for seed, session in enumerate(("mine", "yours")):
        path = tiny_style_file(tmp_path / session / "cloth.safetensors", collection, seed=seed)
        context.own.add(session, OwnStyle(read_style_file(path), Image.new("RGB", (8, 8))))
    actions, look = PaintingActions(context), Look(["cloth"], size=40)
    first, second, again = (next(actions.repaint(session, photo, look)) for session in ("mine", "yours", "mine"))
    assert first.split("<figcaption>")[0] == again.split("<figcaption>")[0] != second.split("<figcaption>")[0]


def test_learning_is_stopped_in_the_middle_and_nothing_is_left(context, photos):
    actions, path = AdaptActions(context, photos), uploaded(context)
    before = set(context.folder.path.iterdir())
    learning = actions.learn("me", path, Effort(1000, 64), None)
    seen = []
    for stage in learning:
        seen.append(stage)
        if "Step " in stage.text:
            context.running.stop("me", LEARNING)
    assert "Stopped" in seen[-1].text and seen[-1].learned is None
    assert set(context.folder.path.iterdir()) == before
    assert not [one for one in threading.enumerate() if one.name.startswith("stylize-web-job")]


def test_whoever_leaves_while_learning_makes_way(context, photos):
    actions = AdaptActions(context, photos)
    learning = actions.learn("me", uploaded(context), Effort(1000, 64), None)
    next(stage for stage in learning if "Step " in stage.text)
    waiting = actions.learn("them", uploaded(context), QUICK, None)
    assert "One user is before you; the first is done in about" in next(waiting).shown.text
    learning.close()  # as where the browser is gone
    assert not [one for one in threading.enumerate() if one.name.startswith("stylize-web-job")]
    assert next(step for step in waiting if isinstance(step, Stage)).running
    waiting.close()


def test_a_painting_that_cannot_be_learned_leaves_nothing(context, photos):
    actions = AdaptActions(context, photos)
    path = context.folder.new_folder() / "bad.jpg"
    path.write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"bad\.jpg"):
        list(actions.painting("me", str(path)))
    assert not path.exists()
    before = set(context.folder.path.iterdir())
    with pytest.raises(ImageError, match="choose"):
        list(actions.learn("me", str(path), QUICK, None))
    assert set(context.folder.path.iterdir()) == before


def test_a_kept_style_file_is_brought_back(context, photo, tmp_path):
    actions, collection = AdaptActions(context), context.offers.collection.weights.path
    upload = tiny_style_file(context.folder.new_folder() / "lace.safetensors", collection)
    stage = actions.bring("bringer", str(upload), photo)
    assert stage.learned == "lace" and "Lace is now among the paintings" in stage.text and not upload.exists()
    [shown] = PaintingActions(context).repaint("bringer", photo, Look(["lace", "first"], True, size=30))
    assert "50% Lace + 50% First" in shown
    other = tiny_collection(tmp_path / "other.safetensors", seed=5)
    for name, made, said in (
        ("wave.safetensors", other, "made for another network"),
        ("first.safetensors", collection, "there is one here already"),
        ("photo.safetensors", collection, "kept for the photo|there is one here already|another network"),
    ):
        bad = tiny_style_file(context.folder.new_folder() / name, made)
        before = {path for path in context.folder.path.iterdir() if path != bad.parent}
        with pytest.raises(InputError, match=said) as caught:
            actions.bring("bringer", str(bad), photo)
        assert str(context.folder.path) not in str(caught.value)
        assert set(context.folder.path.iterdir()) == before
    junk = context.folder.new_folder() / "junk.safetensors"
    for content in (b"", b"no tensors at all", collection.read_bytes()):
        junk.parent.mkdir(exist_ok=True)
        junk.write_bytes(content)
        with pytest.raises(InputError, match="is no style file"):
            actions.bring("bringer", str(junk), photo)


def test_without_a_collection_nothing_can_be_learned(context, monkeypatch):
    monkeypatch.setattr(context.offers, "collection", None)
    with pytest.raises(InputError, match="start with --collection FILE"):
        next(AdaptActions(context).learn("me", "x.jpg", QUICK, None))
