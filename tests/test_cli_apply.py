"""``stylize apply``."""

from __future__ import annotations

import io
import json
import os
import pickle
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from stylize import zoo
from stylize.cli import main
from stylize.engines.torch_engine import TorchEngine
from stylize.stylizer import Stylizer
from tests.helpers import ROOT, run_python, run_stylize, save_photo, synthetic_image, tiny_weights


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """Shipped networks of two styles, in a folder of their own; the current folder is another one."""
    weights, examples, here = tmp_path / "weights", tmp_path / "examples", tmp_path / "here"
    weights.mkdir()
    here.mkdir()
    tiny_weights(weights / "starry-night-instance.safetensors", "starry-night", seed=1)
    tiny_weights(weights / "starry-night-batch.safetensors", "starry-night", "batch", seed=1)
    tiny_weights(weights / "great-wave-instance.safetensors", "great-wave", seed=2)
    save_photo(examples / "paintings" / "starry-night.jpg", 60, 50)
    monkeypatch.setattr(zoo, "weights_directory", lambda: weights)
    monkeypatch.setattr(zoo, "examples_directory", lambda: examples)
    monkeypatch.chdir(here)
    return here


def apply(*arguments, **options):
    return CliRunner().invoke(main, ["apply", *map(str, arguments)], prog_name="stylize", **options)


def one_line_error(result, status):
    """Check that a run ended in one line on standard error and nothing else; return the line."""
    assert result.exit_code == status, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1
    return result.stderr


def files_below(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


# -- one photo


def test_no_option_works(shipped):
    photo = save_photo(shipped / "image.jpg", 40, 30)
    before = photo.read_bytes()
    result = apply("image.jpg")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("image.jpg -> image-starry-night.jpg (starry-night, instance norm, 40x30 px) in ")
    assert result.stdout.count("\n") == 1 and "loading" in result.stdout and result.stderr == ""
    assert files_below(shipped) == ["image-starry-night.jpg", "image.jpg"]
    assert photo.read_bytes() == before
    with Image.open("image-starry-night.jpg") as painted:
        assert (painted.format, painted.size) == ("JPEG", (40, 30))


def test_result_is_that_of_the_library(shipped):
    from stylize.images import read_image
    from stylize.stylizer import load

    save_photo(shipped / "image.png")
    assert apply("image.png", "--style", "great-wave", "--device", "cpu").exit_code == 0
    expected = load("great-wave", device="cpu")(read_image("image.png"))
    assert read_image("image-great-wave.png").tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    ("name", "mode", "options", "expected"),
    [
        ("a.JPG", "RGB", ["--norm", "batch"], "a-starry-night-batch.JPG"),
        ("a.png", "RGBA", [], "a-starry-night.png"),
        ("a.webp", "RGB", ["--norm", "instance"], "a-starry-night.webp"),
        ("a.bmp", "RGB", [], "a-starry-night.png"),
        ("a.gif", "P", [], "a-starry-night.png"),
        ("a.b.jpg", "L", [], "a.b-starry-night.jpg"),
        ("a.jpg", "RGB", ["-o", "b.png"], "b.png"),
        ("a.jpg", "RGB", ["-o", "new/deep/b.jpg"], "new/deep/b.jpg"),
        ("a.jpg", "RGB", ["-o", "out/"], "out/a-starry-night.jpg"),
        ("a.jpg", "RGB", ["-o", "out"], "out/a-starry-night.jpg"),
    ],
)
def test_names(shipped, name, mode, options, expected):
    save_photo(shipped / name, mode=mode)
    result = apply(name, *options)
    assert result.exit_code == 0, result.output
    assert files_below(shipped) == sorted([name, expected])
    assert expected in result.stdout


def test_a_weights_file_and_its_norm(shipped, tmp_path):
    save_photo(shipped / "a.jpg")
    weights = tiny_weights(tmp_path / "net.safetensors", "odd/name", "batch")
    assert apply("a.jpg", "--style", weights).exit_code == 0
    assert files_below(shipped) == ["a-odd-name-batch.jpg", "a.jpg"]
    line = one_line_error(apply("a.jpg", "--style", weights, "--norm", "instance", "--overwrite"), 2)
    assert "holds a network with batch norm" in line


@pytest.mark.parametrize(("size", "expected"), [(1, (1, 1)), (20, (20, 15)), (80, (80, 60))])
def test_size_is_the_long_edge(shipped, size, expected):
    save_photo(shipped / "a.png", 40, 30, mode="RGBA")
    result = apply("a.png", "--size", size)
    assert result.exit_code == 0, result.output
    with Image.open("a-starry-night.png") as painted:
        assert (painted.size, painted.mode) == (expected, "RGBA")


def test_alpha_is_kept(shipped):
    save_photo(shipped / "a.png", mode="RGBA")
    apply("a.png")
    with Image.open("a.png") as photo, Image.open("a-starry-night.png") as painted:
        assert painted.getchannel("A").tobytes() == photo.getchannel("A").tobytes()


def test_alpha_under_the_name_of_a_jpeg_becomes_a_png(shipped):
    synthetic_image(mode="RGBA").save("a.jpg", "PNG")
    assert "a-starry-night.png" in apply("a.jpg").stdout
    with Image.open("a-starry-night.png") as painted:
        assert painted.mode == "RGBA"
    assert "exists already" in one_line_error(apply("a.jpg"), 1)


def test_exif_is_handed_on_and_the_picture_is_upright(shipped):
    exif = Image.Exif()
    exif[0x0112], exif[0x013B] = 6, "A. Photographer"
    synthetic_image(40, 30).save("a.jpg", exif=exif)
    assert apply("a.jpg").exit_code == 0
    with Image.open("a-starry-night.jpg") as painted:
        assert painted.size == (30, 40)
        assert painted.getexif()[0x013B] == "A. Photographer"
        assert painted.getexif().get(0x0112, 1) == 1


# -- nothing is lost


def test_nothing_is_overwritten_unless_asked(shipped, monkeypatch):
    save_photo(shipped / "a.jpg")
    (shipped / "a-starry-night.jpg").write_bytes(b"precious")
    with monkeypatch.context() as patch:
        patch.setattr(Stylizer, "paint", lambda self, *given: pytest.fail("painted before looking"))
        assert "exists already; --overwrite" in one_line_error(apply("a.jpg"), 1)
    assert (shipped / "a-starry-night.jpg").read_bytes() == b"precious"
    assert apply("a.jpg", "--overwrite").exit_code == 0
    assert (shipped / "a-starry-night.jpg").read_bytes() != b"precious"


@pytest.mark.parametrize("output", ["a.jpg", "./a.jpg", "../here/a.jpg", "link.jpg"])
def test_a_photo_is_never_replaced_by_its_result(shipped, output):
    photo = save_photo(shipped / "a.jpg")
    (shipped / "link.jpg").symlink_to("a.jpg")
    before = photo.read_bytes()
    assert "is a photo to paint" in one_line_error(apply("a.jpg", "-o", output, "--overwrite"), 2)
    assert photo.read_bytes() == before


def test_a_result_does_not_replace_another_photo_of_the_run(shipped):
    save_photo(shipped / "a.jpg")
    other = save_photo(shipped / "a-starry-night.jpg", seed=1)
    before = other.read_bytes()
    result = apply("a.jpg", "a-starry-night.jpg", "--overwrite")
    assert result.exit_code == 2
    assert "1 of 2 failed" in result.stderr and "is a photo to paint" in result.stderr
    assert other.read_bytes() == before
    assert (shipped / "a-starry-night-starry-night.jpg").is_file()


def test_names_that_meet_are_refused_before_work(shipped):
    save_photo(shipped / "a.bmp")
    save_photo(shipped / "a.gif", mode="P")
    line = one_line_error(apply("a.bmp", "a.gif"), 2)
    assert "'a.bmp' and 'a.gif' would both be written to 'a-starry-night.png'" in line
    assert files_below(shipped) == ["a.bmp", "a.gif"]


def test_output_that_is_a_folder_or_below_a_file(shipped):
    save_photo(shipped / "a.jpg")
    (shipped / "a-starry-night.jpg").mkdir()
    assert "is a folder" in one_line_error(apply("a.jpg", "--overwrite"), 1)
    (shipped / "file").write_text("x")
    assert "is not a folder" in one_line_error(apply("a.jpg", "-o", "file/b.jpg"), 1)


def test_output_folder_that_cannot_be_written(shipped, monkeypatch):
    save_photo(shipped / "a.jpg")
    (shipped / "locked").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).endswith("locked"))
    assert "no permission to write in" in one_line_error(apply("a.jpg", "-o", "locked/"), 1)


# -- several photos and folders


def test_several_photos(shipped):
    for name in "ab":
        save_photo(shipped / f"{name}.jpg")
    result = apply("a.jpg", "b.jpg", "a.jpg")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].startswith("[1/2] a.jpg -> a-starry-night.jpg (40x30 px, ")
    assert lines[1].startswith("[2/2] b.jpg -> b-starry-night.jpg")
    assert lines[2].startswith("painted 2 of 2 photos: starry-night, instance norm, in ")
    assert len(lines) == 3 and result.stderr == ""


def test_folder_beside(shipped):
    save_photo(shipped / "trip" / "a.jpg")
    save_photo(shipped / "trip" / "day 2" / "b.bmp")
    (shipped / "trip" / "notes.txt").write_text("x")
    result = apply("trip/", "--norm", "batch")
    assert result.exit_code == 0, result.output
    painted = [name for name in files_below(shipped) if not name.startswith("trip/")]
    assert painted == ["trip-starry-night-batch/a.jpg", "trip-starry-night-batch/day 2/b.png"]


def test_this_folder(shipped):
    save_photo(shipped / "a.jpg")
    assert apply(".").exit_code == 0
    assert (shipped.parent / "here-starry-night" / "a.jpg").is_file()


def test_folder_into_a_folder_inside_it_twice(shipped):
    save_photo(shipped / "trip" / "a.jpg")
    save_photo(shipped / "trip" / "sub" / "b.jpg")
    for options in ([], ["--overwrite"]):
        result = apply("trip", "-o", "trip/painted", *options)
        assert result.exit_code == 0, result.output
        assert files_below(shipped / "trip" / "painted") == ["a.jpg", "sub/b.jpg"]


def test_folder_into_a_folder_above_it(shipped):
    save_photo(shipped / "trip" / "sub" / "a.jpg")
    assert apply("trip", "-o", ".").exit_code == 0
    assert (shipped / "sub" / "a.jpg").is_file()


def test_two_folders_do_not_meet(shipped):
    save_photo(shipped / "one" / "a.jpg")
    save_photo(shipped / "two" / "a.jpg")
    assert apply("one", "two", "-o", "out").exit_code == 0
    assert files_below(shipped / "out") == ["one/a.jpg", "two/a.jpg"]


def test_a_bad_file_does_not_stop_the_rest(shipped):
    save_photo(shipped / "trip" / "a.jpg")
    save_photo(shipped / "trip" / "c.jpg")
    (shipped / "trip" / "b.jpg").write_bytes((shipped / "trip" / "a.jpg").read_bytes()[:500])
    result = apply("trip", "absent.jpg")
    assert result.exit_code == 2
    assert files_below(shipped / "trip-starry-night") == ["a.jpg", "c.jpg"]
    assert "painted 2 of 4 photos" in result.stdout
    lines = result.stderr.splitlines()
    assert lines[0] == "2 of 4 failed:"
    assert len(lines) == 3 and "absent.jpg" in result.stderr and "b.jpg" in result.stderr


def test_status_is_one_when_a_failure_is_not_about_input(shipped):
    for name in "ab":
        save_photo(shipped / f"{name}.jpg")
    (shipped / "a-starry-night.jpg").write_bytes(b"precious")
    result = apply("a.jpg", "b.jpg", "absent.jpg")
    assert result.exit_code == 1
    assert "exists already" in result.stderr and (shipped / "b-starry-night.jpg").is_file()


def test_an_interrupted_folder_goes_on_where_it_stopped(shipped):
    for name in "ab":
        save_photo(shipped / "trip" / f"{name}.jpg")
    done = save_photo(shipped / "trip-starry-night" / "a.jpg", seed=9)
    before = done.read_bytes()
    assert apply("trip").exit_code == 1
    assert files_below(shipped / "trip-starry-night") == ["a.jpg", "b.jpg"]
    assert done.read_bytes() == before


def test_many_failures_are_cut_short(shipped):
    for number in range(30):
        (shipped / f"{number}.jpg").write_bytes(b"")
    result = apply(*sorted(shipped.glob("*.jpg")))
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == "  and 10 more (--json lists all)"


def test_running_out_of_memory_does_not_stop_the_rest(shipped, monkeypatch):
    save_photo(shipped / "a.jpg", 40, 30)
    save_photo(shipped / "b.jpg", 20, 10)
    run = TorchEngine.paint

    def fail_on_large(self, images):
        if images.shape[-1] == 40:
            raise MemoryError
        return run(self, images)

    monkeypatch.setattr(TorchEngine, "paint", fail_on_large)
    result = apply("a.jpg", "b.jpg", "--device", "cpu")
    assert result.exit_code == 1
    assert "a.jpg: not enough memory on cpu for a picture of 40x30 px" in result.stderr
    assert (shipped / "b-starry-night.jpg").is_file()


# -- wrong use


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["absent.jpg"], "no file or folder 'absent.jpg'"),
        (["a.jpeg"], "did you mean 'a.jpg'?"),
        (["empty"], "no pictures in the folder 'empty'"),
        (["zero.jpg"], "zero.jpg is empty (0 bytes)"),
        (["text.jpg"], "text.jpg is no picture"),
        (["cut.jpg"], "cut.jpg is truncated"),
        (["a.jpg", "--style", "stary-night"], "unknown style 'stary-night'; did you mean 'starry-night'? (known: "),
        (["a.jpg", "--style", "great-wave", "--norm", "batch"], "not shipped with batch norm, only with instance"),
        (["a.jpg", "--preset", "johnson"], "not shipped with preset 'johnson'"),
        (["a.jpg", "--style", "./absent.safetensors"], "absent.safetensors not found"),
        (["a.jpg", "--style", "pickle.safetensors"], "is a pickle"),
        (["a.jpg", "--style", "cut.safetensors"], "truncated or damaged"),
        (["a.jpg", "--style", "other.safetensors"], "holds the weights of another architecture than its header says"),
        (["a.jpg", "--style", "text.safetensors"], "not a safetensors file"),
        (["a.jpg", "--style", "whole.safetensors", "--preset", "fast"], "the file holds its architecture"),
        (["a.jpg", "--device", "gpu"], "unknown device 'gpu'"),
        (["a.jpg", "-o", "b.xyz"], "its name must end in"),
        (["a.jpg", "c.jpg", "-o", "b.jpg"], "several photos cannot go into the one file 'b.jpg'"),
        (["a.jpg", "c.jpg", "-o", "text.jpg"], "'text.jpg' is a file"),
        (["full", "-o", "b.jpg"], "several photos cannot go into the one file"),
        (["a.jpg", "c.jpg", "-o", "-"], "standard output takes one picture"),
        (["a.jpg", "-o", "-", "--norm", "instance", "--norm", "batch"], "standard output takes one picture"),
        (["-", "c.jpg"], "needs a folder for the results"),
        (["a.jpg", "-o", "-", "--json"], "cannot both go to standard output"),
        (["a.jpg", "--size", "100000"], "give a smaller size"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(shipped, arguments, said):
    photo = save_photo(shipped / "a.jpg")
    save_photo(shipped / "c.jpg")
    save_photo(shipped / "full" / "d.jpg")
    (shipped / "empty").mkdir()
    (shipped / "zero.jpg").write_bytes(b"")
    (shipped / "text.jpg").write_text("this is a text that calls itself a picture\n")
    (shipped / "cut.jpg").write_bytes(photo.read_bytes()[:-300])
    whole = tiny_weights(shipped / "whole.safetensors").read_bytes()
    (shipped / "cut.safetensors").write_bytes(whole[:-9])
    (shipped / "text.safetensors").write_text("no weights\n")
    (shipped / "pickle.safetensors").write_bytes(pickle.dumps({"a": [1.0] * 9}))
    header = whole.replace(rb"\"residual_blocks\": 1", rb"\"residual_blocks\": 2")
    assert header != whole
    (shipped / "other.safetensors").write_bytes(header)
    before = files_below(shipped)
    assert said in one_line_error(apply(*arguments), 2)
    assert files_below(shipped) == before


def test_absent_gpu(shipped, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    save_photo(shipped / "a.jpg")
    line = one_line_error(apply("a.jpg", "--device", "cuda"), 2)
    assert "device 'cuda' is not there; this machine has: " in line and "cpu" in line


@pytest.mark.parametrize(
    "arguments", [[], ["a.jpg", "--size", "0"], ["a.jpg", "--norm", "layr"], ["a.jpg", "--preset", "x"], ["--nothing"]]
)
def test_wrong_usage(shipped, arguments):
    result = apply(*arguments)
    assert result.exit_code == 2
    assert "Usage: stylize apply" in result.stderr and result.stdout == ""


# -- several norms


def test_two_norms_are_painted_and_compared(shipped):
    save_photo(shipped / "a.jpg", 60, 40)
    result = apply("a.jpg", "--norm", "instance", "--norm", "batch")
    assert result.exit_code == 0, result.output
    assert files_below(shipped) == [
        "a-starry-night-batch.jpg",
        "a-starry-night-comparison.jpg",
        "a-starry-night.jpg",
        "a.jpg",
    ]
    with Image.open("a-starry-night-comparison.jpg") as comparison:
        assert comparison.width > 3 * 60 and comparison.height > 40
    lines = result.stdout.splitlines()
    assert lines[0] == "a.jpg (60x40 px)"
    assert lines[1].split() == ["norm", "style", "distance", "contrast", "change", "seconds", "file"]
    instance, batch = lines[2].split(), lines[3].split()
    assert (instance[0], batch[0]) == ("instance", "batch")
    assert float(instance[1]) > 0 and float(batch[1]) > 0
    # The lesson in two numbers: instance norm does not see contrast, batch norm does.
    assert float(instance[2]) < float(batch[2])
    assert (instance[4], batch[4]) == ("a-starry-night.jpg", "a-starry-night-batch.jpg")


def test_two_norms_in_json_without_a_painting(shipped, monkeypatch, tmp_path):
    monkeypatch.setattr(zoo, "examples_directory", lambda: tmp_path)
    save_photo(shipped / "trip" / "a.png")
    result = apply("trip", "--norm", "batch", "--norm", "instance", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert [one["norm"] for one in document["results"]] == ["batch", "instance"]
    assert [one["style_distance"] for one in document["results"]] == [None, None]
    assert all(one["contrast_change"] >= 0 for one in document["results"])
    names = ["a-batch.png", "a-comparison.png", "a-instance.png"]
    assert files_below(shipped / "trip-starry-night") == names
    assert document["comparisons"] == [{"photo": "trip/a.png", "output": "trip-starry-night/a-comparison.png"}]


def test_two_norms_with_a_chosen_name_and_a_tiny_photo(shipped):
    save_photo(shipped / "a.jpg", 1, 1)
    result = apply("a.jpg", "--norm", "instance", "--norm", "batch", "-o", "b.png")
    assert result.exit_code == 0, result.output
    assert files_below(shipped) == ["a.jpg", "b-batch.png", "b-comparison.png", "b-instance.png"]
    assert result.stdout.splitlines()[2].split()[1] == "-"


# -- JSON


def test_json(shipped):
    save_photo(shipped / "a.jpg", 40, 30)
    (shipped / "b.jpg").write_bytes(b"")
    result = apply("a.jpg", "b.jpg", "--json")
    assert result.exit_code == 2
    document = json.loads(result.stdout)
    (one,) = document["results"]
    seconds = one.pop("seconds")
    assert one == {
        "photo": "a.jpg",
        "output": "a-starry-night.jpg",
        "style": "starry-night",
        "norm": "instance",
        "width": 40,
        "height": 30,
    }
    assert 0 <= seconds <= document["seconds"]
    (failure,) = document["failures"]
    assert failure["photo"] == "b.jpg" and "0 bytes" in failure["error"]


def test_json_of_a_single_failure(shipped):
    (shipped / "b.jpg").write_bytes(b"")
    result = apply("b.jpg", "--json")
    assert result.exit_code == 2
    assert len(json.loads(result.stdout)["failures"]) == 1
    assert result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1


# -- standard input and output


def encoded(format, mode="RGB"):
    stream = io.BytesIO()
    synthetic_image(40, 30, mode=mode).save(stream, format)
    return stream.getvalue()


@pytest.mark.parametrize(("given", "expected"), [("JPEG", "JPEG"), ("PNG", "PNG"), ("WEBP", "WEBP"), ("BMP", "PNG")])
def test_standard_input_to_standard_output(shipped, given, expected):
    for options in ([], ["-o", "-"]):
        result = apply("-", *options, input=encoded(given))
        assert result.exit_code == 0, result.stderr
        with Image.open(io.BytesIO(result.stdout_bytes)) as painted:
            assert (painted.format, painted.size) == (expected, (40, 30))
        assert result.stderr.startswith("standard input -> standard output (starry-night, instance norm, 40x30 px)")
    assert files_below(shipped) == []


def test_standard_input_to_a_file_and_a_folder(shipped):
    data = encoded("JPEG")
    assert "standard input -> b.png" in apply("-", "-o", "b.png", input=data).stdout
    assert apply("-", "-o", "out/", input=data).exit_code == 0
    assert files_below(shipped) == ["b.png", "out/stdin-starry-night.png"]


def test_photo_to_standard_output(shipped):
    save_photo(shipped / "a.png", mode="RGBA")
    result = apply("a.png", "-o", "-")
    with Image.open(io.BytesIO(result.stdout_bytes)) as painted:
        assert (painted.format, painted.mode) == ("PNG", "RGBA")


def test_empty_standard_input(shipped):
    assert "standard input is empty" in one_line_error(apply("-", input=b""), 2)


# -- as a user runs it


def test_in_a_process(tmp_path):
    weights = tiny_weights(tmp_path / "tiny.safetensors")
    save_photo(tmp_path / "a.jpg")
    result = run_stylize("apply", "a.jpg", "--style", str(weights), "--device", "cpu", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("a.jpg -> a-test-style.jpg")


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["absent.jpg", "--style", "tiny.safetensors"], 2),
        (["cut.jpg", "--style", "tiny.safetensors"], 2),
        (["cut.jpg", "--style", "cut.jpg/"], 2),
        (["a.jpg", "--style", "tiny.safetensors", "-o", "a.jpg/x/b.jpg"], 1),
    ],
)
def test_no_traceback_in_a_process(tmp_path, arguments, status):
    tiny_weights(tmp_path / "tiny.safetensors")
    photo = save_photo(tmp_path / "a.jpg")
    (tmp_path / "cut.jpg").write_bytes(photo.read_bytes()[:-300])
    result = run_stylize("apply", *arguments, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (status, "")
    assert result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1, result.stderr


def test_closed_pipe_in_a_process(tmp_path):
    weights = tiny_weights(tmp_path / "tiny.safetensors")
    save_photo(tmp_path / "a.png", 300, 300)
    command = [sys.executable, "-m", "stylize", "apply", "a.png", "-o", "-", "--style", str(weights)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, **pipes) as process:
        process.stdout.close()
        said = process.stderr.read().decode()
        assert process.wait(timeout=60) == 1
    assert said == ""


def test_ctrl_c_keeps_what_is_done(tmp_path):
    weights = tiny_weights(tmp_path / "tiny.safetensors")
    photo = save_photo(tmp_path / "trip" / "00.png", 500, 400).read_bytes()
    for number in range(1, 300):
        (tmp_path / "trip" / f"{number:03}.png").write_bytes(photo)
    command = [sys.executable, "-m", "stylize", "apply", "trip", "--style", str(weights), "--device", "cpu"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}

    def heed_ctrl_c() -> None:
        # A shell starts background jobs with SIGINT ignored, and children inherit that.
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    with subprocess.Popen(command, cwd=tmp_path, env=environment, preexec_fn=heed_ctrl_c, **pipes) as process:
        limit = time.monotonic() + 60
        while not list(tmp_path.glob("trip-test-style/*.png")) and time.monotonic() < limit:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.decode().startswith("Error: stopped by Ctrl-C after ") and said.count(b"\n") == 1
    results = files_below(tmp_path / "trip-test-style")
    assert results
    for name in results:  # Whole pictures only, and no temporary file.
        with Image.open(tmp_path / "trip-test-style" / name) as painted:
            painted.load()


def test_precision_and_engine_are_in_the_report(shipped):
    save_photo(shipped / "a.jpg")
    for precision in ("float32", "bfloat16"):
        result = apply("a.jpg", "-o", f"{precision}.png", "--precision", precision, "--device", "cpu", "--json")
        document = json.loads(result.stdout)
        assert (document["engine"], document["precision"]) == ("torch", precision)
    first, second = (np.asarray(Image.open(shipped / f"{one}.png"), np.int16) for one in ("float32", "bfloat16"))
    assert 0 < np.abs(first - second).mean() < 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--engine", "tensorflow"), "'tensorflow' is not one of 'auto', 'torch', 'onnxruntime', 'openvino'"),
        (("--precision", "int4"), "'int4' is not one of"),
        (("--precision", "int8"), "the engine torch does not compute in int8 here"),
    ],
)
def test_engines_and_precisions_that_there_are_not(shipped, arguments, said):
    save_photo(shipped / "a.jpg")
    result = apply("a.jpg", "--device", "cpu", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr and "Traceback" not in result.output


def test_the_allocator_keeps_memory_only_in_commands():
    code = """
import resource, sys, torch
from stylize.cli.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def faults(count):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.ones(count)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults(12_500_000)
print(faults(10_000_000))  # 40 MB: more than glibc keeps by itself.
"""
    if not sys.platform.startswith("linux") or not os.confstr_names.get("CS_GNU_LIBC_VERSION"):
        pytest.skip("not glibc")
    kept, usual = (int(run_python("-c", code, mode).stdout) for mode in ("keep", "usual"))
    assert kept < usual / 10


def test_scale_paints_at_another_size_than_it_writes(shipped):
    save_photo(shipped / "a.png", 96, 64)
    pictures = {}
    for name, options in {
        "whole": (),
        "half": ("--scale", "0.5"),
        "twice": ("--scale", "0.5", "--scale-passes", "2"),
        "auto": ("--scale", "auto"),
    }.items():
        result = apply("a.png", "-o", f"{name}.png", "--device", "cpu", *options)
        assert result.exit_code == 0, result.output
        with Image.open(shipped / f"{name}.png") as image:
            assert image.size == (96, 64)
            pictures[name] = np.asarray(image, np.int16)
    assert np.array_equal(pictures["auto"], pictures["whole"])  # Small pictures are painted as they are.
    assert np.abs(pictures["half"] - pictures["whole"]).mean() > 1
    assert np.abs(pictures["half"] - pictures["twice"]).mean() > 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--scale", "2"), "auto or a number above 0 up to 1"),
        (("--scale", "nan"), "auto or a number above 0 up to 1"),
        (("--scale", "0.5", "--tile", "64"), "--scale and --tile with a number do not go together"),
        (("--scale-passes", "2"), "needs --scale below 1"),
    ],
)
def test_scales_that_there_are_not(shipped, options, said):
    save_photo(shipped / "a.png")
    result = apply("a.png", *options)
    assert result.exit_code == 2 and said in result.stderr
