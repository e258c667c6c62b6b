"""The gallery: captions and mixtures by hand, pages that keep to their columns and limits, one whole run."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from benchmarks import catalogue, gallery
from benchmarks.catalogue import Caption, Line
from stylize.errors import InputError, StylizeError
from stylize.style_collections import read_collection
from stylize.zoo import sha256
from tests.helpers import save_photo, synthetic_image, tiny_collection

NAMES = ("first", "second", "third", "fourth", "photo")


def grey(value: int, size: tuple[int, int] = (64, 64)) -> Image.Image:
    return Image.new("RGB", size, (value, value, value))


# ----------------------------------------------------------------------------------------------------------- captions


def test_a_caption_says_what_is_known():
    whole = Caption.of("the-scream", {"title": "The Scream", "artist": "Edvard Munch", "year": 1893})
    assert str(whole) == "The Scream, Edvard Munch, 1893" and whole.byline == "Edvard Munch, 1893"
    assert str(Caption.of("my-cat", None)) == "my-cat"
    assert str(Caption.of("my-cat", {"title": "", "artist": None, "year": "1900"})) == "my-cat, 1900"


@settings(deadline=None, max_examples=50)
@given(st.text(alphabet=st.characters(codec="latin-1", exclude_categories=["C"]), max_size=80), st.integers(40, 300))
def test_text_stays_in_its_column(text, width):
    face, lines = catalogue.fitted_text(text, "italic", 24, width, 3)
    assert len(lines) <= 3
    assert all(face.getlength(line) <= width for line in lines)


def test_text_that_fits_is_set_as_it_is_and_other_text_gets_smaller_then_shorter():
    assert catalogue.fitted_text("Poppies", "italic", 24, 200, 1) == (catalogue.font("italic", 24), ["Poppies"])
    long = "Viewing Sunset over the Bridge"
    face, lines = catalogue.fitted_text(long, "italic", 24, catalogue.font("italic", 20).getlength(long) + 1, 1)
    assert lines == [long] and face.size == 20
    _, lines = catalogue.fitted_text(long, "italic", 24, 60, 2)
    assert lines[-1].endswith("...") and long.startswith(lines[0])


@pytest.mark.parametrize("face", catalogue.FACES)
def test_no_letter_is_cut_off(face):
    text = "\u00c9gypt, jqf"
    block = catalogue.set_lines([Line(text, face, 24)], 300).getchannel("A")
    free = Image.new("L", (400, 100))
    ImageDraw.Draw(free).text((50, 50), text, fill=255, font=catalogue.font(face, 24), anchor="ls")
    (left, upper, right, lower), whole = block.getbbox(), free.getbbox()
    assert abs((right - left) - (whole[2] - whole[0])) <= 1 and lower - upper == whole[3] - whole[1]


def test_a_line_on_the_right_ends_there():
    boxes = [
        catalogue.set_lines([Line("Hn", "roman", 20)], 200, align).getchannel("A").getbbox()
        for align in ("left", "right")
    ]
    assert boxes[0][0] <= 2 and boxes[1][2] >= 197


# -------------------------------------------------------------------------------------------------------------- pages


@pytest.mark.parametrize("painting", [None, grey(7, (90, 30)), grey(7, (30, 90))])
def test_every_row_has_its_pictures_in_the_same_places(painting):
    page = catalogue.row(Caption("a", "A Title of Several Words"), painting, [grey(v) for v in (10, 90, 200)])
    assert page.size == (1200, 348)
    for left, value in zip((252, 568, 876), (10, 90, 200), strict=True):
        assert page.getpixel((left + 5, 30)) == page.getpixel((left + 280, 320)) == (value,) * 3
    # The painting itself is there only where it may be shown.
    assert (page.getpixel((26, 26)) == (7, 7, 7)) == (painting is not None)


def test_a_row_shows_the_middle_of_a_wide_picture():
    wide = Image.new("RGB", (90, 30), (255, 0, 0))
    wide.paste((0, 0, 255), (30, 0, 60, 30))
    page = catalogue.row(Caption("a", "A"), None, [wide, grey(1), grey(2)])
    assert page.getpixel((300, 100)) == page.getpixel((450, 300)) == (0, 0, 255)


def test_heads_stand_above_the_pictures():
    pictures = [grey(v) for v in (10, 20, 30, 40)]
    plain = catalogue.row(Caption("a", "A"), None, pictures)
    headed = catalogue.row(Caption("a", "A"), None, pictures, ["one", "two", "three", "four"])
    assert headed.width == plain.width and headed.height > plain.height
    assert catalogue.joined([headed, plain]).height == headed.height + plain.height - catalogue.MARGIN


@pytest.mark.parametrize(
    ("count", "columns"), [(1, 1), (3, 3), (4, 4), (5, 5), (10, 5), (16, 4), (14, 5), (18, 4), (19, 4)]
)
def test_columns_leave_few_places_empty(count, columns):
    assert catalogue.columns_for(count) == columns


def test_a_file_keeps_to_its_limit(tmp_path):
    page = synthetic_image(300, 300)
    catalogue.save(page, tmp_path / "free.jpg", 10**7)
    free = (tmp_path / "free.jpg").stat().st_size
    catalogue.save(page, tmp_path / "tight.jpg", int(0.8 * free))
    assert (tmp_path / "tight.jpg").stat().st_size <= 0.8 * free
    with pytest.raises(StylizeError, match="does not fit"):
        catalogue.save(page, tmp_path / "none.jpg", 100)
    assert not (tmp_path / "none.jpg").exists()


# ----------------------------------------------------------------------------------------------------------- mixtures


def test_the_square_has_its_styles_in_the_corners_and_all_of_them_in_the_middle():
    names = ("a", "b", "c", "d")
    corners = [gallery.square_shares(names, line, column) for line in (0, 1) for column in (0, 1)]
    assert [{name for name, share in one.items() if share} for one in corners] == [{"a"}, {"b"}, {"c"}, {"d"}]
    assert gallery.square_shares(names, 0.5, 0.5) == dict.fromkeys(names, 0.25)
    assert gallery.square_shares(names, 0.25, 0) == {"a": 0.75, "b": 0, "c": 0.25, "d": 0}
    assert gallery.square_shares(("a", "b", "a", "b"), 0, 0.25) == {"a": 0.75, "b": 0.25}


@settings(deadline=None)
@given(st.floats(0, 1), st.floats(0, 1))
def test_shares_of_the_square_are_those_of_one_picture(line, column):
    shares = gallery.square_shares(("a", "b", "c", "a"), line, column).values()
    assert sum(shares) == pytest.approx(1) and min(shares) >= 0


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gallery")
    paintings = [save_photo(folder / "paintings" / f"{name}.png", 50, 40, seed) for seed, name in enumerate(NAMES[:2])]
    facts = [{"title": f"No. {number}", "sha256": sha256(path)} for number, path in enumerate(paintings)]
    path = tiny_collection(folder / "tiny.safetensors", NAMES)
    styles = read_collection(path).weights.metadata["styles"]
    for style, fact in zip(styles, facts, strict=False):
        style["painting"] = fact
    styles[-1]["painting"] = None
    return tiny_collection(path, NAMES, styles=styles)


def test_usual_styles_are_taken_as_far_as_there_are_such(collection):
    found = read_collection(collection)
    assert gallery.chosen(found, None, ("third", "unknown")) == ["third", "first"]
    assert gallery.chosen(found, ["photo", "first"], ("third",)) == ["photo", "first"]
    with pytest.raises(InputError, match="did you mean 'first'"):
        gallery.chosen(found, ["frist"], ("third",))
    with pytest.raises(InputError, match="6 or more"):
        gallery.chosen(found, None, tuple("abcdef"))


@pytest.fixture(scope="module")
def made(collection, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gallery, "PAINTED", 32)
        patch.setattr(gallery, "OVERVIEW_PAINTED", 40)
        options = ["--collection", collection, "--gallery", folder / "gallery", "--output", folder]
        options = [*map(str, options), "--paintings", str(collection.parent / "paintings")]
        patch.setattr("sys.argv", ["benchmarks/gallery.py", *options])
        gallery.main(options)
        before = {path.name: path.read_bytes() for path in sorted(folder.rglob("*.*"))}
        gallery.main(options)
    assert before == {path.name: path.read_bytes() for path in sorted(folder.rglob("*.*"))}
    return folder


def test_the_gallery_has_a_row_for_every_painting(made, collection):
    rows = {path.stem for path in (made / "gallery").glob("*.jpg")}
    assert rows == {"photos", "first", "second", "third", "fourth"}
    text = (made / "gallery" / "README.md").read_text(encoding="utf-8")
    assert "| [`first`](#first) | No. 0 | - | - |" in text
    assert "2 of the paintings are named only" in text
    assert sha256(collection) in text and str(made) not in text
    for path in (made / "gallery").glob("*.jpg"):
        with Image.open(path) as picture:
            assert picture.width == 1200 and path.stat().st_size <= gallery.ROW_LIMIT
    for name in ("paintings.jpg", "mixing.jpg"):
        assert (made / name).stat().st_size <= gallery.PAGE_LIMIT


def test_a_gallery_of_another_collection_is_noticed(made, collection, tmp_path):
    gallery.main(["--collection", str(collection), "--gallery", str(made / "gallery"), "--check"])
    other = tiny_collection(tmp_path / "other.safetensors", NAMES, seed=5)
    with pytest.raises(InputError, match="another collection"):
        gallery.main(["--collection", str(other), "--gallery", str(made / "gallery"), "--check"])
    with pytest.raises(InputError, match="README"):
        gallery.main(["--collection", str(collection), "--gallery", str(tmp_path), "--check"])


def test_rows_of_styles_that_are_gone_are_removed_and_nothing_else(tmp_path):
    for name in ("kept.jpg", "gone.jpg", "mine.jpg"):
        save_photo(tmp_path / name)
    (tmp_path / "README.md").write_text("![a](kept.jpg)\n![b, c](gone.jpg)\n[mine](mine.jpg)\n", encoding="utf-8")
    gallery.remove_stale(tmp_path, ["kept.jpg"])
    assert {path.name for path in tmp_path.glob("*.jpg")} == {"kept.jpg", "mine.jpg"}


def test_bad_input_is_refused(collection, tmp_path):
    with pytest.raises(InputError, match="is no folder"):
        gallery.main(["--collection", str(collection), "--paintings", str(tmp_path / "nowhere")])
    with pytest.raises(InputError, match="example photo"):
        gallery.main(["--collection", str(collection), "--photo", "hawa-mehal"])
    assert json.dumps([path.name for path in tmp_path.iterdir()]) == "[]"
