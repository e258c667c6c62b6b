"""The folder that `stylize compare` leaves: one page, and every number as CSV and JSON."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stylize.comparison.inference import Comparison
from stylize.comparison.inference_sections import inference_sections, inference_verdict
from stylize.comparison.inference_tables import inference_tables
from stylize.comparison.report import Reference, Report
from stylize.comparison.report_html import write_report
from stylize.comparison.study import StudyOutcome
from stylize.comparison.study_sections import not_reproduced, study_sections, study_verdict
from stylize.comparison.tables import write_csv, write_json
from stylize.errors import OutputError

FORMAT = "stylize-comparison"
PAGE = "index.html"
NUMBERS = "results.json"
OLD = "old"
"""What the hidden name of a report ends in that is being replaced."""

LEFT_BY_SYSTEMS = (".DS_Store", "Thumbs.db", "desktop.ini")
"""Files that a file manager leaves in a folder that was looked at; nobody misses them."""

REFERENCES = (
    Reference(
        "Ulyanov, Vedaldi, Lempitsky 2016: Instance Normalization: The Missing Ingredient for Fast Stylization",
        "https://arxiv.org/abs/1607.08022",
    ),
    Reference("Ulyanov, Vedaldi, Lempitsky 2017: Improved Texture Networks", "https://arxiv.org/abs/1701.02096"),
    Reference(
        "Huang, Belongie 2017: Arbitrary Style Transfer in Real-time (AdaIN)", "https://arxiv.org/abs/1703.06868"
    ),
    Reference("Ioffe, Szegedy 2015: Batch Normalization", "https://arxiv.org/abs/1502.03167"),
    Reference("Salimans, Kingma 2016: Weight Normalization", "https://arxiv.org/abs/1602.07868"),
    Reference("Nam, Kim 2018: Batch-Instance Normalization", "https://arxiv.org/abs/1805.07925"),
    Reference("Pan, Luo, Shi, Tang 2018: IBN-Net", "https://arxiv.org/abs/1807.09441"),
    Reference("Wu, He 2018: Group Normalization", "https://arxiv.org/abs/1803.08494"),
    Reference("Peng et al. 2018: MegDet (batch statistics over several devices)", "https://arxiv.org/abs/1711.07240"),
    Reference("Johnson, Alahi, Fei-Fei 2016: Perceptual Losses", "https://arxiv.org/abs/1603.08155"),
)


def check_output(folder: Path, overwrite: bool) -> None:
    """Check that a report can be written to ``folder``, before the work begins.

    Raises:
        OutputError: It is there and not to be overwritten, it is there and more than a report, or it cannot be made.
    """
    _take_back(folder)
    try:
        os.lstat(folder)
    except (FileNotFoundError, NotADirectoryError):
        _check_place(folder)
        return
    except OSError as error:  # such as a name that is too long
        raise OutputError(f"cannot write {folder}: {error.strerror or error}; give another -o") from error
    if not folder.is_dir():
        raise OutputError(f"{folder} is a file; give the name of a folder with -o")
    here, place = Path.cwd(), folder.resolve()
    if here == place or place in here.parents:
        raise OutputError(f"{folder} is the current folder, or one above it; give the name of a folder in it with -o")
    if any(folder.iterdir()):
        if not overwrite:
            raise OutputError(f"{folder} exists already; pass --overwrite or another -o")
        files = _files_of_report(folder)
        if files is None:
            raise OutputError(f"{folder} is not a report of stylize and is not overwritten; give another -o")
        others = sorted(path.name for path in folder.iterdir() if path.name not in files or path.is_dir())
        if others:
            raise OutputError(
                f"{folder} holds more than a report ({', '.join(others)}) and is not overwritten; move that elsewhere, "
                "or give another -o"
            )
    _check_place(place)


def _hidden(place: Path, mark: str, kind: str) -> Path:
    """Return a name beside a report for what is not yet, or no longer, the report of that name."""
    digest = hashlib.sha256(os.fsencode(place.name)).hexdigest()[:12]
    return place.with_name(f".stylize-{digest}-{mark}.{kind}")


def _take_back(folder: Path) -> None:
    """Give a report its name back that a process was replacing when it was killed; remove it where it was replaced.

    No system replaces one folder by another in a single step: there is a moment at which neither has the name.
    """
    with contextlib.suppress(OSError):
        place = folder.resolve() if folder.is_symlink() else folder
        if not place.name:  # the current folder, or the uppermost one
            return
        for before in sorted(place.parent.glob(_hidden(place, "?" * 8, OLD).name)):
            if _files_of_report(before) is None:
                continue
            if os.path.lexists(place):
                shutil.rmtree(before, ignore_errors=True)
            else:
                before.rename(place)


def _check_place(folder: Path) -> None:
    """Check that a folder can be made where ``folder`` is to be."""
    parent = folder.parent
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir():
        raise OutputError(f"cannot make {folder}: {parent} is a file; give another -o")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise OutputError(f"cannot make {folder}: no permission to write to {parent}; give another -o")


def _files_of_report(folder: Path) -> set[str] | None:
    """Return the names of the files that stylize wrote into a folder; None if it holds no report."""
    try:
        document = json.loads((folder / NUMBERS).read_text(encoding="utf-8"))
        if document.get("format") != FORMAT:
            return None
        listed = document.get("files")
        files = map(str, listed) if isinstance(listed, list) else (path.name for path in folder.glob("*.csv"))
        return {PAGE, NUMBERS, *LEFT_BY_SYSTEMS, *files}
    except (OSError, ValueError, AttributeError, RecursionError):
        return None


def write_comparison(folder: Path, found: Comparison, facts: Mapping[str, str], *, overwrite: bool = False) -> Path:
    """Write the report of a comparison without training and return the page.

    Raises:
        OutputError: The folder exists or cannot be written; what was there is unchanged.
    """
    tables = inference_tables(found)
    names = " and ".join([", ".join(found.labels[:-1]), found.labels[-1]]) if len(found.labels) > 1 else found.labels[0]
    report = Report(
        f"{found.style}: {names} norm",
        inference_verdict(found),
        (),
        inference_sections(found),
        dict(facts),
        [NUMBERS, *(f"{name}.csv" for name in tables)],
        REFERENCES,
    )
    return _write(folder, report, {"facts": dict(facts), "inference": found.to_json()}, tables, overwrite)


def write_study(folder: Path, outcome: StudyOutcome, facts: Mapping[str, str], *, overwrite: bool = False) -> Path:
    """Write the report of a training study and return the page.

    Raises:
        OutputError: The folder exists or cannot be written; what was there is unchanged.
    """
    tables = study_tables(outcome)
    report = Report(
        f"Normalisation in stylization networks, trained on {', '.join(Path(p).stem for p in outcome.study.paintings)}",
        study_verdict(outcome),
        not_reproduced(outcome),
        study_sections(outcome),
        dict(facts),
        [NUMBERS, *(f"{name}.csv" for name in tables)],
        REFERENCES,
    )
    return _write(folder, report, {"facts": dict(facts), "training": outcome.to_json()}, tables, overwrite)


def study_tables(outcome: StudyOutcome) -> dict[str, tuple[list[str], list[list[Any]]]]:
    """Return the figures of a study as tables for CSV files: name to header and rows."""
    curve = ["content", "style", "total", "training_content", "training_style", "training_total", "contrast_change"]
    keys = ["painting", "norm", "seed", "learning_rate", "preparation", "photo_limit", "processes", "synchronised"]
    rows = [
        [run.name, *(getattr(run, key) for key in keys), point.step, point.seconds, *(getattr(point, c) for c in curve)]
        for run in outcome.results
        for point in run.curve
    ]
    summaries = [
        [one.painting, one.norm, one.learning_rate, one.seeds, one.diverged]
        + [getattr(getattr(one, value), edge) for value in ("style", "content", "total") for edge in RANGE]
        + [one.training_style.median, one.training_total.median, one.steps_to_batch, one.seconds_to_batch]
        for one in outcome.summaries
    ]
    header = ["painting", "norm", "learning_rate", "seeds", "diverged"]
    header += [f"{value}_{edge}" for value in ("style", "content", "total") for edge in RANGE]
    header += ["training_style_median", "training_total_median", "steps_to_batch", "seconds_to_batch"]
    return {
        "curves": (["run", *keys, "step", "seconds", *curve], rows),
        "summary": (header, summaries),
        "claims": (
            ["claim", "source", "verdict", "measured"],
            [[claim.claim, claim.source, claim.verdict, claim.sentence] for claim in outcome.claims],
        ),
    }


RANGE = ("median", "low", "high")


def _write(
    folder: Path,
    report: Report,
    document: Mapping[str, Any],
    tables: Mapping[str, tuple[list[str], list[list[Any]]]],
    overwrite: bool,
) -> Path:
    """Write everything into a folder beside ``folder``, which then takes its place as a whole."""
    check_output(folder, overwrite)
    # A link stays one: what it leads to is replaced.
    place = folder.resolve() if folder.is_symlink() else folder
    temporary, before = (_hidden(place, uuid.uuid4().hex[:8], kind) for kind in ("tmp", OLD))
    missing = [parent for parent in place.parents if not parent.exists()]
    try:
        temporary.mkdir(parents=True)
        write_report(temporary / PAGE, report)
        write_json(temporary / NUMBERS, {"format": FORMAT, "version": 1, "files": list(report.files), **document})
        for name, (header, rows) in tables.items():
            write_csv(temporary / f"{name}.csv", header, rows)
        check_output(folder, overwrite)  # Somebody else may have put something there meanwhile.
        try:
            if place.exists():
                place.rename(before)
            temporary.rename(place)
        finally:
            # Not only after an error: Ctrl-C can come between the two.
            if before.exists() and not place.exists():
                before.rename(place)
        shutil.rmtree(before, ignore_errors=True)
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror or error}; what was there is unchanged") from error
    except OutputError as error:
        raise OutputError(str(error).replace(str(temporary), str(folder))) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        for parent in missing:  # the nearest first; with the report in it, it is not empty and stays
            with contextlib.suppress(OSError):
                parent.rmdir()
    return folder / PAGE
