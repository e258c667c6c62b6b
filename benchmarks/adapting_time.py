"""A new style in minutes: adapting a painting to a collection beside training a network from scratch.

    python benchmarks/adapting_time.py PAINTING... --photos FOLDER --validation FOLDER

For each painting, which the collection has never seen: a network is trained from scratch for a time (``--scratch``, 10
minutes), and the painting is adapted to the collection for a shorter one (``--adapt``, 5 minutes), on the same photos;
and once more on the eight example photos alone, for a user who has none. The number of steps is chosen from the speed
of a short trial, so that the learning rate has fallen to zero when the time is over; the seconds that it really took,
with reading, finding the nearest style and writing, stand in the results. Then all are measured on the same held-out
photos.

The same command continues a run that was stopped, with the steps that were chosen then.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import optimisation, record
from benchmarks.gallery import file_of
from benchmarks.paintings import Kept, beside, key_of, loss_of, losses_of, losses_row, photo_losses
from benchmarks.weights_table import duration
from stylize.checkpoints import WeightsFile, read_weights_file
from stylize.config import ADAPTING, LossConfig, TrainConfig
from stylize.errors import InputError
from stylize.resources import examples_directory
from stylize.style_choice import choose_collection
from stylize.style_collections import Collection, load_mixture, read_style_file
from stylize.zoo import DEFAULT_COLLECTION, collection_name, sha256

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from stylize.training import TrainProgress
    from stylize.transformer import TransformerNet

RESULT = "adapting"
WANTED = 1.15
"""Loss of an adapted style beside a network from scratch that is wanted at most."""

TRIAL = 8
"""Steps of the trial that measures the speed."""

REPORTS = 10
"""Lines of progress per run, at most."""

KINDS = ("scratch", "adapted", "examples")
"""From scratch; adapted on the same photos; adapted on the example photos."""

SHOWN = ("astronaut", "neuschwanstein")
SHOWN_SIZE = 512
PAGE_LIMIT = 400_000


@dataclass(frozen=True)
class Job:
    """One training run of the comparison.

    Attributes:
        kind: One of :data:`KINDS`.
        config: Its settings, but for the number of steps.
        budget: Seconds it may take.
    """

    kind: str
    config: TrainConfig
    budget: float

    @property
    def name(self) -> str:
        """Name of the run in the results."""
        return f"{self.config.paintings[0].stem} {self.kind}"

    @property
    def output(self) -> Path:
        """The file it writes."""
        return Path(str(self.config.output))

    def key(self, threads: int) -> str:
        """Return a digest of everything that decides the run."""
        from stylize.training_photos import choose_photos, names_digest

        folder, training, _ = choose_photos(self.config)
        settings = self.config.to_json()
        for name in ("style", "photos", "output", "validation", "adapt", "steps", "validation_interval"):
            settings.pop(name)
        collection = None if self.config.adapt is None else sha256(Path(self.config.adapt))
        return key_of(
            settings=settings,
            painting=sha256(self.config.paintings[0]),
            photos=names_digest(folder, training),
            collection=collection,
            budget=self.budget,
            threads=threads,
        )


def with_steps(config: TrainConfig, steps: int) -> TrainConfig:
    """Return the settings of a run of so many steps, which is measured at its end only."""
    return replace(config, steps=steps, validation_interval=steps + 1, warmup=min(config.warmup, steps // 5))


def plan(job: Job) -> dict[str, Any]:
    """Return how many steps of a run fill its time, from a trial.

    Returns:
        ``steps``, and what they follow from: ``seconds_per_step``, and ``overhead``, the seconds before the first step
        and after the last.
    """
    from stylize.training import train

    marks: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / job.output.name
        config = replace(with_steps(job.config, TRIAL), output=output)
        began = time.perf_counter()
        train(config, lambda progress: marks.append(time.perf_counter()))
        whole = time.perf_counter() - began
    # The first steps are slower: torch chooses how to compute.
    per_step = statistics.median(last - first for first, last in zip(marks[1:], marks[2:], strict=False))
    overhead = max(0.0, whole - TRIAL * per_step)
    steps = max(1, int((job.budget - overhead) / per_step))
    print(f"{job.name}: {per_step:.3f} s a step, {overhead:.1f} s beside them: {steps} steps", flush=True)
    return {"steps": steps, "seconds_per_step": round(per_step, 4), "overhead": round(overhead, 2)}


def run_job(job: Job, planned: Mapping[str, Any], stale: bool) -> dict[str, Any]:
    """Train, continue or take up a run; return what it took.

    Args:
        job: The run.
        planned: What :func:`plan` found.
        stale: What lies in its place is of another plan.

    Returns:
        ``seconds`` in all, and whether it was ``resumed``.
    """
    from stylize.run_folder import run_folder
    from stylize.training import train

    config = with_steps(job.config, planned["steps"])
    every = max(1, config.steps // REPORTS)

    def report(progress: TrainProgress) -> None:
        if progress.step % every == 0 or progress.step == config.steps:
            line = f"step {progress.step}/{config.steps}, total {progress.losses['total']:.3f}"
            print(f"{job.name}: {line}, {progress.seconds_left:.0f} s left", flush=True)

    if job.output.exists() and not stale:
        recorded = read_metadata(job)["seconds"]
        return {"seconds": round(recorded + planned["overhead"], 1), "resumed": True}
    resume = not stale and (run_folder(job.output) / "checkpoint.safetensors").exists()
    began = time.perf_counter()
    result = train(config, report, resume=resume, overwrite=stale)
    took = result.seconds + planned["overhead"] if resume else time.perf_counter() - began
    return {"seconds": round(took, 1), "resumed": resume}


def read_metadata(job: Job) -> dict[str, Any]:
    """Return what the file of a finished run says of it."""
    return (read_weights_file if job.kind == "scratch" else read_style_file)(job.output).metadata


def load_result(job: Job, collection: Collection) -> tuple[TransformerNet, WeightsFile]:
    """Load the network that a finished run has made, and its description."""
    from stylize.checkpoints import load_network

    if job.kind == "scratch":
        return load_network(job.output)
    style = read_style_file(job.output)
    return load_mixture(collection, {style.name: 1.0}, [style])


def measure(job: Job, collection: Collection, photos: Tensor) -> dict[str, Any]:
    """Return what a finished run is worth on held-out photos (B, 3, S, S)."""
    network, described = load_result(job, collection)
    problem = optimisation.make_problem(described, job.config.paintings[0], photos)
    row = losses_row(losses_of(network, problem))
    metadata = read_metadata(job)
    found = {**row, "bytes": job.output.stat().st_size, "steps": metadata["steps"]}
    found["photo"] = optimisation.as_row(photo_losses(problem))
    found["training_photos"] = metadata["training_photos"]
    if nearest := metadata.get("nearest"):
        before, _ = load_mixture(collection, {nearest: 1.0})
        found |= {"nearest": nearest, "before": losses_row(losses_of(before, problem))}
    return found


def make_jobs(options: argparse.Namespace, collection: Collection, painting: Path) -> list[Job]:
    """Return the runs of a painting."""
    metadata = collection.weights.metadata
    common: dict[str, Any] = {
        "style": painting,
        "validation": options.validation,
        "validation_photos": 1,
        "style_size": int(metadata.get("style_size", TrainConfig.style_size)),
        "loss": LossConfig(**loss_of(collection.weights)),
        "seed": options.seed,
        "device": "cpu",
    }
    adapting = {**common, **ADAPTING, "adapt": collection.weights.path}
    if options.adapt_image_size:
        adapting["image_size"] = options.adapt_image_size
    size = options.scratch_image_size or TrainConfig.image_size
    configs = {
        "scratch": TrainConfig(
            **common, photos=options.photos, image_size=size, architecture=collection.weights.architecture.of_one_style
        ),
        "adapted": TrainConfig(**adapting, photos=options.photos),
        "examples": TrainConfig(**adapting, photos=None),
    }
    jobs = []
    for kind in KINDS:
        output = options.runs / kind / f"{painting.stem}.safetensors"
        budget = options.scratch if kind == "scratch" else options.adapt
        jobs.append(Job(kind, replace(configs[kind], output=output), budget))
    return jobs


def rows_of(results: Mapping[str, Any]) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the measurements of each painting by the kind of run, with the ``ratio`` of its total to that of the run
    from scratch."""
    rows: dict[str, dict[str, dict[str, Any]]] = {}
    for name in results["paintings"]:
        parts = results["parts"]
        row = {kind: dict(parts[f"{name} {kind}"]) for kind in KINDS if f"{name} {kind}" in parts}
        for one in row.values():
            if "scratch" in row:
                one["ratio"] = one["total"] / row["scratch"]["total"]
        if row:
            rows[name] = row
    return rows


def findings(results: Mapping[str, Any]) -> list[str]:
    """Return what the numbers say, each as a sentence made from them."""
    said = []
    for kind, photos in (("adapted", "the same photos"), ("examples", "the example photos alone")):
        ratios = {name: row[kind]["ratio"] for name, row in rows_of(results).items() if "ratio" in row.get(kind, {})}
        if not ratios:
            continue
        each = ", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items())
        within = [name for name, ratio in ratios.items() if ratio <= WANTED]
        seconds = [rows_of(results)[name][kind]["seconds"] for name in ratios]
        longer = [rows_of(results)[name]["scratch"]["seconds"] for name in ratios]
        said.append(
            f"Adapted on {photos} in {statistics.median(seconds):.0f} s, loss beside {statistics.median(longer):.0f} s "
            f"from scratch: {each}; the median is {beside(statistics.median(ratios.values()))} it. At most "
            f"{WANTED:.2f} is wanted: reached by {len(within)} of {len(ratios)}."
        )
    return said


def markdown(results: Mapping[str, Any]) -> str:
    """Return the results as a Markdown page."""
    settings, rows = results["settings"], rows_of(results)
    dates = sorted({part["date"] for part in results["parts"].values()})
    when = "" if len(dates) < 2 else f" The parts were made from {dates[0]} to {dates[-1]}."
    parts = [
        "# A new style in minutes",
        f"Made by {record.facts_line(results['facts'])}{when}",
        f"Paintings that `{results['collection']}` has never seen. From scratch: a network of one style for "
        f"{duration(settings['scratch'])}, crops of {results['image_sizes']['scratch']} px. Adapted: the scale and "
        f"shift of one style for {duration(settings['adapt'])}, crops of {results['image_sizes']['adapted']} px, on "
        "the same photos or on the example photos alone. The number of steps was chosen so that the learning rate ends "
        f"in time. Losses on {len(results['photos'])} held-out photos, central squares of {settings['size']} px, in "
        "float32 (`stylize/losses.py`): 0 is a perfect match. Ratio: of the totals, over that from scratch; 1 is "
        "equal, below 1 is better.",
        "\n".join(f"- {line}" for line in findings(results)),
    ]
    header = ["painting", "run", "photos", "s", "steps", "content", "style distance", "total", "ratio", "bytes"]
    names = {"scratch": "from scratch", "adapted": "adapted", "examples": "adapted, example photos"}
    lines = []
    for name, row in rows.items():
        if first := next(iter(row.values()), None):
            numbers = [f"{first['photo']['content']:.3f}", f"{first['photo']['style']:.4f}"]
            lines.append([name, "untouched photos", "", "", "", *numbers, f"{first['photo']['total']:.3f}", "", ""])
        if near := next((one for one in row.values() if "nearest" in one), None):
            before = near["before"]
            numbers = [f"{before['content']:.3f}", f"{before['style']:.4f}", f"{before['total']:.3f}"]
            lines.append([name, f"nearest style, {near['nearest']}", "", "", "0", *numbers, "", ""])
        for kind, one in row.items():
            ratio = f"{one['ratio']:.2f}" if "ratio" in one else "-"
            numbers = [f"{one['content']:.3f}", f"{one['style']:.4f}", f"{one['total']:.3f}", ratio]
            seconds = f"{one['seconds']:.0f}" + (" (resumed)" if one["resumed"] else "")
            lines.append(
                [name, names[kind], str(one["training_photos"]), seconds, str(one["steps"]), *numbers]
                + [f"{one['bytes']:,}"]
            )
    parts += ["## Losses", record.table(header, lines, range(2, len(header)))]
    return "\n\n".join(part for part in parts if part)


def draw(
    jobs: Mapping[Path, Sequence[Job]], collection: Collection, paintings: Path, photos: Sequence[Path]
) -> Image.Image:
    """Draw a row for each painting: each photo as the adapted style paints it, and the network from scratch."""
    from benchmarks import catalogue
    from stylize.data import load_square
    from stylize.images import read_image, to_image
    from stylize.paintings import painting_facts
    from stylize.repainting import Stylizer

    squares = [load_square(path, SHOWN_SIZE) for path in photos]
    pages = []
    for painting, of_painting in jobs.items():
        shown = [job for kind in ("adapted", "scratch") for job in of_painting if job.kind == kind]
        painters = [Stylizer(*load_result(job, collection)) for job in shown]
        said = {"adapted": "adapted in", "scratch": "from scratch in"}
        heads = [f"{said[job.kind]} {duration(job.budget)}" for job in shown]
        pictures = [to_image(painter(square)) for square in squares for painter in painters]
        facts = painting_facts(painting)
        file = file_of(facts["sha256"], paintings)
        page = catalogue.row(
            catalogue.Caption.of(painting.stem, facts),
            None if file is None else read_image(file),
            pictures,
            heads * len(squares) if not pages else (),
        )
        pages.append(page)
    return catalogue.joined(pages)


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description="Adapting paintings to a collection beside training from scratch.")
    parser.add_argument("paintings", type=Path, nargs="+", metavar="PAINTING", help="paintings it has never seen")
    parser.add_argument("--photos", type=Path, required=True, help="folder of training photos")
    parser.add_argument("--validation", type=Path, required=True, help="folder of held-out photos")
    parser.add_argument("--photos-count", type=record.whole, default=16, help="how many of those (default 16)")
    parser.add_argument("--size", type=record.whole, default=256, help="side of their central squares (default 256)")
    parser.add_argument("--collection", default=DEFAULT_COLLECTION, help="name of a shipped collection, or its file")
    parser.add_argument("--scratch", type=float, default=600, help="seconds from scratch (default 600)")
    parser.add_argument("--adapt", type=float, default=300, help="seconds of adapting (default 300)")
    parser.add_argument("--scratch-image-size", type=record.whole, help="crops from scratch (default: of the package)")
    parser.add_argument("--adapt-image-size", type=record.whole, help="crops of adapting (default: of the package)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, default=Path("adapting-runs"), help="folder of the runs")
    parser.add_argument("--pictures", type=Path, nargs="+", help="photos to show (default: two examples)")
    parser.add_argument(
        "--shown-paintings",
        type=Path,
        help="folder of paintings to show, found by their sha256 (default: the examples)",
    )
    parser.add_argument(
        "--sheet", type=Path, default=record.ROOT / "examples" / "results" / "adapting.jpg", help="the picture"
    )
    parser.add_argument("--overwrite", action="store_true", help="begin anew where other settings were used before")
    parser.add_argument("--threads", type=record.whole, help="threads of torch")
    parser.add_argument("--output", type=Path, default=record.RESULTS, help="folder of the results")
    options = parser.parse_args(arguments)
    if not (options.scratch > 0 and options.adapt > 0):
        parser.error("--scratch and --adapt are seconds; more than 0 is accepted")
    return options


def check_unseen(collection: Collection, paintings: Sequence[Path]) -> None:
    """Check that there is no painting that the collection was trained on, and no two of one name.

    Raises:
        InputError: There is.
    """
    stems = [path.stem for path in paintings]
    if len(set(stems)) < len(stems):
        raise InputError("two paintings have the same name, and so would their runs; rename one of them")
    known = {(collection.facts(name).get("painting") or {}).get("sha256"): name for name in collection.names}
    for path in paintings:
        if not path.is_file():
            raise InputError(f"painting {path} not found")
        if path.stem in collection.names or sha256(path) in known:
            raise InputError(f"{path} is among the paintings of {collection.weights.path}; give one it has never seen")


def main(arguments: Sequence[str] | None = None) -> None:
    options = parsed(arguments)
    collection = choose_collection(options.collection)
    check_unseen(collection, options.paintings)

    import torch

    from benchmarks import catalogue

    if options.threads:
        torch.set_num_threads(options.threads)
    photo_names, photos = optimisation.load_photos(options.validation, options.photos_count, options.size)
    settings = {
        "scratch": options.scratch,
        "adapt": options.adapt,
        "size": options.size,
        "photos": hashlib.sha256(photos.numpy().tobytes()).hexdigest(),
    }
    kept = Kept(options.output / f"{RESULT}.json", settings, options.overwrite)
    jobs = {painting: make_jobs(options, collection, painting) for painting in options.paintings}
    results: dict[str, Any] = {
        "facts": record.facts(),
        "settings": settings,
        "collection": collection_name(collection),
        "collection_sha256": sha256(collection.weights.path),
        "image_sizes": {job.kind: job.config.image_size for job in jobs[options.paintings[0]]},
        "photos": photo_names,
        "paintings": [painting.stem for painting in options.paintings],
        "parts": kept.parts,
    }
    for job in (job for of_painting in jobs.values() for job in of_painting):
        key = job.key(torch.get_num_threads())
        planned_before = kept.parts.get(f"{job.name} plan", {}).get("key") == key
        planned = kept.get(f"{job.name} plan", key, lambda job=job: plan(job))
        record.save(options.output, RESULT, results, markdown(results))

        def finish(job: Job = job, planned: Mapping[str, Any] = planned, fresh: bool = not planned_before) -> Any:
            took = run_job(job, planned, stale=fresh)
            return {**took, **measure(job, collection, photos)}

        found = kept.get(job.name, key, finish)
        record.save(options.output, RESULT, results, markdown(results))
        print(f"{job.name}: {found['seconds']:.0f} s, {found['steps']} steps, total {found['total']:.3f}", flush=True)
    examples = examples_directory()
    pictures = options.pictures or [examples / "photos" / f"{name}.jpg" for name in SHOWN]
    shown = draw(jobs, collection, options.shown_paintings or examples / "paintings", pictures)
    catalogue.save(shown, options.sheet, PAGE_LIMIT)
    print(json.dumps({"written": [record.shown_argument(str(options.sheet)), f"{RESULT}.md"]}))


if __name__ == "__main__":
    record.run(main)
