"""Long work in a thread: its reports, its errors, and how it is stopped."""

from __future__ import annotations

import threading
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


def test_silence_is_a_beat_where_that_is_wanted():
    def work(report, stopped):
        time.sleep(0.35)
        return "done"

    assert set(Job(work, beat=0.1)) == {None} and list(Job(work)) == []


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
    assert not [one for one in threading.enumerate() if one.name.startswith("stylize-web-job")]


def test_the_end_stops_all_and_what_begins_later():
    running = Running()
    job, late = Job(endless), Job(endless)
    following = running.follow("me", "learning", job)
    next(following)
    running.stop_all()
    list(following)
    assert job.result == "stopped"
    assert list(running.follow("you", "learning", late)) in ([], ["still"]) and late.result == "stopped"
