"""What the benchmark of bulk runs says: a report, a row for docs/reliability.md, and the cost of a million photos."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from benchmarks import record
from stylize.errors import InputError

LOSSES = ("lost", "listed_twice", "written_twice", "wrong_failures", "half_written", "differing_from_plain")
"""Counts of what must not be."""

MILLION = 1_000_000


def passed(known: Mapping[str, Any]) -> bool:
    """Say whether nothing was lost, done twice, or failed for another reason than being broken."""
    checked, again = known["checked"], known["again"]
    good = known["count"] - known["broken"]
    whole = checked["results"] == checked["done"] == good and checked["failures_named"] == known["broken"]
    return whole and not any(checked[name] for name in LOSSES) and again == {"painted": 0, "kept": good}


def cost(speed: Mapping[str, Any], workers: int, price: float) -> dict[str, float]:
    """Return what a million photos like those of a measurement take.

    Args:
        speed: One measurement, with its photos per second.
        workers: How many there were, each with one thread.
        price: Of an hour of one core, in US dollars.
    """
    hours = MILLION / speed["rate"] / 3600
    return {"hours": hours, "core_hours": workers * hours, "dollars": workers * hours * price}


def cost_text(known: Mapping[str, Any], price: float) -> str:
    """Return what a million photos cost, in words, with what is assumed."""
    facts, workers, rows = known["facts"], known["workers"], []
    for speed in known["speeds"]:
        one = cost(speed, workers, price)
        measured = (f"{speed['size']} px", f"{speed['pixels']:,}", speed["count"], f"{speed['rate']:.1f}")
        computed = (f"{one['hours']:,.1f}", f"{one['core_hours']:,.1f}", f"${one['dollars']:,.2f}")
        rows.append((*measured, *computed))
    header = ("long edge", "pixels on average", "photos measured", "photos a second", "hours for a million")
    header += ("core-hours for a million", f"at ${price:g} an hour of one core")
    starts = " and ".join(f"{speed['start_seconds']:.0f}" for speed in known["speeds"])
    load = (
        ""
        if known["load"] is None
        else (
            f"- The machine's load was {known['load']:.1f} when it began. Above 0, others had a share of its cores, "
            f"and alone it takes less.\n"
        )
    )
    return (
        f"{record.table(header, rows, range(1, 7))}\n\n"
        f"- Measured with {workers} workers of one thread each, on one machine of {facts['cores']} cores "
        f"({facts['cpu']}), between the first and the last photo; the hours are those of this machine. N machines like "
        f"it take an N-th of them if the storage keeps up, which was not measured.\n"
        f"{load}"
        f"- Style {known['style']}, preset fast, engine torch, JPEG to JPEG, on a disk of this machine.\n"
        f"- The price is an assumption, not a quotation: put your own in its place (`python benchmarks/bulk.py --help` "
        f"says how). A core is what this machine calls one.\n"
        f"- Not counted: storage, its requests and its traffic, the start of the machines, and the {starts} seconds "
        f"until the first photo was done.\n"
    )


def markdown(known: Mapping[str, Any]) -> str:
    """Return the report."""
    checked, again = known["checked"], known["again"]
    good = known["count"] - known["broken"]
    rows = [
        ("results", good, checked["results"]),
        ("failures that are named", known["broken"], checked["failures_named"]),
        ("pictures lost", 0, checked["lost"]),
        ("pictures listed twice", 0, checked["listed_twice"]),
        ("finished results written a second time", 0, checked["written_twice"]),
        ("failures of whole photos, or broken ones that passed", 0, checked["wrong_failures"]),
        ("files left half-written", 0, checked["half_written"]),
        ("results that differ from plain `stylize apply` in any byte", 0, checked["differing_from_plain"]),
        ("painted when the same command was given again", 0, again["painted"]),
        ("kept when the same command was given again", good, again["kept"]),
    ]
    verdict = "Every count is as it should be." if passed(known) else "**Not every count is as it should be.**"
    return "\n".join(
        [
            "# Bulk apply with a worker killed on the way",
            "",
            record.facts_line(known["facts"]),
            "",
            f"{known['count']} pictures of {known['size']} px, {known['broken']} of them broken, {known['workers']} "
            f"workers on a Ray of this machine. One worker was killed (SIGKILL) when {checked['done_before_the_kill']} "
            f"results were there; {checked['workers']} workers took part in all. What the killed one had finished and "
            f"not yet reported, {checked['found_after_the_kill']} pictures, was found and not painted again. {verdict}",
            "",
            record.table(["", "should be", "is"], rows, (1, 2)),
            "",
            f"The whole command took {known['clean_seconds']:.1f} s without a kill, of which "
            f"{known['speeds'][0]['start_seconds']:.1f} s were over when the first picture was done, and "
            f"{known['killed_seconds']:.1f} s with the kill; the same command "
            f"again {known['again_seconds']:.1f} s. Plain apply with one thread: {known['plain_seconds']:.1f} s.",
            "",
            f"Pictures in memory at most: {known['pictures_held']}, {known['pictures_held'] // known['workers']} for "
            "each worker.",
            "",
            "## Cost",
            "",
            cost_text(known, known["price"]),
        ]
    )


def fault(known: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row for docs/reliability.md."""
    good = known["count"] - known["broken"]
    lost = sum(known["checked"][name] for name in LOSSES) + abs(good - known["checked"]["results"])
    row = {
        "fault": f"kill -9 of one of {known['workers']} workers while it painted {known['count']} pictures in bulk, "
        f"{known['broken']} of them broken",
        "tried": 1,
        "lost": lost,
        "means": f"a picture that is missing, differs from plain apply in a byte, or is written or listed twice; a "
        f"failure of one of the {good} whole ones; a file left half-written",
    }
    return {"command": known["facts"]["command"], "date": known["facts"]["date"], "rows": [row]}


def filled(text: str, known: Mapping[str, Any], price: float) -> str:
    """Return a page with the cost between its marks.

    Raises:
        InputError: It has no such marks.
    """
    block = f"<!-- bulk:begin -->\n\n{cost_text(known, price)}\n<!-- bulk:end -->"
    made, count = re.subn(r"<!-- bulk:begin -->.*<!-- bulk:end -->", lambda _: block, text, flags=re.DOTALL)
    if count != 1:
        raise InputError("the page has no place <!-- bulk:begin --> ... <!-- bulk:end -->")
    return made
