"""``stylize styles``, and the group around the commands."""

from __future__ import annotations

import json

import click
import pytest
from click.testing import CliRunner

import stylize
from stylize import cli, zoo
from stylize.cli import COMMANDS, main
from stylize.cli.tables import aligned, size_text
from stylize.errors import InputError, OutputError, StylizeError, TrainingInterrupted
from tests.helpers import run_stylize, tiny_collection, tiny_style_file, tiny_weights


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    tiny_weights(tmp_path / "a.safetensors", "great-wave")
    tiny_weights(tmp_path / "b.safetensors", "great-wave", "batch", metrics={}, painting=None, licence=None)
    monkeypatch.setattr(zoo, "weights_directory", lambda: tmp_path)
    return tmp_path


def invoke(*arguments):
    return CliRunner().invoke(main, list(arguments), prog_name="stylize")


def test_table(shipped):
    result = invoke("styles")
    assert result.exit_code == 0, result.output
    heading, header, row, empty, *notes = result.stdout.splitlines()
    sizes = [(shipped / f"{name}.safetensors").stat().st_size for name in ("a", "b")]
    assert heading == f"2 networks of one style ({size_text(*sizes)} each)"
    assert header.split("  ")[0] == "style" and header.split()[1:4] == ["painting", "artist", "year"]
    assert row.split() == ["great-wave", "Test", "Nobody", "1900", "0.25", "0.5", "instance,", "batch"]
    assert row.index("instance") == header.index("norm")
    assert not empty and notes[-1] == "to use one: stylize apply photo.jpg --style great-wave"
    assert "of the first norm named" in notes[0]


def test_what_is_not_recorded_is_a_dash(shipped):
    (shipped / "a.safetensors").unlink()
    row = invoke("styles").stdout.splitlines()[2]
    assert row.split() == ["great-wave", "-", "-", "-", "-", "-", "batch"]


def test_another_preset_is_named(shipped):
    tiny_weights(shipped / "c.safetensors", "great-wave", preset="johnson")
    assert invoke("styles").stdout.splitlines()[2].endswith("  instance, instance (johnson), batch")


def test_json(shipped):
    document = json.loads(invoke("styles", "--json").stdout)
    assert document["default"] == "starry-night"
    assert document["collections"] == []
    first, second = document["styles"]
    assert (first["title"], first["kind"], first["collection"]) == ("Test", "network", None)
    assert (first["style_loss"], first["content_loss"], first["steps"]) == (0.25, 0.5, 100)
    assert (first["file"], first["path"]) == ("a.safetensors", str(shipped / "a.safetensors"))
    assert first["licence"] == "CC0-1.0"
    assert second["style_loss"] is None


# ---- collections


@pytest.fixture
def collected(shipped):
    styles = ("great-wave", "the-scream", "photo")
    tiny_collection(shipped / "paintings-conditional-instance.safetensors", styles)
    return shipped


def test_a_collection_has_its_own_table(collected):
    lines = invoke("styles").stdout.splitlines()
    file = collected / "paintings-conditional-instance.safetensors"
    size = size_text(file.stat().st_size)
    assert lines[0] == f"paintings: 2 styles in one network (instance norm, fast, {size}, {file.name})"
    assert lines[1].split()[-2:] == ["content", "loss"]
    assert [line.split()[0] for line in lines[2:4]] == ["great-wave", "the-scream"]
    assert lines[4] == "" and lines[5].startswith("2 networks of one style (")
    assert "photo" not in {line.split()[0] for line in lines if line}
    notes = lines[-4:]
    assert notes[1] == (
        "a style that stands in both is taken from its network of one style, unless --collection or --norm says "
        "otherwise"
    )
    assert notes[2] == "to use one: stylize apply photo.jpg --style great-wave"
    assert notes[3] == "to mix two: stylize apply photo.jpg --style great-wave:0.6,the-scream:0.4"


def test_where_a_style_that_stands_in_both_is_taken_from(collected, monkeypatch):
    monkeypatch.setattr(zoo, "COLLECTION_FIRST", True)
    assert "stands in both is taken from the collection, unless" in invoke("styles").stdout
    for name in ("a", "b"):
        (collected / f"{name}.safetensors").unlink()
    assert "stands in both" not in invoke("styles").stdout


def test_the_table_fits_the_usual_terminal(tmp_path, monkeypatch):
    monkeypatch.setattr(zoo, "weights_directory", lambda: tmp_path)
    painting = {
        "title": "The Benzaiten Shrine at Inokashira in Snow, from the series Snow, Moon and Flowers",
        "artist": "Pierre-Auguste Renoir and others",
        "year": "c. 1843-1847",
    }
    metrics = {"evaluation_mode": {"style": 0.0333333, "content": 0.7083333}}
    styles = [{"name": "benzaiten-shrine-snow", "painting": painting, "metrics": metrics}, {"name": "photo"}]
    names = tuple(one["name"] for one in styles)
    tiny_collection(tmp_path / "paintings-conditional-instance.safetensors", names, styles=styles)
    result = invoke("styles")
    assert max(map(len, result.stdout.splitlines())) <= 120
    assert "The Benzaiten Shrine at Inoka...  Pierre-Auguste Renoi...  c. 1843-1847" in result.stdout
    assert "to mix two" not in result.stdout
    assert json.loads(invoke("styles", "--json").stdout)["styles"][0]["title"] == painting["title"]


def test_json_of_a_collection(collected):
    document = json.loads(invoke("styles", "--json").stdout)
    (collection,) = document["collections"]
    assert (collection["name"], collection["styles"]) == ("paintings", ["great-wave", "the-scream"])
    assert collection["photo_style"] is True and len(collection["network"]) == 64
    kinds = [(one["style"], one["kind"], one["collection"], one["norm"]) for one in document["styles"]]
    assert kinds == [
        ("great-wave", "collection", "paintings", "instance"),
        ("the-scream", "collection", "paintings", "instance"),
        ("great-wave", "network", None, "instance"),
        ("great-wave", "network", None, "batch"),
    ]


def test_a_shipped_collection_by_name(collected):
    lines = invoke("styles", "paintings").stdout.splitlines()
    assert lines[0].startswith("paintings: 2 styles") and "networks of one style" not in "".join(lines)
    result = invoke("styles", "paintngs")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "unknown collection 'paintngs'; did you mean 'paintings'?" in result.stderr


def test_files_of_the_users_own(collected, tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    own = tiny_collection(folder / "own.safetensors", ("my cat", "second"), seed=8)
    mine = tiny_style_file(folder / "mine.safetensors", own)
    lines = invoke("styles", str(own)).stdout.splitlines()
    assert lines[0] == f"{own}: 2 styles in one network (instance norm, fast, {size_text(own.stat().st_size)})"
    assert lines[-2] == f"to use one: stylize apply photo.jpg --collection {own} --style 'my cat'"
    assert lines[-1] == f"to mix two: stylize apply photo.jpg --collection {own} --style 'my cat:0.6,second:0.4'"
    lines = invoke("styles", str(mine), str(collected / "b.safetensors")).stdout.splitlines()
    assert lines[0] == f"{mine}: a style file ({size_text(mine.stat().st_size)}), for {own}"
    assert lines[4].startswith("b.safetensors: a network of one style (")
    assert lines[-1] == f"to use one: stylize apply photo.jpg --style {mine}"
    document = json.loads(invoke("styles", str(mine), "--json").stdout)
    assert document["styles"][0]["kind"] == "style file"
    assert document["styles"][0]["collection"] == "own"
    own.unlink()
    assert "its network was not found; give --collection FILE" in invoke("styles", str(mine)).stdout


def test_an_onnx_file(collected, tmp_path_factory):
    pytest.importorskip("onnx")
    from stylize.exporting import export_onnx

    path = tmp_path_factory.mktemp("onnx") / "a.onnx"
    export_onnx(collected / "a.safetensors", path)
    assert invoke("styles", str(path)).stdout.startswith("a.onnx: a network of one style (")


def test_files_that_cannot_be_read(collected):
    for file, said in (("none.safetensors", "not found"), ("./", "is a folder")):
        result = invoke("styles", file)
        assert (result.exit_code, result.stdout) == (2, "")
        assert said in result.stderr and len(result.stderr.splitlines()) == 1


def test_apply_list_is_the_same(shipped):
    assert invoke("apply", "--list").stdout == invoke("styles").stdout
    assert invoke("apply", "--list", "--json").stdout == invoke("styles", "--json").stdout


def test_nothing_shipped(tmp_path, monkeypatch):
    monkeypatch.setattr(zoo, "weights_directory", lambda: tmp_path)
    result = invoke("styles")
    assert result.exit_code == 0
    assert "no style is shipped" in result.stdout


def test_incomplete_installation_is_one_line(monkeypatch):
    def missing():
        raise StylizeError("the folder 'weights' is missing")

    monkeypatch.setattr(zoo, "weights_directory", missing)
    result = invoke("styles")
    assert (result.exit_code, result.stderr) == (1, "Error: the folder 'weights' is missing\n")


def test_aligned():
    assert aligned(("a", "number"), [("long", "1"), ("x", "22")], frozenset({1})) == (
        "a     number\nlong       1\nx         22"
    )


@pytest.mark.parametrize(
    ("sizes", "text"),
    [
        ((6_543,), "7 KB"),
        ((830_000,), "0.8 MB"),
        ((830_000, 3_400_000), "0.8 to 3.4 MB"),
        ((3_400_000, 3_390_000), "3.4 MB"),
        ((2_000, 60_000), "2 to 60 KB"),
    ],
)
def test_sizes(sizes, text):
    assert size_text(*sizes) == text


def test_version():
    assert invoke("--version").stdout == f"stylize {stylize.__version__}\n"


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("aply", "did you mean 'apply'?"),
        ("qqq", f"unknown command 'qqq' (known: {', '.join(COMMANDS)})"),
    ],
)
def test_unknown_command(word, said):
    result = invoke(word)
    assert result.exit_code == 2
    assert said in result.stderr


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (InputError("bad\ninput"), 2, "bad input"),
        (OutputError("exists"), 1, "exists"),
        (TrainingInterrupted("saved; go on with --resume"), 1, "saved; go on with --resume"),
        (KeyboardInterrupt(), 130, "stopped by Ctrl-C"),
        (MemoryError(), 1, "not enough memory"),
        (ImportError("no torch"), 1, "a package that stylize needs cannot be imported: no torch"),
        (PermissionError(13, "Permission denied", "/x"), 1, "Permission denied: '/x'"),
    ],
)
def test_errors_become_one_line_and_a_status(monkeypatch, error, status, line):
    @click.command()
    def failing():
        raise error

    monkeypatch.setattr(cli.LazyGroup, "get_command", lambda self, context, name: failing)
    result = invoke("styles")
    assert (result.exit_code, result.stderr, result.stdout) == (status, f"Error: {line}\n", "")


def test_a_closed_pipe_is_quiet(monkeypatch):
    @click.command()
    def failing():
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(cli.LazyGroup, "get_command", lambda self, context, name: failing)
    result = invoke("styles")
    assert (result.exit_code, result.stderr) == (1, "")


def test_help_of_the_group_names_the_commands():
    result = run_stylize("--help")
    assert result.returncode == 0
    assert result.stdout.startswith("Usage: stylize [OPTIONS] COMMAND")
    for name in cli.COMMANDS:
        assert f"\n  {name}" in result.stdout
