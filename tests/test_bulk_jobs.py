"""What a bulk run has to do, and what its results are called."""

from __future__ import annotations

import pytest

from stylize.bulk.jobs import Job, Photo, decide, refuse_collisions
from stylize.bulk.manifest import Manifest
from stylize.bulk.storage import HOME, Entry, Storage
from stylize.cli.bulk_photos import find_photos, output_storage
from stylize.cli.outputs import Naming
from stylize.errors import InputError, OutputError
from tests.helpers import save_photo

NAMING = Naming("test-style", ("instance",))


# -- what there is to do


SIZE = Entry(10, "monday")


def photo(name="a.jpg", entry=SIZE, output=None):
    return Photo(Storage("/photos"), name, name, output or name, entry)


def decided(rows=(), there=(), overwrite=False, one=None):
    """Return the outcome for one photo: its job, None when it is done, or the error."""
    manifest = Manifest(Storage("/results"))
    manifest.rows = {row["photo"]: row for row in rows}
    work = decide([one or photo()], manifest, dict(there), overwrite)
    assert len(work.jobs) + len(work.kept) + len(work.problems) == 1
    return work.jobs[0] if work.jobs else work.problems[0][1] if work.problems else None


def done_row(**changes):
    row = {"status": "done", "photo": "/photos/a.jpg", "size": 10, "stamp": "monday", "output": "a.jpg"}
    return row | {"output_size": 5, "input_sha256": "abc"} | changes


HERE = {"a.jpg": Entry(5, "")}


def test_a_new_photo_is_painted():
    assert decided() == Job(photo(), "a.png")


def test_what_is_done_is_kept():
    assert decided([done_row()], HERE) is None
    assert decided([done_row()], HERE, overwrite=True) is None


def test_a_result_that_is_gone_is_painted_again():
    assert decided([done_row()]) == Job(photo(), "a.png")


def test_a_photo_that_changed_is_painted_again_unless_its_content_is_the_same():
    assert decided([done_row(size=11)], HERE) == Job(photo(), "a.png", replaces=True, known="abc")
    assert decided([done_row(stamp="sunday")], HERE) == Job(photo(), "a.png", replaces=True, known="abc")


def test_a_result_that_somebody_changed_is_not_replaced():
    error = decided([done_row(output_size=6)], HERE)
    assert isinstance(error, OutputError) and "was changed after it was painted" in str(error)
    assert decided([done_row(output_size=6)], HERE, overwrite=True) == Job(photo(), "a.png", replaces=True)


@pytest.mark.parametrize("rows", [[], [{"status": "failed", "photo": "/photos/a.jpg", "reason": "r"}]])
def test_files_of_others_are_not_replaced(rows):
    error = decided(rows, HERE)
    assert isinstance(error, OutputError) and "exists already" in str(error)
    assert decided(rows, HERE, overwrite=True) == Job(photo(), "a.png", replaces=True)
    # A PNG of that name is in the way only if the photo turns out to have alpha.
    assert decided(rows, {"a.png": SIZE}) == Job(photo(), "")


def begun_row(**changes):
    row = {"status": "begun", "photo": "/photos/a.jpg", "size": 10, "stamp": "monday"}
    return row | {"alternative": "a.png", "replaces": False} | changes


def test_a_result_of_a_run_that_was_killed_is_taken():
    assert decided([begun_row()]) == Job(photo(), "a.png", begun=True)
    assert decided([begun_row()], HERE) == Job(photo(), "a.png", begun=True)
    assert decided([begun_row()], {"a.png": SIZE}) == Job(photo(), "a.png", begun=True)
    # Nobody knows whether it is the new one.
    assert decided([begun_row(replaces=True)], HERE) == Job(photo(), "a.png", replaces=True)
    assert decided([begun_row(stamp="sunday")], HERE) == Job(photo(), "a.png", replaces=True)


def test_a_failure_does_not_forget_the_result_that_is_there():
    row = done_row(status="failed", reason="it is damaged")
    assert decided([row], HERE) == Job(photo(), "a.png", replaces=True, known="abc")
    assert isinstance(decided([row | {"output_size": 6}], HERE), OutputError)


def test_the_name_of_a_png_may_be_that_of_another_photo():
    manifest = Manifest(Storage("/results"))
    work = decide([photo("a.jpg"), photo("a.png")], manifest, {}, overwrite=False)
    assert [job.alternative for job in work.jobs] == ["", ""]


def test_results_of_the_same_name_are_refused():
    with pytest.raises(InputError, match="'a.bmp' and 'a.png' would both be written to 'a.png'"):
        refuse_collisions([photo("a.bmp", output="a.png"), photo("a.png")])
    with pytest.raises(InputError, match="which a bulk run needs"):
        refuse_collisions([photo(output=f"{HOME}/x.jpg")])


# -- names


def test_folders_patterns_and_files_get_the_names_of_plain_apply(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("in/a.jpg", "in/sub/b.gif", "in/.hidden/c.jpg", "in/d.txt", "two/a.jpg"):
        save_photo(tmp_path / name) if not name.endswith("txt") else (tmp_path / name).write_text("no")
    out = Storage.at("out")

    def names(*photos):
        return {one.label: one.output for one in find_photos(photos, out, NAMING)}

    assert names("in") == {"in/a.jpg": "a.jpg", "in/sub/b.gif": "sub/b.png"}
    assert names(f"file://{tmp_path}/in").keys() == {f"{tmp_path}/in/a.jpg", f"{tmp_path}/in/sub/b.gif"}
    assert names("in/**/*.jpg") == {"in/a.jpg": "a.jpg"}
    assert names("in/*.jpg") == {"in/a.jpg": "a.jpg"}
    # What such a pattern finds does not lie in a folder below.
    assert len(find_photos(["in/*.jpg"], Storage.at("in/painted"), NAMING)) == 1
    assert names("in/a.jpg") == {"in/a.jpg": "a-test-style.jpg"}
    assert names("in", "two") == {"in/a.jpg": "in/a.jpg", "in/sub/b.gif": "in/sub/b.png", "two/a.jpg": "two/a.jpg"}
    assert names("in", "in/a.jpg") == names("in")
    inner = f"::file://{tmp_path}"
    assert names(f"dir://in{inner}") == {f"dir://in/a.jpg{inner}": "a.jpg", f"dir://in/sub/b.gif{inner}": "sub/b.png"}
    assert names(f"dir://in/*/*.gif{inner}") == {f"dir://in/sub/b.gif{inner}": "sub/b.png"}
    assert names(f"dir://in/a.jpg{inner}") == {f"dir://in/a.jpg{inner}": "a-test-style.jpg"}
    assert names(f"simplecache::file://{tmp_path}/in/*.jpg") == {f"simplecache::file://{tmp_path}/in/a.jpg": "a.jpg"}


@pytest.mark.parametrize(
    ("photos", "out", "message"),
    [
        (["in"], "in", "cannot go into .* which lies in the folder of the photos"),
        (["in"], "in/deep/er", "cannot go into"),
        (["in/*.gif"], "in", "cannot go into"),
        (["in/*/*.jpg"], "in/deep", "cannot go into"),
        (["in/*.png"], "out", "no pictures match 'in/\\*.png'"),
        (["empty"], "out", "no pictures in the folder 'empty'"),
        (["emty"], "out", "no file or folder 'emty'; did you mean 'empty'"),
        (["in", "nothing.jpg"], "out", "no file or folder 'nothing.jpg'"),
        (["-"], "out", "standard input is no photo for a cluster"),
        (["memory://a"], "out", "memory of this process"),
        (["nonsense://a/b"], "out", "cannot be opened"),
        (["s3://*/b"], "out", "a pattern may begin after"),
        (["in/a.jpg", "in/a-test-style.jpg"], "in", "would be|not replaced|is a photo to paint"),
        (["in/x.bmp", "in/x.gif"], "out", "would both be written to 'x-test-style.png'"),
    ],
)
def test_photos_that_cannot_be_painted_in_bulk(tmp_path, monkeypatch, photos, out, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for name in ("a.jpg", "a-test-style.jpg", "x.bmp", "x.gif", "sub/a.jpg"):
        save_photo(tmp_path / "in" / name)
    with pytest.raises(InputError, match=message):
        find_photos(photos, Storage.at(out), NAMING)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (None, "needs a folder for its results"),
        ("-", "needs a folder for its results"),
        ("file", "is a file"),
        ("new.jpg", "cannot write into the one file"),
        ("memory://x", "memory of this process"),
        ("nonsense://x", "cannot be opened"),
    ],
)
def test_outputs_that_are_no_folder(tmp_path, monkeypatch, output, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match=message):
        output_storage(output)
