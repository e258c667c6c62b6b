"""``stylize train --multi`` and ``--adapt``: what they say and what they refuse."""

from __future__ import annotations

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from stylize.checkpoints import read_weights_file
from stylize.cli import main
from stylize.style_collections import read_collection, read_style_file
from tests.helpers import run_stylize, save_photo, tiny_collection, tiny_weights
from tests.training_helpers import make_material

SMALL = (
    "--image-size 32 --style-size 32 --batch-size 2 --style-layer relu1_1 --content-layer relu1_1 --precision float32 "
    "--device cpu --steps 2"
).split()


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    folder = make_material(tmp_path_factory.mktemp("material"))
    save_photo(folder / "paintings" / "wave.png", 50, 40, seed=3)
    save_photo(folder / "paintings" / "night.png", 40, 50, seed=4)
    return folder


def invoke(*arguments: object) -> Result:
    result = CliRunner().invoke(main, ["train", *map(str, arguments)], prog_name="stylize")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result


def refused(*arguments: object) -> str:
    result = invoke(*arguments, *SMALL)
    assert result.exit_code == 2, result.output
    return result.output


def test_a_collection_then_a_style_for_it_in_processes_of_their_own(material, tmp_path):
    paintings = [str(material / "paintings" / name) for name in ("wave.png", "night.png")]
    photos = str(material / "photos")
    output = "mine.safetensors"
    made = run_stylize("train", *paintings, photos, "--multi", "-o", output, *SMALL, cwd=tmp_path, timeout=300)
    assert made.returncode == 0, made.stderr
    lines = made.stdout.splitlines()
    assert lines[0] == (
        "learning wave.png, night.png with conditional-instance norm (fast, 2 steps of 2 photos) -> mine.safetensors"
    )
    assert [line.split()[0] for line in lines if line.startswith(("wave", "night", "photo"))] == [
        "wave",
        "night",
        "photo",
    ]
    assert "stylize apply PHOTO --collection ./mine.safetensors --style wave" in lines[-1]
    collection = read_collection(tmp_path / output)
    assert collection.names == ("wave", "night", "photo")

    painting = str(material / "painting.png")
    added = run_stylize("train", painting, photos, "--adapt", output, *SMALL, cwd=tmp_path, timeout=300)
    assert added.returncode == 0, added.stderr
    lines = added.stdout.splitlines()
    assert lines[0].startswith("learning painting.png as a new style (of mine.safetensors, 2 steps of 2 photos)")
    assert "kB" in lines[-3] and "began as" in lines[-2]
    style = read_style_file(tmp_path / "painting.safetensors")
    assert style.digest == collection.digest
    assert f"'{style.metadata['nearest']}'" in lines[-2]
    assert "--style ./painting.safetensors --collection mine.safetensors" in lines[-1]


def test_a_folder_of_paintings_makes_a_collection_too(material, tmp_path):
    output = tmp_path / "c.safetensors"
    result = invoke(
        material / "paintings",
        material / "photos",
        "--multi",
        "--no-photo-style",
        "--own-output",
        "--norm",
        "batch",
        "-o",
        output,
        *SMALL,
    )
    assert result.exit_code == 0, result.output
    assert read_collection(output).names == ("night", "wave")
    assert read_weights_file(output).metadata["norm"] == "conditional-batch"
    assert read_weights_file(output).architecture.own_output


def test_a_style_is_added_to_a_collection_with_last_convolutions_of_their_own(material, tmp_path):
    # Of the architecture of the tests: the command takes that of the collection.
    collection = tiny_collection(tmp_path / "c.safetensors", own_output=True)
    output = tmp_path / "p.safetensors"
    result = invoke(
        material / "painting.png", material / "photos", "--adapt", collection, "-o", output, *SMALL, "--seed", 3
    )
    assert result.exit_code == 0, result.output
    style = read_style_file(output)
    assert style.digest == read_collection(collection).digest
    assert not style.architecture.own_output


def test_adapting_has_settings_of_its_own_unless_others_are_given(material, tmp_path, monkeypatch):
    from stylize import training
    from stylize.config import ADAPTING

    seen = []

    def remember(config, *args, **kwargs):
        seen.append(config)
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "train", remember)
    collection = tiny_collection(tmp_path / "c.safetensors")
    CliRunner().invoke(main, ["train", str(material / "painting.png"), "--adapt", str(collection)])
    CliRunner().invoke(main, ["train", str(material / "painting.png"), "--adapt", str(collection), "--steps", "7"])
    CliRunner().invoke(main, ["train", str(material / "painting.png")])
    assert [config.steps for config in seen] == [ADAPTING["steps"], 7, 2000]
    assert [config.learning_rate for config in seen] == [ADAPTING["learning_rate"]] * 2 + [2e-3]


def test_what_is_refused(material, tmp_path):
    painting, photos = material / "painting.png", material / "photos"
    assert "--multi" in refused(painting, material / "paintings" / "wave.png", photos)
    twice = save_photo(tmp_path / "painting.png")
    assert "two styles are called 'painting'" in refused(painting, twice, photos, "--multi")
    assert "layer norm given for a collection" in refused(painting, photos, "--multi", "--norm", "layer")
    assert "conditional-instance norm is for collections" in refused(painting, photos, "--norm", "conditional-instance")
    assert "'paintigs'" in refused(painting, photos, "--adapt", "paintigs")
    single = tiny_weights(tmp_path / "single.safetensors")
    assert "network of one style" in refused(painting, photos, "--adapt", single)
    collection = tiny_collection(tmp_path / "c.safetensors")
    assert "several paintings given to adapt" in refused(painting, photos, "--multi", "--adapt", collection)
    assert "another architecture" in refused(painting, photos, "--start-from", single)
    assert "no painting given" in refused("--multi")
    Image.new("RGB", (1, 1)).save(tmp_path / "pixel.png")
    assert "at least 32" in refused(tmp_path / "pixel.png", photos, "--adapt", collection)
    Image.new("RGB", (60, 60), (9, 9, 9)).save(tmp_path / "flat.png")
    assert "nearly one colour" in refused(tmp_path / "flat.png", photos, "--adapt", collection)
    assert not list(tmp_path.glob("*.run"))
