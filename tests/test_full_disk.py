"""Every kind of file that stylize writes, on a disk that takes no more: the file before stays, and nothing else does.

The system refuses to let a file grow (RLIMIT_FSIZE), which also stops the writers that are not Python.
``python -m tests.slow.full_disk`` does the same to whole commands, on disks that are full.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from stylize import images
from stylize.checkpoints import replacing, save_network, write_training_state
from stylize.cli import main
from stylize.errors import OutputError
from stylize.exporting import export_onnx
from stylize.model_folders import write_model_folder
from stylize.run_log import RunLog
from stylize.strips import open_writer
from stylize.strips import writing as strip_writing
from stylize.style_choice import choose_collection, choose_style
from stylize.style_collections import collect, read_style_file
from stylize.transformer import TransformerNet
from stylize.video.work_folder import Segment, WorkFolder
from tests.helpers import synthetic_image, tiny_collection, tiny_config, tiny_style_file, tiny_weights
from tests.test_image_writing import file_size_limit
from tests.video_helpers import make_clip

pytest.importorskip("resource", reason="the system cannot limit the size of files")

Write = Callable[[Path], None]

PHOTO = synthetic_image(80, 60)


def save_strips(path: Path) -> None:
    with open_writer(path, 80, 60, alpha=False, exif=None, overwrite=True) as writer:
        for top in (0, 30):
            writer.write(top, images.to_tensor(PHOTO)[..., top : top + 30, :])
        writer.finish()


def keep_segment(path: Path) -> None:
    """Keep a segment of a clip, whose state is written by safetensors itself or by us."""
    work = WorkFolder(path.with_name("clip.mp4"))
    work.path.mkdir(exist_ok=True)
    work.unfinished.write_bytes(b"")
    try:
        work.keep(Segment(0, [0], [1]), ".nut", {"known": torch.zeros(500)})
        path.write_bytes(work.part(0, ".safetensors").read_bytes())
    finally:
        WorkFolder.remove(work)


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("material")
    tiny_weights(folder / "tiny.safetensors")
    tiny_style_file(folder / "mine.safetensors", tiny_collection(folder / "collection.safetensors"))
    return folder


def collected(material: Path, path: Path) -> None:
    base = choose_collection(material / "collection.safetensors")
    collect(base, [read_style_file(material / "mine.safetensors")], path, overwrite=True)


def exported_folder(material: Path, path: Path) -> None:
    write_model_folder(choose_style(str(material / "tiny.safetensors")), path.parent, overwrite=True)


WRITERS: dict[str, Callable[[Path, Path], None]] = {
    **{f"picture.{end}": lambda _, path: images.write_image(PHOTO, path, overwrite=True) for end in
       ("png", "jpg", "tif", "webp")},
    **{f"strips.{end}": lambda _, path: save_strips(path) for end in ("png", "tif", "jpg")},
    "network.safetensors": lambda _, path: save_network(path, TransformerNet(tiny_config()), {}, overwrite=True),
    "state.safetensors": lambda _, path: write_training_state(path, {"a": torch.zeros(999)}, {"step": 1}),
    "log.jsonl": lambda _, path: RunLog(path).replace([{"step": step} for step in range(99)]),
    "all.safetensors": collected,
    "model.safetensors": exported_folder,
    "kept.safetensors": lambda _, path: keep_segment(path),
    "network.onnx": lambda material, path: export_onnx(material / "tiny.safetensors", path, overwrite=True),
}  # fmt: skip


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_that_cannot_grow(material, tmp_path, name):
    if name.endswith(".onnx"):
        pytest.importorskip("onnx")
    path, write = tmp_path / "new" / name, WRITERS[name]
    path.parent.mkdir()
    write(material, path)
    size, others = path.stat().st_size, sorted(path.parent.iterdir())
    path.write_bytes(b"the one before")
    before = {one: one.read_bytes() for one in others}
    for limit in (0, 10, size // 2, size - 1):
        with file_size_limit(limit), pytest.raises(OutputError) as caught:
            write(material, path)
        assert "\n" not in str(caught.value) and "cannot" in str(caught.value), limit
        assert {one: one.read_bytes() for one in path.parent.iterdir()} == before, limit
    write(material, path)
    assert path.stat().st_size == size


@pytest.mark.parametrize("named", [False, True])
def test_strips_without_and_with_a_temporary_name(tmp_path, monkeypatch, named):
    """Where the system has files without names, nothing is there until a picture is whole."""
    if named:
        monkeypatch.setattr(strip_writing, "_OPEN_FILES", str(tmp_path / "no such folder"))
    else:
        probe = strip_writing._open_without_name(tmp_path)
        if probe is None:
            pytest.skip("this file system has no files without a name")
        probe.close()
    path = tmp_path / "a.png"
    with open_writer(path, 80, 60, alpha=False, exif=None, overwrite=False) as writer:
        writer.write(0, images.to_tensor(PHOTO))
        assert len(list(tmp_path.iterdir())) == named
        writer.finish()
    assert list(tmp_path.iterdir()) == [path]
    assert images.read_image(path).tobytes() == PHOTO.tobytes()
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask
    with file_size_limit(100), pytest.raises(OutputError, match="cannot be written"):
        save_strips(path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("output", ["painted.mp4", "painted.gif", "painted"])
def test_a_clip_that_cannot_grow_goes_on_when_there_is_room(material, tmp_path, output):
    pytest.importorskip("av")
    clip = make_clip(tmp_path / "clip.mp4", 6)
    place = tmp_path / "results"
    place.mkdir()
    options = ["--style", material / "tiny.safetensors", "--stability", "off", "--device", "cpu", "--overwrite"]
    arguments = ["video", clip, "-o", place / output, *options, "--precision", "float32"]

    def invoke():
        return CliRunner().invoke(main, [str(one) for one in arguments])

    assert invoke().exit_code == 0
    (wanted,) = place.iterdir()
    files = sorted(wanted.iterdir()) if wanted.is_dir() else [wanted]
    largest = max(one.stat().st_size for one in files)
    for one in files:
        one.write_bytes(b"the one before")
    for limit in (0, 500, largest // 2, largest - 1):
        with file_size_limit(limit):
            result = invoke()
        assert result.exit_code == 1 and isinstance(result.exception, SystemExit), (limit, result.output)
        assert result.stderr.splitlines()[-1].startswith("Error: "), result.stderr
        assert all(one.read_bytes() == b"the one before" for one in files), limit
        assert {one.name for one in place.iterdir()} <= {output, f"{output}.run"}
    assert invoke().exit_code == 0
    assert all(one.stat().st_size > 14 for one in files)
    assert list(place.iterdir()) == [wanted]


@pytest.mark.parametrize("code", [errno.EDQUOT, errno.ENOSPC, errno.EROFS, errno.EIO, errno.EFBIG])
def test_whatever_the_system_says_is_told_in_one_line(tmp_path, code):
    path = tmp_path / "a.json"
    path.write_bytes(b"the one before")
    with pytest.raises(OutputError) as caught, replacing(path) as temporary:
        temporary.write_bytes(b"half")
        raise OSError(code, os.strerror(code))
    reason = "the disk is full" if code == errno.ENOSPC else os.strerror(code)
    assert str(caught.value) == f"cannot write {path}: {reason}; what was there is unchanged"
    assert list(tmp_path.iterdir()) == [path] and path.read_bytes() == b"the one before"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no device that is always full")
@pytest.mark.parametrize("arguments", [["styles", "--json"], ["--version"], ["apply", "--help"]])
def test_a_full_standard_output(arguments):
    from tests.helpers import run_stylize

    with open("/dev/full", "wb") as full:
        result = run_stylize(*arguments, capture_output=False, stdout=full, stderr=-1)
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr and "No space left" in result.stderr
