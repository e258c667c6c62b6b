"""Jobs that are killed, starved of room and confused about the time: tiny, but done by the real commands.

Each works in a folder of its own, in which good results of an earlier time lie already.
"""

from __future__ import annotations

import json
import re
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.slow.digests import clip_digest, file_digest, log_digest, report_digest, weights_digest

SMALL_TRAINING = (
    "--image-size 32 --style-size 32 --batch-size 2 --style-layer relu1_1 --content-layer relu1_1 --precision float32 "
    "--device cpu"
).split()
SMALL_STUDY = (
    "--quick --norm instance --norm batch --seeds 1 --steps 6 --batch-size 2 --image-size 32 --style-size 32 "
    "--device cpu"
).split()
PAINTING = ("--device", "cpu", "--precision", "float32")

TEMPORARY = re.compile(r"^\..+\.(tmp|old)$|^\.lock$")
"""Names that only unfinished work has, and that nothing reads as a result."""

FRAMES = 60
"""Of the clip; at three frames per second a segment has 24."""


def make_material(folder: Path) -> Path:
    """Write what the jobs need: photos, a painting, tiny networks, a collection, and a clip."""
    from fractions import Fraction

    from stylize.images import write_image
    from tests import training_helpers
    from tests.helpers import save_photo, synthetic_image, tiny_collection, tiny_style_file, tiny_weights
    from tests.video_helpers import make_clip

    training_helpers.make_material(folder)
    tiny_weights(folder / "tiny.safetensors")
    collection = tiny_collection(folder / "collection.safetensors")
    tiny_style_file(folder / "mine.safetensors", collection)
    make_clip(folder / "clip.mp4", FRAMES, rate=Fraction(3))
    for number in range(FRAMES):
        save_photo(folder / "frames" / f"{number:03d}.png", 64, 48, seed=number % 7)
    write_image(synthetic_image(1400, 1500, seed=4), folder / "large.png", overwrite=True)
    write_image(synthetic_image(500, 700, seed=6), folder / "middle.png", overwrite=True)
    write_image(synthetic_image(90, 1200, seed=5), folder / "tall.png", overwrite=True)
    for number in range(60):
        save_photo(folder / "holiday" / f"day-{number % 3}" / f"{number:02d}.png", 160 + number, 120, seed=number)
    return folder


def is_temporary(path: Path) -> bool:
    """Say whether a relative path is one of unfinished work: its name, or that of a folder it lies in."""
    return any(TEMPORARY.match(part) for part in path.parts)


class Job(ABC):
    """A job of the command line.

    Attributes:
        name: Short.
        words: What is done, as the page says it.
        module: What ``python -m`` runs.
        again: What is done after a kill.
        working: Folder of unfinished work, relative, in which other names than those of results are expected.
    """

    name = ""
    words = ""
    module = "stylize"
    again = "resumed"
    working = ""

    def __init__(self, material: Path) -> None:
        self.material = material

    def begin(self, folder: Path) -> None:  # noqa: B027  most jobs begin with something, some with nothing
        """Put good results of an earlier time into the folder."""

    @abstractmethod
    def arguments(self, folder: Path) -> list[str]:
        """Return the arguments of the command for what is in the folder now."""

    def complete(self, folder: Path, status: int, said: str) -> bool:
        """Say whether a run that ended by itself did its job."""
        return status == 0

    def finals(self, folder: Path) -> dict[str, str]:
        """Return the digests of everything that carries the name of a result, by that name.

        Raises:
            Exception: One cannot be read.
        """
        found = {}
        for path in sorted(folder.rglob("*")):
            relative = path.relative_to(folder)
            if path.is_file() and not is_temporary(relative) and not self.is_working(relative):
                found[relative.as_posix()] = self.digest(path)
        return found

    def digest(self, path: Path) -> str:
        """Return the digest of one result."""
        return file_digest(path)

    def is_working(self, path: Path) -> bool:
        """Say whether a relative path lies in the folder of unfinished work."""
        return bool(self.working) and re.match(self.working, path.as_posix()) is not None

    def unreadable(self, folder: Path) -> Iterator[str]:
        """Yield what in the folder of unfinished work carries a final name and cannot be read."""
        for path in sorted(folder.rglob("*")):
            relative = path.relative_to(folder)
            if not path.is_file() or is_temporary(relative) or not self.is_working(relative):
                continue
            try:
                _read_whole(path)
            except Exception as error:  # whatever it is, the file is not whole
                yield f"{relative}: {type(error).__name__}: {error}"


def _read_whole(path: Path) -> None:
    """Read a file of unfinished work that has its final name."""
    from PIL import Image

    if "unfinished" in path.parts or path.name in ("unfinished", "result") or path.parent.name == "result":
        return  # these names say that it is not whole
    if path.suffix == ".safetensors":
        weights_digest(path)
    elif path.suffix == ".json":
        json.loads(path.read_text(encoding="utf-8"))
    elif path.suffix == ".png":
        with Image.open(path) as image:
            image.load()
    elif path.suffix == ".jsonl":
        for line in path.read_text(encoding="utf-8").splitlines()[:-1]:  # the last may be half a line
            json.loads(line)


class Train(Job):
    """A network is trained over an older one of that name."""

    name, words = "train", "`stylize train`"
    working = r"painting\.run/"

    def begin(self, folder: Path) -> None:
        shutil.copy(self.material / "tiny.safetensors", folder / "painting.safetensors")

    def arguments(self, folder: Path) -> list[str]:
        unfinished = (folder / "painting.run" / "checkpoint.safetensors").exists()
        where = [str(self.material / "painting.png"), str(self.material / "photos"), "-o", "painting.safetensors"]
        steps = ["--steps", "24", "--checkpoint-interval", "3", "--validation-interval", "7"]
        return ["train", *where, *SMALL_TRAINING, *steps, "--resume" if unfinished else "--overwrite"]

    def digest(self, path: Path) -> str:
        return weights_digest(path)

    def result(self, folder: Path) -> dict[str, str]:
        """Return the digests of the finished job; the log belongs to it."""
        return self.finals(folder) | {"log": log_digest(folder / "painting.run" / "log.jsonl")}


class Study(Job):
    """A study is carried out; its report replaces an older one."""

    name, words = "study", "`stylize compare --train`"
    module = "tests.slow.small_study"
    working = r"report\.runs/[^/]+\.run/"

    def begin(self, folder: Path) -> None:
        report = folder / "report"
        report.mkdir()
        (report / "index.html").write_text("<html>an older report</html>\n", encoding="utf-8")
        document = {"format": "stylize-comparison", "version": 1, "files": ["old.csv"]}
        (report / "results.json").write_text(json.dumps(document), encoding="utf-8")
        (report / "old.csv").write_text("a,b\n1,2\n", encoding="utf-8")

    def arguments(self, folder: Path) -> list[str]:
        where = [str(self.material / "painting.png"), str(self.material / "photos"), "-o", "report"]
        return ["compare", "--train", *where, *SMALL_STUDY, "--overwrite"]

    def finals(self, folder: Path) -> dict[str, str]:
        found = {path.name: weights_digest(path) for path in sorted((folder / "report.runs").glob("*.safetensors"))}
        if (folder / "report").exists():
            found["report"] = report_digest(folder / "report")
        known = {"report", "report.runs"}
        others = [path for path in folder.iterdir() if path.name not in known and not is_temporary(Path(path.name))]
        return found | {path.name: "unknown" for path in others}

    def result(self, folder: Path) -> dict[str, str]:
        """Return the digests of the finished job."""
        logs = sorted((folder / "report.runs").glob("*.run/log.jsonl"))
        return self.finals(folder) | {path.parent.name: log_digest(path) for path in logs}


class Video(Job):
    """A clip is painted over an older result."""

    name, words = "video", "`stylize video` into an MP4"
    working = r"painted\.mp4\.run/"

    def begin(self, folder: Path) -> None:
        shutil.copy(self.material / "clip.mp4", folder / "painted.mp4")

    def arguments(self, folder: Path) -> list[str]:
        style = ["--style", str(self.material / "tiny.safetensors"), "--quality", "0", *PAINTING]
        return ["video", str(self.material / "clip.mp4"), "-o", "painted.mp4", *style, "--overwrite"]

    def digest(self, path: Path) -> str:
        return clip_digest(path)


class Frames(Job):
    """Frames in a folder are painted into another one."""

    name, words = "frames", "`stylize video` into a folder of frames"
    working = r"painted\.run/"

    def arguments(self, folder: Path) -> list[str]:
        style = ["--style", str(self.material / "tiny.safetensors"), "--fps", "3", *PAINTING]
        return ["video", str(self.material / "frames"), "-o", "painted/", *style]

    def complete(self, folder: Path, status: int, said: str) -> bool:
        # After a kill between the last picture and the end of the tidying, everything is in its place.
        return status == 0 or (status == 1 and "is not empty" in said)


class Strips(Job):
    """A large picture is painted in strips over an older result."""

    name, words, again = "strips", "`stylize apply --memory` in strips", "started again"
    photo, output = "large.png", "painted.png"

    def begin(self, folder: Path) -> None:
        from PIL import Image

        with Image.open(self.material / "tall.png") as image:
            image.save(folder / self.output)

    def arguments(self, folder: Path) -> list[str]:
        style = ["--style", str(self.material / "tiny.safetensors"), *PAINTING]
        where = [str(self.material / self.photo), "-o", self.output]
        return ["apply", *where, *style, "--memory", "100MB", "--tile", "64", "--overwrite"]


class Folder(Job):
    """A folder is painted into another one, in which something lies already."""

    name, words, again = "folder", "`stylize apply FOLDER`", "started again"

    def begin(self, folder: Path) -> None:
        place = folder / "painted" / "day-0"
        place.mkdir(parents=True)
        shutil.copy(self.material / "tall.png", place / "an older picture.png")

    def arguments(self, folder: Path) -> list[str]:
        style = ["--style", str(self.material / "tiny.safetensors"), *PAINTING]
        return ["apply", str(self.material / "holiday"), "-o", "painted", *style]

    def complete(self, folder: Path, status: int, said: str) -> bool:
        # What was painted before the kill is not painted again, which is said.
        failures = [line for line in said.splitlines() if line.startswith("  ")]
        there = all("exists already" in line or "(--json lists all)" in line for line in failures)
        return status == 0 or (status == 1 and bool(failures) and there)


def result_of(job: Job, folder: Path) -> dict[str, str]:
    """Return the digests of a finished job."""
    told: Callable[[Path], dict[str, str]] = getattr(job, "result", job.finals)
    return told(folder)


KILLED = (Train, Study, Video, Frames, Strips, Folder)
"""The jobs that are killed."""
