"""Long work in a thread: its reports, its errors, and how it is stopped."""

from __future__ import annotations

import time

import pytest

from stylize.errors import InputError
from stylize.web.jobs import Job, Running


def test_the_last_report_arrives_and_the_result():
    def work(report, stopped):
        for number in range(5):
            report(number)
        return "done"

    job = Job(work)
    assert list(job)[-1] == 4
    assert job.result == "done"


def test_an_error_is_raised_where_it_is_waited_for():
    def work(report, stopped):
        report(1)
        raise InputError("no")

    seen = []
    with pytest.raises(InputError, match="no"):
        for report in Job(work):
            seen.append(report)
    assert seen == [1]


def endless(report, stopped):
    while not stopped():
        report("still")
        time.sleep(0.01)
    return "stopped"


def test_a_session_stops_its_own_work_and_nobody_elses():
    running = Running()
    mine, theirs = Job(endless), Job(endless)
    ours, others = running.follow("me", "full size", mine), running.follow("them", "full size", theirs)
    assert next(ours) == next(others) == "still"
    running.stop("me", "learning")
    assert not mine.stopped
    running.stop("me", "full size")
    list(ours)
    assert mine.result == "stopped" and not theirs.stopped
    running.stop("them")
    list(others)
    assert theirs.result == "stopped"
    running.stop("them")  # nothing runs any more


def test_work_ends_when_nobody_listens():
    job = Job(endless)
    reports = iter(job)
    next(reports)
    reports.close()  # waits for the work, which would go on for ever
    assert job.stopped
