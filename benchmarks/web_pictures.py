"""Pictures of the web page for the README: it is started, driven in Chromium, and photographed.

    python benchmarks/web_pictures.py [--chromium FILE] [--all FOLDER]

Writes ``web-paint.png`` and ``web-why.png`` into ``examples/results``. Gradio, playwright and a Chromium
are needed. ``--all`` writes more views into a folder, to look at: the third tab, a phone, and the dark page.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from PIL import Image

from stylize.errors import InputError
from stylize.resources import examples_directory

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "examples" / "results"

WIDE = (1280, 900)
LESSON = (1280, 1010)
PHONE = (390, 844)

LIMIT = 500_000
"""Largest file in bytes."""

COLOURS = (256, 192, 128, 96, 64)
"""Colours of a picture: the most with which it is small enough."""

FLAT_COLOURS = 48
"""Of them, those of areas of one colour, the page's own: they are kept exactly."""

SECONDS = 300

MIXED = ("starry-night", "udnie")
SCENE = "Fog"

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


@contextmanager
def serving() -> Iterator[str]:
    """Start the page and yield its address."""
    arguments = [sys.executable, "-m", "stylize", "web", "--no-browser", "--port", "0"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(arguments, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            found = re.search(r"http://\S+", process.stdout.readline())
            if found is None:
                raise InputError("the page did not start; run `stylize web` to see why")
            yield found.group()
        finally:
            process.terminate()


def small_png(picture: bytes, width: int) -> bytes:
    """Return a PNG of a screenshot that is no larger than :data:`LIMIT`, with as many colours as that allows."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    if image.width > width:
        image = image.resize((width, round(image.height * width / image.width)), Image.Resampling.LANCZOS)
    counted = sorted(image.getcolors(image.width * image.height), reverse=True)[:FLAT_COLOURS]
    flat = [channel for _, colour in counted for channel in colour]
    for colours in COLOURS:
        stream = io.BytesIO()
        rest = image.quantize(colours - len(counted), Image.Quantize.MEDIANCUT).getpalette()
        palette = Image.new("P", (1, 1))
        palette.putpalette((flat + rest)[: 3 * colours])
        reduced = image.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
        reduced.save(stream, "PNG", optimize=True)
        if stream.tell() <= LIMIT:
            return stream.getvalue()
    raise InputError(f"a picture of {image.width} x {image.height} px cannot be written in {LIMIT} bytes")


def wait_for(page: Any, place: str, words: str) -> None:
    """Wait until a place of the page says something, and its pictures are there."""
    page.wait_for_function(
        "([place, words]) => document.querySelector(place)?.innerText.includes(words)", arg=[place, words]
    )
    page.evaluate("Promise.all([...document.images].map(one => one.decode().catch(() => null)))")
    page.wait_for_timeout(400)


def begin(browser: Any, address: str, size: tuple[int, int], scheme: str = "light") -> Any:
    """Open the page and wait for its first painting."""
    view = {"width": size[0], "height": size[1]}
    page = browser.new_page(viewport=view, color_scheme=scheme, device_scale_factor=1)
    page.set_default_timeout(1000 * SECONDS)
    page.goto(address)
    wait_for(page, "#result", "painted in")
    return page


def mix(page: Any) -> None:
    """Mix two paintings."""
    page.locator("#mixing input").check()
    page.locator(f'#styles button[data-name="{MIXED[1]}"]').click()
    wait_for(page, "#result", "50%")
    page.mouse.move(2, 2)


def show_lesson(page: Any, scene: str = SCENE) -> None:
    """Show what a change of the photo does to both norms."""
    page.get_by_role("tab", name="Why instance norm").click()
    wait_for(page, "#finding", "Move a slider")
    page.get_by_role("button", name=scene).click()
    wait_for(page, "#finding", "Style distance:")
    page.mouse.move(2, 2)


def learn(page: Any, painting: Path, steps: int) -> None:
    """Learn a painting, in a few steps."""
    page.get_by_role("tab", name="New style").click()
    page.set_input_files("#painting input[type=file]", str(painting))
    page.locator("#painting-seen img").wait_for()
    field = page.locator("#steps input[type=number]")
    field.fill(str(steps))
    field.press("Enter")
    page.locator("#learn").click()
    wait_for(page, "#learning-state", "Learned in")


def other_views(browser: Any, address: str, folder: Path) -> None:
    """Write more views into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, size, scheme in (("phone", PHONE, "light"), ("dark", WIDE, "dark"), ("phone-dark", PHONE, "dark")):
        page = begin(browser, address, size, scheme)
        page.screenshot(path=folder / f"{name}-paint.png", full_page=True)
        show_lesson(page)
        page.screenshot(path=folder / f"{name}-why.png", full_page=True)
        page.get_by_role("tab", name="New style").click()
        page.wait_for_timeout(400)
        page.screenshot(path=folder / f"{name}-new.png", full_page=True)
        page.close()
    page = begin(browser, address, WIDE)
    learn(page, examples_directory() / "paintings" / "night-cafe.jpg", 40)
    page.screenshot(path=folder / "new.png", full_page=True)
    page.locator("#use-style").click()
    wait_for(page, "#result", "Night Cafe")
    page.screenshot(path=folder / "used.png", full_page=True)
    page.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chromium", help="the browser; by default one on the PATH, or playwright's own")
    parser.add_argument("--all", type=Path, metavar="FOLDER", help="write more views into this folder")
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    sandbox = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    path = options.chromium or next(filter(None, map(shutil.which, NAMES)), None)
    with serving() as address, sync_playwright() as player:
        browser = player.chromium.launch(executable_path=path, args=sandbox)
        page = begin(browser, address, WIDE)
        mix(page)
        pictures = {"web-paint": page.screenshot()}
        page.close()
        page = begin(browser, address, LESSON)
        show_lesson(page)
        pictures["web-why"] = page.screenshot()
        page.close()
        for name, picture in pictures.items():
            file = RESULTS / f"{name}.png"
            file.write_bytes(small_png(picture, WIDE[0]))
            print(f"{file.relative_to(ROOT)}: {file.stat().st_size / 1000:.0f} kB")
        if options.all:
            other_views(browser, address, options.all)
        browser.close()


if __name__ == "__main__":
    main()
