"""The headline figure and the table of README from the numbers of the published study, ``examples/norm-study``.

    python benchmarks/norm_study.py       writes examples/results/norm-study.svg

The study itself is made by ``stylize compare --train``; its command stands in the report.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import record
from stylize.comparison.charts import Series, panels
from stylize.comparison.sharing import arrangement

FOLDER = record.ROOT / "examples" / "norm-study"
NUMBERS = FOLDER / "results.json"
HEADLINE = record.ROOT / "examples" / "results" / "norm-study.svg"


def read_numbers() -> dict[str, Any]:
    """Return the numbers of the published study."""
    return json.loads(NUMBERS.read_text(encoding="utf-8"))


def table(numbers: dict[str, Any]) -> str:
    """Return the table of all norms, the best first, and the verdicts on what is said about them."""
    training = numbers["training"]
    first = Path(training["study"]["paintings"][0]).stem
    rows = [one for one in training["summaries"] if one["painting"] == first and one["seeds"]]
    rows.sort(key=lambda one: one["total"]["median"])
    instance = next(one["total"]["median"] for one in rows if one["norm"] == "instance")

    def ranged(one: dict[str, float], digits: int) -> str:
        if one["low"] == one["high"]:
            return f"{one['median']:.{digits}f}"
        return f"{one['median']:.{digits}f} ({one['low']:.{digits}f} to {one['high']:.{digits}f})"

    cells = [
        [
            one["norm"],
            one["seeds"],
            f"{one['learning_rate']:g}",
            ranged(one["total"], 3),
            f"{one['total']['median'] / instance:.2f}",
            ranged(one["style"], 4),
            f"{one['training_total']['median']:.3f}",
            f"{one['contrast_change']['median']:.1f}",
        ]
        for one in rows
    ]
    header = ["norm", "seeds", "rate", "loss", "of instance", "style distance", "loss, batch statistics", "contrast"]
    claims = [[claim["claim"], claim["verdict"], claim["sentence"]] for claim in training["claims"]]
    study, facts = training["study"], numbers["facts"]
    minutes = sum(run["seconds"] for run in training["runs"]) / 60
    note = (
        f"{first}, {study['steps']} steps of {study['batch_size']} crops of {study['image_size']} px, held-out photos, "
        "as the network is applied: median, and range over seeds. `norm@place`: that norm there and the other one "
        "elsewhere. Contrast: change of the result in grey levels when the photo's contrast is halved. Seeds alone "
        f"change a loss by up to {100 * training['noise']:.0f} %. {len(training['runs'])} "
        f"networks, {minutes:.0f} minutes of training. Made by `{facts['command']}`, {facts['date']}, "
        f"{facts['processor']}, {facts['versions']}."
    )
    return "\n\n".join(
        [
            record.table(header, cells, range(1, 8)),
            note,
            *shared_out(training, [one["norm"] for one in rows]),
            record.table(["what is said", "here", "measured"], claims),
        ]
    )


def shared_out(training: dict[str, Any], norms: Sequence[str]) -> list[str]:
    """Return the table of losses with each batch shared out over several processes, and what it shows."""
    painting = Path(training["study"]["paintings"][0]).stem
    several = [(count, together) for together in (False, True) for count in training["study"]["processes"]]

    def loss(norm: str, count: int, together: bool) -> str:
        wanted = (painting, norm, "none", None, count, together)
        keys = ("painting", "norm", "preparation", "photo_limit", "processes", "synchronised")
        found = [
            run["curve"][-1]["total"]
            for run in training["runs"]
            if tuple(run[key] for key in keys) == wanted and not run["failure"]
            if run["learning_rate"] == training["rates"].get(norm, run["learning_rate"])
        ]
        return f"{statistics.median(found):.3f}" if found else ""

    losses = [[norm, *(loss(norm, *one) for one in [(1, False), *several])] for norm in norms]
    cells = [row for row in losses if any(row[2:])]
    if not cells:
        return []
    header = ["norm", *(arrangement(*one) for one in [(1, False), *several])]
    photos = training["study"]["batch_size"]
    note = (
        f"The same loss, median over seeds, with each batch of {photos} photos shared out over several processes: each "
        "takes the statistics of batch norm over its own share, or, synchronised, over the whole batch."
    )
    return [record.table(header, cells, range(1, len(header))), note]


def headline(numbers: dict[str, Any]) -> str:
    """Return the learning curves of instance and batch norm, a chart for each painting, as SVG."""
    training = numbers["training"]
    rates = training["rates"]
    groups = []
    for painting in [Path(path).stem for path in training["study"]["paintings"]]:
        series = []
        for norm in ("instance", "batch"):
            runs = [
                run
                for run in training["runs"]
                if (run["painting"], run["norm"], run["preparation"], run["photo_limit"], run["processes"])
                == (painting, norm, "none", None, 1)
                and run["learning_rate"] == rates.get(norm, run["learning_rate"])
                and not run["failure"]
            ]
            steps = [point["step"] for point in runs[0]["curve"]] if runs else []
            at_step = [[run["curve"][index]["style"] for run in runs] for index in range(len(steps))]
            if steps:
                series.append(
                    Series(
                        f"{norm} norm",
                        steps,
                        [statistics.median(values) for values in at_step],
                        [min(values) for values in at_step],
                        [max(values) for values in at_step],
                        norm,
                    )
                )
        groups.append((painting, series))
    return panels(groups, x_label="training steps", y_label="held-out style distance", log_y=True, share_y=False)


def main() -> None:
    record.write_text(HEADLINE, headline(read_numbers()))
    print(f"written: {HEADLINE.relative_to(record.ROOT)}")


if __name__ == "__main__":
    record.run(main)
