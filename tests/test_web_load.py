"""Several visitors of the page at once: each gets its own pictures, nobody is kept waiting, and the page lives on.

The same with fifty visitors and the shipped networks: ``python -m tests.slow.web_load``.
"""

from __future__ import annotations

import time

import pytest

from stylize.web.listeners import MOST_UNHEARD
from stylize.web.offers import Offers
from stylize.web.settings import Settings
from tests.web_crowd import Crowd, Turn, overtaken
from tests.web_helpers import Server
from tests.web_rubbish import LOGGED, RUBBISH
from tests.web_visitors import (
    SAME,
    Failed,
    Page,
    Session,
    Subject,
    difference,
    make_photo,
    make_subjects,
)

pytest.importorskip("gradio", reason="gradio is not installed (pip install 'stylize[web]')")

PAINTERS = 6
STYLES = ("first", "second")
SECONDS = 3


def test_turns_of_those_who_asked_later_are_counted():
    turns = [
        Turn(0, "previews", 0, 10),
        Turn(1, "previews", 1, 3),
        Turn(1, "previews", 4, 6),
        Turn(1, "full size", 5, 6),
        Turn(2, "previews", 2, 11),
        Turn(3, "previews", 0.5, 12),
        Turn(3, "previews", -1, 5),
    ]
    assert overtaken(turns) == [2, 0, 0, 0, 1, 2, 1]


@pytest.fixture(scope="module")
def subjects(web_server: Server) -> list[list[Subject]]:
    offers = Offers(Settings(collection=web_server.collection, device="cpu"))
    return [
        make_subjects(offers, visitor, STYLES[visitor % 2], 2, (260 + 9 * visitor, 180 + 7 * visitor), visitor == 0)
        for visitor in range(PAINTERS)
    ]


def test_pictures_of_different_visitors_are_told_apart(subjects):
    """Else nothing below could find a mix-up."""
    pictures = [subject.preview for several in subjects for subject in several]
    apart = [difference(one, two) for number, one in enumerate(pictures) for two in pictures[:number]]
    assert min(apart) > 3 * SAME
    assert difference(pictures[0], pictures[0]) == 0
    assert difference(make_photo(0, 0, (8, 8)), make_photo(0, 0, (8, 9))) == 255


def test_a_crowd_gets_its_own_pictures(web_server, subjects):
    page = Page(web_server.address)
    crowd = Crowd(page, SECONDS)
    for visitor in range(PAINTERS):
        crowd.add(crowd.painter, visitor, STYLES[visitor % 2], subjects[visitor], 3)
    crowd.add(crowd.leaver, subjects[0][0], 1)
    crowd.add(crowd.nuisance, 2, {kind: send for kind, send in RUBBISH.items() if kind not in LOGGED})
    counts = crowd.run()
    assert counts.mixed_up == [] and counts.failed == {}
    assert min(counts.jobs[visitor] for visitor in range(PAINTERS)) >= 1
    assert counts.left >= 1 and sum(counts.rubbish.values()) >= 1
    assert not [text for text in counts.rubbish if "without a message" in text or ": 500" in text]
    assert web_server.process.poll() is None


def test_whoever_comes_when_a_line_is_full_is_told_so_and_can_do_other_things(web_server, subjects):
    """As many as a line holds wait for the work of one; there are more of them than Gradio takes on unless told to."""
    page, subject = Page(web_server.address), subjects[1][0]
    sessions = [Session(page) for _ in range(Settings().waiting + 2)]
    learning = [None, 1000, 64, None]
    try:
        for session in sessions:
            session.work(page.painting, [session.upload(subject.name, subject.content)])
        for session in sessions[:-2]:
            session.join(page.learn, learning)
        for late in sessions[-2:]:
            with pytest.raises(Failed, match="others are before you, and no more can wait; please come back in a min"):
                late.work(page.learn, learning)
        late.choose(STYLES[1])
        late.open(subject)
        assert difference(late.paint(), subject.preview) <= SAME
    finally:
        for session in sessions:
            session.close()


def test_whoever_does_not_listen_is_not_painted_for_without_end(web_server, subjects):
    page = Page(web_server.address)
    session = Session(page)
    try:
        session.open(subjects[0][0])
        for _ in range(MOST_UNHEARD + 3):
            session.join(page.repaint, [None, *session.look])
        time.sleep(1)  # every one of them has begun, and nobody listens
        ended = session.answers()
        assert [message["success"] for message in ended].count(True) == MOST_UNHEARD
        said = [message["output"]["error"] for message in ended if not message["success"]]
        assert len(said) == 3 and all("nobody fetches the answers" in one for one in said)
        session.choose(STYLES[0])
        assert difference(session.paint(), subjects[0][0].preview) <= SAME  # whoever listens again is painted for
    finally:
        session.close()
