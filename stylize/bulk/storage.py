"""Files in a folder of this machine or behind a URL, through fsspec; a file is written whole or not at all.

Whatever a storage raises becomes one line that names the file (:class:`stylize.errors.OutputError` or
:class:`stylize.errors.InputError`).
"""

from __future__ import annotations

import contextlib
import os
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylize.errors import InputError, OutputError, StylizeError
from stylize.images import shown

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

HOME = ".stylize-bulk"
"""Folder inside the folder of the results where a run keeps what only it needs."""

NEW = f"{HOME}/new"
"""Folder for files that are being written; each is renamed when it is whole."""

OBJECT_STORES = frozenset(("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "r2", "oci", "hf"))
"""Protocols whose objects appear when they are whole; to rename one there would copy it."""

OWN_MEMORY = "memory"
"""Protocol whose files exist in one process only."""

STAMPS = (
    "ETag", "etag", "md5Hash", "content_md5", "mtime", "LastModified", "last_modified", "updated", "modified",
    "created",
)  # fmt: skip
"""What storages call that which changes when a file does, from the surest."""

BACKEND_ERRORS = (
    ("botocore.exceptions", "BotoCoreError"),
    ("botocore.exceptions", "ClientError"),
    ("gcsfs.retry", "HttpError"),
    ("google.auth.exceptions", "GoogleAuthError"),
    ("azure.core.exceptions", "AzureError"),
    ("aiohttp", "ClientError"),
    ("paramiko", "SSHException"),
)
"""Errors of storages that are no OSError: module and class."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What a storage says about a file.

    Attributes:
        size: Bytes.
        stamp: Text that changes when the file does: a digest where the storage has one, else a time; may be empty.
    """

    size: int
    stamp: str


def is_url(text: str) -> bool:
    """Say whether a text is a URL of fsspec, such as ``s3://bucket/photos`` or ``simplecache::file:///photos``."""
    return "://" in text or "::" in text


def protocols(url: str) -> list[str]:
    """Return the protocols of a URL, from the outermost: ``simplecache::s3://x`` has ``simplecache`` and ``s3``."""
    return [part.partition("://")[0] for part in url.split("::")] if is_url(url) else ["file"]


def url_parts(url: str) -> tuple[str, str]:
    """Return a URL up to the end of the path that is used, and what it is inside of: ``dir://a``, ``::s3://bucket``."""
    links = url.split("::")
    first = next((number for number, link in enumerate(links) if "://" in link), 0)
    return "::".join(links[: first + 1]), "".join(f"::{link}" for link in links[first + 1 :])


@dataclass(frozen=True)
class Storage:
    """A folder of this machine, by its path, or one behind a URL. It can be sent to another process.

    Attributes:
        root: Absolute path, or URL.
    """

    root: str

    @classmethod
    def at(cls, place: str) -> Storage:
        """Return the storage at a path, or at a URL, whose ``file://`` is a path."""
        if not is_url(place):
            return cls(os.path.abspath(place))
        if protocols(place) == ["file"] or protocols(place) == ["local"]:
            return cls(os.path.abspath(place.partition("://")[2]))
        front, back = url_parts(place)
        return cls((front if front.endswith("://") else front.rstrip("/")) + back)

    @cached_property
    def _opened(self) -> tuple[AbstractFileSystem, str]:
        try:
            from fsspec.core import url_to_fs
        except ImportError:
            raise InputError("URLs need the package fsspec; pip install 'stylize[ray]'") from None
        try:
            fs, path = url_to_fs(self.root)
        except ImportError as error:
            raise InputError(f"'{shown(self.root)}' needs one more package: {_line(error)}") from None
        except (ValueError, *_backend_errors()) as error:
            raise InputError(
                f"'{shown(self.root)}' cannot be opened ({_line(error)}); a path or a URL that fsspec knows is "
                "accepted, such as s3://bucket/folder"
            ) from None
        return fs, path

    def __getstate__(self) -> dict[str, Any]:
        return {"root": self.root}  # an open connection is not sent along

    @property
    def is_local(self) -> bool:
        """Whether it is a folder of this machine, or one that is mounted."""
        return not is_url(self.root)

    @property
    def fs(self) -> AbstractFileSystem:
        """The file system."""
        return self._opened[0]

    def path(self, name: str = "") -> str:
        """Return what its file system calls the file of a name that is relative to the root."""
        base = self._opened[1]
        return base if not name else f"{base.rstrip('/')}/{name}"

    def url(self, name: str) -> str:
        """Return the path or URL of a file."""
        front, back = url_parts(self.root)
        return f"{front}{'' if front.endswith('/') else '/'}{name}{back}"

    @property
    def parent(self) -> tuple[Storage, str]:
        """The folder that the root lies in, and its name there."""
        front, back = url_parts(self.root)
        folder, slash, name = front.rpartition("/")
        return Storage.at(folder + (slash if folder.endswith("/") else "") + back), name

    def local_path(self, name: str) -> Path:
        """Return the path of a file on this machine."""
        return Path(self.root, name)

    def check(self) -> None:
        """Open the storage.

        Raises:
            InputError: There is no such kind of storage, or it cannot be reached.
        """
        with _reaching(self.root, InputError):
            self.fs  # noqa: B018

    def is_file(self) -> bool:
        """Say whether the root itself is a file."""
        with _reaching(self.root, InputError):
            return bool(self.fs.isfile(self.path()))

    def files(self, pattern: str | None = None) -> dict[str, Entry]:
        """Return the files below the root, by their names relative to it, sorted.

        Args:
            pattern: A pattern of names relative to the root, with ``*``, ``**``, ``?`` and ``[...]``; None takes all.

        Raises:
            InputError: The folder cannot be read.
        """
        with _reaching(self.root, InputError):
            if pattern is None:
                if self.is_local and not os.path.isdir(self.root):
                    return {}
                found = self.fs.find(self.path(), detail=True)
            else:
                found = self.fs.glob(self.path(pattern), detail=True)
        begins = self.fs._strip_protocol(self.path()).rstrip("/") + "/"
        entries = {}
        for path, facts in found.items():
            if facts.get("type") == "file" and (name := _below(path, begins)):
                entries[name] = _entry(facts)
        return dict(sorted(entries.items()))

    def entry(self, name: str = "") -> Entry | None:
        """Return what is known of a file; None where there is none.

        Raises:
            OutputError: The storage cannot be reached.
        """
        with _reaching(self.url(name)):
            try:
                facts = self.fs.info(self.path(name))
            except FileNotFoundError:
                return None
        return _entry(facts) if facts.get("type") == "file" else None

    def read(self, name: str) -> bytes:
        """Return the content of a file.

        Raises:
            InputError: It cannot be read.
        """
        with _reaching(self.url(name), InputError):
            with self.fs.open(self.path(name), "rb") as file:
                return file.read()

    def write(self, name: str, data: bytes) -> None:
        """Write a file, whole or not at all; what was there is replaced.

        Raises:
            OutputError: It cannot be written; what was there is unchanged.
        """
        with _reaching(self.url(name)):
            if self.is_local:
                self._write_here(self.local_path(name), data)
            elif protocols(self.root)[-1] in OBJECT_STORES:
                self.fs.pipe_file(self.path(name), data)
            else:
                temporary, final = self.path(f"{NEW}/{uuid.uuid4().hex}"), self.path(name)
                for path in (temporary, final):
                    self.fs.makedirs(path.rpartition("/")[0], exist_ok=True)
                with self.fs.open(temporary, "wb") as file:
                    file.write(data)
                self.fs.mv(temporary, final)

    def _write_here(self, path: Path, data: bytes) -> None:
        temporary = self.local_path(f"{NEW}/{uuid.uuid4().hex}")
        for folder in (temporary.parent, path.parent):
            folder.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise

    def remove(self, name: str) -> None:
        """Remove a file, or a folder with everything in it; it need not be there.

        Raises:
            OutputError: It cannot be removed.
        """
        with _reaching(self.url(name)), contextlib.suppress(FileNotFoundError):
            self.fs.rm(self.path(name), recursive=True)


def _entry(facts: dict[str, Any]) -> Entry:
    stamp = next((facts[name] for name in STAMPS if facts.get(name) not in (None, "")), "")
    return Entry(int(facts.get("size") or 0), str(stamp))


def _below(path: str, begins: str) -> str:
    """Return a path relative to a folder; empty where it is not below it."""
    for start in (begins, begins.lstrip("/")):
        if path.startswith(start):
            return path[len(start) :]
    return path if begins == "/" else ""


def _backend_errors() -> tuple[type[BaseException], ...]:
    """Return what storages raise; those of packages that were not imported cannot have been raised."""
    own = [getattr(sys.modules[module], name, None) for module, name in BACKEND_ERRORS if module in sys.modules]
    return (OSError, RuntimeError, ValueError, LookupError, NotImplementedError, *(error for error in own if error))


def _line(error: BaseException) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return shown(" ".join(text.split())[:200]) or type(error).__name__


@contextlib.contextmanager
def _reaching(url: str, kind: type[StylizeError] = OutputError) -> Iterator[None]:
    """Turn what a storage raises into an error of ours that names the file."""
    try:
        yield
    except StylizeError:
        raise
    except FileNotFoundError as error:
        raise kind(f"'{shown(url)}': there is no such file or folder") from error
    except _backend_errors() as error:
        raise kind(f"'{shown(url)}' cannot be {'read' if kind is InputError else 'written'}: {_line(error)}") from error
