"""A cluster without Ray, and the making of bulk runs, for the tests."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from stylize.bulk.jobs import Job, Photo, decide
from stylize.bulk.manifest import NAME, Manifest, Row, check_settings
from stylize.bulk.running import Outcome, run
from stylize.bulk.settings import Settings, style_files
from stylize.bulk.storage import HOME, Storage
from stylize.bulk.worker import Worker
from stylize.style_choice import choose_style
from tests.helpers import save_photo


class InProcess:
    """A cluster whose workers are one object of this process."""

    def __init__(self, settings: Settings, output: Storage, workers: int = 2) -> None:
        self.workers = workers
        self.worker = Worker(settings, style_files(settings.style), output)
        self.given: list[list[Job]] = []

    def paint(self, jobs: Sequence[Job], batch: int) -> Iterator[Sequence[Row]]:
        for start in range(0, len(jobs), batch):
            self.given.append(list(jobs[start : start + batch]))
            yield list(self.worker.paint_all(self.given[-1]))


class OneWorker(InProcess):
    """What stands in for the workers of Ray in the command: one in this process."""

    made: list[OneWorker] = []
    """Those that began to work."""

    def __init__(
        self,
        settings: Settings,
        files: Mapping[Path, bytes],
        output: Storage,
        *,
        workers: int | None = None,
        address: str | None = None,
        prepare: Callable[[], object] | None = None,
    ) -> None:
        self.workers, self.asked = workers or 2, (settings, output)

    def __enter__(self) -> OneWorker:
        super().__init__(*self.asked, self.workers)
        self.made.append(self)
        return self

    def __exit__(self, *error: object) -> None:
        return None


class FolderBucket(LocalFileSystem):
    """What stands in for a bucket of S3: ``s3://bucket`` is the folder ``bucket`` of the current folder."""

    protocol = ("s3",)
    cachable = False

    def __init__(self, **options: object) -> None:
        super().__init__(auto_mkdir=True)

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol(str(path).removeprefix("s3://"))


def photos_in(folder: str | Path, names: Sequence[str] | None = None) -> list[Photo]:
    """Return the photos of a folder or a URL, each with a result of the same name."""
    storage = Storage.at(str(folder))
    files = storage.files()
    return [Photo(storage, name, name, name, files[name]) for name in (names or files)]


def settings_of(weights: Path, **changes: object) -> Settings:
    """Return settings that paint with a weights file on the CPU."""
    return Settings(choose_style(weights), device="cpu", precision="float32", **changes)


def bulk(photos: Sequence[Photo], output: Storage, settings: Settings, cluster=None, overwrite=False, on_row=None):
    """Do a run as the command does; return its outcome and its manifest."""
    there = output.files()
    manifest = Manifest.read(output, there)
    check_settings(manifest, settings.facts(), there, overwrite)
    manifest.begin(settings.facts())
    work = decide(photos, manifest, there, overwrite)
    outcome = Outcome()
    if work.jobs and cluster is None:
        cluster = InProcess(settings, output)
    run(work, manifest, cluster, outcome, on_row)
    return outcome, manifest


def result_names(storage: Storage) -> list[str]:
    """Return the names of the pictures in a folder of results."""
    return [name for name in storage.files() if not name.startswith(HOME) and name != NAME]


def rows_of(storage: Storage) -> list[dict[str, Any]]:
    """Return the lines of the one file that a finished run leaves."""
    return [json.loads(line) for line in storage.read(NAME).decode().splitlines()]


PLACES = ("path", "file", "memory", "dir")


def a_place(kind: str, tmp_path: Path) -> Iterator[Storage]:
    """Yield a folder of results: here, or behind a URL of this kind."""
    folder = tmp_path / "place"
    if kind == "memory":
        yield Storage.at("memory://place")
        MemoryFileSystem.store.clear()
        MemoryFileSystem.pseudo_dirs[:] = [""]
        return
    folder.mkdir()
    start = {"path": "", "file": "file://", "dir": "dir://inner::file://"}[kind]
    yield Storage.at(start + str(folder))


BROKEN = ["empty.jpg", "half.jpg", "text.png"]
RESULTS = ["0.jpg", "1.jpg", "2.jpg", "3.jpg", "grey.png", "sub/alpha.png", "wrong.png"]


def make_holiday(folder: Path) -> Path:
    """Write a folder of pictures of many kinds: three broken ones, and one with alpha under the name of a JPEG."""
    for number in range(4):
        save_photo(folder / f"{number}.jpg", 40 + number, 30, seed=number)
    save_photo(folder / "sub" / "alpha.png", mode="RGBA")
    save_photo(folder / "grey.gif", mode="L")
    save_photo(folder / "wrong.png", mode="RGBA").rename(folder / "wrong.jpg")
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "half.jpg").write_bytes((folder / "0.jpg").read_bytes()[:400])
    (folder / "text.png").write_text("no picture at all, but long enough to be looked at")
    return folder
