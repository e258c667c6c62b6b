"""weights/README.md: up to date with the files, and made from their headers alone."""

from __future__ import annotations

import pytest

from benchmarks import record, weights_table
from stylize import zoo
from stylize.checkpoints import read_weights_file
from stylize.style_collections import read_collection
from stylize.zoo import ShippedWeights, preset_name, sha256, style_name
from tests.helpers import ROOT, run_python, tiny_collection, tiny_weights


def shipped(path):
    weights = read_weights_file(path)
    return ShippedWeights(style_name(weights), weights.architecture.norm, preset_name(weights), weights)


def cells(page: str, name: str) -> list[list[str]]:
    """Return the cells of every table row whose first cell is ``name``."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line[:1] == "|"]
    return [row for row in rows if row[0] == name]


def test_the_readme_is_up_to_date():
    result = run_python(str(ROOT / "benchmarks" / "weights_table.py"), "--check")
    assert result.returncode == 0, result.stderr


def test_the_numbers_come_from_the_header(tmp_path):
    metrics = {
        "evaluation_mode": {"content": 0.5, "style": 0.25},
        "training_mode": {"content": 0.375, "style": 0.125},
        "photo": {"content": 0.0, "style": 1.5},
        "contrast_change": 0.02,
        "photos": 16,
    }
    painting = {"sha256": "1" * 64, "file": "test-style.jpg"}
    sources = {
        "test-style": {"title": "Of the same name", "sha256": "2" * 64},
        "another": {"title": "Test|Piece", "artist": "Nobody", "year": "c. 1900", "sha256": "1" * 64},
    }
    path = tiny_weights(
        tmp_path / "test-style-batch.safetensors",
        norm="batch",
        metrics=metrics,
        painting=painting,
        parameters=12345,
        seconds=3900,
        device="cpu",
        precision="bfloat16",
        training_photos=99,
        licence=None,
    )
    page = weights_table.page([shipped(path)], None, sources)
    made, measured = cells(page.replace("Test\\|Piece", "Test/Piece"), "`test-style-batch`")
    assert made[1:] == [
        *("Test/Piece", "Nobody", "c. 1900", "batch", "fast", "12,345"),
        *("100 x 4 x 64", "99", "65 min", "cpu bfloat16"),
    ]
    assert measured[1:] == ["0.5000", "0.2500", "0.3750", "0.1250", "1.5000", "5.10", "16"]
    (file,) = cells(page, "`test-style-batch.safetensors`")
    assert file[1:] == [f"{path.stat().st_size / 1e6:.2f} MB", f"`{sha256(path)}`", "MIT"]


def test_what_is_not_recorded_is_a_dash(tmp_path):
    path = tiny_weights(tmp_path / "bare.safetensors", metrics=None, painting=None, seconds=None, steps=None)
    made, measured = cells(weights_table.page([shipped(path)], None, {}), "`bare`")
    assert made[1:4] == ["-", "-", "-"] and made[7] == "- x 4 x 64" and made[9] == "-"
    assert set(measured[1:]) == {"-"}


def test_a_box_without_networks_has_a_page():
    page = weights_table.page([], ROOT / "weights" / weights_table.LOSS_NETWORK, {})
    assert "No stylization network is shipped yet." in page
    assert ["authors"] == [row[0] for row in cells(page, "authors")]
    assert sha256(ROOT / "weights" / weights_table.LOSS_NETWORK) in page


def test_check_notices_a_new_network(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setattr(record, "ROOT", tmp_path)
    monkeypatch.setattr(zoo, "weights_directory", lambda: folder)
    with pytest.raises(SystemExit) as stopped:
        weights_table.main(["--check"])
    assert stopped.value.code == 1
    assert not list(folder.iterdir())
    weights_table.main([])
    weights_table.main(["--check"])
    assert "up to date (0 networks)" in capsys.readouterr().out
    tiny_weights(folder / "new.safetensors")
    with pytest.raises(SystemExit) as stopped:
        weights_table.main(["--check"])
    assert stopped.value.code == 1
    assert "python benchmarks/weights_table.py" in capsys.readouterr().err
    weights_table.main([])
    weights_table.main(["--check"])
    assert "`new.safetensors`" in (folder / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "-"), (45.4, "45 s"), (119, "119 s"), (120, "2 min"), (3900, "65 min"), (7500, "2 h 05 min")],
)
def test_durations_are_said_as_a_person_says_them(seconds, words):
    assert weights_table.duration(seconds) == words


def test_a_collection_has_a_row_for_every_style(tmp_path):
    collection = read_collection(tiny_collection(tmp_path / "mine-conditional-instance.safetensors", ("wave", "photo")))
    page = weights_table.page([], None, {}, [collection])
    assert "## The collection `mine`" in page and f"sha256 `{sha256(collection.weights.path)}`" in page
    assert cells(page, "`wave`")[0][1:7] == ["Test", "Nobody", "1900", "0.5000", "0.2500", "0.7500"]
    assert cells(page, "`photo`")[0][0] == "`photo`"
