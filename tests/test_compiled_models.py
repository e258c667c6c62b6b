"""Compiled models are found again whole, or not at all."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from stylize.engines import compiled_models
from stylize.engines.compiled_models import read, user_cache, write

FACTS = {"precision": "int8", "difference": 0.5}


def test_a_model_is_found_again(tmp_path):
    assert read(tmp_path / "cache", "one") is None
    assert write(tmp_path / "cache", "one", FACTS, b"content\nof two lines")
    assert read(tmp_path / "cache", "one") == (FACTS, b"content\nof two lines")
    assert read(tmp_path / "cache", "two") is None
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["one.compiled"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1],
        lambda content: content.replace(b"content", b"contend"),
        lambda content: b"",
        lambda content: b"[1]\n" + content,
        lambda content: b"{}\n" + content,
        lambda content: b"\xff" * 100_000,
    ],
)
def test_a_damaged_model_is_none(tmp_path, damage):
    write(tmp_path, "one", FACTS, b"content")
    path = tmp_path / "one.compiled"
    path.write_bytes(damage(path.read_bytes()))
    assert read(tmp_path, "one") is None
    assert write(tmp_path, "one", FACTS, b"content")
    assert read(tmp_path, "one") == (FACTS, b"content")


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path):
    (tmp_path / "file").write_text("here")
    assert not write(tmp_path / "file" / "cache", "one", FACTS, b"content")
    assert read(tmp_path / "file" / "cache", "one") is None
    assert (tmp_path / "file").read_text() == "here"


def test_what_was_unused_for_longest_goes(tmp_path, monkeypatch):
    monkeypatch.setattr(compiled_models, "KEPT", 2)
    for age, key in ((30, "first"), (20, "second")):
        write(tmp_path, key, FACTS, b"content")
        stamp = (tmp_path / f"{key}.compiled").stat().st_mtime - age
        os.utime(tmp_path / f"{key}.compiled", (stamp, stamp))
    assert read(tmp_path, "first") is not None  # used just now
    (tmp_path / "notes.txt").write_text("somebody's")
    write(tmp_path, "third", FACTS, b"content")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.compiled", "notes.txt", "third.compiled"]


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_the_folder_is_for_its_user_alone(tmp_path):
    before = os.umask(0)
    try:
        write(tmp_path / "cache", "one", FACTS, b"content")
    finally:
        os.umask(before)
    assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o700


def test_the_folder_of_the_user(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert user_cache() == tmp_path / "xdg" / "stylize"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert user_cache() == tmp_path / ".cache" / "stylize"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert user_cache() == tmp_path / ".cache" / "stylize"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert user_cache() == Path(tmp_path / "local" / "stylize")
    assert list(tmp_path.iterdir()) == []
