"""The page as people meet it: driven in Chromium, by mouse and by keyboard, by one user and by several.

See ``web_helpers`` for what it needs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.helpers import save_photo, tiny_style_file
from tests.test_web_uploads import png_header
from tests.web_helpers import Server, opened, set_slider, wait_for

pytest.importorskip("gradio", reason="gradio is not installed (pip install 'stylize[web]')")

TABS = ("Paint", "Why instance norm", "New style")


@pytest.fixture
def page(chromium: Any, web_server: Server) -> Iterator[Any]:
    with opened(chromium, web_server) as page:
        yield page


def choose_style(page: Any, name: str) -> None:
    page.locator(f'#styles button[data-name="{name}"]').click()


def test_a_photo_is_uploaded_painted_mixed_and_kept(page, tmp_path):
    photo = save_photo(tmp_path / "my-photo.png", 90, 60)
    page.set_input_files("#upload input[type=file]", str(photo))
    wait_for(page, "#result", "My photo · Starry Night")
    choose_style(page, "second")
    wait_for(page, "#result", "My photo · Second")
    page.locator("#mixing input").check()
    choose_style(page, "first")
    wait_for(page, "#result", "50% Second + 50% First")
    pressed = page.locator('#styles button[aria-pressed="true"]')
    assert sorted(pressed.evaluate_all("all => all.map(one => one.dataset.name)")) == ["first", "second"]
    page.locator("#full-size").click()
    wait_for(page, "#full-size-state", "Ready")
    with page.expect_download() as download:
        page.locator("#full-size-state a").click()
    assert download.value.suggested_filename == "my-photo-second-50-first-50.jpg"
    with Image.open(download.value.path()) as kept:
        assert kept.size == (90, 60)


def test_the_split_moves_by_keyboard_and_keeps_its_place(page):
    split = page.locator("#result .split input")
    split.focus()
    page.keyboard.press("ArrowRight")
    place = "getComputedStyle(document.querySelector('#result .split')).getPropertyValue('--at').trim()"
    assert split.input_value() == "51" and page.evaluate(place) == "51%"
    button = page.locator('#styles button[data-name="second"]')
    button.focus()
    page.keyboard.press("Enter")
    wait_for(page, "#result", "Second")
    assert page.evaluate(place) == "51%" and split.input_value() == "51"
    assert button.evaluate("one => one === document.activeElement")  # where the keyboard was, it stays
    assert button.get_attribute("aria-pressed") == "true"


def test_every_control_is_reached_by_keyboard_and_has_a_name(page):
    for tab in TABS:
        page.get_by_role("tab", name=tab).click()
        page.wait_for_timeout(300)
        nameless = page.evaluate(
            """() => [...document.querySelectorAll('button, input, a[href], select, textarea')]
                .filter(one => one.checkVisibility({visibilityProperty: true}) && one.type !== 'file')
                .filter(one => !(one.innerText || one.ariaLabel || one.title
                    || one.labels?.length && one.labels[0].innerText
                    || document.getElementById(one.getAttribute('aria-labelledby'))))
                .map(one => one.outerHTML.slice(0, 200))"""
        )
        assert nameless == [], tab
    assert page.evaluate("[...document.images].filter(one => one.alt === null || !one.hasAttribute('alt')).length") == 0


def test_the_tab_key_walks_from_the_photo_to_the_style_and_the_button(page):
    seen = set()
    page.locator("#result .split input").focus()
    for _ in range(60):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("document.activeElement.closest('[id]:not([id^=html-]):not([id^=component])')?.id"))
    assert {"examples", "styles", "mixing", "strength", "keep", "full-size"} <= seen


def numbers(page: Any) -> dict[str, float]:
    page.wait_for_function("!document.querySelector('#lesson-batch').innerText.includes('…')")
    texts = {norm: page.inner_text(f"#lesson-{norm}") for norm in ("instance", "batch")}
    assert all(re.search(r"style distance \d\.\d{3}", text) for text in texts.values())
    return {norm: float(re.search(r"changed by ([\d.]+)", text)[1]) for norm, text in texts.items()}


def test_the_contrast_slider_repaints_with_both_norms(page):
    page.get_by_role("tab", name="Why instance norm").click()
    wait_for(page, "#finding", "Move a slider")
    slider = page.locator("#contrast input[type=range]")
    slider.focus()
    page.keyboard.press("Home")
    wait_for(page, "#finding", "batch norm by")
    moved = numbers(page)
    assert moved["batch"] > 4 * moved["instance"]
    page.locator("#reset").click()
    wait_for(page, "#finding", "Move a slider")
    assert slider.input_value() == "1"
    page.get_by_role("button", name="Dark neighbours").click()
    wait_for(page, "#finding", "Style distance:")
    assert page.get_by_label("beside dark photos").is_checked()
    moved = numbers(page)
    assert moved["instance"] < 2 < moved["batch"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("huge.png", None, "200 megapixels"),
        ("page.jpg", b"<script>alert(1)</script>", "page.jpg"),
        ("large.jpg", bytes(3_000_000), "maximum allowed size of 2.0 M"),
    ],
)
def test_a_bad_upload_says_why_leaves_the_photo_and_is_not_kept(chromium, web_server, tmp_path, name, content, said):
    path = tmp_path / name
    if content is None:
        png_header(path, 20_000, 10_000)
    else:
        path.write_bytes(content)
    with opened(chromium, web_server, allowed=("413",)) as page:
        page.set_input_files("#upload input[type=file]", str(path))
        message = page.locator(".toast-body").first
        message.wait_for()
        assert said in message.inner_text() and str(web_server.temporary) not in message.inner_text()
        assert page.locator("#result .split").is_visible()
        page.set_input_files("#upload input[type=file]", str(save_photo(tmp_path / "fine.png", 60, 40)))
        wait_for(page, "#result", "Fine · Starry Night")
    assert web_server.stored(name) == []


def test_a_painting_is_learned_to_the_end_kept_used_and_mixed(page, tmp_path, web_server):
    page.get_by_role("tab", name="New style").click()
    page.set_input_files("#painting input[type=file]", str(save_photo(tmp_path / "My Cloth.png", 120, 100, seed=4)))
    page.locator("#painting-seen img").wait_for()
    set_slider(page, "#steps", 5)
    page.locator("#more-learning button").first.click()
    set_slider(page, "#crop", 64)
    page.locator("#learn").click()
    page.locator("#learned figure.sample").wait_for()  # the live preview
    wait_for(page, "#learning-state", "Learned in")
    assert "photo of the first tab" in page.inner_text("#learned")
    with page.expect_download() as download:
        page.locator("#learning-state a").click()
    assert download.value.suggested_filename == "my-cloth.safetensors"
    page.locator("#use-style").click()
    wait_for(page, "#result", "Neuschwanstein · My Cloth")
    page.locator("#mixing input").check()
    choose_style(page, "second")
    wait_for(page, "#result", "50% My Cloth + 50% Second")
    # The file works on the command line, and on the page once more.
    file = tmp_path / "my-cloth.safetensors"
    download.value.save_as(file)
    from stylize.stylizer import load

    assert load(file, collection=web_server.collection, device="cpu").style == "my-cloth"


def test_a_style_file_is_brought_back(page, tmp_path, web_server):
    page.get_by_role("tab", name="New style").click()
    page.locator("#more-learning button").first.click()
    file = tiny_style_file(tmp_path / "lace.safetensors", web_server.collection)
    page.set_input_files("#style-file input[type=file]", str(file))
    wait_for(page, "#learning-state", "Lace is now among the paintings")
    page.get_by_role("tab", name="Paint").click()
    choose_style(page, "lace")
    wait_for(page, "#result", "Lace")


def test_several_users_wait_see_their_place_and_their_own_results(chromium, web_server, tmp_path):
    names = ("anna", "bert", "carl")
    with (
        opened(chromium, web_server) as anna,
        opened(chromium, web_server) as bert,
        opened(chromium, web_server) as carl,
    ):
        pages = dict(zip(names, (anna, bert, carl), strict=True))
        for seed, (name, page) in enumerate(pages.items()):
            photo = save_photo(tmp_path / f"{name}.png", 80 + 10 * seed, 60, seed=seed)
            page.set_input_files("#upload input[type=file]", str(photo))
        for seed, (name, page) in enumerate(pages.items()):
            wait_for(page, "#result", f"{name.capitalize()} · Starry Night · instance norm · {80 + 10 * seed} × 60")
        for page in pages.values():
            page.get_by_role("tab", name="New style").click()
            page.set_input_files("#painting input[type=file]", str(save_photo(tmp_path / "cloth.png", 64, 64)))
            page.locator("#painting-seen img").wait_for()
            set_slider(page, "#steps", 1000)
            page.locator("#more-learning button").first.click()
            set_slider(page, "#crop", 64)
            page.locator("#learn").click()
            page.locator("#stop-learning").wait_for()
        wait_for(anna, "#learning-state", "Step ")
        wait_for(bert, "#learning-state", "One user is before you")
        wait_for(carl, "#learning-state", "2 users are before you")
        # Who waits can still paint.
        carl.get_by_role("tab", name="Paint").click()
        choose_style(carl, "second")
        wait_for(carl, "#result", "Carl · Second")
        bert.locator("#stop-learning").click()
        wait_for(bert, "#learning-state", "Stopped")
        wait_for(carl, "#learning-state", "One user is before you")
        anna.locator("#stop-learning").click()
        wait_for(anna, "#learning-state", "Stopped. Nothing was kept.")
        wait_for(carl, "#learning-state", "Step ")
        assert anna.locator('#styles button[data-name="cloth"]').count() == 0
    # Carl left in the middle: the next one need not wait for him.
    with opened(chromium, web_server) as dora:
        dora.get_by_role("tab", name="New style").click()
        dora.set_input_files("#painting input[type=file]", str(tmp_path / "cloth.png"))
        dora.locator("#painting-seen img").wait_for()
        dora.locator("#learn").click()
        wait_for(dora, "#learning-state", "Step ")
        dora.locator("#stop-learning").click()
        wait_for(dora, "#learning-state", "Stopped")


@pytest.mark.parametrize("width", [360, 390, 768])
def test_a_phone_does_not_scroll_sideways(page, width):
    page.set_viewport_size({"width": width, "height": 740})
    for tab in TABS:
        page.get_by_role("tab", name=tab).click()
        page.wait_for_timeout(200)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, tab
        beyond = page.evaluate(
            "[...document.querySelectorAll('p, h1, h2, figure, figcaption, button, label, input')]"
            ".filter(e => e.checkVisibility() && e.getBoundingClientRect().right > innerWidth + 1)"
            ".map(e => e.outerHTML.slice(0, 120))"
        )
        assert beyond == [], tab


LUMINANCE = """place => {
    const seen = document.querySelector(place);
    const of = colour => {
        const [r, g, b] = colour.match(/[\\d.]+/g).map(Number).map(v => v / 255)
            .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const clear = one => /rgba\\(.*, 0\\)|transparent/.test(getComputedStyle(one).backgroundColor);
    let behind = seen;
    while (behind && clear(behind)) behind = behind.parentElement;
    const back = of(behind ? getComputedStyle(behind).backgroundColor : 'rgb(255, 255, 255)');
    const front = of(getComputedStyle(seen).color);
    return (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05);
}"""
"""Contrast of a text and what is behind it (WCAG 2.1, 1.4.3: 4.5 or more)."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_legible_on_bright_and_dark_pages(chromium, web_server, scheme):
    with opened(chromium, web_server, color_scheme=scheme) as page:
        brightness = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]")
        assert (brightness < 80) == (scheme == "dark")
        for place in (
            ".masthead p",
            "#result .caption",
            "#upload button",
            "#strength label span",
            "#full-size",
            ".heading",
        ):
            assert page.evaluate(LUMINANCE, place) >= 4.5, place
        page.get_by_role("tab", name="Why instance norm").click()
        wait_for(page, "#finding", "Move a slider")
        for place in ("#finding p", "#lesson-batch strong", "#lesson-batch figcaption span", ".words p"):
            assert page.evaluate(LUMINANCE, place) >= 4.5, place


def test_a_wrong_secret_word_downloads_nothing(web_server: Server) -> None:
    status, body = web_server.ask("kept/" + "x" * 22)
    assert status == 404 and b"no longer here" in body


def test_of_learning_the_style_files_alone_are_kept(web_server: Server) -> None:
    kept: list[Path] = [path for path in web_server.temporary.rglob("*") if ".run" in path.name or ".lock" in path.name]
    assert kept == []
