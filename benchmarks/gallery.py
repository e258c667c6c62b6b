"""The gallery: every style of a collection on three photos, an overview of all styles, and mixing and strength.

    python benchmarks/gallery.py [--collection paintings]

Writes a row for each style and a page into ``examples/gallery``, and ``paintings.jpg`` and ``mixing.jpg`` into
``examples/results``. The same collection gives the same pictures on the same machine: the CPU, in float32.

A painting is shown in its row where ``--paintings`` has the file it was learned from (by its sha256). The default is
the folder of the examples, whose pictures may be published; others may not be free to, and are named only.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import record
from stylize import __version__
from stylize.errors import InputError, unknown_name
from stylize.resources import examples_directory
from stylize.style_choice import choose_collection
from stylize.style_collections import Collection
from stylize.zoo import DEFAULT_COLLECTION, collection_name, sha256

if TYPE_CHECKING:
    from PIL import Image

    from benchmarks.catalogue import Caption
    from stylize.stylizer import Stylizer

PHOTOS = ("astronaut", "hawa-mahal", "red-panda")
"""A portrait, a city and nature."""

OVERVIEW = "neuschwanstein"
"""The photo of the pages that show one photo in many styles."""

PAINTED = 512
"""Side in pixels at which the squares of a row are painted, before they are reduced."""

OVERVIEW_PAINTED = 560
"""Long edge at which the photo of the overview is painted, and that of the mixtures."""

ROW_LIMIT = 130_000
PAGE_LIMIT = 400_000
"""Largest files in bytes."""

MIXED = ("great-wave", "the-scream")
CORNERS = ("starry-night", "great-wave", "composition-vii", "adele-bloch-bauer")
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25)
STEPS = 5
"""Pictures from one style to another."""

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff")


def file_of(digest: str | None, folder: Path) -> Path | None:
    """Return the picture of a folder that has a sha256, or None."""
    if not digest:
        return None
    found = (path for path in sorted(folder.iterdir()) if path.suffix.lower() in PICTURE_SUFFIXES)
    return next((path for path in found if sha256(path) == digest), None)


def captions(collection: Collection) -> dict[str, Caption]:
    """Return the caption of every painting of a collection, by the name of its style."""
    from benchmarks.catalogue import Caption

    return {name: Caption.of(name, collection.facts(name).get("painting")) for name in collection.painted_names}


def chosen(collection: Collection, wanted: Sequence[str] | None, usual: Sequence[str]) -> list[str]:
    """Return the styles that were asked for, or the usual ones as far as there are such, and others in their place.

    Raises:
        InputError: There is no such style, or there are too few.
    """
    names = collection.painted_names
    for name in wanted or ():
        if name not in collection.names:
            raise InputError(unknown_name("style", name, collection.names))
    if wanted:
        return list(wanted)
    found = [name for name in usual if name in names]
    found += [name for name in names if name not in found]
    if len(found) < len(usual):
        raise InputError(f"{collection.weights.path} has {len(names)} paintings; {len(usual)} or more are needed")
    return found[: len(usual)]


def square_shares(names: Sequence[str], line: float, column: float) -> dict[str, float]:
    """Return the shares of four styles at a place of their square, by name.

    Args:
        names: Upper left, upper right, lower left, lower right.
        line: 0 above, 1 below.
        column: 0 left, 1 right.
    """
    weights = ((1 - line) * (1 - column), (1 - line) * column, line * (1 - column), line * column)
    shares: dict[str, float] = {}
    for name, weight in zip(names, weights, strict=True):
        shares[name] = shares.get(name, 0.0) + weight
    return shares


def draw_rows(
    stylizer: Stylizer, known: dict[str, Caption], collection: Collection, paintings: Path, folder: Path
) -> tuple[list[str], list[Path]]:
    """Write a row for each painting of a collection; return the styles whose paintings are shown, and the files."""
    from benchmarks import catalogue
    from stylize.data import load_square
    from stylize.images import read_image, to_image

    photos = [load_square(examples_directory() / "photos" / f"{name}.jpg", PAINTED) for name in PHOTOS]
    untouched = catalogue.Caption("", "The photos", "as they are")
    shown: list[str] = []
    written = [folder / "photos.jpg"]
    catalogue.save(catalogue.row(untouched, None, [to_image(photo) for photo in photos]), written[0], ROW_LIMIT)
    for name, caption in known.items():
        painter = stylizer.mix({name: 1.0})
        file = file_of((collection.facts(name).get("painting") or {}).get("sha256"), paintings)
        painting = None if file is None else read_image(file)
        shown += [] if painting is None else [name]
        page = catalogue.row(caption, painting, [to_image(painter(photo)) for photo in photos])
        written.append(folder / f"{name}.jpg")
        catalogue.save(page, written[-1], ROW_LIMIT)
        print(
            f"{name}: {written[-1].stat().st_size // 1000} kB{'' if painting else ', painting named only'}", flush=True
        )
    return shown, written


def photo_of(name: str, size: int) -> Image.Image:
    """Return an example photo with a long edge of ``size`` pixels."""
    from stylize.images import read_image, resize_long_edge

    return resize_long_edge(read_image(examples_directory() / "photos" / f"{name}.jpg"), size)


def draw_overview(stylizer: Stylizer, known: dict[str, Caption], collection: Collection, photo: str) -> Image.Image:
    """Draw one photo in every style."""
    from benchmarks import catalogue

    image = photo_of(photo, OVERVIEW_PAINTED)
    plates = [(caption, stylizer.mix({name: 1.0})(image)) for name, caption in known.items()]
    megabytes = collection.weights.path.stat().st_size / 1e6
    heading = [
        catalogue.Line(collection_name(collection).replace("-", " ").capitalize(), "italic", 52),
        catalogue.Line(f"{len(plates)} styles in one network of {megabytes:.2f} MB", "roman", 24, space=10),
        catalogue.Line(f"stylize apply {photo}.jpg --style NAME", "mono", 14, catalogue.FAINT, space=12),
    ]
    return catalogue.grid(heading, image, plates)


def draw_mixing(
    stylizer: Stylizer, known: dict[str, Caption], mixed: Sequence[str], corners: Sequence[str], photo: str
) -> Image.Image:
    """Draw a walk from one style to another, strengths of a style, and the square between four styles."""
    from benchmarks import catalogue
    from benchmarks.catalogue import Caption, Line

    image = photo_of(photo, OVERVIEW_PAINTED)
    first, last = mixed
    steps = [number / (STEPS - 1) for number in range(STEPS)]
    walk = []
    for step in steps:
        ends = {0.0: first, 1.0: last}
        text = known[ends[step]].title if step in ends else f"{1 - step:g} and {step:g}"
        shares = square_shares((first, last, first, last), 0, step)
        walk.append(([Line(text, "italic" if step in ends else "roman", 18)], stylizer.mix(shares)(image)))
    strong = []
    for strength in STRENGTHS:
        of = {0.0: "0, the photo", 1.0: "1, the style"}
        label = [Line(of.get(strength, f"{strength:g}"), "roman", 18)]
        strong.append((label, stylizer.mix({last: 1.0}, strength=strength)(image)))
    square = [[stylizer.mix(square_shares(corners, line, column))(image) for column in steps] for line in steps]

    def title(text: str) -> Line:
        return Line(text, "italic", 32)

    weights = ",".join(f"{name}:{weight:g}" for name, weight in ((first, 1 - steps[1]), (last, steps[1])))
    means = {"photo style": "from the style that leaves photos as they are", "fade": "as a fade over the photo"}
    parts = [
        catalogue.strip(title("From one style to another"), f"--style {weights}", walk),
        catalogue.square(
            title("Between four styles"),
            f"--style {','.join(f'{name}:0.25' for name in corners)}",
            [known.get(name) or Caption.of(name, None) for name in corners],
            square,
        ),
        catalogue.strip(
            title(f"Strength, {means[stylizer.strength_by]}"),
            f"--style {last} --strength {STRENGTHS[1]:g}",
            strong,
        ),
    ]
    return catalogue.stacked(parts)


def linked(page: str) -> list[str]:
    """Return the names of the pictures that a page shows from its own folder."""
    return re.findall(r"!\[[^\]]*\]\(([^/)]+\.jpg)\)", page)


def page(collection: Collection, known: dict[str, Caption], shown: Sequence[str], command: str, torch: str) -> str:
    """Return the page of the gallery.

    Args:
        collection: The collection.
        known: Captions by style.
        shown: Styles whose paintings are shown.
        command: What made it.
        torch: With which version.
    """
    size = collection.weights.path.stat().st_size / 1e6
    named = len(known) - len(shown)
    parts = [
        "# Gallery",
        f"The {len(known)} styles of `{collection_name(collection)}`: one network of {size:.2f} MB. In each row: the "
        "painting, a portrait, a city, nature. The photos are painted as squares of "
        f"{PAINTED} px and reduced; strokes have a fixed size in pixels, so on a larger photo they are finer.",
    ]
    if named:
        parts.append(f"{named} of the paintings are named only: their pictures are not in this repository.")
    parts += [
        f"Made by `{command}`, stylize {__version__}, torch {torch}, on the CPU in float32, from the collection with "
        f"sha256 `{sha256(collection.weights.path)}`.",
        record.table(
            ["style", "title", "artist", "year"],
            [[f"[`{name}`](#{name})", one.title, one.artist or "-", one.year or "-"] for name, one in known.items()],
        ),
        "![The photos as they are](photos.jpg)",
    ]
    for name, one in known.items():
        parts += [f"## {name}", f"*{one.title}*" + (f", {one.byline}" if one.byline else ""), f"![{one}]({name}.jpg)"]
    return "\n\n".join(parts) + "\n"


def check(collection: Collection, folder: Path) -> None:
    """Check that a gallery was made from a collection, and is complete.

    Raises:
        InputError: It was not, or is not.
    """
    try:
        text = (folder / "README.md").read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{folder} has no README.md ({error.strerror}); run python benchmarks/gallery.py") from error
    if sha256(collection.weights.path) not in text:
        raise InputError(f"{folder} was made from another collection; run python benchmarks/gallery.py")
    names = linked(text)
    missing = [name for name in names if not (folder / name).is_file()]
    missing += [f"{name}.jpg" for name in collection.painted_names if f"{name}.jpg" not in names]
    if missing:
        raise InputError(f"{folder} lacks {', '.join(missing)}; run python benchmarks/gallery.py")


def remove_stale(folder: Path, kept: Sequence[str]) -> None:
    """Remove the rows that an earlier page of the gallery showed and the new one does not."""
    try:
        before = linked((folder / "README.md").read_text(encoding="utf-8"))
    except OSError:
        return
    for name in set(before) - set(kept):
        (folder / name).unlink(missing_ok=True)


def main(arguments: Sequence[str] | None = None) -> None:
    examples = record.ROOT / "examples"
    parser = argparse.ArgumentParser(description="Make the gallery of a collection of styles.")
    parser.add_argument("--collection", default=DEFAULT_COLLECTION, help="name of a shipped collection, or its file")
    parser.add_argument(
        "--paintings", type=Path, help="folder of paintings to show, found by their sha256 (default: the examples)"
    )
    parser.add_argument("--mix", nargs=2, metavar="STYLE", help="two styles to walk between; the second gets strengths")
    parser.add_argument("--corners", nargs=4, metavar="STYLE", help="four styles of the square")
    parser.add_argument("--photo", default=OVERVIEW, help=f"example photo of the overview (default {OVERVIEW})")
    parser.add_argument("--threads", type=record.whole, help="threads of torch")
    parser.add_argument("--gallery", type=Path, default=examples / "gallery", help="folder of the rows")
    parser.add_argument("--output", type=Path, default=examples / "results", help="folder of the other pictures")
    parser.add_argument("--check", action="store_true", help="only check that the gallery is of this collection")
    options = parser.parse_args(arguments)
    collection = choose_collection(options.collection)
    if options.check:
        check(collection, options.gallery)
        return
    mixed, corners = chosen(collection, options.mix, MIXED), chosen(collection, options.corners, CORNERS)
    paintings = options.paintings or examples_directory() / "paintings"
    if not paintings.is_dir():
        raise InputError(f"{paintings} is no folder; give a folder of paintings")
    if not (examples_directory() / "photos" / f"{options.photo}.jpg").is_file():
        known_photos = [path.stem for path in sorted((examples_directory() / "photos").glob("*.jpg"))]
        raise InputError(unknown_name("example photo", options.photo, known_photos))

    import torch

    from benchmarks import catalogue
    from stylize.stylizer import load

    if options.threads:
        torch.set_num_threads(options.threads)
    known = captions(collection)
    stylizer = load(collection.weights.path, device="cpu", precision="float32")
    shown, written = draw_rows(stylizer, known, collection, paintings, options.gallery)
    overview, mixing = options.output / "paintings.jpg", options.output / "mixing.jpg"
    catalogue.save(draw_overview(stylizer, known, collection, options.photo), overview, PAGE_LIMIT)
    print(f"{overview.name}: {overview.stat().st_size // 1000} kB", flush=True)
    catalogue.save(draw_mixing(stylizer, known, mixed, corners, options.photo), mixing, PAGE_LIMIT)
    print(f"{mixing.name}: {mixing.stat().st_size // 1000} kB", flush=True)
    command = " ".join(["python", *(record.shown_argument(argument) for argument in sys.argv)])
    text = page(collection, known, shown, command, torch.__version__)
    remove_stale(options.gallery, [path.name for path in written])
    record.write_text(options.gallery / "README.md", text)
    print(f"written: {options.gallery / 'README.md'}, {len(written)} rows")


if __name__ == "__main__":
    record.run(main)
