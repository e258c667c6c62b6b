"""``stylize apply`` with collections, mixtures, strength, colours and masks."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from stylize import zoo
from stylize.cli import main
from stylize.images import read_image
from stylize.stylizer import load
from tests.helpers import run_python, run_stylize, save_photo, tiny_collection, tiny_style_file, tiny_weights

EXACT = ("--device", "cpu", "--precision", "float32")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A collection with a photo style, networks of one style, a style file and a collection without a photo style."""
    folder = tmp_path_factory.mktemp("made")
    weights, extra = folder / "weights", folder / "extra"
    weights.mkdir()
    extra.mkdir()
    for norm in ("instance", "batch"):
        tiny_weights(weights / f"starry-night-{norm}.safetensors", "starry-night", norm, seed=1)
    names = ("great-wave", "mosaic", "photo")
    collection = tiny_collection(weights / "paintings-conditional-instance.safetensors", names, style="paintings")
    tiny_style_file(extra / "own.safetensors", collection)
    tiny_collection(extra / "faded.safetensors", ("first", "second"), seed=5)
    return folder


@pytest.fixture
def shipped(made, tmp_path, monkeypatch):
    """The current folder: a photo in it, and the made networks within reach."""
    (tmp_path / "examples").mkdir()
    monkeypatch.setattr(zoo, "weights_directory", lambda: made / "weights")
    monkeypatch.setattr(zoo, "examples_directory", lambda: tmp_path / "examples")
    here = tmp_path / "here"
    save_photo(here / "a.png", 40, 30)
    half = Image.new("L", (40, 30), 0)
    half.paste(255, (20, 0, 40, 30))
    half.save(here / "mask.png")
    for name in ("own", "faded"):
        (here / f"{name}.safetensors").write_bytes((made / "extra" / f"{name}.safetensors").read_bytes())
    monkeypatch.chdir(here)
    return here


def apply(*arguments, **options):
    return CliRunner().invoke(main, ["apply", *map(str, arguments)], prog_name="stylize", **options)


def painted(*arguments):
    result = apply(*arguments, *EXACT)
    assert result.exit_code == 0, result.output
    return result


def pixels(path):
    return np.asarray(read_image(path), np.int16)


def written(folder):
    return sorted(path.name for path in folder.iterdir() if path.name not in ("a.png", "mask.png")
                  and path.suffix != ".safetensors")  # fmt: skip


# -- styles


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (["--style", "mosaic"], "a-mosaic.png"),
        (["--style", "great-wave:0.6,mosaic:0.4"], "a-great-wave-60-mosaic-40.png"),
        (["--style", "great-wave,mosaic"], "a-great-wave-50-mosaic-50.png"),
        (["--style", "own.safetensors"], "a-own.png"),
        (["--style", "own.safetensors:3,mosaic:1"], "a-own-75-mosaic-25.png"),
        (["--style", "first", "--collection", "faded.safetensors"], "a-first.png"),
        (["--collection", "faded.safetensors"], "a-first.png"),
        (["--collection", "paintings", "--style", "mosaic", "--norm", "instance"], "a-mosaic.png"),
        (["--style", "great-wave", "--style", "mosaic", "--mask", "mask.png"], "a-great-wave-mosaic.png"),
    ],
)
def test_names(shipped, options, name):
    painted("a.png", *options)
    assert written(shipped) == [name]


def test_the_result_is_that_of_the_library(shipped):
    painted("a.png", "--style", "great-wave:3,mosaic:1", "--strength", "0.7", "--preserve-color", "-o", "b.png")
    stylizer = load("great-wave:3,mosaic:1", strength=0.7, device="cpu", precision="float32")
    expected = stylizer(read_image("a.png"), preserve_colour=True)
    assert read_image("b.png").tobytes() == expected.tobytes()


def test_a_folder_of_photos_with_a_mixture(shipped):
    for name in ("x.jpg", "deep/y.jpg"):
        save_photo(shipped / "trip" / name)
    painted("trip", "--style", "great-wave:0.6,mosaic:0.4")
    folder = shipped / "trip-great-wave-60-mosaic-40"
    assert (folder / "x.jpg").is_file() and (folder / "deep" / "y.jpg").is_file()


# -- strength


@pytest.mark.parametrize(
    ("style", "way", "words"),
    [("mosaic", "photo style", "by the photo style"), ("starry-night", "fade", "as a fade")],
)
def test_the_report_says_how_the_strength_was_made(shipped, style, way, words):
    said = painted("a.png", "--style", style, "--strength", "0.5").stdout
    assert f"a.png -> a-{style}.png ({style}, instance norm, strength 0.5 {words}, 40x30 px) in " in said
    result = painted("a.png", "--style", style, "--strength", "0.5", "--json", "--overwrite")
    controls = json.loads(result.stdout)["controls"]
    assert (controls["strength"], controls["strength_by"]) == (0.5, way)


def test_strength_0_is_the_photo_1_the_style_and_what_is_between_lies_between(shipped):
    for strength in ("0", "0.5", "1", "1.5"):
        painted("a.png", "--style", "mosaic", "--strength", strength, "-o", f"{strength}.png")
    photo, style = pixels("a.png"), pixels("1.png")
    painted("a.png", "--style", "mosaic", "-o", "style.png")
    assert np.array_equal(pixels("0.png"), photo) and np.array_equal(style, pixels("style.png"))
    away = [np.abs(pixels(f"{strength}.png") - photo).mean() for strength in ("0", "0.5", "1")]
    assert away[0] < away[1] < away[2]
    assert not np.array_equal(pixels("1.5.png"), style)


def test_json_without_controls_says_so(shipped):
    controls = json.loads(painted("a.png", "--json").stdout)["controls"]
    assert controls == {
        "strength": 1.0,
        "strength_by": None,
        "preserve_color": False,
        "mask": None,
        "scale": 1.0,
        "scale_passes": 1,
    }


def test_json_of_a_mixture_has_its_shares(shipped):
    document = json.loads(painted("a.png", "--style", "great-wave:1,mosaic:3", "--json").stdout)
    name = "great-wave-25-mosaic-75"
    assert document["results"][0]["style"] == name
    assert document["controls"]["mixtures"] == {name: {"great-wave": 0.25, "mosaic": 0.75}}


# -- colours and masks


@pytest.mark.parametrize("option", ["--preserve-color", "--preserve-colour"])
def test_both_spellings_keep_the_colours(shipped, option):
    said = painted("a.png", "--style", "mosaic", option).stdout
    assert "mosaic, instance norm, colours of the photo, 40x30 px" in said
    expected = load("mosaic", device="cpu", precision="float32")(read_image("a.png"), preserve_colour=True)
    assert read_image("a-mosaic.png").tobytes() == expected.tobytes()


def test_black_keeps_the_photo_and_white_is_painted(shipped):
    said = painted("a.png", "--style", "mosaic", "--mask", "mask.png").stdout
    assert "mosaic, instance norm, mask mask.png, 40x30 px" in said
    painted("a.png", "--style", "mosaic", "-o", "whole.png")
    result, photo, whole = (pixels(name) for name in ("a-mosaic.png", "a.png", "whole.png"))
    assert np.array_equal(result[:, :20], photo[:, :20]) and np.array_equal(result[:, 20:], whole[:, 20:])


def test_white_takes_the_first_style_and_black_the_second(shipped):
    both = ("--style", "great-wave", "--style", "starry-night", "--mask", "mask.png", "-o", "both.png")
    said = painted("a.png", *both).stdout
    assert "(great-wave where the mask is white, starry-night where it is black, instance norm, mask mask.png" in said
    for name in ("great-wave", "starry-night"):
        painted("a.png", "--style", name, "-o", f"{name}.png")
    result = pixels("both.png")
    assert np.array_equal(result[:, 20:], pixels("great-wave.png")[:, 20:])
    assert np.array_equal(result[:, :20], pixels("starry-night.png")[:, :20])
    document = json.loads(painted("a.png", *both, "--strength", "0.9", "--overwrite", "--json").stdout)
    controls = document["controls"]
    assert (controls["white"], controls["black"], controls["mask"]) == ("great-wave", "starry-night", "mask.png")
    assert controls["strength_by"] == "photo style and fade"
    assert document["results"][0]["style"] == "great-wave-starry-night"


def test_the_alpha_of_a_photo_stays_under_a_mask(shipped):
    save_photo(shipped / "clear.png", 40, 30, mode="RGBA")
    painted("clear.png", "--style", "mosaic", "--mask", "mask.png", "--strength", "0.5", "--preserve-color")
    with Image.open("clear.png") as photo, Image.open("clear-mosaic.png") as result:
        assert result.getchannel("A").tobytes() == photo.getchannel("A").tobytes()
        assert np.array_equal(np.asarray(result)[:, :20], np.asarray(photo)[:, :20])


def test_a_mask_is_resized_with_its_photo(shipped):
    painted("a.png", "--style", "mosaic", "--mask", "mask.png", "--size", "80", "-o", "b.png")
    painted("a.png", "--style", "mosaic", "--strength", "0", "--size", "80", "-o", "photo.png")
    assert np.array_equal(pixels("b.png")[:, :36], pixels("photo.png")[:, :36])
    assert np.abs(pixels("b.png") - pixels("photo.png"))[:, 44:].mean() > 1


def test_scale_goes_with_everything(shipped):
    options = ("--style", "mosaic", "--mask", "mask.png", "--preserve-color", "--scale", "0.5", "--scale-passes", "2")
    painted("a.png", *options, "--strength", "0.5", "-o", "b.png")
    assert np.array_equal(pixels("b.png")[:, :20], pixels("a.png")[:, :20])
    assert not np.array_equal(pixels("b.png")[:, 20:], pixels("a.png")[:, 20:])


def test_a_mask_for_several_photos_fails_only_where_it_does_not_fit(shipped):
    save_photo(shipped / "wide.png", 90, 30)
    save_photo(shipped / "b.png", 40, 30, seed=3)
    result = apply("a.png", "wide.png", "b.png", "--style", "mosaic", "--mask", "mask.png", *EXACT)
    assert result.exit_code == 2
    assert "painted 2 of 3 photos" in result.stdout
    assert "wide.png: mask mask.png is 40 x 30 pixels and the photo 90 x 30: their proportions differ" in result.stderr
    assert {"a-mosaic.png", "b-mosaic.png"} < set(written(shipped)) and "wide-mosaic.png" not in written(shipped)


@pytest.mark.parametrize(("grey", "said"), [(0, "all black"), (255, "all white"), (128, "one grey")])
def test_a_mask_of_one_colour_is_pointed_out(shipped, grey, said):
    Image.new("L", (40, 30), grey).save("mask.png")
    result = painted("a.png", "--style", "mosaic", "--mask", "mask.png")
    assert result.stderr.startswith(f"note: the mask is {said}: ") and result.stderr.count("\n") == 1


# -- strips


def test_strips_finish_what_they_can_with_the_same_result(shipped):
    options = ("--style", "first", "--collection", "faded.safetensors", "--strength", "0.6", "--preserve-color")
    options += ("--mask", "mask.png")
    painted("a.png", *options, "-o", "whole.png")
    painted("a.png", *options, "--tile", "8", "-o", "strips.png")
    painted("a.png", *options, "--size", "80", "-o", "whole80.png")
    painted("a.png", *options, "--size", "80", "--tile", "8", "-o", "strips80.png")
    for size in ("", "80"):
        assert np.abs(pixels(f"whole{size}.png") - pixels(f"strips{size}.png")).max() <= 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--strength", "0.5"], "--strength 0.5, which is made by the photo style, cannot be painted in strips"),
        (["--style", "great-wave", "--mask", "mask.png"], "two styles with a mask cannot be painted in strips"),
    ],
)
def test_what_strips_cannot_do_is_refused(shipped, options, said):
    result = apply("a.png", "--style", "mosaic", *options, "--tile", "8")
    assert result.exit_code == 2 and f"Error: {said}; leave out --tile" in result.stderr
    result = apply("a.png", "--style", "mosaic", *options, "--memory", "20kB", *EXACT)
    assert result.exit_code == 2 and "'a.png' (40x30 px) is too large to be painted whole in 0 MB, and" in result.stderr
    assert said in result.stderr and "--scale 0.5" in result.stderr and result.stderr.count("\n") == 1
    assert written(shipped) == []
    painted("a.png", "--style", "mosaic", *options, "--memory", "20kB", "--scale", "0.5")


def test_strength_above_1_by_the_photo_style_can_be_painted_in_strips(shipped):
    options = ("--style", "mosaic", "--strength", "1.3")
    painted("a.png", *options, "-o", "whole.png")
    painted("a.png", *options, "-o", "strips.png", "--tile", "8")
    assert np.abs(pixels("whole.png") - pixels("strips.png")).max() <= 1


# -- wrong use


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--style", "great-wave:1,mosiac:1"], "did you mean 'mosaic'"),
        (["--style", "great-wave:0,mosaic:0"], "sum to zero"),
        (["--style", "great-wave:-1,mosaic:2"], "negative"),
        (["--style", "great-wave:much,mosaic:2"], "is no number"),
        (["--style", "great-wave:1,great-wave:2"], "given twice"),
        (["--style", "great-wave:0.5"], "nothing to be mixed with"),
        (["--style", "starry-night:1,mosaic:1"], "a network of its own, which cannot be mixed"),
        (["--style", "paintings"], "is a collection of 2 styles; choose one of them"),
        (["--style", "mosaic", "--norm", "batch"], "style 'mosaic' is shipped in the collection paintings"),
        (["--style", "mosaic", "--collection", "painting"], "did you mean 'paintings'"),
        (["--style", "mosaic", "--collection", "own.safetensors"], "is a style file, not a collection"),
        (["--style", "own.safetensors", "--collection", "faded.safetensors"], "was made for another network"),
        (["--style", "mosaic", "--mask", "absent.png"], "mask: absent.png: there is no such file"),
        (["--style", "mosaic", "--mask", "text.png"], "mask: text.png is no picture"),
        (["--style", "mosaic", "--mask", "cut.png"], "mask: cut.png is truncated"),
        (["--style", "mosaic", "--mask", "."], "mask: . is a folder, not a picture"),
        (["--style", "mosaic", "--mask", "wide.png"], "mask wide.png is 90 x 30 pixels and the photo 40 x 30"),
        (["--style", "mosaic", "--mask", "side.png"], "it lies on its side"),
        (["--style", "mosaic", "--mask", "mask.png", "-o", "mask.png", "--overwrite"], "'mask.png' is the mask"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(shipped, options, said):
    (shipped / "text.png").write_text("this is a text that calls itself a picture\n")
    (shipped / "cut.png").write_bytes((shipped / "a.png").read_bytes()[:-300])
    Image.new("L", (90, 30)).save("wide.png")
    Image.new("L", (30, 40)).save("side.png")
    before = {path.name: path.read_bytes() for path in shipped.iterdir()}
    result = apply("a.png", *options)
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    assert result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1
    assert said in result.stderr
    assert {path.name: path.read_bytes() for path in shipped.iterdir()} == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--strength", "2"], "'2' given; a number from 0 (the photo) to 1.5 is accepted"),
        (["--strength", "-0.1"], "a number from 0 (the photo) to 1.5 is accepted"),
        (["--strength", "nan"], "a number from 0 (the photo) to 1.5 is accepted"),
        (["--strength", "strong"], "a number from 0 (the photo) to 1.5 is accepted"),
        (["--style", "mosaic", "--style", "great-wave"], "to mix them: --style mosaic:0.5,great-wave:0.5;"),
        (["--style", "a", "--style", "b", "--style", "c", "--mask", "mask.png"], "3 styles given with a mask; two are"),
        (
            ["--style", "great-wave:1,mosaic:1", "--norm", "instance", "--norm", "batch"],
            "'great-wave:1,mosaic:1' is a mixture",
        ),
        (["--norm", "instance", "--norm", "batch", "--mask", "mask.png"], "takes no --mask"),
        (
            ["--norm", "instance", "--norm", "batch", "--strength", "0.5", "--preserve-color"],
            "leave out --strength and --preserve-color",
        ),
    ],
)
def test_wrong_usage(shipped, options, said):
    result = apply("a.png", *options)
    assert result.exit_code == 2 and result.stdout == ""
    assert said in result.stderr and "Usage: stylize apply" in result.stderr
    assert written(shipped) == []


def test_nothing_is_overwritten_unless_asked(shipped):
    (shipped / "a-great-wave-60-mosaic-40.png").write_bytes(b"precious")
    result = apply("a.png", "--style", "great-wave:0.6,mosaic:0.4")
    assert result.exit_code == 1 and "exists already; --overwrite" in result.stderr
    assert (shipped / "a-great-wave-60-mosaic-40.png").read_bytes() == b"precious"


# -- as a user runs it


def test_in_a_process(shipped):
    options = ("--style", "first:3,second:1", "--collection", "faded.safetensors", "--strength", "0.5")
    result = run_stylize("apply", "a.png", *options, "--mask", "mask.png", "--preserve-color", cwd=shipped)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith(
        "a.png -> a-first-75-second-25.png (first-75-second-25, instance norm, strength 0.5"
    )


def test_bad_input_in_a_process(shipped):
    arguments = ("--style", "first:1,secnd:1", "--collection", "faded.safetensors")
    result = run_stylize("apply", "a.png", *arguments, cwd=shipped)
    assert (result.returncode, result.stdout) == (2, "")
    assert "did you mean 'second'" in result.stderr and result.stderr.count("\n") == 1


def test_the_checks_come_before_torch(shipped):
    code = """
import sys
from click.testing import CliRunner
from stylize.cli import main
for more in (
    ["--mask", "a.png", "-o", "a.png/x.png"],
    ["--mask", "none.png"],
    ["--style", "first:1,x:1"],
    ["--tile", "8", "--mask", "mask.png", "--style", "second"],
    ["--sheet", "--mask", "mask.png"],
    ["--sheet", "--style", "third"],
):
    arguments = ["apply", "a.png", "--style", "first", "--collection", "faded.safetensors", *more]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code in (1, 2) and "Error: " in result.output, (more, result.output)
    assert "torch" not in sys.modules, more
"""
    result = run_python("-c", code, cwd=shipped)
    assert result.returncode == 0, result.stderr
