"""Several styles in one network, and one more style by a few numbers: instance norm against batch norm.

    python benchmarks/conditional_norms.py --photos PHOTOS --validation HELD_OUT

For each norm, one network of several paintings (a collection) is trained from random numbers. Then each of the new
paintings is added to it by learning only the scales and shifts of the norms and the last convolution (2,339 numbers of
417,795), everything else frozen, and is learned
from random numbers by a network of its own with the same norm, for comparison. Photos, their order and crops, seed,
steps and batch are the same for both norms. The frozen network normalises with what it normalises with when it is
applied: instance norm with the statistics of each photo, batch norm with its running averages.

Runs are kept in ``--runs``; the same command continues an interrupted run and skips finished ones.

Reference: Dumoulin, Shlens, Kudlur 2017, arXiv 1610.07629, section 3.3 and figure 6 (instance norm only).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import record
from stylize.config import TrainConfig
from stylize.errors import InputError
from stylize.run_folder import run_folder

PAINTINGS = ("starry-night", "great-wave", "composition-viii", "cafe-terrace")
NEW_PAINTINGS = ("ryogoku-bridge", "night-cafe")
NORMS = ("instance", "batch")
REPORTS = 10
"""Lines of progress per run, at most."""


def train_kept(config: TrainConfig) -> dict[str, Any]:
    """Train, continue or take up a run, and return the final row of its log.

    Raises:
        InputError: A finished run of that name has other settings.
    """
    from stylize.training import TrainProgress, train

    output = Path(str(config.output))
    log = run_folder(output) / "log.jsonl"
    if output.exists() and log.exists():
        rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        if rows[0]["config"] != json.loads(json.dumps(config.to_json())):
            raise InputError(f"{output} was made with other settings; give another --runs, or delete it")
        print(f"{output.stem}: finished before", flush=True)
        return rows[-1]
    every = max(1, config.steps // REPORTS)

    def report(progress: TrainProgress) -> None:
        if progress.step % every == 0:
            speed = f"{progress.photos_per_second:.1f} photos/s, {progress.seconds_left:.0f} s left"
            print(f"{output.stem}: step {progress.step}/{progress.steps}, {speed}", flush=True)

    train(config, report, resume=(run_folder(output) / "checkpoint.safetensors").exists())
    return json.loads(log.read_text(encoding="utf-8").splitlines()[-1])


def shown(losses: dict[str, Any]) -> dict[str, float]:
    """Return the losses that are reported of a measurement, of the network as it is applied."""
    return {name: losses["evaluation_mode"][name] for name in ("content", "style", "total")}


def measure(norm: str, options: argparse.Namespace) -> dict[str, Any]:
    """Train everything for one norm and return its losses."""
    folder, runs = Path(options.paintings), Path(options.runs)
    shared = {
        "photos": options.photos,
        "validation": options.validation,
        "image_size": options.image_size,
        "style_size": options.style_size,
        "batch_size": options.batch_size,
        "norm": norm,
        "photo_style": False,
        "validation_interval": 10**6,
        "seed": options.seed,
    }
    paintings = tuple(folder / f"{name}.jpg" for name in PAINTINGS)
    collection = runs / f"collection-{norm}.safetensors"
    final = train_kept(TrainConfig(style=paintings, output=collection, steps=options.steps, **shared))
    results: dict[str, Any] = {"collection": {name: shown(one) for name, one in final["styles"].items()}, "new": {}}
    for name in NEW_PAINTINGS:
        style = folder / f"{name}.jpg"
        alone = TrainConfig(
            style=style, output=runs / f"{name}-{norm}.safetensors", steps=options.single_steps, **shared
        )
        adapted = TrainConfig(
            style=style,
            output=runs / f"{name}-{norm}-adapted.safetensors",
            steps=options.adapt_steps,
            learning_rate=options.adapt_rate,
            adapt=collection,
            **shared,
        )
        own, added = train_kept(alone)["final"], train_kept(adapted)["final"]
        results["new"][name] = {
            "untouched": {key: own["photo"][key] for key in ("content", "style", "total")},
            "from_scratch": shown(own),
            "adapted": shown(added),
            "ratio": added["evaluation_mode"]["total"] / own["evaluation_mode"]["total"],
        }
    return results


def markdown(results: dict[str, Any]) -> str:
    """Return the tables."""
    options = results["options"]
    lines = [
        "# One more style by a few numbers: instance norm against batch norm",
        "",
        f"Collections of {len(PAINTINGS)} paintings ({', '.join(PAINTINGS)}), preset `fast`, {options['steps']} steps "
        f"of {options['batch_size']} photos of {options['image_size']} px, from random numbers. Losses on held-out "
        "photos, of the networks as they are applied; smaller is better.",
        "",
        "| painting of the collection | instance norm: total loss | batch norm: total loss | batch / instance |",
        "|---|---|---|---|",
    ]
    by_norm = results["norms"]
    for name in PAINTINGS:
        first, second = (by_norm[norm]["collection"][name]["total"] for norm in NORMS)
        lines.append(f"| {name} | {first:.3f} | {second:.3f} | {second / first:.2f} |")
    lines += [
        "",
        f"A new painting: its scales, shifts and last convolution learned in {options['adapt_steps']} steps, all "
        f"else frozen; and a network of its own from random numbers, {options['single_steps']} steps.",
        "",
        "| new painting | norm | untouched photos | from scratch | a few numbers | ratio |",
        "|---|---|---|---|---|---|",
    ]
    for name in NEW_PAINTINGS:
        for norm in NORMS:
            one = by_norm[norm]["new"][name]
            totals = [f"{one[key]['total']:.3f}" for key in ("untouched", "from_scratch", "adapted")]
            lines.append(f"| {name} | {norm} | {' | '.join(totals)} | {one['ratio']:.2f} |")
    ratios = {norm: [by_norm[norm]["new"][name]["ratio"] for name in NEW_PAINTINGS] for norm in NORMS}
    means = {norm: sum(values) / len(values) for norm, values in ratios.items()}
    better = min(NORMS, key=means.__getitem__)
    other = next(norm for norm in NORMS if norm != better)
    lines += [
        "",
        f"With {better} norm, these few numbers come to {means[better]:.2f} times the loss of a network of its "
        f"own, with {other} norm to {means[other]:.2f} times. One seed; differences of a few percent say nothing.",
        "",
        record.facts_line(results["provenance"]),
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is missing, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", required=True, help="folder of training photos")
    parser.add_argument("--validation", required=True, help="folder of held-out photos")
    parser.add_argument("--paintings", default="examples/paintings")
    parser.add_argument("--runs", default="conditional-norms.runs")
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--single-steps", type=int, default=800)
    parser.add_argument("--adapt-steps", type=int, default=200)
    parser.add_argument("--adapt-rate", type=float, default=3e-2)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--style-size", type=int, default=384)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--norm", action="append", choices=NORMS, help="train only this norm; the report needs both")
    parser.add_argument("--output", type=Path, default=record.RESULTS, help="folder of the results")
    options = parser.parse_args(arguments)
    norms = {norm: measure(norm, options) for norm in options.norm or NORMS}
    if set(norms) != set(NORMS):
        print("one norm is done; the report needs both")
        return
    kept = {name: value for name, value in vars(options).items() if isinstance(value, int | float)}
    results = {"provenance": record.facts(), "options": kept, "norms": norms}
    record.save(options.output, "conditional_norms", results, markdown(results))


if __name__ == "__main__":
    record.run(main)
