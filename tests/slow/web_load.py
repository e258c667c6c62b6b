"""Many visitors at once on ``stylize web``, on this machine alone; some leave in the middle, some send rubbish.

    python -m tests.slow.web_load                     50 painters for two minutes, 6 who leave, 4 who send rubbish
    python -m tests.slow.web_load --seconds 20 --clients 12

The server is a process of its own with the shipped networks. Every painter uploads photos of its own, asks for previews
and pictures at full size in a style of its own, and compares what comes back with what the library paints in this
process. As soon as one painting is there the next is asked for, and every few paintings the page is closed and opened
anew. The result is written to ``benchmarks/results/faults-web.json``, from which ``benchmarks/reliability.py`` takes
its rows.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks import record
from stylize.web.offers import Offers
from stylize.web.settings import Settings
from tests.web_crowd import RETRY_SECONDS, Counts, Crowd, overtaken
from tests.web_helpers import Server
from tests.web_rubbish import LOGGED, RUBBISH
from tests.web_visitors import (
    Failed,
    Page,
    Session,
    Subject,
    make_subjects,
)

OUTPUT = record.RESULTS / "faults-web.json"

PHOTOS = 2
"""Photos of each painter."""

GROWTH = 0.25
"""How much more memory the server may hold at the end than at a third of the time, as a part of that."""

SEVERAL = 2
"""Turns of one other who asked later, while somebody waits for one turn, that are no fair queue."""

SETTLING_SECONDS = 5.0
"""Time after the last visitor until the page is asked whether it still paints."""


class Watch:
    """Looks at the memory of a process once a second."""

    def __init__(self, process: int) -> None:
        self.megabytes: list[tuple[float, float]] = []
        self._status, self._ended = Path(f"/proc/{process}/status"), threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._begun = time.monotonic()
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._ended.set()
        self._thread.join()

    def now(self) -> float:
        """Return the resident memory in megabytes, shared pages of the libraries among it."""
        for line in self._status.read_text(encoding="ascii").splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1000
        return 0.0

    def _look(self) -> None:
        while not self._ended.wait(1.0):
            try:
                self.megabytes.append((time.monotonic() - self._begun, self.now()))
            except OSError:
                return

    def at(self, share: float) -> float:
        """Return the memory after a part of the time: the mean over a tenth of the time around it."""
        count = len(self.megabytes)
        middle, width = share * (count - 1), max(1.0, count / 20)
        near = [size for number, (_, size) in enumerate(self.megabytes) if abs(number - middle) <= width]
        return statistics.mean(near) if near else 0.0


def paints_at_once(page: Page, style: str) -> float:
    """Return the seconds until a painting is there when nobody else asks for one."""
    begun = time.monotonic()
    session = Session(page)
    try:
        session.choose(style)
        session.open(make_subjects(Offers(Settings(device="cpu")), 0, style, 1, (300, 200), False)[0])
        begun = time.monotonic()
        session.paint()
    finally:
        session.close()
    return time.monotonic() - begun


def measure(asked: argparse.Namespace) -> dict[str, Any]:
    """Let the visitors come and return what happened, as a document."""
    offers = Offers(Settings(device="cpu"))
    styles = [offer.name for offer in offers.with_norm("instance")]
    facts = record.facts()
    print(f"painting what {asked.clients} visitors are to get, in this process")
    subjects: dict[int, list[Subject]] = {}
    for visitor in sorted(range(asked.clients + asked.leaving), key=lambda one: one % len(styles)):  # style by style
        size = (760 + visitor, 540)  # about as much work for each
        style = styles[visitor % len(styles)]
        subjects[visitor] = make_subjects(offers, visitor, style, PHOTOS, size, True)
    with tempfile.TemporaryDirectory() as name:
        server = Server(Path(name), shipped=True)
        try:
            page, watch = Page(server.address), Watch(server.process.pid)
            before = watch.now()
            crowd = Crowd(page, asked.seconds)
            for visitor in range(asked.clients):
                crowd.add(crowd.painter, visitor, styles[visitor % len(styles)], subjects[visitor])
            for number in range(asked.leaving):
                crowd.add(crowd.leaver, subjects[asked.clients + number][0], number)
            for number in range(asked.rubbish):
                crowd.add(crowd.nuisance, number, RUBBISH)
            print(f"{len(subjects) + asked.rubbish} visitors come for {asked.seconds} s")
            counts = crowd.run()
            watch.close()
            time.sleep(SETTLING_SECONDS)
            try:
                alone: float | None = round(paints_at_once(page, styles[0]), 2)
            except (Failed, OSError, ValueError):
                alone = None
            running = server.process.poll() is None
        finally:
            status = server.end()
        log, left = server.log.read_text(encoding="utf-8"), [path.name for path in server.left_behind()]
    return document(asked, facts, counts, watch, before, Ending(alone, running, status, log, left))


class Ending:
    """How the server was after the visitors.

    Args:
        alone: Seconds for a painting when nobody else was there; None where none came.
        running: Whether it still ran.
        status: Its exit status.
        log: What it wrote to standard error.
        left: Files that it left behind.
    """

    def __init__(self, alone: float | None, running: bool, status: int, log: str, left: list[str]) -> None:
        self.alone, self.running, self.status, self.log, self.left = alone, running, status, log, left

    @property
    def faults(self) -> int:
        """How many faults there were."""
        return self.tracebacks["stylize"] + (not self.running) + (self.status != 0) + bool(self.left)

    @property
    def tracebacks(self) -> Counter[str]:
        """How many tracebacks stand in the log, by whether the last line of code is one of stylize."""
        found: Counter[str] = Counter()
        for text in self.log.split("Traceback (most recent call last)")[1:]:
            places = re.findall(r'File "([^"]+)", line', text)
            found["stylize" if places and "/stylize/" in places[-1] else "elsewhere"] += 1
        return found


def document(
    asked: argparse.Namespace, facts: dict[str, Any], counts: Counts, watch: Watch, before: float, ending: Ending
) -> dict[str, Any]:
    """Return rows for docs/reliability.md, and what they were counted from."""
    jobs = [counts.jobs[visitor] for visitor in range(asked.clients)]
    third, end = watch.at(1 / 3), watch.at(1.0)
    passed = overtaken(counts.turns)
    unclear = sum(number for text, number in counts.full.items() if "come back" not in text)
    silent = sum(number for text, number in counts.rubbish.items() if text.startswith(LOGGED))
    faults = sum(
        number
        for text, number in counts.rubbish.items()
        if not text.startswith(LOGGED) and ("without a message" in text or ": 500" in text)
    )
    visits = counts.visits + counts.left
    grown = (end - third) / third if third else 1.0
    longest = max(counts.waits, default=0.0)
    rows = [
        {
            "fault": f"{asked.clients} people paint on the web page at once for {asked.seconds} s",
            "tried": sum(jobs) + len(counts.mixed_up) + sum(counts.failed.values()),
            "lost": len(counts.mixed_up) + sum(counts.failed.values()),
            "means": "a painting of somebody else's photo or style, an error, or no answer. "
            f"{sum(jobs)} photos came back right, upload and refusals among the time in "
            f"{statistics.median(counts.waits or [0]):.1f} s in the median and {longest:.1f} s at most",
        },
        {
            "fault": "One of these people comes when the line is full",
            "tried": sum(counts.full.values()),
            "lost": unclear,
            "means": f"no message that says so and what to do. They came again after {RETRY_SECONDS:g} s",
        },
        {
            "fault": "One of these people waits while others have turn after turn",
            "tried": len(passed),
            "lost": sum(turns >= SEVERAL for turns in passed),
            "means": f"{SEVERAL} turns or more in the same line for one who asked later. Tried are the waits; in "
            f"{sum(turns > 0 for turns in passed)} of them somebody who asked later had a turn. In the whole time the "
            f"least that anybody got were {min(jobs)} paintings, the most {max(jobs)}",
        },
        {
            "fault": "Somebody leaves the web page in the middle of an upload, of waiting or of painting",
            "tried": counts.left,
            "lost": ending.faults + (ending.alone is None),
            "means": "the end of the server, a traceback of stylize in its log, a file that is left behind, or a line "
            "that does not move on"
            + (f". A painting alone took {ending.alone:.1f} s afterwards" if ending.alone is not None else ""),
        },
        {
            "fault": "Rubbish is sent to the web page",
            "tried": sum(counts.rubbish.values()),
            "lost": faults,
            "means": "an answer that blames the server or an error without a message. Left out of that are "
            f"{silent} requests that no control of the page can make: Gradio refuses those itself, some without a "
            "message",
        },
        {
            "fault": "The web page is opened again and again while it is busy",
            "tried": visits,
            "lost": int(grown > GROWTH),
            "means": f"memory that grows by more than {GROWTH:.0%} from a third of the time to its end. It was "
            f"{before:.0f} MB at the start, {third:.0f} MB at a third and {end:.0f} MB at the end",
        },
    ]
    return {
        **facts,
        "command": facts["command"].replace("tests/slow/web_load.py", "-m tests.slow.web_load"),
        "rows": rows,
        "seconds": asked.seconds,
        "jobs": jobs,
        "waits": {
            "median": round(statistics.median(counts.waits or [0]), 2),
            "longest": round(longest, 2),
        },
        "mixed_up": counts.mixed_up,
        "full": dict(counts.full),
        "failed": dict(counts.failed),
        "rubbish": dict(sorted(counts.rubbish.items())),
        "visits": counts.visits,
        "left": counts.left,
        "tracebacks": dict(ending.tracebacks),
        "exit_status": ending.status,
        "left_behind": ending.left,
        "megabytes": [round(size) for _, size in watch.megabytes[:: max(1, len(watch.megabytes) // 24)]],
        "log": ending.log[-2000:],
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=record.whole, default=120, help="how long the visitors ask for more")
    parser.add_argument("--clients", type=record.whole, default=50, help="visitors who paint")
    parser.add_argument("--leaving", type=int, default=6, help="visitors who leave in the middle")
    parser.add_argument("--rubbish", type=int, default=4, help="visitors who send rubbish")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="JSON file to write")
    asked = parser.parse_args()
    found = measure(asked)
    record.write_text(asked.output, json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    for row in found["rows"]:
        print(f"{row['fault']}: {row['tried']} tried, {row['lost']} lost ({row['means']})")
    print(f"wrote {asked.output.name}")


if __name__ == "__main__":
    main()
