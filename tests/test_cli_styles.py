"""``stylize styles``, and the group around the commands."""

from __future__ import annotations

import json

import click
import pytest
from click.testing import CliRunner

import stylize
from stylize import cli, zoo
from stylize.cli import main
from stylize.cli.tables import aligned
from stylize.errors import InputError, OutputError, StylizeError, TrainingInterrupted
from tests.helpers import run_stylize, tiny_weights


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
    header, first, second = result.stdout.splitlines()[:3]
    assert header.split()[:4] == ["style", "painting", "artist", "year"]
    assert first.split()[:6] == ["great-wave", "Test", "Nobody", "1900", "instance", "fast"]
    assert first.split()[-4:] == ["0.25", "0.5", "100", "CC0-1.0"]
    assert second.split()[:6] == ["great-wave", "-", "-", "-", "batch", "fast"]
    assert first.index("instance") == second.index("batch") == header.index("norm")


def test_json(shipped):
    document = json.loads(invoke("styles", "--json").stdout)
    assert document["default"] == "starry-night"
    first, second = document["styles"]
    assert first["title"] == "Test"
    assert (first["style_loss"], first["content_loss"], first["steps"]) == (0.25, 0.5, 100)
    assert first["file"] == "a.safetensors"
    assert second["style_loss"] is None


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


def test_version():
    assert invoke("--version").stdout == f"stylize {stylize.__version__}\n"


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("aply", "did you mean 'apply'?"),
        ("qqq", "unknown command 'qqq' (known: apply, train, compare, styles, export, bench)"),
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
