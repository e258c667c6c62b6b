"""``stylize apply --sheet``."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from stylize import palette, zoo
from stylize.cli import main, sheet_job
from stylize.images import read_image
from tests.helpers import save_photo, synthetic_image, tiny_collection, tiny_metadata, tiny_style_file, tiny_weights


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    for kind in ("alone", "both"):
        (folder / kind).mkdir()
        tiny_weights(folder / kind / "starry-night-instance.safetensors", "starry-night", seed=1)
        tiny_weights(folder / kind / "starry-night-batch.safetensors", "starry-night", "batch", seed=1)
        tiny_weights(folder / kind / "udnie-instance.safetensors", "udnie", seed=2)
    names = ("great-wave", "mosaic", "photo")
    path = folder / "both" / "paintings-conditional-instance.safetensors"
    tiny_style_file(folder / "own.safetensors", tiny_collection(path, names, style="paintings"))
    return folder


@pytest.fixture
def shipped(made, tmp_path, monkeypatch):
    monkeypatch.setattr(zoo, "weights_directory", lambda: made / "both")
    monkeypatch.setattr(zoo, "examples_directory", lambda: tmp_path)
    save_photo(tmp_path / "here" / "a.jpg", 300, 200)
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def sheet(*arguments, **options):
    every = ["apply", *map(str, arguments), "--sheet", "--device", "cpu"]
    return CliRunner().invoke(main, every, prog_name="stylize", **options)


def styles_of(*arguments):
    result = sheet(*arguments, "--json", "--overwrite")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)["results"][0]["styles"]


def test_every_style_of_the_collection(shipped, monkeypatch):
    read = []
    original = palette.load_collection
    monkeypatch.setattr(palette, "load_collection", lambda given: read.append(given) or original(given))
    result = sheet("a.jpg")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("a.jpg -> a-sheet.jpg (2 styles, ") and result.stderr == ""
    assert sorted(path.name for path in shipped.iterdir()) == ["a-sheet.jpg", "a.jpg"]
    assert len(read) == 1
    with Image.open("a-sheet.jpg") as picture:
        assert picture.format == "JPEG" and picture.width > 2 * 320


def test_json_has_the_styles(shipped):
    result = sheet("a.jpg", "--json", "--strength", "0.5", "--preserve-color")
    document = json.loads(result.stdout)
    (one,) = document["results"]
    assert (one["output"], one["style"], one["styles"]) == ("a-sheet.jpg", "sheet", ["great-wave", "mosaic"])
    with Image.open("a-sheet.jpg") as picture:
        assert (one["width"], one["height"]) == picture.size
    assert (document["controls"]["strength_by"], document["controls"]["preserve_color"]) == ("photo style", True)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--style", "mosaic,starry-night"], ["mosaic", "starry-night"]),
        (["--style", "mosaic", "--style", "udnie", "--style", "mosaic"], ["mosaic", "udnie"]),
        (["--style", "great-wave:3,mosaic:1", "--style", "mosaic"], ["great-wave-75-mosaic-25", "mosaic"]),
        (["--style", "own.safetensors,mosaic"], ["own", "mosaic"]),
        (["--collection", "paintings"], ["great-wave", "mosaic"]),
        (["--norm", "batch"], ["starry-night"]),
        (["--preset", "fast"], ["starry-night", "udnie"]),
    ],
)
def test_styles_that_are_named(shipped, made, arguments, expected):
    (shipped / "own.safetensors").write_bytes((made / "own.safetensors").read_bytes())
    assert styles_of("a.jpg", *arguments) == expected


def test_without_a_collection_the_networks_of_one_style(shipped, made, monkeypatch):
    monkeypatch.setattr(zoo, "weights_directory", lambda: made / "alone")
    assert styles_of("a.jpg") == ["starry-night", "udnie"]


def test_controls_change_the_sheet(shipped):
    sheets = {}
    for name, options in {"plain": (), "weak": ("--strength", "0"), "colour": ("--preserve-color",)}.items():
        assert sheet("a.jpg", "-o", f"{name}.png", "--size", "60", "--precision", "float32", *options).exit_code == 0
        sheets[name] = np.asarray(read_image(f"{name}.png"), np.int16)
    gap, wide, weak = 4, 60, sheets["weak"]
    first, second = (weak[:, left : left + wide] for left in (gap, 2 * gap + wide))
    same = np.flatnonzero((first == second).all(axis=(1, 2)) & (first != 255).any(axis=(1, 2)))
    assert np.isin(np.arange(same[0], same[0] + 40), same).all()  # At strength 0 each style is the photo.
    for name in ("weak", "colour"):
        assert np.abs(sheets[name] - sheets["plain"]).mean() > 1


def test_size_is_that_of_a_tile(shipped, monkeypatch):
    drawn = []
    original = sheet_job.style_sheet

    def spy(photo, painted, *, tile, **more):
        drawn.append((tile, photo.size, {image.size for _, image in painted}))
        return original(photo, painted, tile=tile, **more)

    monkeypatch.setattr(sheet_job, "style_sheet", spy)
    for options in (("--size", 64), ("--size", 400), ()):
        assert sheet("a.jpg", "--overwrite", *options).exit_code == 0
    # Painted at twice the size of a tile, but for a photo of 300 pixels not beyond its own.
    assert drawn == [(64, (128, 85), {(128, 85)}), (400, (300, 200), {(300, 200)}), (320, (300, 200), {(300, 200)})]


@pytest.fixture
def drawn(monkeypatch):
    """Return a list that is given the title and the sizes of the paintings of each sheet."""
    seen = []
    original = sheet_job.style_sheet

    def spy(*arguments, title, paintings, **more):
        seen.append((title, {name: image.size for name, image in paintings.items()}))
        return original(*arguments, title=title, paintings=paintings, **more)

    monkeypatch.setattr(sheet_job, "style_sheet", spy)
    return seen


def test_title_and_paintings_of_shipped_styles(shipped, drawn):
    for name in ("great-wave", "starry-night"):
        save_photo(shipped.parent / "paintings" / f"{name}.png", 500, 250)
    (shipped.parent / "paintings" / "udnie.jpg").write_bytes(b"damaged")
    for options in ((), ("--style", "great-wave,starry-night,udnie"), ("--style", "great-wave:1,mosaic:1")):
        assert sheet("a.jpg", "--size", 64, "--overwrite", *options).exit_code == 0
    small = (64, 32)
    assert drawn == [
        ("a in 2 styles (paintings)", {"great-wave": small}),
        ("a in 3 styles", {"great-wave": small, "starry-night": small}),
        ("a in 1 style (paintings)", {}),
    ]


def test_paintings_of_other_collections_are_known_by_their_content(shipped, drawn):
    names, painting = ("great-wave", "mosaic"), shipped.parent / "paintings" / "great-wave.png"
    save_photo(painting, 60, 60)
    facts = tiny_metadata()["painting"]
    for digest, expected in ((zoo.sha256(painting), {"great-wave": (60, 60)}), ("0" * 64, {})):
        styles = [{"name": name, "painting": facts | {"sha256": digest}} for name in names]
        tiny_collection(shipped / "other.safetensors", names, style="other", styles=styles)
        piped = sheet("-", "--size", "64", "--collection", "other.safetensors", input=(shipped / "a.jpg").read_bytes())
        assert piped.exit_code == 0
        assert drawn.pop() == ("2 styles (other)", expected)


def test_one_name_with_two_paintings_has_none(shipped, drawn):
    save_photo(shipped.parent / "paintings" / "great-wave.png")
    tiny_weights(shipped / "own.safetensors", "great-wave", seed=5)
    assert sheet("a.jpg", "--size", "64", "--style", "great-wave,own.safetensors").exit_code == 0
    assert drawn == [("a in 2 styles", {})]


def test_a_transparent_and_a_tiny_photo(shipped):
    synthetic_image(7, 5, mode="RGBA").save("clear.png")
    assert sheet("clear.png", "--size", "64").exit_code == 0
    with Image.open("clear-sheet.png") as picture:
        assert picture.mode == "RGB"


def test_several_photos_and_a_pipe(shipped):
    save_photo(shipped / "b.jpg", 30, 20)
    result = sheet("a.jpg", "b.jpg", "--size", "64")
    assert result.exit_code == 0 and "painted 2 of 2 photos: 2 styles, in" in result.stdout
    assert {"a-sheet.jpg", "b-sheet.jpg"} <= {path.name for path in shipped.iterdir()}
    piped = sheet("-", "--size", "64", input=(shipped / "a.jpg").read_bytes())
    with Image.open(io.BytesIO(piped.stdout_bytes)) as picture:
        assert picture.format == "JPEG" and picture.width > 64


def test_a_sheet_is_not_overwritten_unless_asked(shipped):
    (shipped / "a-sheet.jpg").write_bytes(b"precious")
    result = sheet("a.jpg")
    assert result.exit_code == 1 and "exists already" in result.stderr
    assert (shipped / "a-sheet.jpg").read_bytes() == b"precious"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--style", "mosaic,udnei"], "did you mean 'udnie'"),
        (["--style", "mosaic,,udnie"], "names no style in one of its parts"),
        (["--collection", "painting"], "did you mean 'paintings'"),
        (["--norm", "instance", "--norm", "batch"], "takes no --norm given twice"),
        (["--mask", "a.jpg"], "takes no --mask"),
        (["--tile", "64"], "leave out --tile"),
        (["--size", "5"], "--size 5 given for the tiles of a sheet; 32 to 4096 is accepted"),
        (["--norm", "layer"], "no style is there for a sheet"),
    ],
)
def test_sheets_that_there_are_not(shipped, arguments, said):
    result = sheet("a.jpg", *arguments)
    assert result.exit_code == 2 and said in result.stderr and result.stdout == ""
    assert [path.name for path in shipped.iterdir()] == ["a.jpg"]
