"""``stylize bench``: how fast this machine paints."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stylize.cli.allocator import keep_freed_memory
from stylize.cli.options import NORM, device_option, json_option, overwrite_option
from stylize.cli.tables import aligned
from stylize.config import ENGINE_NAMES, PRECISION_NAMES, PRESETS
from stylize.errors import InputError, OutputError, unknown_name

if TYPE_CHECKING:
    from stylize.speed_plan import SpeedPlan
    from stylize.speed_test import Progress

SIZES = (512, 1024)
NORMS = ("instance", "batch")

LEFT_OUT = {"johnson": (1024,)}
"""Sizes by preset that are not measured unless preset or size is asked for: seconds for each picture."""

RESTLESS = 1.5
"""A row whose longest time is so many times its shortest was disturbed."""

LARGEST_SIZE = 16384
"""Pixels; the plain run holds a whole picture with all its features in memory, so no larger ones are timed."""

COLUMNS = ("preset", "norm", "size", "engine", "precision", "rounds", "ms", "min..max", "MP/s", "GFLOP/s")
COLUMNS += ("% of ceiling", "% of float32", "faster", "difference")
TEXT_COLUMNS = frozenset({0, 1, 3, 4})


@click.command("bench")
@click.option(
    "--size",
    "sizes",
    multiple=True,
    type=click.IntRange(1, LARGEST_SIZE),
    metavar="PX",
    help="Side of the square picture in pixels; give it several times.  [default: 512 and 1024]",
)
@click.option(
    "--preset", "presets", multiple=True, type=click.Choice(list(PRESETS)), help="Architecture.  [default: all]"
)
@click.option("--norm", "norms", multiple=True, type=NORM, help="Normalisation.  [default: instance and batch]")
@click.option(
    "--engine",
    "engines",
    multiple=True,
    metavar="NAME",
    help=f"Engine: {', '.join(ENGINE_NAMES)}.  [default: all that are installed]",
)
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    metavar="NAME",
    help=f"Precision: {', '.join(PRECISION_NAMES)}.  [default: all that an engine has]",
)
@click.option("--repeats", type=click.IntRange(min=1), metavar="N", help="Rounds that count.  [default: 7, or fewer]")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    metavar="S",
    help="Begin no further round of "
    "an engine once its rounds took so long.  [default: so that all ends in about a minute; with --repeats "
    "no limit]",
)
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Threads of the CPU.  [default: torch's own]")
@device_option
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write the JSON document there.")
@json_option
@overwrite_option
def command(output: Path | None, as_json: bool, overwrite: bool, **given: Any) -> None:
    """Measure how fast this machine paints: networks, engines and precisions, beside what it could do at best.

    Each network is also run as PyTorch runs it without an engine ("plain"). The engines take turns, and the table says
    how many times faster than the plain run each one is, what share of the machine's best matrix multiplication or
    convolution it reaches, and how far its picture is from that of the plain run.

    \b
    stylize bench
    stylize bench --size 2048 --preset fast --norm instance
    stylize bench --engine openvino --precision int8 --threads 1 -o int8.json
    """
    _check_names(given)
    if output is not None:
        _check_output(output, overwrite)
    _set_threads(given["threads"])
    kept = keep_freed_memory()  # As in `stylize apply`.

    from stylize.speed_test import SpeedTest

    test = SpeedTest(_plan(given))
    stopped = False
    with _Bar() as bar:
        try:
            test.run(bar)
        except KeyboardInterrupt:
            stopped = True
    document = test.report()
    document["machine"]["keeps_freed_memory"] = kept
    _print(document, test.plan, as_json)
    if output is not None:
        _write(document, output, overwrite)
    _fail_if_incomplete(document["rows"], stopped)


def _check_names(given: dict[str, Any]) -> None:
    """Check what can be checked without torch."""
    for kind, known in (("engine", ENGINE_NAMES), ("precision", PRECISION_NAMES)):
        for name in given[f"{kind}s"]:
            if name not in known:
                raise InputError(unknown_name(kind, name, known))
    cores = os.cpu_count() or 1
    if given["threads"] is not None and given["threads"] > cores:
        raise InputError(f"--threads {given['threads']} given; this machine has {cores} core{'s' * (cores > 1)}")


def _check_output(output: Path, overwrite: bool) -> None:
    """Check that the document can be written, before the work."""
    name = click.format_filename(output)
    if name == "-":
        raise InputError("-o takes a file; --json prints the document on standard output")
    if output.is_dir():
        raise InputError(f"'{name}' is a folder; give a file, such as -o bench.json")
    if not output.absolute().parent.is_dir():
        raise InputError(f"cannot write '{name}': there is no folder '{click.format_filename(output.parent)}'")
    if output.exists() and not overwrite:
        raise OutputError(f"'{name}' exists already; --overwrite replaces it, -o chooses another name")
    if not os.access(output.absolute().parent, os.W_OK | os.X_OK):
        raise OutputError(f"cannot write '{name}': no permission to write in its folder")


def _set_threads(threads: int | None) -> None:
    """Make torch compute with so many threads, in the process of this command, where torch is not imported yet."""
    if threads is not None and "torch" not in sys.modules:
        os.environ.update(OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads))


def _plan(given: dict[str, Any]) -> SpeedPlan:
    from stylize.speed_plan import REPEATS, SpeedPlan, available_contestants, default_seconds, plan_cases

    cases = plan_cases(given["presets"] or tuple(PRESETS), given["norms"] or NORMS, given["sizes"] or SIZES)
    if not given["presets"] and not given["sizes"]:
        for preset, sizes in LEFT_OUT.items():
            cases = tuple(case for case in cases if case.preset != preset or case.size not in sizes)
            named = " and ".join(map(str, sizes))
            click.echo(f"{preset} at {named} px is left out, to save time; --preset {preset} measures it", err=True)
    contestants = available_contestants(given["device"], given["engines"], given["precisions"])
    repeats, seconds = given["repeats"], given["seconds"]
    if repeats is None and seconds is None:
        seconds = default_seconds(cases, contestants)
    return SpeedPlan(cases, contestants, repeats or REPEATS, seconds, given["threads"], given["device"])


def _print(document: dict[str, Any], plan: SpeedPlan, as_json: bool) -> None:
    click.echo(_json(document) if as_json else table(document, plan.repeats, plan.seconds))


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)


def _write(document: dict[str, Any], output: Path, overwrite: bool) -> None:
    from stylize.checkpoints import replacing

    _check_output(output, overwrite)  # Again: it may have appeared in the meantime.
    with replacing(output) as temporary:
        temporary.write_text(f"{_json(document)}\n", encoding="utf-8")
    click.echo(f"wrote {click.format_filename(output)}", err=True)


def _fail_if_incomplete(rows: list[dict[str, Any]], stopped: bool) -> None:
    from stylize.cli import INTERRUPTED, Failure

    total = len(rows)
    missing = sum(row["error"] is not None for row in rows)
    if stopped:
        raise Failure(f"stopped by Ctrl-C with {total - missing} of {total} rows measured; those are kept", INTERRUPTED)
    if missing:
        raise Failure(f"{missing} of {total} rows could not be measured", 1)


def table(document: dict[str, Any], repeats: int, seconds: float | None = None) -> str:
    """Return a report of :class:`stylize.speed_test.SpeedTest` as text.

    Args:
        document: The report, with ``keeps_freed_memory`` of the machine.
        repeats: Rounds that were planned.
        seconds: Limit of time for each contestant in each case.
    """
    machine, rows = document["machine"], document["rows"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    threads = f"{machine['threads']} thread{'s' * (machine['threads'] != 1)}"
    lines = [
        f"{machine['cpu']}, {machine['cores']} cores, {threads}, on {machine['device']}; {machine['date']}",
        f"{machine['system']}, {versions}",
        "",
    ]
    measured = [row for row in rows if row["error"] is None]
    if measured:
        cells = [_cells(row, repeats) for row in measured]
        numeric = frozenset(range(len(COLUMNS))) - TEXT_COLUMNS
        lines += [aligned(COLUMNS, cells, numeric=numeric), ""]
    lines += _ceilings(document["ceilings"])
    if measured:
        lines += [
            "ms: median; faster: than the plain run of the same network in the same rounds;",
            "difference: largest / mean, in grey levels of 255, of its picture from that of the plain run",
        ]
        if machine["keeps_freed_memory"]:
            lines.append(
                "the process keeps the memory it frees, as `stylize apply` does; the plain run gains by that, too"
            )
    capped = [row for row in measured if row["capped"]]
    if capped:
        limit = f" of {seconds:.2g} s each" if seconds is not None else ""
        lines.append(
            f"{len(capped)} of {len(rows)} rows had fewer than {repeats} rounds, for their limit{limit}; "
            "--seconds changes it"
        )
    restless = [row for row in measured if row["ms_max"] > RESTLESS * row["ms_min"]]
    if restless:
        lines.append(
            f"in {len(restless)} of {len(measured)} rows the longest time is over {RESTLESS:g} times the shortest: "
            "the machine has other work, so trust the times less than the ratios"
        )
    random = sorted({f"{row['preset']} {row['norm']}" for row in measured if row["weights"] == "random"})
    if random:
        lines.append(f"random weights, because none are shipped: {', '.join(random)}; that changes no times")
    # One line for each reason: an engine that cannot be made fails at every size.
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if row["error"] is not None:
            name = f"{row['preset']} {row['norm']} {row['size']} px {row['engine']} {row['precision']}"
            reasons.setdefault(row["error"], []).append(name)
    for reason, names in reasons.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        lines.append(f"no numbers for {names[0]}{more}: {reason}")
    return "\n".join(lines)


def _cells(row: dict[str, Any], repeats: int) -> tuple[str, ...]:
    size, rounds = str(row["size"]), f"{row['repeats']}/{repeats}" if row["repeats"] != repeats else str(repeats)
    return (
        row["preset"],
        row["norm"],
        size,
        row["engine"],
        row["precision"],
        rounds,
        _number(row["ms"]),
        f"{_number(row['ms_min'])}..{_number(row['ms_max'])}",
        _number(row["megapixels_per_second"]),
        _number(row["gflops"]),
        _number(row["percent_of_ceiling"], 0),
        _number(row["percent_of_float32_ceiling"], 0),
        "-" if row["times_faster"] is None else f"{row['times_faster']:.2f}x",
        f"{_number(row['largest_difference'], 2)} / {_number(row['mean_difference'], 2)}",
    )


def _number(value: float | None, digits: int | None = None) -> str:
    """Return a number with ``digits`` decimals, or with about three digits in all; - where there is none."""
    if value is None:
        return "-"
    if digits is None:
        digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:.{digits}f}"


def _ceilings(ceilings: dict[str, dict[str, Any]]) -> list[str]:
    lines = [
        f"ceiling in {precision}: {one['gflops']:.0f} {'GOP/s' if precision == 'int8' else 'GFLOP/s'} ({one['probe']})"
        for precision, one in ceilings.items()
        if one["gflops"] is not None
    ]
    unknown = [precision for precision, one in ceilings.items() if one["gflops"] is None]
    return [*lines, f"no ceiling was measured in {' and '.join(unknown)}"] if unknown else lines


class _Bar:
    """One bar over all rounds on a terminal, a line for each network and size elsewhere."""

    def __init__(self) -> None:
        self.bar: Any = None
        self.doing = ""

    def __enter__(self) -> _Bar:
        if sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(file=sys.stderr, bar_format="{percentage:3.0f}%|{bar:30}| {desc} [{elapsed}]", total=1)
        return self

    def __exit__(self, *exception: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def __call__(self, progress: Progress) -> None:
        changed, self.doing = progress.doing != self.doing, progress.doing
        if self.bar is not None:
            self.bar.total = progress.total
            self.bar.set_description_str(progress.doing, refresh=False)
            self.bar.update(progress.done - self.bar.n)
        elif changed and progress.done < progress.total:
            click.echo(progress.doing, err=True)
