"""What the styles of a collection are worth: beside the untouched photo, single-style networks and optimisation.

    python benchmarks/paintings.py --photos FOLDER --paintings FOLDER [--single NAME=FILE ...]

For each style, on photos that nothing was trained on: the losses of the untouched photos, of the collection's pictures,
of those of a network that was trained on this painting alone (where one is given with ``--single``), and of pictures
that were optimised themselves (``benchmarks/optimisation.py``, which takes by far most of the time, and so is done on
the first few of the photos only). All under the loss the collection was trained with, in float32.

Then what a style adds to the file, and the time of a pass beside a network of one style, both taking turns.

What was measured is kept in the JSON file. The same command continues a run that was stopped, and measures anew only
what has changed: another collection, another painting, another single-style network.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import statistics
import struct
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import optimisation, record
from stylize.checkpoints import WeightsFile, read_weights_file
from stylize.config import LossConfig
from stylize.errors import InputError, unknown_name
from stylize.resources import examples_directory
from stylize.style_choice import choose_collection
from stylize.style_collections import Collection, describe_mixture
from stylize.zoo import DEFAULT_COLLECTION, collection_name, sha256

if TYPE_CHECKING:
    from torch import Tensor, nn

    from benchmarks.optimisation import Problem

BATCH = 4
"""Photos that are measured at a time."""

RESULT = "paintings"
TIME_LIMIT = 1.10
"""Time of a pass beside a single-style network that is wanted at most."""

SAME = 0.005
"""Relative difference below which two numbers are called equal."""


def beside(ratio: float) -> str:
    """Return what a ratio of two losses or times means: ``12 % above``, ``3 % below`` or ``equal to``."""
    if abs(ratio - 1) < SAME:
        return "equal to"
    return f"{100 * abs(ratio - 1):.0f} % {'above' if ratio > 1 else 'below'}"


def key_of(**facts: Any) -> str:
    """Return a digest of everything that decides a measurement."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def losses_of(network: nn.Module, problem: Problem) -> Tensor:
    """Return the losses (B, 4), in the order of ``optimisation.TERMS``, of a network's pictures of the photos of a
    problem, clamped to [0, 1]."""
    import torch

    rows = []
    with torch.inference_mode():
        for photos in problem.photos.split(BATCH):
            rows.append(problem.terms(network(photos).clamp(0, 1), photos).cpu())
    return torch.cat(rows)


def photo_losses(problem: Problem) -> Tensor:
    """Return the losses (B, 4) of the untouched photos of a problem."""
    import torch

    return losses_of(torch.nn.Identity(), problem)


def losses_row(losses: Tensor) -> dict[str, Any]:
    """Return the means of losses (B, 4) by name, and the totals of the photos."""
    totals = losses[:, optimisation.TERMS.index("total")].tolist()
    return {**optimisation.as_row(losses), "totals": [round(total, 6) for total in totals]}


class Kept:
    """Measurements in a JSON file, by what decides them.

    Args:
        path: The file; it may not exist yet.
        settings: What all measurements have in common.
        overwrite: Begin anew where the file has other settings.

    Attributes:
        parts: The measurements by name; each has its ``key`` and its ``date``.

    Raises:
        InputError: The file has other settings, or cannot be read.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], overwrite: bool) -> None:
        self.parts: dict[str, dict[str, Any]] = {}
        if not path.exists():
            return
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            parts, before = dict(found["parts"]), dict(found["settings"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} is not a result of this benchmark ({error!r}); delete or move it") from error
        different = [name for name, value in json.loads(json.dumps(settings)).items() if before.get(name) != value]
        if different and not overwrite:
            raise InputError(
                f"{path} has results with another {', '.join(different)}; give another --output, or --overwrite"
            )
        if not different:
            self.parts = parts

    def get(self, name: str, key: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return a measurement that was kept, or make it."""
        found = self.parts.get(name)
        if found is None or found.get("key") != key:
            found = {"key": key, "date": record.facts()["date"], **measure()}
            self.parts[name] = found
        return found


def tensor_bytes(path: Path) -> dict[str, int]:
    """Return the size in bytes of every tensor of a safetensors file, by name."""
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    places = {name: entry["data_offsets"] for name, entry in header.items() if name != "__metadata__"}
    return {name: end - begin for name, (begin, end) in places.items()}


def sizes_of(collection: Collection) -> dict[str, Any]:
    """Return how many bytes the file of a collection has, and how many of them are those of one style."""
    from stylize.style_collections import load_collection
    from stylize.style_vectors import stacked_names

    path, count = collection.weights.path, len(collection.names)
    tensors = tensor_bytes(path)
    numbers = sum(tensors[name] for name in stacked_names(load_collection(collection)))
    entries = collection.weights.metadata["styles"]
    # The entry is JSON inside the JSON of the header, where every quote takes another byte.
    described = sum(len(json.dumps(json.dumps(entry))) for entry in entries)
    return {
        "file": path.name,
        "sha256": sha256(path),
        "styles": count,
        "bytes": path.stat().st_size,
        "tensor_bytes": sum(tensors.values()),
        "numbers_per_style": numbers // count,
        "description_per_style": round(described / count),
    }


def measure_times(
    passes: Mapping[str, Callable[[Tensor], object]], size: int, runs: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """Return the milliseconds of passes that take turns, in another order each round, after one round of warming up.

    Args:
        passes: The two passes, ``collection`` and ``single``; each takes a picture (1, 3, S, S) in [0, 1].
        size: Side S of the picture in pixels.
        runs: Timed rounds.
        say: Called with a line of text.
    """
    from benchmarks.speed import photo

    picture = photo(size)
    times: dict[str, list[float]] = {name: [] for name in passes}
    for number in range(runs + 1):
        names = list(passes) if number % 2 else list(reversed(passes))
        for name in names:
            began = time.perf_counter()
            passes[name](picture)
            if number:
                times[name].append(1000 * (time.perf_counter() - began))
    medians = {name: round(statistics.median(values), 2) for name, values in times.items()}
    ratios = [c / s for c, s in zip(times["collection"], times["single"], strict=True)]
    say(f"{size} px: " + ", ".join(f"{name} {value:.1f} ms" for name, value in medians.items()))
    return {
        "median_ms": medians,
        "ratio": round(statistics.median(ratios), 4),
        "all_ms": {name: [round(value, 3) for value in values] for name, values in times.items()},
    }


def time_ratio(collection: Collection, single: WeightsFile | None, sizes: Sequence[int], runs: int) -> dict[str, Any]:
    """Return the times of a pass of a style of the collection and of a network of one style, by size.

    Args:
        collection: Its first painting is timed.
        single: The other network; None takes one with random weights, which take as long.
        sizes: Sides of the pictures in pixels.
        runs: Timed rounds.
    """
    import torch

    from stylize.default_styles import first_style
    from stylize.repainting import Stylizer
    from stylize.stylizer import load
    from stylize.transformer import TransformerNet

    one = load(first_style(collection), device="cpu")
    if single is None:
        architecture = collection.weights.architecture.of_one_style
        other = Stylizer(TransformerNet(architecture).eval(), WeightsFile(Path("random"), architecture, {}))
    else:
        other = load(single.path, device="cpu")
    found = {str(size): measure_times({"collection": one, "single": other}, size, runs, print) for size in sizes}
    return {
        "runs": runs,
        "style": one.style,
        "single": "random weights" if single is None else single.path.name,
        "precision": one.engine.precision,
        "threads": torch.get_num_threads(),
        "sizes": found,
    }


def read_single(text: str) -> tuple[str, Path]:
    """Read ``NAME=FILE`` for argparse."""
    name, equals, file = text.partition("=")
    if not (name and equals and file):
        raise argparse.ArgumentTypeError(f"{text!r} given; NAME=FILE is accepted")
    return name, Path(file)


def check_single(name: str, path: Path, collection: Collection) -> WeightsFile:
    """Return the header of a single-style network, after checking that it can be compared with a style.

    Raises:
        InputError: There is no such style, or the network is of another architecture, norm or painting.
        WeightsError: It cannot be read.
    """
    if name not in collection.names:
        raise InputError(unknown_name("style", name, collection.names))
    weights = read_weights_file(path)
    if weights.architecture != collection.weights.architecture.of_one_style:
        raise InputError(f"{path} has another architecture than a style of the collection: they cannot be compared")
    digests = [(facts.get("painting") or {}).get("sha256") for facts in (weights.metadata, collection.facts(name))]
    if digests[0] != digests[1]:
        raise InputError(f"{path} was trained on another picture than the style '{name}' (its sha256 differs)")
    return weights


def loss_of(weights: WeightsFile) -> dict[str, Any]:
    """Return the loss a network was trained with, as plain JSON values."""
    return json.loads(json.dumps(asdict(LossConfig(**(weights.metadata.get("loss") or {})))))


def style_rows(results: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the measurements of each style: ``collection``, and ``single`` and ``optimised`` where there are such.

    Derived numbers are added: ``ratio`` is that of the totals, the collection's over the other's, on the same photos.
    """
    rows: dict[str, dict[str, Any]] = {}
    for name in results["styles"]:
        parts = results["parts"]
        row = {kind: dict(parts[f"{name} {kind}"]) for kind in KINDS if f"{name} {kind}" in parts}
        if "collection" not in row:
            continue
        own = row["collection"]
        if single := row.get("single"):
            single["ratio"] = own["total"] / single["total"]
        if optimised := row.get("optimised"):
            same = len(optimised["totals"])
            mean, photo = (statistics.fmean(row["collection"][key][:same]) for key in ("totals", "photo_totals"))
            optimised["ratio"] = mean / optimised["total"]
            optimised["way"] = (photo - mean) / max(photo - optimised["total"], 1e-9)
            optimised["equal_to"] = optimisation.reached(optimised["mean_totals"], mean)
        rows[name] = row
    return rows


KINDS = ("collection", "single", "optimised")


def spread(values: Sequence[float], form: str = ".2f") -> str:
    """Return the median of some numbers, and their range where there are several."""
    middle = format(statistics.median(values), form)
    return middle if len(values) == 1 else f"{middle} ({format(min(values), form)} to {format(max(values), form)})"


def findings(results: Mapping[str, Any]) -> list[str]:
    """Return what the numbers say, each as a sentence made from them."""
    rows, said = style_rows(results), []
    shares = [row["collection"]["total"] / row["collection"]["photo"]["total"] for row in rows.values()]
    if shares:
        said.append(
            f"Total loss of the collection as a part of the untouched photo's, median over {len(shares)} styles: "
            f"{spread(shares)}."
        )
    singles = {name: row["single"]["ratio"] for name, row in rows.items() if "single" in row}
    if singles:
        each = ", ".join(f"{name} {ratio:.2f}" for name, ratio in singles.items())
        middle = statistics.median(singles.values())
        said.append(f"Beside networks of one style: {each}; the median is {beside(middle)} the single network's loss.")
    others = [name for name in singles if not rows[name]["single"]["same_loss"]]
    if others:
        said.append(f"The single network was trained under another loss than it is measured with: {', '.join(others)}.")
    optimised = [row["optimised"] for row in rows.values() if "optimised" in row]
    if optimised:
        ways = spread([100 * one["way"] for one in optimised], ".0f")
        said.append(
            f"Of the way from the untouched photo to the optimised picture, one pass of the collection goes {ways} "
            f"percent; its loss is {spread([one['ratio'] for one in optimised])} times that of "
            f"{results['settings']['steps']} iterations."
        )
    for size, one in ((results["parts"].get("times") or {}).get("sizes") or {}).items():
        ratio = one["ratio"]
        kept = "reached" if ratio <= TIME_LIMIT else "not reached"
        said.append(
            f"Time of a pass at {size} px: {one['median_ms']['collection']:.1f} ms, and "
            f"{one['median_ms']['single']:.1f} ms for a network of one style; the median ratio is {ratio:.3f}. "
            f"Wanted: at most {TIME_LIMIT:.2f}; {kept}."
        )
    return said


def markdown(results: Mapping[str, Any]) -> str:
    """Return the results as a Markdown page."""
    settings, sizes = results["settings"], results["sizes"]
    rows = style_rows(results)
    steps, method = settings["steps"], {"lbfgs": "L-BFGS", "adam": "Adam"}[settings["method"]]
    dates = sorted({part["date"] for part in results["parts"].values()})
    when = "" if len(dates) < 2 else f" The parts were measured from {dates[0]} to {dates[-1]}."
    photos = results["photos"]
    few = min(settings["optimised_count"], len(photos))
    parts = [
        "# What the styles of a collection are worth",
        f"Made by {record.facts_line(results['facts'])}{when}",
        f"`{results['name']}`, {sizes['styles']} styles, on {len(photos)} photos, central squares of "
        f"{settings['size']} px. Losses are relative (`stylize/losses.py`): 0 is a perfect match; the total is what "
        "the collection was trained to lower. Ratios are those of the totals, the collection's over the other's, on "
        "the same photos: 1 is equal, below 1 the collection is better. A single network is one trained on this "
        f"painting alone. Optimised: the best picture on {steps} iterations of {method} from the photo, on "
        f'{"all" if few == len(photos) else f"{few} of the {len(photos)}"} photos; "equal to" is the iteration at '
        "which it is as good as the collection's one pass.",
    ]
    if results["photos_are_examples"]:
        parts.append("The photos are examples of this package; a network that was trained on them has seen them.")
    parts.append("\n".join(f"- {line}" for line in findings(results)))
    header = [
        "style",
        "photo",
        "content",
        "style distance",
        "total",
        "single",
        "ratio",
        "optimised",
        "ratio",
        "equal to",
    ]
    lines = []
    for name, row in rows.items():
        own, single, optimised = row["collection"], row.get("single"), row.get("optimised")
        line = [name, f"{own['photo']['total']:.2f}", f"{own['content']:.3f}", f"{own['style']:.4f}"]
        line.append(f"{own['total']:.3f}")
        line += ["-", "-"] if single is None else [f"{single['total']:.3f}", f"{single['ratio']:.2f}"]
        if optimised is None:
            line += ["-", "-", "-"]
        else:
            equal = optimised["equal_to"]
            equal = f"more than {steps}" if equal is None else str(equal)
            line += [f"{optimised['total']:.3f}", f"{optimised['ratio']:.2f}", equal]
        lines.append(line)
    parts += ["## Losses", record.table(header, lines, range(1, len(header)))]
    per_style = sizes["numbers_per_style"] + sizes["description_per_style"]
    files = [
        ["the collection", f"{sizes['bytes']:,}"],
        ["of it, numbers of one style", f"{sizes['numbers_per_style']:,}"],
        ["of it, what the header says of one style, mean", f"{sizes['description_per_style']:,}"],
    ]
    singles = {name: row["single"]["bytes"] for name, row in rows.items() if "single" in row}
    files += [[f"single network, {name}", f"{size:,}"] for name, size in singles.items()]
    parts += ["## Files", record.table(["file", "bytes"], files, (1,))]
    if singles:
        mean = statistics.fmean(singles.values())
        parts.append(
            f"The collection has {sizes['bytes'] / mean:.2f} times the bytes of a single network; a style more is "
            f"{per_style:,} bytes, {100 * per_style / mean:.2f} % of one."
        )
    if timed := results["parts"].get("times"):
        header = ["px", "collection ms", "single ms", "ratio"]
        lines = [
            [size, *(f"{one['median_ms'][key]:.1f}" for key in ("collection", "single")), f"{one['ratio']:.3f}"]
            for size, one in timed["sizes"].items()
        ]
        parts += ["## Time of a pass", record.table(header, lines, range(4))]
        parts.append(
            f"Medians of {timed['runs']} rounds that take turns, plain torch in {timed['precision']}, threads: "
            f"{timed['threads']}; `{timed['style']}` of the collection, and {timed['single']}. The ratio is the median "
            "of those within each round."
        )
    return "\n\n".join(part for part in parts if part)


@dataclass(frozen=True)
class Subject:
    """A style that is measured.

    Attributes:
        name: Of the style.
        described: What its collection says of it, as of a network of one style.
        painting: The file it was learned from.
        single: A network that was trained on it alone, if there is one.
    """

    name: str
    described: WeightsFile
    painting: Path
    single: WeightsFile | None

    @functools.cached_property
    def problem_key(self) -> dict[str, Any]:
        """What decides the loss of its pictures."""
        size = self.described.metadata.get("style_size")
        return {"painting": sha256(self.painting), "loss": loss_of(self.described), "style_size": size}

    def measure_collection(self, network: nn.Module, photos: Tensor) -> dict[str, Any]:
        """Return the losses of the collection's network of this style, and of the photos."""
        problem = optimisation.make_problem(self.described, self.painting, photos)
        untouched = photo_losses(problem)
        row = losses_row(losses_of(network, problem))
        return {**row, "photo": optimisation.as_row(untouched), "photo_totals": losses_row(untouched)["totals"]}

    def measure_single(self, photos: Tensor) -> dict[str, Any]:
        """Return the losses of the network of one style."""
        from stylize.checkpoints import load_network

        problem = optimisation.make_problem(self.described, self.painting, photos)
        row = losses_row(losses_of(load_network(self.single.path)[0], problem))
        path = self.single.path
        same = loss_of(self.single) == loss_of(self.described)
        facts = {"file": path.name, "bytes": path.stat().st_size, "same_loss": same}
        return {**row, **facts, "painting": self.problem_key["painting"]}

    def measure_optimised(self, photos: Tensor, steps: int, method: str) -> dict[str, Any]:
        """Return the losses of the optimised photos."""
        problem = optimisation.make_problem(self.described, self.painting, photos)

        def say(line: str) -> None:
            print(f"{self.name}, {method}, {line}", flush=True)

        found = optimisation.summarise(optimisation.optimise_all(problem, steps, method, say), {})
        return {**found["optimised"], **{name: found[name] for name in ("mean_totals", "seconds_per_photo")}}


def find_subjects(
    collection: Collection, names: Sequence[str], paintings: Path | None, singles: Sequence[tuple[str, Path]]
) -> list[Subject]:
    """Return the styles to be measured, after looking for everything that is needed: a run of hours should not end for
    want of a picture.

    Raises:
        InputError: No such style, no painting of it, or a network that cannot be compared with it.
        WeightsError: A network cannot be read.
    """
    for name in names:
        if name not in collection.painted_names:
            raise InputError(unknown_name("painting", name, collection.painted_names))
    checked = {name: check_single(name, path, collection) for name, path in singles}
    described = {name: describe_mixture(collection, {name: 1.0}) for name in names}
    return [
        Subject(name, one, optimisation.find_painting(one, paintings), checked.get(name))
        for name, one in described.items()
    ]


def keep_current(kept: Kept, collection: Collection) -> None:
    """Drop what was measured of styles that are no more, or of single networks of another painting."""
    for name in list(kept.parts):
        style, _, kind = name.rpartition(" ")
        if not style:
            continue
        painting = (collection.facts(style).get("painting") or {}) if style in collection.painted_names else None
        stale = kind == "single" and painting is not None and kept.parts[name]["painting"] != painting.get("sha256")
        if painting is None or stale:
            del kept.parts[name]


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description="Losses, sizes and times of a collection of styles.")
    parser.add_argument("--collection", default=DEFAULT_COLLECTION, help="name of a shipped collection, or its file")
    parser.add_argument("--photos", type=Path, help="folder of held-out photos (default: the example photos)")
    parser.add_argument("--photos-count", type=record.whole, default=16, help="how many of them (default 16)")
    parser.add_argument("--size", type=record.whole, default=256, help="side of their central squares (default 256)")
    parser.add_argument("--paintings", type=Path, help="folder of the paintings (default: the shipped ones)")
    parser.add_argument("--styles", nargs="+", metavar="NAME", help="only these (default: every painting)")
    parser.add_argument(
        "--single", type=read_single, action="append", default=[], metavar="NAME=FILE", help="a single-style network"
    )
    parser.add_argument("--steps", type=int, default=500, help="iterations of the optimisation (default 500; 0: none)")
    parser.add_argument("--optimised-count", type=record.whole, default=4, help="photos that are optimised (default 4)")
    parser.add_argument("--method", choices=optimisation.METHODS, default="lbfgs")
    parser.add_argument("--time-sizes", type=record.whole, nargs="+", default=[512, 1024], help="sides for the times")
    parser.add_argument("--runs", type=record.whole, default=9, help="timed rounds (default 9)")
    parser.add_argument("--times-again", action="store_true", help="measure the times again")
    parser.add_argument("--no-times", action="store_true", help="measure no times; those measured before are kept")
    parser.add_argument("--overwrite", action="store_true", help="begin anew where other settings were used before")
    parser.add_argument("--threads", type=record.whole, help="threads of torch")
    parser.add_argument("--output", type=Path, default=record.RESULTS, help="folder of the results")
    options = parser.parse_args(arguments)
    if options.steps < 0:
        parser.error(f"--steps is {options.steps}; 0 or more is accepted")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    options = parsed(arguments)
    collection = choose_collection(options.collection)
    names = options.styles or list(collection.painted_names)
    subjects = find_subjects(collection, names, options.paintings, options.single)
    examples = examples_directory() / "photos"
    folder = options.photos or examples

    import torch

    from stylize.palette import Palette

    if options.threads:
        torch.set_num_threads(options.threads)
    photo_names, photos = optimisation.load_photos(folder, options.photos_count, options.size)
    settings = {
        "size": options.size,
        "photos": hashlib.sha256(photos.numpy().tobytes()).hexdigest(),
        "steps": options.steps,
        "optimised_count": options.optimised_count,
        "method": options.method,
    }
    kept = Kept(options.output / f"{RESULT}.json", settings, options.overwrite)
    keep_current(kept, collection)
    results: dict[str, Any] = {
        "facts": record.facts(),
        "name": collection_name(collection),
        "settings": settings,
        "photos": photo_names,
        "photos_are_examples": folder.resolve() == examples.resolve(),
        "sizes": sizes_of(collection),
        "styles": list(collection.painted_names),
        "parts": kept.parts,
    }

    def measured(name: str, key: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        found = kept.get(name, key, measure)
        record.save(options.output, RESULT, results, markdown(results))
        return found

    palette = Palette(collection)
    for one in subjects:
        base = {**one.problem_key, "size": options.size, "photos": settings["photos"]}
        take = functools.partial(palette.take, {one.name: 1.0})
        key = key_of(**base, weights=results["sizes"]["sha256"])
        own = measured(f"{one.name} collection", key, lambda one=one, take=take: one.measure_collection(take(), photos))
        print(f"{one.name}: photo {own['photo']['total']:.3f}, collection {own['total']:.3f}", flush=True)
        if one.single is not None:
            key = key_of(**base, weights=sha256(one.single.path))
            found = measured(f"{one.name} single", key, lambda one=one: one.measure_single(photos))
            print(f"{one.name}: single {found['total']:.3f}, ratio {own['total'] / found['total']:.3f}", flush=True)
    if not options.no_times:
        if options.times_again:
            kept.parts.pop("times", None)
        single = next((one.single for one in subjects if one.single is not None), None)
        files = [results["sizes"]["sha256"], None if single is None else sha256(single.path)]
        key = key_of(files=files, sizes=options.time_sizes, runs=options.runs, threads=torch.get_num_threads())
        measured("times", key, lambda: time_ratio(collection, single, options.time_sizes, options.runs))
    for one in subjects if options.steps else ():
        few = photos[: options.optimised_count]
        found = measured(
            f"{one.name} optimised",
            key_of(**one.problem_key, **settings),
            lambda one=one, few=few: one.measure_optimised(few, options.steps, options.method),
        )
        print(f"{one.name}: {options.steps} iterations {found['total']:.3f}", flush=True)
    print(f"written: {options.output / RESULT}.md")


if __name__ == "__main__":
    record.run(main)
