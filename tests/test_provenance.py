"""What a report says about where it comes from: enough to repeat it, nothing about somebody's folders."""

from __future__ import annotations

import platform
import re
import shlex
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stylize import __version__
from stylize.provenance import cpu_model, machine_facts, shown_command, shown_path


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/home/anna/photos/cat.jpg", "photos/cat.jpg"),
        ("/cat.jpg", "cat.jpg"),
        ("/photos/cat.jpg", "photos/cat.jpg"),
        ("/", ""),
        ("photos/trip/cat.jpg", "photos/trip/cat.jpg"),
        ("../cat.jpg", "../cat.jpg"),
        ("starry-night", "starry-night"),
        ("", ""),
    ],
)
def test_of_an_absolute_path_the_end_is_shown(path, shown):
    assert shown_path(path) == shown


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["compare", "cat.jpg"], "stylize compare cat.jpg"),
        (["compare", "my cat.jpg", "-o", "out"], "stylize compare 'my cat.jpg' -o out"),
        (["compare", "/home/anna/photos/my cat.jpg"], "stylize compare 'photos/my cat.jpg'"),
        (["compare", "--painting", "/home/anna/a/b.jpg"], "stylize compare --painting a/b.jpg"),
        (["compare", "--painting=/home/anna/a/b.jpg"], "stylize compare --painting=a/b.jpg"),
        (["compare", "-o/home/anna/a/b"], "stylize compare -oa/b"),
        (["compare", "--size=64", "--train"], "stylize compare --size=64 --train"),
        (["compare", ""], "stylize compare ''"),
        (["compare", "it's; rm -rf ~"], "stylize compare 'it'\"'\"'s; rm -rf ~'"),
        ([], "stylize"),
    ],
)
def test_the_command_as_a_shell_takes_it(arguments, shown):
    assert shown_command(arguments) == shown


@settings(deadline=None, max_examples=50)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20), max_size=5))
def test_a_shell_reads_as_many_arguments_as_were_given(arguments):
    assert len(shlex.split(shown_command(arguments))) == len(arguments) + 1


@settings(deadline=None, max_examples=50)
@given(st.lists(st.from_regex(r"[a-z]{3,8}", fullmatch=True), min_size=3, max_size=6))
def test_no_folder_above_the_last_two_parts_is_told(parts):
    path = "/secret-" + "/".join(parts)
    for arguments in ([path], ["-o", path], [f"--output={path}"], [f"-o{path}"]):
        assert "secret" not in shown_command(arguments)
        assert f"{parts[-2]}/{parts[-1]}" in shown_command(arguments)


def test_without_arguments_those_of_the_process(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/stylize", "compare", "a.jpg"])
    assert shown_command() == "stylize compare a.jpg"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("processor\t: 0\nmodel name\t: Fast: 9000 \nmodel name\t: other\n", "Fast: 9000"),
        ("processor\t: 0\n", "fallback"),
        (None, "fallback"),
    ],
)
def test_the_processor(monkeypatch, text, expected):
    def read(self: Path, encoding: str = "") -> str:
        if text is None:
            raise FileNotFoundError
        return text

    monkeypatch.setattr(Path, "read_text", read)
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "fallback")
    assert cpu_model() == expected


def test_facts_are_text_and_name_the_versions():
    import torch

    facts = machine_facts()
    assert all(isinstance(value, str) and value for value in facts.values())
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", facts["date"])
    assert f"stylize {__version__}, torch {torch.__version__}, numpy " in facts["versions"]
    assert f"{torch.get_num_threads()} threads" in facts["processor"]
    assert (facts["device"], platform.python_version() in facts["system"]) == ("cpu", True)
    assert platform.node() not in " ".join(facts.values()) or not platform.node()
