"""A report as a reader meets it: opened from disk in headless Chromium.

It needs the package ``playwright`` and a Chromium: the one that STYLIZE_CHROMIUM names, one on the PATH, or the one
that ``playwright install chromium`` fetched. Where either is missing the tests are skipped and say so.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stylize.comparison import charts
from stylize.comparison.charts import Bar, BarSeries, Series
from stylize.comparison.cube import cube_alt, cube_figure
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
from stylize.comparison.report_html import write_report
from tests.helpers import synthetic_image

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install playwright)")

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PHONE = 360


def find_chromium(own: str) -> str:
    """Return the browser to use; ``own`` is where playwright keeps the one it fetches. Skip where there is none."""
    named = os.environ.get("STYLIZE_CHROMIUM")
    if named:
        return named
    found = next(filter(None, map(shutil.which, NAMES)), None) or (own if Path(own).is_file() else None)
    if found is None:
        pytest.skip("no Chromium found (install one, or name it in STYLIZE_CHROMIUM)")
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as player:
        browser = player.chromium.launch(executable_path=find_chromium(player.chromium.executable_path))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a report with every kind of part, with names as long and as odd as those of a user can be."""
    x = [0.25, 0.5, 1, 2]
    sweep = [
        Series("instance", x, [0.04, 0.04, 0.04, 0.04], norm="instance"),
        Series("batch", x, [0.6, None, 0.2, 0.3], norm="batch"),
    ]
    axes = {"x_label": "factor", "y_label": "distance"}
    long_name = f"{'very_long_name' * 9}.jpg"
    figures = [
        Figure(charts.lines(sweep, **axes, log_x=True, vertical=1), "Lines.", "lines"),
        Figure(charts.panels([("contrast", sweep), ("gamma", sweep)], **axes), "Panels.", "panels"),
        Figure(charts.bars([Bar("instance", 0.04, norm="instance"), Bar("batch", None)], x_label="x"), "Bars.", "bars"),
        Figure(charts.grouped_bars(["a", "b"], [BarSeries("c", [1, 2])], y_label="y"), "Groups.", "groups"),
        Figure(cube_figure(["instance", "batch"]), "Cubes.", cube_alt(["instance", "batch"])),
    ]
    pictures = [Picture(f"{seed} <b> {long_name}", synthetic_image(96, 64, seed)) for seed in range(5)]
    table = Table(
        [f"column {n}" for n in range(12)], [["name", *range(11)], [long_name, *range(11)]], range(1, 12), "t"
    )
    slider = Slider("Before and after", pictures[0], pictures[1])
    sections = [
        Section("charts", "Charts", "Are they there?", "They are.", figures),
        Section("pictures", long_name, "And these?", "They are.", [PictureRow(pictures), slider], [long_name]),
        Section("table", "Table", "Does it scroll?", "In its box.", ["A paragraph.", table]),
    ]
    facts = {"Command": f"stylize compare {long_name} -o report", "Hardware": long_name, "Seed": "0"}
    references = [Reference("A paper", "https://arxiv.org/abs/1607.08022")]
    whole = Report("A report", ["It works."], [long_name], sections, facts, [f"{long_name}.csv"], references)
    path = tmp_path_factory.mktemp("a report") / "index.html"
    write_report(path, whole)
    return path


@pytest.fixture
def page(browser: Any, report: Path) -> Iterator[Any]:
    """Open the report; afterwards nothing may have been asked for but the page, and the console must be empty."""
    heard: list[str] = []
    asked: list[str] = []
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(report.as_uri())
    yield page
    page.close()
    assert not heard
    assert [address for address in asked if not address.startswith("data:")] == [report.as_uri()]


def test_every_figure_and_picture_is_there(page):
    page.evaluate("Promise.all([...document.images].filter(i => i.src).map(i => i.decode()))")
    widths = page.evaluate("[...document.querySelectorAll('main img')].map(i => [i.naturalWidth, i.clientWidth])")
    assert len(widths) == 5 + 5 + 2
    assert all(natural > 0 and shown > 0 for natural, shown in widths)
    assert (
        page.locator(".chart").evaluate_all("all => all.map(one => getComputedStyle(one).backgroundColor)")
        == ["rgb(255, 255, 255)"] * 5
    )


@pytest.mark.parametrize("width", [PHONE, 768, 1200])
def test_the_page_does_not_scroll_sideways(page, width):
    page.set_viewport_size({"width": width, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    beyond = page.evaluate(
        "[...document.querySelectorAll('p, li, h1, h2, figure, dd')]"
        ".filter(e => e.getBoundingClientRect().right > innerWidth).map(e => e.outerHTML.slice(0, 80))"
    )
    assert beyond == []
    box = page.locator(".scroll")
    scrolls = box.evaluate("e => e.scrollWidth > e.clientWidth")
    assert scrolls or width > PHONE, "a table of twelve columns scrolls in its own box on a phone"


def cut(page: Any) -> str:
    """Return where the upper picture of the slider is cut off."""
    return page.locator(".slider .before").evaluate("e => getComputedStyle(e).clipPath")


def test_the_slider_moves_by_keyboard(page):
    slider = page.locator(".slider input")
    page.locator(".slider").scroll_into_view_if_needed()
    slider.focus()
    assert cut(page) == "inset(0px 50% 0px 0px)"
    page.keyboard.press("ArrowLeft")
    assert slider.input_value() == "49" and "51%" in cut(page)
    page.keyboard.press("End")
    assert slider.input_value() == "100" and cut(page) in ("inset(0px 0% 0px 0px)", "inset(0px)")


def test_the_slider_follows_the_pointer(page):
    pair = page.locator(".slider .pair")
    pair.scroll_into_view_if_needed()
    box = pair.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + box["height"] / 2)
    page.mouse.up()
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + box["height"] / 2)
    assert page.locator(".slider input").input_value() == "20"


def test_a_picture_opens_large_and_closes_by_keyboard(page):
    button = page.locator("button.enlarge").first
    button.focus()
    page.keyboard.press("Enter")
    assert page.locator("dialog img").evaluate("e => e.naturalWidth") == 96
    page.keyboard.press("Escape")
    assert not page.locator("dialog").is_visible()


def test_the_slider_prints_as_two_pictures_side_by_side(page):
    page.emulate_media(media="print")
    before, after = page.locator(".slider .before").bounding_box(), page.locator(".slider .after").bounding_box()
    assert before["x"] + before["width"] <= after["x"] and before["y"] == after["y"]
    assert page.locator(".slider .before").evaluate("e => getComputedStyle(e).clipPath") == "none"
    assert not page.locator(".slider input").is_visible()


def test_a_dark_page_keeps_its_figures_on_white(page):
    bright = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.emulate_media(color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != bright
    assert page.locator(".chart").first.evaluate("e => getComputedStyle(e).backgroundColor") == "rgb(255, 255, 255)"


def test_without_scripts_both_pictures_of_the_slider_are_seen(browser, report):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.as_uri())
    before, after = page.locator(".slider .before").bounding_box(), page.locator(".slider .after").bounding_box()
    assert before["x"] + before["width"] <= after["x"]
    context.close()
