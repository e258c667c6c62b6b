"""Visitors of ``stylize web`` without a browser: they speak to the server as the page does, one in a thread each.

Every visitor has photos and a style of its own, and knows from the library what is to come back for them, so that a
result that belongs to somebody else is noticed.
"""

from __future__ import annotations

import base64
import http.client
import io
import json
import re
import secrets
import socket
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

from stylize.images import resize_long_edge
from stylize.web.offers import Offers
from stylize.web.painting import SAME_STROKES, FullSize, paint_full_size
from stylize.web.painting_actions import MOST_MIXED
from stylize.web.parts import picture_data
from stylize.web.settings import Settings
from stylize.web.uploads import open_photo

PREVIEW = 256
"""Long edge of the previews that visitors ask for, in pixels: the smallest that the page offers."""

SAME = 2.0
"""Mean difference in grey levels up to which two pictures are one: both were written as JPEG."""

TIMEOUT = 120.0
"""Seconds without a word from the server after which a visitor gives up."""


class Failed(Exception):
    """The server answered with an error; the text is what the visitor reads."""


class Dropped(Exception):
    """The server closed the line, or said nothing for too long."""


def difference(one: Image.Image, two: Image.Image) -> float:
    """Return the mean difference of two pictures in grey levels; 255 where their sizes differ."""
    if one.size != two.size:
        return 255.0
    return float(np.abs(np.asarray(one.convert("RGB"), np.float32) - np.asarray(two.convert("RGB"), np.float32)).mean())


@dataclass(frozen=True)
class Subject:
    """A photo with what is to come of it.

    Attributes:
        name: Of its file.
        content: Of its file.
        preview: What the page is to show.
        full: What is to be downloaded, or None where that is not asked for.
    """

    name: str
    content: bytes
    preview: Image.Image
    full: Image.Image | None


def make_photo(visitor: int, number: int, size: tuple[int, int]) -> Image.Image:
    """Return a photo that no other visitor has: its own colours, and stripes at an angle of its own."""
    generator = np.random.default_rng([visitor, number])
    first, second = generator.uniform(0, 255, (2, 3))
    angle, period = generator.uniform(0, np.pi), generator.uniform(20, 60)
    y, x = np.mgrid[0 : size[1], 0 : size[0]]
    wave = 0.5 + 0.5 * np.sin((x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / period)[..., None]
    pixels = first * wave + second * (1 - wave) + generator.uniform(-12, 12, (*wave.shape[:2], 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def make_subjects(
    offers: Offers, visitor: int, style: str, count: int, size: tuple[int, int], full: bool
) -> list[Subject]:
    """Return the photos of a visitor, with what the library makes of them in this process."""
    stylizer, found = offers.stylizer({style: 1.0}), []
    for number in range(count):
        photo = make_photo(visitor, number, size)
        stream = io.BytesIO()
        photo.save(stream, "PNG", compress_level=1)
        name = f"visitor-{visitor}-{number}.png"
        small = photo if max(size) <= PREVIEW else resize_long_edge(photo, PREVIEW)
        whole = None
        if full and number == 0:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / name
                path.write_bytes(stream.getvalue())
                limits, wanted = Settings().limits, FullSize(None, SAME_STROKES, PREVIEW)
                written = paint_full_size(stylizer, open_photo(path, limits), Path(folder), wanted, limits)
                whole = decoded(written.read_bytes())
        # As the page shows it: the same kind of JPEG.
        preview = decoded(base64.b64decode(picture_data(stylizer.paint(small)).partition(",")[2]))
        found.append(Subject(name, stream.getvalue(), preview, whole))
    return found


def decoded(content: bytes) -> Image.Image:
    """Return the picture in a file, read whole."""
    with Image.open(io.BytesIO(content)) as image:
        return image.convert("RGB")


class Page:
    """The page as a program sees it: its address, and the numbers of the functions that its controls call."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self.host, self.port = parts.hostname, parts.port
        config = json.loads(self.ask("GET", "/config")[1])
        ids = {one["props"].get("elem_id"): one["id"] for one in config["components"]}

        def number(element: str, event: str) -> int:
            target = [ids[element], event]
            return next(one["id"] for one in config["dependencies"] if target in [list(two) for two in one["targets"]])

        self.open, self.choose = number("upload", "upload"), number("styles", "select")
        self.repaint, self.full = number("strength", "input"), number("full-size", "click")
        self.painting, self.learn = number("painting", "upload"), number("learn", "click")

    def connect(self) -> http.client.HTTPConnection:
        """Return a new line to the server."""
        return http.client.HTTPConnection(self.host, self.port, timeout=TIMEOUT)

    def ask(self, method: str, path: str, body: bytes | None = None, kind: str = "") -> tuple[int, bytes]:
        """Return the status and the body of an answer."""
        with closing(self.connect()) as line:
            line.request(method, path, body, {"Content-Type": kind} if kind else {})
            answer = line.getresponse()
            return answer.status, answer.read()

    def post(self, path: str, values: dict[str, Any]) -> tuple[int, bytes]:
        """Send JSON."""
        return self.ask("POST", path, json.dumps(values).encode(), "application/json")


def multipart(name: str, content: bytes) -> tuple[bytes, str]:
    """Return the body of an upload and its kind."""
    border = secrets.token_hex(8)
    head = f'--{border}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n'
    body = head.encode() + b"Content-Type: image/png\r\n\r\n" + content + f"\r\n--{border}--\r\n".encode()
    return body, f"multipart/form-data; boundary={border}"


class Session:
    """One visit: it keeps the sign of life that a page keeps, uploads and asks for work."""

    def __init__(self, page: Page) -> None:
        self.page, self.name = page, secrets.token_hex(6)
        self._alive = socket.create_connection((page.host, page.port), timeout=TIMEOUT)
        request = f"GET /gradio_api/heartbeat/{self.name} HTTP/1.1\r\nHost: {page.host}:{page.port}\r\n\r\n"
        self._alive.sendall(request.encode())

    def close(self) -> None:
        """Leave, as a tab that is closed."""
        self._alive.close()

    def upload(self, name: str, content: bytes) -> dict[str, Any]:
        """Send a file and return what stands for it."""
        status, body = self.page.ask("POST", "/gradio_api/upload", *multipart(name, content))
        if status != 200:
            raise Failed(f"{status}: {body[:200].decode('utf-8', 'replace')}")
        return {"path": json.loads(body)[0], "orig_name": name, "meta": {"_type": "gradio.FileData"}}

    def join(self, number: int, data: Sequence[Any]) -> str:
        """Ask for work and return the number of the request."""
        values = {"data": list(data), "fn_index": number, "session_hash": self.name, "event_data": None}
        status, body = self.page.post("/gradio_api/queue/join", values)
        if status != 200:
            raise Failed(f"{status}: {body[:200].decode('utf-8', 'replace')}")
        return json.loads(body)["event_id"]

    def listen(self) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """Open the line on which the server says how the work goes."""
        line = self.page.connect()
        line.request("GET", f"/gradio_api/queue/data?session_hash={self.name}")
        return line, line.getresponse()

    def work(self, number: int, data: Sequence[Any]) -> list[Any]:
        """Ask for work, wait for its end, and return what the controls of the page are set to.

        Raises:
            Failed: It ended in an error.
            Dropped: It did not end.
        """
        event, last = self.join(number, data), None
        line, answer = self.listen()
        with closing(line), answer:
            for row in answer:
                if not row.startswith(b"data: "):
                    continue
                message = json.loads(row[6:])
                if message.get("event_id") == event and message["msg"] == "process_generating":
                    last = message["output"]["data"]
                if message.get("event_id") == event and message["msg"] == "process_completed":
                    if not message["success"]:
                        raise Failed(str(message["output"].get("error")))
                    return message["output"].get("data") or last or []
        raise Dropped("the line ended before the work")

    def answers(self) -> list[dict[str, Any]]:
        """Listen until all that was asked for has ended, and return how each ended."""
        line, answer = self.listen()
        with closing(line), answer:
            messages = [json.loads(row[6:]) for row in answer if row.startswith(b"data: ")]
        return [message for message in messages if message["msg"] == "process_completed"]

    def choose(self, style: str) -> None:
        """Click on a style."""
        body = {"data": [None, False, "instance"], "fn_index": self.page.choose, "session_hash": self.name}
        status, said = self.page.post("/gradio_api/run/predict", body | {"event_data": {"name": style}})
        if status != 200:
            raise Failed(f"{status}: {said[:200].decode('utf-8', 'replace')}")

    @property
    def look(self) -> list[Any]:
        """How it is to be painted; the chosen styles are known to the server."""
        return [None, False, "instance", 1.0, False, PREVIEW, *[1.0] * MOST_MIXED]

    def open(self, subject: Subject) -> None:
        """Upload a photo and let the page open it."""
        self.work(self.page.open, [self.upload(subject.name, subject.content)])

    def paint(self) -> Image.Image:
        """Return the painting that the page shows of the photo."""
        shown = self.work(self.page.repaint, [None, *self.look])
        found = re.search(r'class="after" src="data:image/jpeg;base64,([^"]+)"', str(shown[0]))
        if found is None:
            raise Failed(f"no painting: {str(shown[0])[:200]}")
        return decoded(base64.b64decode(found[1]))

    def paint_full_size(self) -> Image.Image:
        """Return the painting at full size, downloaded."""
        shown = self.work(self.page.full, [None, 0, SAME_STROKES, *self.look])
        found = re.search(r'href="(kept/[^"]+)"', str(shown[0]))
        if found is None:
            raise Failed(f"no painting: {str(shown[0])[:200]}")
        status, content = self.page.ask("GET", f"/{found[1]}")
        if status != 200:
            raise Failed(f"{status} for the picture to keep")
        return decoded(content)


def break_off_upload(page: Page, content: bytes) -> str:
    """Send half an upload, and leave."""
    body, kind = multipart("half.png", content)
    with socket.create_connection((page.host, page.port), timeout=TIMEOUT) as line:
        head = f"POST /gradio_api/upload HTTP/1.1\r\nHost: {page.host}:{page.port}\r\nContent-Type: {kind}\r\n"
        line.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[: len(body) // 2])
    return "broken off"
