"""Files here and behind URLs, and the list of what was done: whole, whatever is killed."""

from __future__ import annotations

import os
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stylize.bulk.manifest import NAME, Manifest, check_settings
from stylize.bulk.storage import Storage, is_url, protocols
from stylize.errors import InputError, OutputError
from tests.bulk_helpers import PLACES, a_place


@pytest.fixture(params=PLACES)
def place(request, tmp_path):
    yield from a_place(request.param, tmp_path)


# -- storage


def test_files_are_written_whole_and_found_again(place):
    assert place.files() == {}
    place.write("a/b.txt", b"one")
    place.write("a/b.txt", b"three")
    place.write("c.txt", b"")
    assert place.read("a/b.txt") == b"three"
    assert {name: entry.size for name, entry in place.files().items()} == {"a/b.txt": 5, "c.txt": 0}
    assert place.entry("a/b.txt").size == 5 and place.entry("nothing") is None and place.entry("a") is None
    assert list(place.files("*/*.txt")) == ["a/b.txt"]
    copy = pickle.loads(pickle.dumps(place))
    assert copy == place and copy.read("c.txt") == b""
    place.remove("a/b.txt")
    place.remove("a/b.txt")
    assert list(place.files()) == ["c.txt"]


def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch):
    place = Storage.at(str(tmp_path))
    place.write("a.txt", b"old")

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OutputError, match="a.txt' cannot be written: No space left"):
        place.write("a.txt", b"new")
    assert list(place.files()) == ["a.txt"] and place.read("a.txt") == b"old"


def test_an_object_store_gets_the_object_itself(monkeypatch):
    from fsspec.implementations.memory import MemoryFileSystem

    from stylize.bulk import storage

    monkeypatch.setattr(storage, "OBJECT_STORES", frozenset(("memory",)))
    monkeypatch.setattr(MemoryFileSystem, "mv", None)  # to rename would be to copy
    place = Storage.at("memory://bucket")
    place.write("a.txt", b"one")
    assert list(place.files()) == ["a.txt"]
    place.remove("a.txt")


@pytest.mark.parametrize("url", ["nonsense://a/b", "nonsense::file:///a"])
def test_unknown_kinds_of_url(url):
    with pytest.raises(InputError, match="cannot be opened .*nonsense"):
        Storage.at(url).check()


def test_a_url_whose_package_is_missing(monkeypatch):
    import fsspec.core

    def missing(url):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    with pytest.raises(InputError, match="needs one more package: Install s3fs"):
        Storage.at("s3://bucket").check()


def test_paths_and_urls():
    assert not is_url("a/b") and not is_url("C:/a") and is_url("s3://a") and is_url("dir::file:///a")
    assert protocols("simplecache::s3://a/b") == ["simplecache", "s3"] and protocols("a/b") == ["file"]
    assert Storage.at("file:///a/b/").root == "/a/b" and Storage.at("s3://a/b/").root == "s3://a/b"
    assert Storage("s3://a/b").url("c/d.jpg") == "s3://a/b/c/d.jpg"
    assert Storage.at("dir://a/::s3://b").url("c") == "dir://a/c::s3://b"
    assert Storage.at("simplecache::s3://a/b").parent == (Storage("simplecache::s3://a"), "b")
    assert Storage.at("s3://a/b").parent == (Storage("s3://a"), "b")
    assert Storage.at("dir://a::s3://b/c").parent == (Storage("dir://::s3://b/c"), "a")


# -- manifest


def test_a_manifest_is_read_as_it_was_written(place):
    manifest = Manifest.read(place, place.files())
    assert manifest.settings is None and manifest.rows == {}
    manifest.begin({"style": "a"})
    manifest.add([{"status": "begun", "photo": "x"}, {"status": "begun", "photo": "y\u2028\udcff"}])
    manifest.flush()
    manifest.add([{"status": "done", "photo": "x", "output": "x.jpg"}])
    manifest.flush()
    assert len(place.files()) == 3  # the settings, and two parts
    again = Manifest.read(place, place.files())
    assert again.settings == {"style": "a"}
    assert again.rows == {
        "x": {"status": "done", "photo": "x", "output": "x.jpg"},
        **{"y\u2028\udcff": {"status": "begun", "photo": "y\u2028\udcff"}},
    }
    again.begin({"style": "a"})
    again.add([{"status": "failed", "photo": "z", "reason": "r"}])
    again.flush()  # a third part, under a name of its own
    assert len(Manifest.read(place, place.files()).rows) == 3
    again.put_together()
    assert list(place.files()) == [NAME]
    assert Manifest.read(place, place.files()).rows == again.rows


def test_other_settings_begin_a_new_list(place):
    manifest = Manifest(place)
    manifest.begin({"style": "a", "size": None})
    manifest.add([{"status": "done", "photo": "x"}])
    manifest.flush()
    check_settings(manifest, {"style": "a", "size": None}, ["x.jpg"], overwrite=False)
    with pytest.raises(InputError, match=r'other settings \(style "a", now "b"\); .*--overwrite'):
        check_settings(manifest, {"style": "b", "size": None}, ["x.jpg"], overwrite=False)
    check_settings(manifest, {"style": "b", "size": None}, ["x.jpg"], overwrite=True)
    manifest.begin({"style": "b", "size": None})
    again = Manifest.read(place, place.files())
    assert again.settings == {"style": "b", "size": None} and again.rows == {}


def test_where_nothing_was_painted_other_settings_are_no_matter(place):
    manifest = Manifest(place)
    manifest.begin({"style": "a"})
    manifest.add([{"status": "begun", "photo": "x"}])
    manifest.flush()
    check_settings(manifest, {"style": "b"}, place.files(), overwrite=False)
    place.write("x.jpg", b"x")
    with pytest.raises(InputError, match="other settings"):
        check_settings(manifest, {"style": "b"}, place.files(), overwrite=False)


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"status": "done"}', '{"status": "settings", "settings": 1}', "1", "\xff"]
)
def test_a_damaged_manifest_is_refused(tmp_path, line):
    (tmp_path / NAME).write_bytes(b'{"status": "settings", "settings": {}}\n' + line.encode("latin-1") + b"\n")
    place = Storage.at(str(tmp_path))
    with pytest.raises(InputError, match="line 2 of .*manifest.jsonl' is damaged"):
        Manifest.read(place, place.files())


ROWS = st.tuples(st.sampled_from("abcd"), st.sampled_from(["begun", "done", "failed"]))


def test_many_small_files_become_one(tmp_path, monkeypatch):
    monkeypatch.setattr("stylize.bulk.manifest.JOINED_PARTS", 3)
    place = Storage.at(str(tmp_path))
    manifest = Manifest(place)
    manifest.begin({})
    for number in range(8):
        manifest.add([{"status": "done", "photo": str(number % 7), "number": number}])
        manifest.flush()
    assert [name.rpartition("/")[2] for name in place.files() if name != NAME] == [
        f"{number:08d}.jsonl" for number in (3, 6, 7, 8)
    ]
    rows = Manifest.read(place, place.files()).rows
    assert [rows[str(number)]["number"] for number in range(7)] == [7, 1, 2, 3, 4, 5, 6]
    manifest.put_together()
    assert list(place.files()) == [NAME] and Manifest.read(place, place.files()).rows == rows


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(ROWS, st.sampled_from(["flush", "put together", "read again", "killed in between"]))))
def test_the_last_line_of_a_photo_counts_however_it_was_written(steps):
    """In a storage that is a dict; "killed in between": put together, but the parts could not be removed."""
    files: dict[str, bytes] = {}

    class Dict:
        root = "dict"
        read = staticmethod(files.__getitem__)
        write = staticmethod(files.__setitem__)
        url = staticmethod(str)
        removing = True

        def remove(self, name):
            if self.removing:
                files.pop(name, None)

    place, expected = Dict(), {}
    manifest = Manifest(place)
    manifest.begin({})
    for step in steps:
        if isinstance(step, tuple):
            expected[step[0]] = step[1]
            manifest.add([{"status": step[1], "photo": step[0]}])
        elif step == "flush":
            manifest.flush()
        else:
            manifest.flush() if step == "read again" else None
            place.removing = step != "killed in between"
            if step != "read again":
                manifest.put_together()
            manifest, place.removing = Manifest.read(place, files), True
        assert {photo: row["status"] for photo, row in manifest.rows.items()} == expected
