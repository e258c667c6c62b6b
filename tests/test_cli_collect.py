"""``stylize collect``."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from stylize import zoo
from stylize.cli import main
from stylize.cli.tables import size_text
from stylize.style_collections import read_collection
from tests.helpers import run_stylize, tiny_collection, tiny_style_file, tiny_weights


@pytest.fixture(params=[False, True], ids=["shared output", "own output"])
def folder(request, tmp_path, monkeypatch):
    """A shipped collection, and two style files for it in the current folder."""
    shipped, here = tmp_path / "weights", tmp_path / "here"
    shipped.mkdir()
    here.mkdir()
    names = ("great-wave", "mosaic", "photo")
    path = tiny_collection(shipped / "paintings-conditional-instance.safetensors", names, own_output=request.param)
    tiny_style_file(here / "mine.safetensors", path)
    tiny_style_file(here / "yours.safetensors", path, seed=8)
    monkeypatch.setattr(zoo, "weights_directory", lambda: shipped)
    monkeypatch.chdir(here)
    return here


def collect(*arguments):
    return CliRunner().invoke(main, ["collect", *arguments], prog_name="stylize")


def test_a_shipped_collection_and_two_styles(folder):
    result = collect("paintings", "mine.safetensors", "yours.safetensors", "-o", "all.safetensors")
    assert result.exit_code == 0, result.output
    assert result.stdout == (
        f"all.safetensors: 4 styles in one network ({size_text((folder / 'all.safetensors').stat().st_size)})\n"
        "added: mine, yours\n"
        "as before: great-wave, mosaic\n"
        "to use it: stylize apply photo.jpg --collection all.safetensors --style mine\n"
    )
    made = read_collection("all.safetensors")
    assert made.names == ("great-wave", "mosaic", "photo", "mine", "yours")
    assert made.weights.architecture.own_output and made.digest == zoo.find_collection().digest


def test_a_file_and_json(folder):
    assert collect("paintings", "mine.safetensors", "-o", "one.safetensors").exit_code == 0
    result = collect("one.safetensors", "yours.safetensors", "-o", "new/two.safetensors", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert (document["output"], document["name"]) == ("new/two.safetensors", "two")
    assert document["styles"] == ["great-wave", "mosaic", "mine", "yours"]
    assert (document["added"], document["photo_style"]) == (["yours"], True)
    assert document["file_size"] == (folder / "new" / "two.safetensors").stat().st_size
    assert document["network"] == zoo.find_collection().digest


def test_an_existing_file_stays_unless_asked(folder):
    (folder / "all.safetensors").write_bytes(b"keep")
    result = collect("paintings", "mine.safetensors", "-o", "all.safetensors")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "exists already; pass --overwrite or another name" in result.stderr
    assert (folder / "all.safetensors").read_bytes() == b"keep"
    assert collect("paintings", "mine.safetensors", "-o", "all.safetensors", "--overwrite").exit_code == 0
    assert "mine" in read_collection("all.safetensors").names


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("paintngs", "mine.safetensors"), "unknown collection 'paintngs'; did you mean 'paintings'?"),
        (("none.safetensors", "mine.safetensors"), "none.safetensors not found"),
        (("single.safetensors", "mine.safetensors"), "holds a network of one style with instance norm"),
        (("mine.safetensors", "yours.safetensors"), "mine.safetensors is a style file, not a collection"),
        (("paintings", "none.safetensors"), "none.safetensors not found"),
        (("paintings", "single.safetensors"), "is a whole network; a style file made by"),
        (("paintings", "foreign.safetensors"), "foreign.safetensors was made for another network"),
        (("paintings", "mine.safetensors", "mine.safetensors"), "two styles are called 'mine'"),
        (("paintings", "mine.safetensors", "-o", "all.pth"), "another suffix than .safetensors"),
        (("paintings", "mine.safetensors", "-o", "."), "is a folder"),
        (("paintings",), "Missing argument"),
    ],
)
def test_bad_input(folder, arguments, message):
    tiny_weights(folder / "single.safetensors")
    other = tiny_collection(folder / "other.safetensors", seed=4)
    tiny_style_file(folder / "foreign.safetensors", other)
    before = sorted(folder.iterdir())
    result = collect(*arguments, *(() if "-o" in arguments else ("-o", "all.safetensors")))
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr and "Traceback" not in result.stderr
    assert sorted(folder.iterdir()) == before


def test_an_output_is_needed(folder):
    result = collect("paintings", "mine.safetensors")
    assert result.exit_code == 2 and "-o" in result.stderr


def test_the_real_command(tmp_path):
    path = tiny_collection(tmp_path / "base.safetensors", ("one",), seed=5)
    tiny_style_file(tmp_path / "two.safetensors", path)
    result = run_stylize("collect", "base.safetensors", "two.safetensors", "-o", "both.safetensors", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert read_collection(tmp_path / "both.safetensors").names == ("one", "two")
