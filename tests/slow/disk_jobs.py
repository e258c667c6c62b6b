"""Every way in which stylize writes to a disk, as jobs that take a moment: for :mod:`tests.slow.full_disk`."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from tests.slow import small_study
from tests.slow.digests import weights_digest
from tests.slow.jobs import PAINTING, SMALL_TRAINING, Folder, Frames, Job, Strips, Study, Train, Video


class ShortTrain(Train):
    """A network is trained."""

    def arguments(self, folder: Path) -> list[str]:
        return [*super().arguments(folder), "--steps", "6", "--checkpoint-interval", "2"]


class ShortStudy(Study):
    """A study of few steps is carried out."""

    def arguments(self, folder: Path) -> list[str]:
        return [*super().arguments(folder), "--steps", "2"]


class Adapt(Train):
    """A painting is added to a collection."""

    name, words = "adapt", "`stylize train --adapt`"

    def begin(self, folder: Path) -> None:
        shutil.copy(self.material / "mine.safetensors", folder / "painting.safetensors")

    def arguments(self, folder: Path) -> list[str]:
        unfinished = (folder / "painting.run" / "checkpoint.safetensors").exists()
        where = [str(self.material / "painting.png"), str(self.material / "photos"), "-o", "painting.safetensors"]
        steps = ["--adapt", str(self.material / "collection.safetensors"), "--steps", "4", "--checkpoint-interval", "2"]
        return ["train", *where, *SMALL_TRAINING, *steps, "--resume" if unfinished else "--overwrite"]


class Apply(Job):
    """A photo is painted into a file of some format, over an older result."""

    again = "started again"

    def __init__(self, material: Path, suffix: str) -> None:
        super().__init__(material)
        self.name, self.output = f"apply-{suffix}", f"painted.{suffix}"
        self.words = f"`stylize apply` into a {suffix.upper()}"

    def begin(self, folder: Path) -> None:
        from PIL import Image

        with Image.open(self.material / "tall.png") as image:
            image.save(folder / self.output)

    def arguments(self, folder: Path) -> list[str]:
        style = ["--style", str(self.material / "tiny.safetensors"), *PAINTING, "--overwrite"]
        return ["apply", str(self.material / "holiday" / "day-0" / "57.png"), "-o", self.output, *style]


class Sheet(Apply):
    """A photo is painted in all styles of a collection, on one sheet."""

    def __init__(self, material: Path) -> None:
        super().__init__(material, "png")
        self.name, self.words = "apply-sheet", "`stylize apply --sheet`"

    def arguments(self, folder: Path) -> list[str]:
        style = ["--collection", str(self.material / "collection.safetensors"), "--sheet", "--size", "64", *PAINTING]
        return ["apply", str(self.material / "holiday" / "day-0" / "57.png"), "-o", self.output, *style, "--overwrite"]


class TiffStrips(Strips):
    """A large picture is painted in strips into a TIFF."""

    name, words = "strips-tif", "`stylize apply --memory` in strips into a TIFF"
    photo, output = "middle.png", "painted.tif"


class PngStrips(Strips):
    """A large picture is painted in strips into a PNG."""

    name, words = "strips-png", "`stylize apply --memory` in strips into a PNG"
    photo = "middle.png"


class Animation(Video):
    """A clip becomes an animation."""

    name, words, working = "gif", "`stylize video` into a GIF", r"painted\.gif\.run/"

    def begin(self, folder: Path) -> None:
        from PIL import Image

        with Image.open(self.material / "painting.png") as image:
            image.save(folder / "painted.gif")

    def arguments(self, folder: Path) -> list[str]:
        return ["painted.gif" if one == "painted.mp4" else one for one in super().arguments(folder)]

    def digest(self, path: Path) -> str:
        return Job.digest(self, path)


class Comparison(Study):
    """A report without training replaces an older one; its numbers are made up, because only the writing counts."""

    name, words, again = "report", "the report of `stylize compare`", "started again"

    def arguments(self, folder: Path) -> list[str]:
        photo = str(self.material / "photos" / "photo-00.png")
        return ["compare", photo, "-o", "report", "--overwrite"]


class Collect(Job):
    """A style is added to a collection, over an older one."""

    name, words, again = "collect", "`stylize collect`", "started again"

    def begin(self, folder: Path) -> None:
        shutil.copy(self.material / "collection.safetensors", folder / "all.safetensors")

    def arguments(self, folder: Path) -> list[str]:
        given = [str(self.material / name) for name in ("collection.safetensors", "mine.safetensors")]
        return ["collect", *given, "-o", "all.safetensors", "--overwrite"]

    def digest(self, path: Path) -> str:
        return weights_digest(path)


class ExportOnnx(Job):
    """A network becomes an ONNX file, over an older one."""

    name, words, again = "onnx", "`stylize export` into an ONNX file", "started again"

    def begin(self, folder: Path) -> None:
        (folder / "tiny.onnx").write_bytes(b"an older file")

    def arguments(self, folder: Path) -> list[str]:
        return ["export", str(self.material / "tiny.safetensors"), "-o", "tiny.onnx", "--overwrite"]


class ExportFolder(Job):
    """A network becomes a folder to share, over an older one."""

    name, words, again = "hub", "`stylize export --format huggingface`", "started again"

    def begin(self, folder: Path) -> None:
        place = folder / "tiny"
        place.mkdir()
        for name in ("model.safetensors", "config.json", "README.md", "notes.txt"):
            (place / name).write_bytes(b"an older file")

    def arguments(self, folder: Path) -> list[str]:
        style = str(self.material / "tiny.safetensors")
        return ["export", style, "--format", "huggingface", "-o", "tiny", "--overwrite"]


class Web(Job):
    """A photo is painted for the web page, in its private folder."""

    name, words, again = "web", "a painting of the web page in its private folder", "asked for again"

    def arguments(self, folder: Path) -> list[str]:
        return []

    def finals(self, folder: Path) -> dict[str, str]:
        # The private folder goes at the end, with all in it; what may stay is nothing.
        return {path.name: "left" for path in folder.iterdir()}


def paint_for_web(material: Path) -> None:
    """Do what the page does for one photo, and throw the result away as it does at its end."""
    import tempfile

    from PIL import Image

    from stylize.stylizer import load
    from stylize.web.painting import FullSize, paint_full_size
    from stylize.web.private_folder import PrivateFolder
    from stylize.web.settings import Limits
    from stylize.web.uploads import Photo

    tempfile.tempdir = str(Path.cwd())
    with PrivateFolder() as private:
        photo = material / "holiday" / "day-0" / "57.png"
        stylizer = load(str(material / "tiny.safetensors"), device="cpu")
        place = private.new_folder("somebody")
        shutil.copy(photo, place)  # as an upload
        with Image.open(photo) as image:
            upload = Photo(place / photo.name, "57", *image.size, image.convert("RGB"))
        written = paint_full_size(stylizer, upload, private.new_folder("somebody"), FullSize(), Limits())
        if not written.is_file():
            raise RuntimeError("nothing was written")


def run(job: Job, folder: Path) -> None:
    """Do a job in this process, which ends with its exit status."""
    from stylize.cli import main, translate_errors

    if isinstance(job, Web):
        import click

        try:
            translate_errors(lambda: paint_for_web(job.material))
        except click.ClickException as error:
            error.show()
            sys.exit(error.exit_code)
        sys.exit(0)
    if isinstance(job, Comparison):
        _make_up_numbers()
    elif isinstance(job, Study):
        small_study.shrink()
    main(job.arguments(folder), prog_name="stylize")


def _make_up_numbers() -> None:
    from stylize.comparison import inference
    from tests.comparison_helpers import planted_comparison, without_charts

    inference.compare = lambda *arguments, **options: planted_comparison()
    without_charts(setattr)


WRITERS: tuple[Callable[[Path], Job], ...] = (
    lambda material: Apply(material, "png"),
    lambda material: Apply(material, "jpg"),
    lambda material: Apply(material, "tif"),
    lambda material: Apply(material, "webp"),
    Sheet,
    PngStrips,
    TiffStrips,
    Folder,
    ShortTrain,
    Adapt,
    Comparison,
    Video,
    Animation,
    Frames,
    Collect,
    ExportOnnx,
    ExportFolder,
    Web,
    ShortStudy,
)
"""All of them."""
