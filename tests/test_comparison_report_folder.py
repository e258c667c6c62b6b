"""The folder of a report: whole or not at all, in the place of a report and of nothing else."""

from __future__ import annotations

import csv
import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from stylize.comparison import report_folder
from stylize.comparison.report_folder import check_output, study_tables, write_comparison, write_study
from stylize.errors import InputError, OutputError
from tests.comparison_helpers import LOSSES, planted_comparison, planted_study, without_charts

FACTS = {"command": "stylize compare <b>.jpg", "device": "cpu"}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    without_charts(monkeypatch.setattr)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty current folder."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def write(folder: Path | str = "report", **options: bool) -> Path:
    return write_comparison(Path(folder), planted_comparison(), FACTS, **options)


def content(folder: Path) -> dict[str, bytes | None]:
    """Return everything below a folder: the bytes of files, None for folders."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")
    }


def refuse_constants(name: str) -> None:
    raise AssertionError(f"{name} in a JSON file")


# ------------------------------------------------------------------------------------------------------ what is written


def test_a_page_and_every_number(here):
    page = write()
    assert page == Path("report/index.html")
    document = json.loads(Path("report/results.json").read_text(encoding="utf-8"), parse_constant=refuse_constants)
    assert (document["format"], document["version"], document["facts"]) == ("stylize-comparison", 1, FACTS)
    assert set(document["files"]) | {"index.html"} == set(content(here / "report"))
    assert document["inference"] == json.loads(json.dumps(planted_comparison().to_json()))
    text = page.read_text(encoding="utf-8")
    for name in document["files"]:
        assert f'href="./{name}"' in text
    assert "stylize compare &lt;b&gt;.jpg" in text
    for path in Path("report").glob("*.csv"):
        with open(path, newline="", encoding="utf-8") as stream:
            header, *rows = csv.reader(stream)
        assert rows and all(len(row) == len(header) for row in rows), path
        assert len(set(header)) == len(header)
    assert content(here).keys() == {"report", *(f"report/{name}" for name in content(here / "report"))}


def test_the_csv_has_the_numbers_of_the_json(here):
    write()
    document = json.loads(Path("report/results.json").read_text(encoding="utf-8"))
    with open("report/sweeps.csv", newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(document["inference"]["sweeps"]) == 40
    for row, known in zip(rows, document["inference"]["sweeps"], strict=True):
        assert (row["network"], row["change"]) == (known["label"], known["change"])
        assert float(row["style_distance"]) == known["style"]


def test_a_study(here):
    outcome = planted_study()
    page = write_study(Path("report"), outcome, FACTS)
    document = json.loads(Path("report/results.json").read_text(encoding="utf-8"), parse_constant=refuse_constants)
    assert set(document["training"]) == {
        "study",
        "share_losses",
        "rates",
        "noise",
        "claims",
        "summaries",
        "optimum",
        "runs",
    }
    assert len(document["training"]["runs"]) == len(outcome.results)
    assert {"curves.csv", "summary.csv", "claims.csv", "results.json", "index.html"} == set(content(here / "report"))
    tables = study_tables(outcome)
    for name, (header, rows) in tables.items():
        with open(f"report/{name}.csv", newline="", encoding="utf-8") as stream:
            read = list(csv.reader(stream))
        assert read[0] == header
        assert len(read) == len(rows) + 1 and all(len(row) == len(header) for row in read)
    assert [row[1] for row in tables["summary"][1]] == list(LOSSES)
    assert all(row[3] for row in tables["claims"][1])
    assert len(tables["curves"][1]) == 3 * len(outcome.results)
    # Where the files lay is nobody's business.
    everything = b"".join(data for data in content(here).values() if data)
    assert b"/somewhere" not in everything
    assert document["training"]["study"]["paintings"] == ["paintings/wave.jpg"]
    assert "trained on wave" in page.read_text(encoding="utf-8")


def test_names_are_text_and_nothing_else(here):
    found = planted_comparison(("instance", "batch (<i>&\"'$x_1$)"), style='<b>&"x')
    text = write_comparison(Path("report"), found, FACTS).read_text(encoding="utf-8")
    assert "<b>" not in text and "<i>" not in text
    assert "&lt;b&gt;&amp;&quot;x" in text


# --------------------------------------------------------------------------------------------------- what may be there


def test_an_empty_folder_and_a_new_one_in_a_new_one(here):
    Path("report").mkdir()
    write()
    write("a/b/report")
    assert Path("report/index.html").exists() and Path("a/b/report/index.html").exists()


def test_a_report_is_replaced_as_a_whole(here):
    write()
    Path("report/index.html").write_text("old")
    Path("report/.DS_Store").write_text("left by a file manager")
    document = json.loads(Path("report/results.json").read_text())
    Path("report/results.json").write_text(json.dumps(document | {"files": [*document["files"], "stale.csv"]}))
    Path("report/stale.csv").write_text("of an older version")
    before = content(here)
    with pytest.raises(OutputError, match=r"^report exists already; pass --overwrite or another -o$"):
        write()
    assert content(here) == before
    write(overwrite=True)
    assert Path("report/index.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert "stale.csv" not in content(here / "report")
    assert list(here.iterdir()) == [here / "report"]


def test_a_report_of_an_older_version_is_one_too(here):
    write()
    document = json.loads(Path("report/results.json").read_text())
    del document["files"]
    Path("report/results.json").write_text(json.dumps(document))
    write(overwrite=True)
    assert "files" in json.loads(Path("report/results.json").read_text())


@pytest.mark.parametrize("name", ["notes.txt", "my.csv", "runs", "index.html.bak", ".git"])
def test_what_is_not_of_the_report_is_never_lost(here, name):
    write()
    other = Path("report") / name
    if "." in name.strip("."):
        other.write_text("mine")
    else:
        other.mkdir()
        (other / "weights.safetensors").write_text("hours")
    before = content(here)
    with pytest.raises(OutputError, match=rf"^report holds more than a report \({name}\) and is not overwritten; move"):
        write(overwrite=True)
    assert content(here) == before


@pytest.mark.parametrize(
    "text",
    [None, "", "{", "[]", "7", "null", "{}", '{"format": "another"}', '{"format": ["stylize-comparison"]}', "\xff"],
)
def test_another_folder_is_never_overwritten(here, text):
    Path("report").mkdir()
    Path("report/holiday.jpg").write_text("mine")
    if text is not None:
        Path("report/results.json").write_bytes(text.encode("latin-1"))
    before = content(here)
    with pytest.raises(
        OutputError, match=r"^report is not a report of stylize and is not overwritten; give another -o$"
    ):
        write(overwrite=True)
    assert content(here) == before


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="needs links")
def test_a_link_stays_a_link(here):
    write("real")
    Path("real/index.html").write_text("old")
    Path("report").symlink_to("real")
    write(overwrite=True)
    assert Path("report").is_symlink()
    assert "<!DOCTYPE html>" in Path("real/index.html").read_text(encoding="utf-8")
    assert {path.name for path in here.iterdir()} == {"real", "report"}
    Path("nowhere").symlink_to("missing")
    with pytest.raises(OutputError, match="nowhere is a file; give the name of a folder"):
        write("nowhere")


@pytest.mark.parametrize("name", [".", "", "..", "../here", "/"])
def test_the_current_folder_is_not_replaced(here, name):
    with pytest.raises(OutputError, match="is the current folder, or one above it; give the name of a folder in it"):
        write(name, overwrite=True)
    assert content(here) == {}


def test_places_where_no_folder_can_be(here):
    Path("file.txt").write_text("mine")
    for name, said in {
        "file.txt": "file.txt is a file; give the name of a folder with -o",
        "file.txt/report": "cannot make file.txt/report: file.txt is a file; give another -o",
        "file.txt/a/b": "cannot make file.txt/a/b: file.txt is a file; give another -o",
        "x" * 300: "cannot write x+: .*[Nn]ame too long.*; give another -o",
    }.items():
        with pytest.raises(OutputError, match=f"^{said}$"):
            check_output(Path(name), False)
    assert content(here) == {"file.txt": b"mine"}
    write("y" * 250)  # as long as names may be, all but: those of temporary folders are not longer
    assert content(here).keys() > {"file.txt", "y" * 250}


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(here):
    here.chmod(0o500)
    try:
        with pytest.raises(OutputError, match="cannot make report: no permission to write to"):
            check_output(Path("report"), False)
    finally:
        here.chmod(0o700)


# -------------------------------------------------------------------------------------------------------- when it fails


def failing_at(call: int, error: BaseException, original: Callable[..., object]) -> Callable[..., object]:
    """Return a function that does what ``original`` does, and raises at one of its calls."""
    calls = iter(range(1000))

    def work(*arguments: object) -> object:
        if next(calls) == call:
            raise error
        return original(*arguments)

    return work


@pytest.mark.parametrize("call", [0, 1, 2, 9])
@pytest.mark.parametrize("target", ["report", "new/folder/report"])
def test_a_full_disk(here, monkeypatch, call, target):
    write()
    before = content(here)
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr(os, "fsync", failing_at(call, full, os.fsync))
    with pytest.raises(OutputError) as caught:
        write(target, overwrite=True)
    message = str(caught.value)
    assert message.startswith(f"cannot write {target}/") and message.count("\n") == 0
    assert message.endswith(": the disk is full; what was there is unchanged")
    assert content(here) == before


@pytest.mark.parametrize("error", [OSError(errno.EBUSY, "Device or resource busy"), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("call", [0, 1])
def test_a_swap_that_fails_between_the_two_renames(here, monkeypatch, call, error):
    write()
    Path("report/index.html").write_text("old")
    before = content(here)
    monkeypatch.setattr(Path, "rename", failing_at(call, error, Path.rename))
    with pytest.raises(OutputError if isinstance(error, OSError) else KeyboardInterrupt):
        write(overwrite=True)
    assert content(here) == before


class Killed(BaseException):
    """Stands for the end of the process: nothing is done after it."""


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["report", "link", "a [strange] näme*"])
def test_a_process_that_is_killed_between_the_two_renames(here, name, overwrite):
    """The report of before has no name then; whoever comes next gives it back."""
    if name == "link":
        (here / "elsewhere").mkdir()
        os.symlink(here / "elsewhere", name)
    write(name)
    (Path(name) / "index.html").write_text("the one before")
    before = content(here)
    calls = iter(range(10))

    def rename(*arguments: object) -> object:
        if next(calls):
            raise Killed
        return Path_rename(*arguments)

    Path_rename = Path.rename
    with pytest.MonkeyPatch.context() as patched, pytest.raises(Killed):
        patched.setattr(Path, "rename", rename)
        patched.setattr(report_folder.shutil, "rmtree", lambda *arguments, **options: None)
        write(name, overwrite=True)
    assert not Path(name).exists()
    if overwrite:
        check_output(Path(name), True)
    else:
        with pytest.raises(OutputError, match="exists already"):
            check_output(Path(name), False)
    after = {path: held for path, held in content(here).items() if not path.startswith(".")}
    assert after == before
    write(name, overwrite=True)
    assert not list(here.glob(".*.old")) and "the one before" not in (Path(name) / "index.html").read_text()


def test_a_report_of_before_is_removed_where_its_successor_is_there(here):
    write()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(report_folder.shutil, "rmtree", lambda *arguments, **options: None)
        write(overwrite=True)
    (hidden,) = here.glob(".stylize-*.old")
    (here / hidden.name.replace(".old", "x.old")).mkdir()  # none of ours
    write("another")
    assert hidden.exists()
    write(overwrite=True)
    assert not hidden.exists() and len(list(here.glob(".stylize-*.old"))) == 1


def test_ctrl_c_while_the_page_is_made(here, monkeypatch):
    monkeypatch.setattr(report_folder, "write_report", failing_at(0, KeyboardInterrupt(), report_folder.write_report))
    with pytest.raises(KeyboardInterrupt):
        write("a/report")
    assert content(here) == {}


def test_a_page_that_cannot_be_made(here, monkeypatch):
    monkeypatch.setattr(report_folder, "inference_verdict", lambda found: [])
    with pytest.raises(InputError, match="needs a verdict"):
        write()
    assert content(here) == {}


@pytest.mark.parametrize("overwrite", [False, True])
def test_somebody_else_made_the_folder_meanwhile(here, monkeypatch, overwrite):
    """While the files are being written beside it."""

    def write_csv(path: Path, header: object, rows: object) -> None:
        Path("report").mkdir(exist_ok=True)
        Path("report/mine.txt").write_text("mine")

    monkeypatch.setattr(report_folder, "write_csv", write_csv)
    with pytest.raises(OutputError, match="not a report" if overwrite else "exists already"):
        write(overwrite=overwrite)
    assert content(here) == {"report": None, "report/mine.txt": b"mine"}
