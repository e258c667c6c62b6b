"""Rubbish for the web page: requests that no page makes, and what they are answered."""

from __future__ import annotations

import json
import random
import secrets
import socket

from stylize.controls import MAXIMUM_STRENGTH
from tests.web_visitors import TIMEOUT, Failed, Page, Session, break_off_upload


def _rubbish_picture(page: Page, generator: random.Random) -> str:
    session = Session(page)
    try:
        content = generator.choice((b"", b"no picture", b"\x89PNG\r\n\x1a\n" + generator.randbytes(500)))
        session.work(page.open, [session.upload(f"rubbish-{generator.randrange(99)}.png", content)])
        return "taken for a picture"
    finally:
        session.close()


def _rubbish_values(page: Page, generator: random.Random) -> str:
    session = Session(page)
    wrong = (None, "", "x", -1, 1e300, [], {}, {"path": "/etc/passwd"}, [[]], True)
    try:
        data = [generator.choice(wrong) for _ in range(1 + len(session.look))]
        session.work(page.repaint, data)
        return "answered"
    except Failed as error:
        return "refused with a message" if str(error) not in ("None", "") else "refused without a message"
    finally:
        session.close()


def _rubbish_strength(page: Page, generator: random.Random) -> str:
    session = Session(page)
    try:
        look = session.look
        look[3] = generator.choice((MAXIMUM_STRENGTH + 5, "much", None, [1]))
        session.work(page.repaint, [None, *look])
        return "answered"
    except Failed as error:
        return "refused with a message" if str(error) not in ("None", "") else "refused without a message"
    finally:
        session.close()


def _rubbish_click(page: Page, generator: random.Random) -> str:
    name = generator.choice(("no-such-style", None, [], {"a": 1}, "<script>", "x" * 1000))
    body = {"data": [None, False, "instance"], "fn_index": page.choose, "session_hash": secrets.token_hex(6)}
    status, said = page.post("/gradio_api/run/predict", body | {"event_data": {"name": name}})
    if status == 200:
        return "answered"
    # Gradio sends the messages of the page with the status of a fault.
    return "refused with a message" if json.loads(said).get("error") else f"{status} without a message"


def _rubbish_unheard(page: Page, generator: random.Random) -> str:
    session = Session(page)
    try:
        for _ in range(generator.randrange(5, 30)):
            session.join(page.repaint, [None, *session.look])
        return "taken"
    finally:
        session.close()


def _rubbish_join(page: Page, generator: random.Random) -> str:
    number = generator.choice((-1, 99_999, "x", None))
    data = generator.choice(([], None, "x"))
    return str(page.post("/gradio_api/queue/join", {"data": data, "fn_index": number, "session_hash": "r"})[0])


def _rubbish_body(page: Page, generator: random.Random) -> str:
    path = generator.choice(("/gradio_api/queue/join", "/gradio_api/upload", "/gradio_api/run/predict"))
    kind = generator.choice(("application/json", "multipart/form-data; boundary=x", ""))
    return str(page.ask("POST", path, generator.randbytes(generator.randrange(2000)), kind)[0])


def _rubbish_bytes(page: Page, generator: random.Random) -> str:
    with socket.create_connection((page.host, page.port), timeout=TIMEOUT) as line:
        line.sendall(generator.randbytes(2000) + b"\r\n\r\n")
        return line.recv(64)[:12].decode("latin-1") or "line closed"


def _rubbish_path(page: Page, generator: random.Random) -> str:
    path = generator.choice(("/%00", "/kept/" + "x" * 3000, "/gradio_api/file=/etc/passwd", "/gradio_api/queue/data"))
    return str(page.ask("GET", path)[0])


LOGGED = ("values of wrong kinds", "a strength out of range", "work that does not exist")
"""Kinds of rubbish that Gradio refuses itself, as a fault of its own or without a message, and with a traceback in its
log: no control of the page can send such requests."""

RUBBISH = {
    "a file that is no picture": _rubbish_picture,
    "values of wrong kinds": _rubbish_values,
    "a strength out of range": _rubbish_strength,
    "a click on nothing": _rubbish_click,
    "work whose answer nobody fetches": _rubbish_unheard,
    "work that does not exist": _rubbish_join,
    "random bodies": _rubbish_body,
    "random bytes": _rubbish_bytes,
    "strange paths": _rubbish_path,
    "half an upload": lambda page, generator: break_off_upload(page, generator.randbytes(50_000)),
}
"""Kinds of rubbish: what sends it and says what the answer was."""
