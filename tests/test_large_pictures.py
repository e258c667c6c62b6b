"""Pictures painted strip by strip, from file to file."""

from __future__ import annotations

import json
import os
import sys

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from stylize import large_pictures, zoo
from stylize.cli import main
from stylize.config import PRESETS
from stylize.engines.torch_engine import TorchEngine
from stylize.errors import InputError
from stylize.images import read_picture
from stylize.large_pictures import default_memory, paint_large, whole_bytes
from stylize.program import lower
from stylize.strips import picture_size
from stylize.stylizer import load
from stylize.transformer import TransformerNet
from tests.helpers import run_python, save_photo, synthetic_image, tiny_weights


@pytest.fixture(scope="module")
def stylizer(tmp_path_factory):
    weights = tiny_weights(tmp_path_factory.mktemp("weights") / "tiny.safetensors", seed=4)
    return load(weights, device="cpu", precision="float32")


def pixels(path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image, np.int16)


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("strip", [None, 8, 40])
def test_strips_give_the_picture_of_the_whole(stylizer, tmp_path, suffix, strip):
    source = save_photo(tmp_path / f"a.{suffix}", 61, 83)
    painted = paint_large(stylizer, source, tmp_path / f"b.{suffix}", strip=strip)
    assert (painted.width, painted.height) == (61, 83)
    whole = np.asarray(stylizer(Image.open(source)), np.int16)
    assert np.abs(pixels(tmp_path / f"b.{suffix}") - whole).max() <= 1
    assert sorted(os.listdir(tmp_path)) == [f"a.{suffix}", f"b.{suffix}"]


def test_the_alpha_and_the_exif_data_stay(stylizer, tmp_path):
    image = synthetic_image(30, 22, mode="RGBA")
    exif = Image.Exif()
    exif[0x010E] = "a boat"
    image.save(tmp_path / "a.png", exif=exif)
    paint_large(stylizer, tmp_path / "a.png", tmp_path / "b.png", strip=8)
    with Image.open(tmp_path / "b.png") as painted:
        assert painted.getchannel("A").tobytes() == image.getchannel("A").tobytes()
        assert painted.getexif()[0x010E] == "a boat"


def test_a_picture_in_memory(stylizer, tmp_path):
    source = save_photo(tmp_path / "a.png", 24, 31)
    paint_large(stylizer, read_picture(source), tmp_path / "b.png", strip=8)
    assert np.abs(pixels(tmp_path / "b.png") - np.asarray(stylizer(Image.open(source)), np.int16)).max() <= 1


def test_a_limit_that_is_too_small_says_what_takes_it(stylizer, tmp_path):
    source = save_photo(tmp_path / "a.png", 300, 200)
    with pytest.raises(InputError, match=r"a limit of 1 MB, of which the picture in and out take .* is too small: .*"):
        paint_large(stylizer, source, tmp_path / "b.png", memory=10**6)
    assert os.listdir(tmp_path) == ["a.png"]


def test_nothing_is_left_when_it_is_stopped(stylizer, tmp_path):
    source = save_photo(tmp_path / "a.png", 60, 60)
    scratch = tmp_path / "scratch"
    scratch.mkdir()

    def stop(done: int, total: int) -> None:
        if done == total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        paint_large(stylizer, source, tmp_path / "b.png", strip=8, scratch=scratch, on_strip=stop)
    assert sorted(os.listdir(tmp_path)) == ["a.png", "scratch"]
    assert os.listdir(scratch) == []


def test_an_existing_file_stays(stylizer, tmp_path):
    source = save_photo(tmp_path / "a.png")
    (tmp_path / "b.png").write_text("mine")
    with pytest.raises(Exception, match="exists already"):
        paint_large(stylizer, source, tmp_path / "b.png")
    assert (tmp_path / "b.png").read_text() == "mine"


def test_the_size_is_read_from_the_header(tmp_path):
    assert picture_size(save_photo(tmp_path / "a.jpg", 33, 21)) == (33, 21)
    assert picture_size(tmp_path / "none.jpg") is None


def test_half_of_the_free_memory_is_the_default():
    assert 2**20 < default_memory() < 2**50


@pytest.mark.parametrize("preset", list(PRESETS))
def test_the_estimate_for_a_whole_picture_is_near_what_it_takes(preset):
    from stylize.comparison.live_tensors import LiveTensors

    program = lower(TransformerNet(PRESETS[preset]))
    engine = TorchEngine(program)
    photo = torch.rand(1, 3, 128, 192)
    counter = LiveTensors([photo])
    with counter:
        engine.paint(photo)
    assert 0.8 < whole_bytes(program, 128, 192) / counter.most < 1.6


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    weights, here = tmp_path / "weights", tmp_path / "here"
    weights.mkdir()
    here.mkdir()
    for norm in ("instance", "batch"):
        tiny_weights(weights / f"starry-night-{norm}.safetensors", "starry-night", norm, seed=1)
    monkeypatch.setattr(zoo, "weights_directory", lambda: weights)
    monkeypatch.setattr(zoo, "examples_directory", lambda: tmp_path)
    monkeypatch.chdir(here)
    return here


def apply(*arguments: str):
    return CliRunner().invoke(main, ["apply", "--device", "cpu", *arguments])


def test_apply_in_strips_says_how(shipped):
    save_photo(shipped / "a.png", 70, 50)
    result = apply("a.png", "--tile", "16", "-o", "b.png", "--json")
    assert result.exit_code == 0, result.output
    tiles = json.loads(result.stdout)["results"][0]["tiles"]
    assert (tiles["strip"], tiles["statistics"]) == (16, "exact") and tiles["passes"] > 1
    assert apply("a.png", "--tile", "off", "--precision", "float32", "-o", "c.png").exit_code == 0
    assert np.abs(pixels("b.png") - pixels("c.png")).max() <= 1


def test_auto_paints_in_strips_where_memory_asks_for_it(shipped, monkeypatch):
    save_photo(shipped / "a.png", 2000, 1000)
    assert "tiles" not in json.loads(apply("a.png", "-o", "whole.png", "--json").stdout)["results"][0]
    monkeypatch.setattr(large_pictures, "SPARE_BYTES", 0)
    small = json.loads(apply("a.png", "-o", "small.png", "--memory", "60MB", "--json").stdout)["results"][0]
    assert small["tiles"]["memory"] == 60_000_000
    assert np.abs(pixels("whole.png") - pixels("small.png")).mean() < 2


def test_a_resized_photo_and_a_folder_can_be_painted_in_strips(shipped):
    for name in ("a", "b"):
        save_photo(shipped / "in" / f"{name}.jpg", 40, 30)
    assert apply("in", "--tile", "8", "--size", "32").exit_code == 0
    for name in ("a", "b"):
        assert pixels(shipped / "in-starry-night" / f"{name}.jpg").shape == (24, 32, 3)


def test_thumbnail_statistics_are_another_result(shipped, monkeypatch):
    save_photo(shipped / "a.png", 1500, 40)
    for statistics in ("exact", "thumbnail"):
        done = apply("a.png", "--tile", "16", "--tile-statistics", statistics, "-o", f"{statistics}.png")
        assert done.exit_code == 0, done.output
    assert 0 < np.abs(pixels("exact.png") - pixels("thumbnail.png")).mean() < 20


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--tile", "0"), "'0' given; auto, off or a number of pixels, such as 512, is accepted"),
        (("--tile", "some"), "auto, off or a number of pixels"),
        (("--memory", "2 pounds"), "a number of bytes such as 2GB, 500MB or 1.5GiB is accepted"),
        (("--memory", "0GB"), "a number of bytes such as 2GB"),
        (("--tile", "8", "--norm", "instance", "--norm", "batch"), "one norm at a time"),
        (("--tile", "8", "--memory", "1kB"), "allow more memory"),
        (("--tile", "8", "--memory", "1MB"), "of which the picture in and out take"),
    ],
)
def test_bad_usage(shipped, arguments, said):
    save_photo(shipped / "a.png")
    result = apply("a.png", "-o", "b.png", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr and "Traceback" not in result.output
    assert not (shipped / "b.png").exists()


def test_units_of_memory():
    from stylize.cli.options import MemoryParameter

    convert = MemoryParameter().convert
    sizes = {"2GB": 2 * 10**9, "1.5GiB": 3 * 2**29, "500 mb": 5 * 10**8, "4096": 4096, "2g": 2 * 10**9}
    assert {text: convert(text, None, None) for text in sizes} == sizes


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ru_maxrss has other units elsewhere")
def test_the_limit_holds_in_a_process_of_its_own(tmp_path):
    # 16 megapixels take 192 MB as float32, and painting them whole about a gigabyte.
    Image.new("RGB", (4000, 4000), (90, 120, 40)).save(tmp_path / "a.png", compress_level=1)
    code = """
import resource, sys, torch
from pathlib import Path
from stylize.large_pictures import paint_large
from stylize.strips import picture_size
from stylize.stylizer import load
stylizer = load("starry-night", device="cpu")
stylizer(torch.rand(1, 3, 64, 64))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
paint_large(stylizer, Path(sys.argv[1]), Path(sys.argv[2]), memory=400_000_000)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""
    done = run_python("-c", code, str(tmp_path / "a.png"), str(tmp_path / "b.png"), timeout=600)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 400_000_000
