"""Which photos a bulk run paints, here or behind URLs, and what their results are called: as ``stylize apply`` does."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import click

from stylize.bulk.jobs import Photo, refuse_collisions
from stylize.bulk.storage import OWN_MEMORY, Entry, Storage, is_url, protocols, url_parts
from stylize.cli.outputs import STREAM, Naming, collect, result_name
from stylize.errors import InputError
from stylize.images import READ_SUFFIXES, WRITE_SUFFIXES, shown

MAGIC = re.compile(r"[*?\[]")
"""What makes a name a pattern."""


@dataclass(frozen=True, slots=True)
class Found:
    """A photo that was found.

    Attributes:
        storage: Where it lies.
        name: Its name there.
        label: What messages call it.
        entry: What its storage says about it.
        folder: The folder or the fixed part of the pattern that it was found by; empty where it was named itself.
        below: Its name relative to that.
        deep: Whether what lies in folders below that is found as well.
    """

    storage: Storage
    name: str
    label: str
    entry: Entry
    folder: str = ""
    below: str = ""
    deep: bool = True


def find_photos(photos: Sequence[str], output: Storage, naming: Naming) -> list[Photo]:
    """Return the photos that the arguments stand for, each once, with the names of their results.

    Args:
        photos: Files, folders (with everything below them), patterns, and URLs of these.
        output: Folder of the results.
        naming: What the names of results say.

    Raises:
        InputError: An argument stands for none, or results would have the same name or that of a photo.
    """
    found: dict[str, Found] = {}
    for text in photos:
        for one in _found(text):
            found.setdefault(one.storage.url(one.name), one)
    _check_apart(output, found)
    folders = {one.folder for one in found.values() if one.folder}
    named = [
        Photo(one.storage, one.name, one.label, _output(one, naming, len(folders) > 1), one.entry)
        for one in found.values()
    ]
    refuse_collisions(named)
    for photo in named:
        if output.url(photo.output) in found:
            raise InputError(
                f"'{output.url(photo.output)}' is a photo to paint; it is not replaced by a result: choose another -o"
            )
    return named


def check_shared(url: str) -> None:
    """Refuse a URL whose files other processes cannot see.

    Raises:
        InputError: It is one.
    """
    if OWN_MEMORY in protocols(url):
        raise InputError(f"'{url}' is the memory of this process, which no worker sees; give files that all can reach")


def output_storage(output: str | None) -> Storage:
    """Return the folder of the results.

    Raises:
        InputError: None was given, or it is none.
    """
    if output is None or output == STREAM:
        raise InputError("a run on a cluster needs a folder for its results and its manifest: -o FOLDER")
    check_shared(output)
    storage = Storage.at(output)
    suffix = PurePosixPath(storage.root).suffix.lower()
    if storage.is_local and os.path.isfile(storage.root):
        raise InputError(f"'{output}' is a file; a run on a cluster needs a folder with -o")
    if suffix in READ_SUFFIXES | WRITE_SUFFIXES and not (storage.is_local and os.path.isdir(storage.root)):
        raise InputError(f"a run on a cluster cannot write into the one file '{output}'; give a folder with -o")
    storage.check()
    return storage


def _found(text: str) -> list[Found]:
    """Return the photos that an argument stands for."""
    if text == STREAM:
        raise InputError("standard input is no photo for a cluster; give a file, a folder or a URL")
    check_shared(text)
    if is_url(text) and not Storage.at(text).is_local:
        return _found_at_url(text)
    path = text.partition("://")[2] if is_url(text) else text
    if MAGIC.search(path) and not os.path.exists(path):
        return _matching(path)
    sources, problems = collect([path])
    if problems:
        raise problems[0].error
    found, places = [], {}
    root = str(Path(path).resolve()) if os.path.isdir(path) else ""
    for source in sources:
        place, name = os.path.split(os.path.abspath(source.path))
        below = "" if source.folder is None else source.path.relative_to(source.folder).as_posix()
        storage = places.setdefault(place, Storage(place))
        found.append(Found(storage, name, source.label, _entry_here(source.path), root, below))
    return found


def _entry_here(path: Path) -> Entry:
    """Return what is known of a file of this machine; of one that has just vanished, nothing."""
    try:
        facts = os.stat(path)
    except OSError:
        return Entry(0, "")
    return Entry(facts.st_size, str(facts.st_mtime))


def _matching(pattern: str) -> list[Found]:
    """Return the photos that match a pattern; names are kept relative to its fixed part."""
    front, back = url_parts(pattern)
    fixed, slash, _ = front[: MAGIC.search(front).start()].rpartition("/")
    rest = front[len(fixed + slash) :]
    if is_url(pattern) and fixed.endswith((":/", ":")) and protocols(pattern)[0] != "dir":
        raise InputError(f"'{pattern}' given; a pattern may begin after the first folder or bucket of a URL")
    if is_url(pattern) and fixed.endswith(":/"):
        fixed += slash
    root = Storage.at((fixed or slash or ".") + back)
    return _pictures(root, root.files(rest), pattern, root.root if is_url(pattern) else fixed, "/" in rest)


def _found_at_url(url: str) -> list[Found]:
    """Return the photos that a URL stands for: a file, a folder or a pattern."""
    if MAGIC.search(url_parts(url)[0]):
        return _matching(url)
    storage = Storage.at(url)
    if storage.is_file():
        parent, name = storage.parent
        entry = parent.entry(name)
        if entry is not None:
            return [Found(parent, name, shown(storage.root), entry)]
    return _pictures(storage, storage.files(), url, storage.root)


def _pictures(root: Storage, files: dict[str, Entry], given: str, shown_root: str, deep: bool = True) -> list[Found]:
    """Return what of files is a picture by its name and is not hidden."""
    found, folder = [], os.path.realpath(root.root) if root.is_local else root.root
    for name, entry in files.items():
        path = PurePosixPath(name)
        if path.suffix.lower() in READ_SUFFIXES and not any(part.startswith(".") for part in path.parts):
            label = click.format_filename(Storage(shown_root).url(name) if shown_root else name)
            found.append(Found(root, name, label, entry, folder, name, deep))
    if not found:
        kinds = ", ".join(sorted(suffix.lstrip(".") for suffix in READ_SUFFIXES))
        what = "match" if MAGIC.search(given) else "are at"
        raise InputError(f"no pictures {what} '{given}' (accepted: {kinds})")
    return found


def _check_apart(output: Storage, found: dict[str, Found]) -> None:
    """Refuse results that would go into a folder of photos, where the next run would take them for photos."""
    place = os.path.realpath(output.root) if output.is_local else output.root
    for folder, deep in {(one.folder, one.deep) for one in found.values() if one.folder}:
        if place == folder or (deep and f"{place}/".startswith(f"{folder.rstrip('/')}/")):
            raise InputError(
                f"the results cannot go into '{output.root}', which lies in the folder of the photos, '{folder}'; "
                "choose another -o"
            )


def _output(one: Found, naming: Naming, several_folders: bool) -> str:
    """Return the name of the result of a photo, relative to the folder of the results."""
    if not one.folder:
        return result_name(Path(one.name), naming.tag(naming.norms[0])).as_posix()
    prefix = PurePosixPath(one.folder.rstrip("/")).name if several_folders else ""
    return result_name(Path(prefix, one.below)).as_posix()
