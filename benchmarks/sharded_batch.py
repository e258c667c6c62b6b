"""What a batch that is shared out over several processes does to each normalisation.

    python benchmarks/sharded_batch.py --photos PHOTOS --validation HELD_OUT

For each norm the same network is trained on the same batches of four photos: by one process, by two with two photos
each, and by four with one photo each (``torchrun ... -m stylize train``). Seed, photos, crops and their order are the
same. A norm without statistics of the batch should end with the loss of one process but for rounding. Batch norm, and
every norm that holds it, has the statistics of each process's share, or with ``--sync-batch-norm`` those of the whole
batch; both are trained. The losses are those of held-out photos.

Runs are kept in ``--runs``; the same command continues an interrupted run and skips finished ones. To begin four
processes on a machine with fewer cores is slow, but computes the same. The environment variable OMP_NUM_THREADS sets
the threads of every process; without it they share the cores.

Reference: Goyal et al. 2017, arXiv 1706.02677, section 2.3 (batch norm over the share of each worker).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import record
from stylize.config import NORM_NAMES, TrainConfig
from stylize.errors import InputError, StylizeError
from stylize.run_folder import run_folder

NORMS = ("instance", "group", "batch", "ibn", "batch-instance")
PROCESSES = (1, 2, 4)
MODES = {"evaluation_mode": "as applied", "training_mode": "statistics of the batch"}


def has_batch_statistics(norm: str) -> bool:
    """Say whether synchronised statistics are another thing than those of each process."""
    from stylize.norms import differs_between_modes

    return differs_between_modes(norm)


def arrangements(norm: str, processes: Sequence[int]) -> list[tuple[int, bool]]:
    """Return the runs of a norm: how many processes, and whether their statistics are synchronised."""
    both = (False, True) if has_batch_statistics(norm) else (False,)
    return [(count, together) for count in processes for together in (both if count > 1 else (False,))]


def arrangement_name(count: int, together: bool) -> str:
    """Return the name of an arrangement in tables and files."""
    return "1 process" if count == 1 else f"{count} processes" + (", synchronised" if together else "")


def train_kept(config: TrainConfig, count: int) -> dict[str, Any]:
    """Train, continue or take up a run of ``count`` processes, and return the final row of its log.

    Raises:
        InputError: A finished run of that name has other settings.
        StylizeError: The training failed.
    """
    output = Path(str(config.output))
    log = run_folder(output) / "log.jsonl"
    if output.exists() and log.exists():
        rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        if rows[0]["config"] != json.loads(json.dumps(config.to_json())) or rows[0].get("processes", 1) != count:
            raise InputError(f"{output} was made with other settings; give another --runs, or delete it")
        print(f"{output.stem}: finished before", flush=True)
        return rows[-1]
    print(f"{output.stem}: begins", flush=True)
    command = [sys.executable, "-m"]
    if count > 1:
        command += ["torch.distributed.run", "--standalone", "--nproc-per-node", str(count), "-m"]
    resume = ["--resume"] if (run_folder(output) / "checkpoint.safetensors").exists() else []
    paths = os.pathsep.join([str(record.ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, (os.cpu_count() or 1) // count))
    result = subprocess.run(
        [*command, "stylize", "train", *options_of(config), *resume],
        env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": threads},
        stdout=subprocess.DEVNULL,
        check=False,
    )
    if result.returncode:
        raise StylizeError(f"the training of {output} failed; what was said stands above")
    return json.loads(log.read_text(encoding="utf-8").splitlines()[-1])


def options_of(config: TrainConfig) -> list[str]:
    """Return the arguments of ``stylize train`` for these settings."""
    named = ("norm", "preset", "steps", "batch_size", "image_size", "style_size", "seed", "precision", "device")
    named = (*named, "validation", "validation_interval", "output")
    options = [text for name in named for text in (f"--{name.replace('_', '-')}", str(getattr(config, name)))]
    return [str(config.style), str(config.photos), *options, *(["--sync-batch-norm"] * config.sync_batch_norm)]


def measure(norm: str, options: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """Train everything of one norm; return what each arrangement measured, for each seed."""
    results: dict[str, list[dict[str, Any]]] = {}
    for count, together in arrangements(norm, options.processes):
        for seed in range(options.seeds):
            ending = f"-{count}{'-synchronised' if together else ''}-seed-{seed}"
            config = TrainConfig(
                style=str(options.style),
                photos=options.photos,
                validation=options.validation,
                output=str(Path(options.runs) / f"{norm}{ending}.safetensors"),
                norm=norm,
                preset="fast",
                steps=options.steps,
                batch_size=options.batch_size,
                image_size=options.image_size,
                style_size=options.style_size,
                validation_interval=10**6,
                precision="float32",
                device="cpu",
                seed=seed,
                sync_batch_norm=together,
            )
            final = train_kept(config, count)["final"]
            final["first_step_total"] = first_total(config)
            results.setdefault(arrangement_name(count, together), []).append(final)
    return results


def first_total(config: TrainConfig) -> float:
    """Return the total loss of the first step of a run, before rounding has grown."""
    log = run_folder(Path(str(config.output))) / "log.jsonl"
    rows = map(json.loads, log.read_text(encoding="utf-8").splitlines())
    return next(row["total"] for row in rows if row.get("step") == 1)


def mean(values: Sequence[float]) -> float:
    """Return the mean."""
    return sum(values) / len(values)


def totals(finals: Sequence[dict[str, Any]], mode: str) -> list[float]:
    """Return the total loss of each seed."""
    return [final[mode]["total"] for final in finals]


def ratios(by_arrangement: dict[str, list[dict[str, Any]]], name: str, mode: str = "evaluation_mode") -> list[float]:
    """Return the loss of an arrangement as a multiple of that of one process, for each seed."""
    pairs = zip(totals(by_arrangement[name], mode), totals(by_arrangement["1 process"], mode), strict=True)
    return [several / one for several, one in pairs]


def markdown(results: dict[str, Any]) -> str:
    """Return the table, and what its numbers say."""
    options, norms = results["options"], results["norms"]
    rows = []
    for norm, by_arrangement in norms.items():
        for name, finals in by_arrangement.items():
            factors = ratios(by_arrangement, name)
            spread = f"{min(factors):.3f} to {max(factors):.3f}" if len(factors) > 1 else f"{factors[0]:.3f}"
            losses = [f"{mean(totals(finals, mode)):.3f}" for mode in MODES]
            change = f"{255 * mean([final['contrast_change'] for final in finals]):.1f}"
            rows.append((norm, name, *losses, "" if name == "1 process" else spread, change))
    header = ("norm", "trained by", *(f"total loss, {text}" for text in MODES.values()))
    header = (*header, "times that of 1 process, as applied", "halved contrast, grey levels")
    seeds = f"the mean over {options['seeds']} seeds" if options["seeds"] > 1 else "one seed"
    lines = [
        "# What a shared-out batch does to each norm",
        "",
        f"Preset `fast`, {options['steps']} steps of {options['batch_size']} photos of {options['image_size']} px in "
        f"all, from random numbers, float32; {seeds}. Losses on {results['held_out_photos']} held-out photos, smaller "
        f"is better: as the network is applied, and with the statistics of batches of {options['batch_size']} held-out "
        "photos, which differ for norms that hold batch norm only. The last column is how much the result changes when "
        "the contrast of the photo is halved.",
        "",
        record.table(header, rows, numeric=(2, 3, 4, 5)),
        "",
        *findings(norms),
        "",
        record.facts_line(results["provenance"]),
    ]
    return "\n".join(lines)


def findings(norms: dict[str, dict[str, list[dict[str, Any]]]]) -> list[str]:
    """Return the sentences that the numbers bear."""
    groups: dict[str, list[tuple[float, str]]] = {}
    first: dict[str, list[float]] = {}
    for norm, by_arrangement in norms.items():
        for name in by_arrangement:
            if name == "1 process":
                continue
            kind = "without statistics of the batch"
            if has_batch_statistics(norm):
                kind = "with synchronised statistics" if "synchronised" in name else "with statistics of each process"
            furthest = max(ratios(by_arrangement, name), key=lambda ratio: abs(ratio - 1))
            groups.setdefault(kind, []).append((furthest, f"{norm}, {name}"))
            pairs = zip(by_arrangement[name], by_arrangement["1 process"], strict=True)
            apart = [abs(one["first_step_total"] / other["first_step_total"] - 1) for one, other in pairs]
            first.setdefault(kind, []).extend(apart)
    lines = []
    for kind, found in groups.items():
        ratio, where = max(found, key=lambda one: abs(one[0] - 1))
        lines.append(
            f"- Norms {kind}: furthest from one process is {ratio:.3f} times its loss ({where}). The training loss "
            f"of the first step differs from that of one process by a part of {max(first[kind]):.0e} at most."
        )
    spreads = []
    for norm, by_arrangement in norms.items():
        found_totals = totals(by_arrangement["1 process"], "evaluation_mode")
        if len(found_totals) > 1:
            spreads.append(f"{norm} {max(found_totals) / min(found_totals):.3f}")
    if spreads:
        lines.append(
            "- For comparison, what another seed does to one process: the largest loss as applied, as a multiple of "
            f"the smallest: {', '.join(spreads)}."
        )
    return lines


def held_out_count(norms: dict[str, dict[str, list[dict[str, Any]]]]) -> int:
    """Return on how many photos the losses were measured."""
    return next(int(finals[0]["photos"]) for one in norms.values() for finals in one.values())


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is missing, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", required=True, help="folder of training photos")
    parser.add_argument("--validation", required=True, help="folder of held-out photos")
    parser.add_argument("--style", default="examples/paintings/great-wave.jpg", help="the painting")
    usual = f"several times; default: {', '.join(NORMS)}"
    parser.add_argument("--norm", dest="norms", action="append", choices=NORM_NAMES, help=usual)
    parser.add_argument("--processes", type=record.whole, nargs="+", default=list(PROCESSES))
    parser.add_argument("--seeds", type=record.whole, default=2, help="how many, from 0")
    parser.add_argument("--steps", type=record.whole, default=600)
    parser.add_argument("--batch-size", type=record.whole, default=4)
    parser.add_argument("--image-size", type=record.whole, default=128)
    parser.add_argument("--style-size", type=record.whole, default=256)
    parser.add_argument("--runs", default="sharded-batch.runs")
    parser.add_argument("--output", type=Path, default=record.RESULTS, help="folder of the results")
    options = parser.parse_args(arguments)
    if 1 not in options.processes:
        raise InputError("--processes without 1 given; the others are compared with one process")
    norms = {norm: measure(norm, options) for norm in options.norms or NORMS}
    kept = {name: value for name, value in vars(options).items() if isinstance(value, int | list)}
    results = {
        "provenance": record.facts(),
        "options": kept | {"style": Path(options.style).name},
        "held_out_photos": held_out_count(norms),
        "norms": norms,
    }
    record.save(options.output, "sharded_batch", results, markdown(results))


if __name__ == "__main__":
    record.run(main)
