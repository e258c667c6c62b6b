"""Where every result of ``stylize apply`` goes, decided and checked before anything is computed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from stylize.cli.tables import file_text
from stylize.config import NORM_NAMES
from stylize.errors import ImageError, InputError, OutputError, StylizeError, suggest
from stylize.images import READ_SUFFIXES, WRITE_SUFFIXES, find_images

STREAM = "-"
"""The name of standard input and standard output."""

FALLBACK_SUFFIX = ".png"
"""For photos of a format that can be read but not written, and for photos with alpha under a name that cannot."""

OPAQUE_SUFFIXES = frozenset((".jpg", ".jpeg"))
"""Suffixes of formats without alpha."""

COMPARISON = "comparison"


@dataclass(frozen=True)
class Naming:
    """What the names of the results say.

    Attributes:
        style: Name of the style.
        norms: Normalisations, one result for each.
        preset: Architecture, where the user asked for one other than the default.
    """

    style: str
    norms: tuple[str, ...]
    preset: str | None = None

    def tag(self, norm: str) -> str:
        """Return what follows the photo's name: style, norm unless it is the default, preset if there is one."""
        parts = [self.style, norm if norm != NORM_NAMES[0] else "", self.preset or ""]
        # A style name from a weights file is free text: a separator in it must not become a folder.
        return "-" + "-".join(part for part in parts if part).replace("/", "-").replace(os.sep, "-")

    @property
    def endings(self) -> tuple[str, ...]:
        """Endings that keep the results of several norms apart; empty for a single norm."""
        return tuple(f"-{norm}" for norm in self.norms) if len(self.norms) > 1 else ("",)


@dataclass(frozen=True)
class Source:
    """A photo to paint: a file, possibly found in a folder, or standard input (``path`` is None)."""

    path: Path | None
    folder: Path | None = None

    @property
    def label(self) -> str:
        """How messages call it."""
        return "standard input" if self.path is None else file_text(self.path)


@dataclass(frozen=True)
class Task:
    """A photo and the files its results go to.

    Attributes:
        source: The photo.
        outputs: One file per norm; None is standard output.
        comparison: File of the side-by-side picture, for several norms.
        chosen: Whether the user gave the name of the output, so that it must not get another suffix.
    """

    source: Source
    outputs: tuple[Path | None, ...]
    comparison: Path | None = None
    chosen: bool = False

    @property
    def files(self) -> list[Path]:
        """Every file that this task writes."""
        return [path for path in (*self.outputs, self.comparison) if path is not None]


@dataclass(frozen=True)
class Problem:
    """A photo that could not be painted, and why."""

    photo: str
    error: StylizeError


@dataclass(frozen=True)
class Plan:
    """What to do: the tasks, and the photos that cannot be painted for a reason known beforehand."""

    tasks: list[Task]
    problems: list[Problem]

    def with_alpha(self, task: Task, output: Path) -> Path:
        """Return where the result of a photo with alpha goes: a PNG, where the planned name is that of a JPEG.

        Raises:
            OutputError: Another photo of the plan has that name, or its result will have it.
        """
        if task.chosen or output.suffix.lower() not in OPAQUE_SUFFIXES:
            return output
        changed = output.with_suffix(FALLBACK_SUFFIX)
        others = [path for other in self.tasks for path in (other.source.path, *other.outputs) if path is not None]
        if changed in others:
            raise OutputError(f"'{task.source.label}' has alpha, but '{changed}' is taken; paint it alone with -o FILE")
        return changed


def make_plan(photos: Sequence[str], output: str | None, naming: Naming, overwrite: bool) -> Plan:
    """Decide where every result goes.

    A photo becomes PHOTO-STYLE.jpg beside it, or in the folder ``output``. A folder becomes the folder FOLDER-STYLE
    beside it, or ``output``, with the relative paths of its photos.

    Args:
        photos: Files, folders (with everything below them) and ``-`` for standard input.
        output: A file, a folder, ``-`` for standard output, or None.
        naming: What the names say.
        overwrite: Whether results may replace files.

    Raises:
        InputError: The output does not fit the photos, or two photos would be written to the same file.
    """
    sources, problems = collect(photos, _excluded_folder(output))
    if not sources:
        return Plan([], problems)
    tasks = _name_outputs(sources, output, naming, several=len(sources) + len(problems) > 1)
    _refuse_shared_outputs(tasks)
    photo_files = {_identity(source.path) for source in sources if source.path is not None}
    accepted = []
    for task in tasks:
        error = _objection(task, photo_files, overwrite)
        if error is None:
            accepted.append(task)
        else:
            problems.append(Problem(task.source.label, error))
    return Plan(accepted, problems)


def collect(photos: Sequence[str], excluded: Path | None = None) -> tuple[list[Source], list[Problem]]:
    """Return the photos that the arguments stand for, each once, and the arguments that stand for none.

    Args:
        photos: Files, folders and ``-``.
        excluded: A folder whose pictures are results of an earlier run.
    """
    sources: dict[Path | None, Source] = {}
    problems: list[Problem] = []
    for text in photos:
        path = Path(text)
        try:
            if text == STREAM:
                sources.setdefault(None, Source(None))
            elif path.is_dir():
                found = find_images(path)
                if excluded is not None and path.resolve() in excluded.parents:
                    found = [one for one in found if excluded not in one.resolve().parents]
                if not found:
                    kinds = ", ".join(sorted(suffix.lstrip(".") for suffix in READ_SUFFIXES))
                    raise InputError(f"no pictures in the folder '{text}' (accepted: {kinds})")
                for one in found:
                    sources.setdefault(_identity(one), Source(one, path))
            elif path.exists():
                sources.setdefault(_identity(path), Source(path))
            else:
                raise ImageError(f"no file or folder '{text}'{suggest(path.name, _names_in(path.parent))}")
        except StylizeError as error:
            problems.append(Problem(file_text(text), error))
    return list(sources.values()), problems


def _names_in(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir()]
    except OSError:
        return []


def _identity(path: Path) -> Path:
    """Return a form of a path that is equal for all spellings of it."""
    return Path(os.path.normcase(os.path.realpath(path)))


def _excluded_folder(output: str | None) -> Path | None:
    return Path(output).resolve() if output not in (None, STREAM) and Path(output).is_dir() else None


def _name_outputs(sources: list[Source], output: str | None, naming: Naming, several: bool) -> list[Task]:
    alone = not several and sources[0].folder is None
    if output == STREAM or (output is None and sources[0].path is None and alone):
        if not alone or len(naming.norms) > 1:
            raise InputError("standard output takes one picture: give one photo and one norm, or a folder with -o")
        return [Task(sources[0], (None,))]
    if output is None:
        if any(source.path is None for source in sources):
            raise InputError("standard input beside other photos needs a folder for the results: -o FOLDER")
        return [_beside(source, naming) for source in sources]
    if alone and not _means_folder(output):
        path = Path(output)
        if path.suffix.lower() not in WRITE_SUFFIXES:
            raise InputError(f"cannot write '{output}': its name must end in {', '.join(sorted(WRITE_SUFFIXES))}")
        return [replace(_task(sources[0], path, naming.endings, f"-{COMPARISON}"), chosen=True)]
    return _into_folder(sources, output, naming)


def _means_folder(output: str) -> bool:
    """Return whether ``-o`` of a single photo names a folder: it is one, ends like one, or has no suffix."""
    separators = tuple(separator for separator in (os.sep, os.altsep) if separator)
    return Path(output).is_dir() or output.endswith(separators) or not Path(output).suffix


def _beside(source: Source, naming: Naming) -> Task:
    if source.folder is None:
        return _named_after_style(source, source.path.parent, naming)
    folder = source.folder if source.folder.name not in ("", "..") else source.folder.resolve()
    tag = naming.tag(naming.norms[0] if len(naming.norms) == 1 else NORM_NAMES[0])
    target = folder.with_name(folder.name + tag) / source.path.relative_to(source.folder)
    return _task(source, target, naming.endings, f"-{COMPARISON}")


def _into_folder(sources: list[Source], output: str, naming: Naming) -> list[Task]:
    target = Path(output)
    if target.is_file():
        raise InputError(f"'{output}' is a file; several photos need a folder with -o")
    if not target.is_dir() and target.suffix.lower() in READ_SUFFIXES | WRITE_SUFFIXES:
        raise InputError(f"several photos cannot go into the one file '{output}'; give a folder with -o")
    several_folders = len({source.folder for source in sources if source.folder is not None}) > 1
    tasks = []
    for source in sources:
        if source.folder is None:
            tasks.append(_named_after_style(source, target, naming))
            continue
        root = target / source.folder.resolve().name if several_folders else target
        path = root / source.path.relative_to(source.folder)
        tasks.append(_task(source, path, naming.endings, f"-{COMPARISON}"))
    return tasks


def _named_after_style(source: Source, folder: Path, naming: Naming) -> Task:
    name = Path("stdin.png") if source.path is None else Path(source.path.name)
    endings = tuple(naming.tag(norm) for norm in naming.norms)
    return _task(source, folder / name, endings, f"{naming.tag(NORM_NAMES[0])}-{COMPARISON}")


def _task(source: Source, path: Path, endings: tuple[str, ...], comparison: str) -> Task:
    outputs = tuple(result_name(path, ending) for ending in endings)
    return Task(source, outputs, result_name(path, comparison) if len(endings) > 1 else None)


def result_name(path: Path, ending: str = "") -> Path:
    """Return a path with ``ending`` before its suffix, and a suffix that can be written."""
    suffix = path.suffix if path.suffix.lower() in WRITE_SUFFIXES else FALLBACK_SUFFIX
    return path.with_name(f"{path.stem}{ending}{suffix}")


def _refuse_shared_outputs(tasks: list[Task]) -> None:
    owners: dict[Path, Source] = {}
    for task in tasks:
        for path in task.files:
            owner = owners.setdefault(_identity(path), task.source)
            if owner != task.source:
                both = f"'{owner.label}' and '{task.source.label}'"
                raise InputError(f"{both} would both be written to '{path}'; paint them one at a time with -o FILE")


def _link_on_the_way(task: Task, path: Path) -> Path | None:
    """Return a link in the place of a result, or of a folder for results, whose name nobody gave: who sent a folder of
    photos may have put it there."""
    if task.chosen or task.source.path is None:
        return None
    folder = task.source.folder
    below = len(task.source.path.relative_to(folder).parts) - 1 if folder is not None else 0
    return next((one for one in (path, *list(path.parents)[:below]) if one.is_symlink()), None)


def _objection(task: Task, photo_files: set[Path], overwrite: bool) -> StylizeError | None:
    """Return why a task must not run, or None."""
    for path in task.files:
        if _identity(path) in photo_files:
            return InputError(f"'{path}' is a photo to paint; it is not replaced by its result: choose another -o")
        link = _link_on_the_way(task, path)
        if link is not None:
            return OutputError(f"'{link}' is a link, through which no result goes unless you name it: -o FILE")
        if path.is_dir():
            return OutputError(f"'{path}' is a folder; it is not replaced")
        if path.exists() and not overwrite:
            return OutputError(f"'{path}' exists already; --overwrite replaces it, -o chooses another name")
        folder = next(parent for parent in path.absolute().parents if parent.exists())
        if not folder.is_dir():
            return OutputError(f"cannot write '{path}': '{folder}' is not a folder")
        if not os.access(folder, os.W_OK | os.X_OK):
            return OutputError(f"cannot write '{path}': no permission to write in '{folder}'")
    return None
