"""The HTML page: what is on it, in which order, and that nothing of it comes from elsewhere."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from stylize.comparison.report import (
    Figure,
    Picture,
    PictureRow,
    Reference,
    Report,
    Section,
    Slider,
    Table,
)
from stylize.comparison.report_html import encode_picture, render, write_report
from stylize.errors import InputError, OutputError
from tests.helpers import synthetic_image

SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="72pt" height="36pt"><path d="M0 0"/></svg>'
VOID = {"meta", "link", "img", "input", "br", "hr"}
EVIL = "<script>alert('1')</script> & \"two\""


class Page(HTMLParser):
    """The elements of a page, after checking that every one is closed where it was opened."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip() and self.open[-1] not in ("style", "script"):
            self.words.append(data.strip())

    def all(self, tag: str) -> Iterator[dict[str, str]]:
        return (attributes for name, attributes in self.elements if name == tag)

    @property
    def text(self) -> str:
        return " ".join(self.words)


def picture(caption: str = "a photo", seed: int = 0) -> Picture:
    return Picture(caption, synthetic_image(32, 24, seed))


def full_report() -> Report:
    blocks = [
        "A paragraph.",
        Figure(SVG, "The finding of the figure.", "The figure in words."),
        PictureRow([picture("first"), picture(EVIL, 1)]),
        picture("alone", 2),
        Slider("slide", picture("before it", 3), picture("after it", 4)),
        Table(["norm", "distance"], [["instance", 0.041712], [EVIL, None]], numeric=[1], caption="numbers"),
    ]
    return Report(
        title="A report",
        verdict=["Instance norm is better.", "By a factor of 3."],
        not_reproduced=["One claim did not hold."],
        sections=[
            Section("contrast", "Contrast", "Does it change?", "It does not.", blocks, ["Few photos."]),
            Section("cost", "Cost", "What does it cost?", "Little."),
        ],
        facts={"Command": f"stylize compare '{EVIL}'", "Seed": "0"},
        files=["numbers.json", "a b#c.csv"],
        references=[Reference("A paper", "https://arxiv.org/abs/1607.08022")],
    )


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(render(full_report()))


def test_the_verdict_comes_first_then_the_contents_the_sections_and_how_it_was_made(page):
    order = [
        "A report",
        "Instance norm is better.",
        "By a factor of 3.",
        "One claim did not hold.",
        "Contents",
        "Does it change?",
        "It does not.",
        "A paragraph.",
        "The finding of the figure.",
        "alone",
        "numbers",
        "Few photos.",
        "What does it cost?",
        "Little.",
        "How this was made",
        "numbers.json",
        "A paper",
    ]
    body = page.words[page.words.index("A report", 1) :]
    places, start = [], 0
    for words in order:
        start = body.index(words, start)
        places.append(start)
    assert places == sorted(places)


def test_the_page_is_well_formed_and_its_contents_lead_somewhere(page):
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    inside = [link["href"][1:] for link in page.all("a") if link["href"].startswith("#")]
    assert inside == ["contrast", "cost", "made"] and set(inside) <= set(ids)
    labels = [attributes["aria-labelledby"] for _, attributes in page.elements if "aria-labelledby" in attributes]
    assert set(labels) <= set(ids)
    assert [tag for tag, _ in page.elements if tag in ("h1", "h2")].count("h1") == 1
    assert next(page.all("html"))["lang"] == "en"
    assert any(meta.get("name") == "viewport" for meta in page.all("meta"))


def test_nothing_comes_from_elsewhere(page):
    for tag, attributes in page.elements:
        for name in {"src", "href", "srcset", "data", "action", "poster"} & set(attributes):
            address = attributes[name]
            if tag == "a":
                assert address.startswith(("#", "./", "https://arxiv.org/"))
            else:
                assert address.startswith("data:") or (tag == "img" and name == "src" and not address)
    text = render(full_report())
    assert "default-src 'none'" in text
    assert "@import" not in text and "url(" not in text
    assert any(link["rel"] == "icon" and link["href"] == "data:," for link in page.all("link"))


def test_names_of_users_stay_text(page):
    assert len(list(page.all("script"))) == 1, "our own"
    assert page.text.count(EVIL) == 3, "caption, table, command"
    assert any(image["alt"] == EVIL for image in page.all("img"))


def test_links_to_the_files_beside_it_cannot_lead_elsewhere():
    names = ["a b#c.csv", "javascript:alert(1)", "http://x.org/a.csv", "//x.org/a", '"><b>.csv', "?q"]
    page = Page(render(Report("t", ["v"], files=names)))
    links = [link["href"] for link in page.all("a") if not link["href"].startswith("#")]
    assert links[0] == "./a%20b%23c.csv"
    for link in links:
        assert link.startswith("./") and not set(link) & set(':#?"<> ')
    assert not list(page.all("b"))


def test_every_picture_is_in_the_page_with_its_caption_and_size(page):
    pictures = [image for image in page.all("img") if image.get("src", "").startswith("data:image/")]
    assert [image["alt"] for image in pictures] == [
        "The figure in words.",
        "first",
        EVIL,
        "alone",
        "before it",
        "after it",
    ]
    for image in pictures[1:]:
        assert (image["width"], image["height"], image["decoding"]) == ("32", "24", "async")
        data = base64.b64decode(image["src"].partition(",")[2])
        with Image.open(io.BytesIO(data)) as decoded:
            assert decoded.size == (32, 24)
            assert image["src"].startswith(f"data:image/{decoded.format.lower()};base64,")
    assert base64.b64decode(pictures[0]["src"].partition(",")[2]).decode() == SVG


def test_the_slider_is_a_range_that_a_screen_reader_can_name(page):
    (slider,) = (element for element in page.all("input"))
    assert slider["type"] == "range" and (slider["min"], slider["max"], slider["value"]) == ("0", "100", "50")
    assert "before it" in slider["aria-label"] and "after it" in slider["aria-label"]


def test_a_table_has_headings_and_numbers_to_the_right(page):
    headings = [(cell.get("scope"), cell.get("class")) for cell in page.all("th")]
    assert headings == [("col", None), ("col", "number"), ("row", None), ("row", None)]
    assert [cell.get("class") for cell in page.all("td")] == ["number", "number"]
    assert "0.0417" in page.words and "–" in page.words
    (box,) = (div for div in page.all("div") if div.get("class") == "scroll")
    assert box["tabindex"] == "0" and box["aria-label"] == "numbers"


def test_empty_parts_leave_no_empty_headings():
    page = Page(render(Report("t", ["v"], sections=[Section("a", "A", "q?", "f.")])))
    for heading in ("Not reproduced here", "Caveats", "Numbers of this report", "References"):
        assert heading not in page.words
    assert not list(page.all("dialog"))


def test_text_that_no_html_file_can_hold():
    name = b"caf\xe9\x00\x1b.jpg".decode("utf-8", "surrogateescape")
    text = render(Report(name, [name], files=[name], facts={"Photo": name}))
    assert "caf?��.jpg" in text
    text.encode("utf-8")


def test_the_same_report_gives_the_same_page():
    assert render(full_report()) == render(full_report())


BAD_ANCHORS = ["", "Verdict", "verdict", "made", "1a", "a b", 'a"b', "a\n"]


@pytest.mark.parametrize("anchor", BAD_ANCHORS)
def test_an_anchor_that_cannot_be_used(anchor):
    with pytest.raises(InputError, match="anchor"):
        render(Report("t", ["v"], sections=[Section(anchor, "A", "q", "f")]))


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (Report("t", []), "verdict"),
        (Report("t", ["v"], sections=[Section("a", "A", "q", "f")] * 2), "anchor 'a'"),
        (Report("t", ["v"], references=[Reference("r", "javascript:alert(1)")]), "https://"),
        (Report("t", ["v"], sections=[Section("a", "A", "q", "f", [Figure("<html>", "f", "a")])]), "SVG"),
        (Report("t", ["v"], sections=[Section("a", "A", "q", "f", [PictureRow([])])]), "picture"),
        (Report("t", ["v"], sections=[Section("a", "A", "q", "f", [Table(["x", "y"], [[1]])])]), "row 1"),
        (Report("t", ["v"], sections=[Section("a", "A", "q", "f", [3])]), "int"),
        (Report("t", ["v"], sections=[Section("a", "A", "q", "f", [Picture("p", Image.new("RGB", (0, 4)))])]), "0x4"),
    ],
)
def test_a_report_that_cannot_be_rendered_is_one_clear_line(report, words):
    with pytest.raises(InputError) as caught:
        render(report)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def decoded(image: Image.Image, **options: bool) -> tuple[str, Image.Image]:
    kind, data = encode_picture(image, **options)
    result = Image.open(io.BytesIO(data))
    assert result.format.lower() == kind
    return kind, result


def test_a_photo_is_jpeg_and_a_flat_picture_png():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert decoded(Image.fromarray(noise))[0] == "jpeg"
    kind, flat = decoded(Image.new("RGB", (64, 64), (10, 20, 30)))
    assert kind == "png" and flat.getpixel((5, 5)) == (10, 20, 30)
    kind, exact = decoded(Image.fromarray(noise), lossless=True)
    assert kind == "png" and np.array_equal(np.asarray(exact), noise)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "I;16"])
def test_pictures_of_every_mode_can_be_shown(mode):
    assert decoded(Image.new(mode, (8, 6)))[1].size == (8, 6)


def test_transparency_is_laid_on_white():
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    assert decoded(clear)[1].convert("RGB").getpixel((4, 4)) == (255, 255, 255)


def test_where_a_photo_was_taken_stays_out_of_the_report():
    image = synthetic_image(64, 48)
    exif = image.getexif()
    exif[0x010E] = "SECRET PLACE"
    image.info |= {"exif": exif.tobytes(), "comment": b"SECRET PLACE", "icc_profile": b"PROFILE OF COLOURS"}
    for lossless in (False, True):
        data = encode_picture(image, lossless)[1]
        assert b"SECRET PLACE" not in data
    assert encode_picture(image, True)[1].count(b"iCCP") == 1
    assert image.info["comment"] == b"SECRET PLACE", "the picture of the caller is unchanged"


def test_a_report_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "index.html"
    write_report(path, full_report())
    before = path.read_bytes()
    assert before.decode("utf-8") == render(full_report())
    with pytest.raises(InputError):
        write_report(path, Report("t", []))
    assert path.read_bytes() == before
    path.unlink()
    path.mkdir()
    with pytest.raises(OutputError, match=re.escape(str(path))):
        write_report(path, full_report())
    assert [entry.name for entry in path.parent.iterdir()] == ["index.html"]
