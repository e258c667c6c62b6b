"""What a bulk run has to do: the photos, those that are done already, and those that cannot be painted."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from stylize.bulk.manifest import NAME, Manifest, Row
from stylize.bulk.storage import HOME, Entry, Storage
from stylize.errors import InputError, OutputError, StylizeError

OPAQUE_SUFFIXES = frozenset((".jpg", ".jpeg"))
"""Suffixes of formats without alpha: a photo with alpha under such a name gets another one."""

ALPHA_SUFFIX = ".png"


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo to paint, and the name of its result.

    Attributes:
        storage: Where it lies.
        name: Its name there, relative.
        label: What messages call it.
        output: Name of the result, relative to the folder of the results, with ``/``.
        entry: What its storage says about it.
    """

    storage: Storage
    name: str
    label: str
    output: str
    entry: Entry

    @property
    def key(self) -> str:
        """Its absolute path, or its URL: what the manifest calls it."""
        return self.storage.url(self.name)


@dataclass(frozen=True, slots=True)
class Job:
    """One photo for a worker.

    Attributes:
        photo: The photo.
        alternative: Name of the result if the photo has alpha and the planned name is that of a JPEG; empty where that
            name is taken.
        replaces: Whether a result may be there that is to be replaced.
        begun: Whether a run, or a worker that died, may have painted it already; a result that is there is it.
        known: sha256 of the photo that the result which is there was made of; empty where there is none.
    """

    photo: Photo
    alternative: str = ""
    replaces: bool = False
    begun: bool = False
    known: str = ""

    def row(self, status: str, **facts: object) -> Row:
        """Return a line of the manifest about this photo."""
        entry = self.photo.entry
        return {"status": status, "photo": self.photo.key, "size": entry.size, "stamp": entry.stamp, **facts}

    @property
    def begun_row(self) -> Row:
        """The line of the manifest that says that the photo is given to a worker."""
        return self.row("begun", alternative=self.alternative, replaces=self.replaces)

    @property
    def again(self) -> Job:
        """The same job after the worker that had it died: it may have painted the photo."""
        return replace(self, begun=not self.replaces)


@dataclass(frozen=True)
class Work:
    """What there is to do.

    Attributes:
        jobs: What is to be painted.
        kept: Photos whose results are there.
        problems: Photos that cannot be painted, and why.
    """

    jobs: list[Job] = field(default_factory=list)
    kept: list[Photo] = field(default_factory=list)
    problems: list[tuple[Photo, StylizeError]] = field(default_factory=list)


def refuse_collisions(photos: Sequence[Photo]) -> None:
    """Refuse photos that would be written to one file.

    Raises:
        InputError: There are some, or a result would have the name of the manifest.
    """
    owners: dict[str, Photo] = {}
    for photo in photos:
        if photo.output == NAME or photo.output.startswith(f"{HOME}/"):
            raise InputError(f"the result of '{photo.label}' would be called '{photo.output}', which a bulk run needs")
        owner = owners.setdefault(photo.output, photo)
        if owner is not photo:
            both = f"'{owner.label}' and '{photo.label}'"
            raise InputError(f"{both} would both be written to '{photo.output}'; rename one, or paint them apart")


def decide(photos: Sequence[Photo], manifest: Manifest, there: Mapping[str, Entry], overwrite: bool) -> Work:
    """Return what there is to do.

    A photo is done when the manifest says so, neither it nor its result has changed since, and the result is there. One
    whose result is there without the manifest knowing of it is not painted, unless ``overwrite`` is given.

    Args:
        photos: The photos.
        manifest: What was done, with the settings of this run.
        there: The files in the folder of the results.
        overwrite: Whether results replace files of other runs.
    """
    taken = {photo.output for photo in photos}
    work = Work()
    for photo in photos:
        outcome = _decide_one(photo, taken, manifest.rows.get(photo.key, {}), there, overwrite)
        if isinstance(outcome, Job):
            work.jobs.append(outcome)
        elif outcome is None:
            work.kept.append(photo)
        else:
            work.problems.append((photo, outcome))
    return work


def _alternative(output: str, taken: Container[str]) -> str:
    """Return the name for the result of a photo with alpha; empty where none is needed, or another photo has it."""
    path = PurePosixPath(output)
    changed = str(path.with_suffix(ALPHA_SUFFIX))
    return changed if path.suffix.lower() in OPAQUE_SUFFIXES and changed not in taken else ""


def _decide_one(
    photo: Photo, taken: Container[str], row: Row, there: Mapping[str, Entry], overwrite: bool
) -> Job | StylizeError | None:
    """Return the job of a photo, None if it is done, or why it must not be painted."""
    alternative = _alternative(photo.output, taken)
    ours = str(row.get("output") or row.get("alternative") or "")
    same_photo = (row.get("size"), row.get("stamp")) == (photo.entry.size, photo.entry.stamp)
    if alternative in there and alternative != ours and not overwrite:
        alternative = ""
    names = [name for name in (photo.output, alternative) if name in there]
    if row.get("status") in ("done", "failed") and "output" in row and ours in names:
        changed = there[ours].size != row.get("output_size")
        if changed and not overwrite:
            return OutputError(
                f"'{ours}' was changed after it was painted; --overwrite replaces it, or move it elsewhere"
            )
        if row["status"] == "done" and same_photo and not changed:
            return None
        return Job(photo, alternative, replaces=True, known="" if changed else str(row.get("input_sha256", "")))
    if row.get("status") == "begun":
        replaces = bool(row.get("replaces")) or not same_photo
        # Without a result there still may be one soon: a worker can outlive the run that was killed.
        return Job(photo, alternative, replaces, begun=not replaces)
    if photo.output in names and not overwrite:
        return OutputError(f"'{photo.output}' exists already; --overwrite replaces it, -o chooses another folder")
    return Job(photo, alternative, replaces=bool(names))
