"""Folders in the layout of the Hugging Face hub: what is written, what is read, and what is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from hypothesis import example, given, settings
from hypothesis import strategies as st

import stylize
from stylize.checkpoints import WeightsFile, load_network, read_weights_file, weights_path
from stylize.cli import main
from stylize.errors import InputError, OutputError, WeightsError
from stylize.model_cards import LICENCES, model_card
from stylize.model_folders import FILES, default_folder, write_model_folder
from stylize.style_choice import choose_collection, choose_style
from stylize.style_collections import read_collection
from tests.helpers import (
    run_python,
    save_photo,
    tiny_collection,
    tiny_config,
    tiny_style_file,
    tiny_weights,
)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def invoke(*arguments: object) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="stylize")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def pictures() -> torch.Tensor:
    return torch.rand(2, 3, 9, 14, generator=torch.Generator().manual_seed(0))


def painted(style: Any, **options: Any) -> torch.Tensor:
    return stylize.load(style, device="cpu", precision="float32", **options)(pictures())


def test_a_network_of_one_style_is_copied(here: Path) -> None:
    weights = tiny_weights(here / "tiny.safetensors", norm="batch")
    report = write_model_folder(choose_style(weights), "folder")
    assert sorted(os.listdir("folder")) == sorted(FILES)
    assert (here / "folder/model.safetensors").read_bytes() == weights.read_bytes()
    assert (report.style, report.styles, report.norm) == ("test-style", ("test-style",), "batch")
    assert report.file_size == weights.stat().st_size
    for way in ("folder/", Path("folder"), here / "folder", "folder/model.safetensors"):
        loaded = stylize.load(way, device="cpu", precision="float32")
        assert (loaded.style, loaded.norm) == ("test-style", "batch")
        assert loaded.weights.path.name == "model.safetensors"
        assert torch.equal(loaded(pictures()), painted(weights))


def test_a_shipped_style_without_any_package_of_the_hub(here: Path) -> None:
    """From the command line, in a process that can import neither a hub package nor the network."""
    save_photo(here / "photo.png")
    code = """
import socket, sys
for name in ("huggingface_hub", "requests", "httpx", "onnx", "yaml"):
    sys.modules[name] = None
def refuse(*arguments, **options):
    raise AssertionError("the network was asked")
socket.socket.connect = refuse
from stylize.cli import main
main("export starry-night --format huggingface -o folder/".split(), standalone_mode=False)
main("apply photo.png --style folder/ --device cpu".split(), standalone_mode=False)
"""
    result = run_python("-c", code, cwd=here)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].startswith(
        "starry-night (instance norm, fast) -> folder/ (model.safetensors, config.json, README.md; 0.8 MB) in "
    )
    assert lines[1] == "to use it: stylize apply photo.jpg --style folder/"
    assert (here / "photo-starry-night.png").is_file()


def test_a_whole_collection(here: Path) -> None:
    base = tiny_collection(here / "base.safetensors", ("one", "two", "photo"))
    result = invoke("export", "base.safetensors", "--format", "huggingface")
    assert result.exit_code == 0, result.output
    folder = here / "base-conditional-instance"
    assert (folder / "model.safetensors").read_bytes() == base.read_bytes()
    assert result.stdout.splitlines()[1] == (
        "to use it: stylize apply photo.jpg --collection base-conditional-instance/ --style one"
    )
    assert read_collection(folder).names == ("one", "two", "photo")
    assert stylize.load(f"{folder}/").styles == ("one", "two")
    assert torch.equal(painted("two:1,one:3", collection=folder), painted("two:1,one:3", collection=base))
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert (config["style"], config["styles"]) == ("base", ["one", "two"])
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert card.count("| one | ") == card.count("| two | ") == 2 and "| photo |" not in card
    # Wherever a collection is taken, its folder will do.
    assert "one" in invoke("styles", "base-conditional-instance/").stdout
    tiny_style_file(here / "mine.safetensors", base)
    result = invoke("collect", "base-conditional-instance/", "mine.safetensors", "-o", "more.safetensors")
    assert result.exit_code == 0, result.output


def test_a_style_or_a_mixture_of_a_collection_keeps_its_numbers(here: Path) -> None:
    base = tiny_collection(here / "base.safetensors", ("one", "two", "photo"))
    tiny_style_file(here / "mine.safetensors", base)
    for style, name in (("two", "two"), ("one:0.3,mine.safetensors:0.7", "one-30-mine-70")):
        chosen = choose_style(style, collection=base)
        assert default_folder(chosen) == Path(f"{name}-instance")
        report = write_model_folder(chosen, name)
        assert (report.style, report.norm) == (name, "instance")
        assert torch.equal(painted(f"{name}/"), painted(style, collection=base))
        loaded, weights = load_network(name)
        assert weights.metadata["parameters"] == loaded.parameter_count
    assert "A mixture of styles: one 30%, mine 70%." in (here / "one-30-mine-70/README.md").read_text()
    assert (here / "two/model.safetensors").stat().st_size < (here / "one-30-mine-70/model.safetensors").stat().st_size


def test_a_style_file_in_a_folder_is_one_too(here: Path) -> None:
    base = tiny_collection(here / "base.safetensors")
    (here / "folder").mkdir()
    made = tiny_style_file(here / "mine.safetensors", base)
    (here / "folder/model.safetensors").write_bytes(made.read_bytes())
    assert torch.equal(painted("folder/", collection=base), painted(made))


def test_the_config_is_not_trusted(here: Path) -> None:
    write_model_folder(choose_style(tiny_weights(here / "tiny.safetensors")), "folder")
    expected = painted("folder/")
    for text in ('{"architecture": {"norm": "batch"}, "auto_map": {"AutoModel": "evil.py"}}', "no JSON", ""):
        (here / "folder/config.json").write_text(text)
        assert torch.equal(painted("folder/"), expected)
    (here / "folder/config.json").unlink()
    (here / "folder/README.md").unlink()
    assert torch.equal(painted("folder/"), expected)


def test_config_and_card_say_what_the_file_says(here: Path) -> None:
    weights = tiny_weights(here / "tiny.safetensors", training_photos=12)
    write_model_folder(choose_style(weights), "folder")
    config = json.loads((here / "folder/config.json").read_text(encoding="utf-8"))
    assert config["model_type"] == "stylize" and config["norm"] == "instance" and config["style"] == "test-style"
    assert config["architecture"]["channels"] == list(tiny_config().channels)
    card = (here / "folder/README.md").read_text(encoding="utf-8")
    front, _, rest = card.removeprefix("---\n").partition("\n---\n")
    assert front.splitlines() == [
        "library_name: stylize",
        "pipeline_tag: image-to-image",
        "license: cc0-1.0",
        "tags:",
        "- style-transfer",
        "- neural-style-transfer",
        "- instance-norm",
    ]
    assert "# test-style" in rest
    for row in ("| title | Test |", "| artist | Nobody |", "| year | 1900 |", "| licence | public domain |"):
        assert row in rest
    # 0.01 of 1 are 2.55 grey levels; of the untouched photo nothing was recorded.
    assert "| this network | 0.5000 | 0.2500 | - | 2.55 |" in rest
    assert "| steps | 100 |" in rest and "| training photos | 12 |" in rest and "The weights: CC0-1.0." in rest


def test_the_front_matter_is_what_the_hub_reads(here: Path) -> None:
    yaml = pytest.importorskip("yaml")
    for licence, told in (("MIT", {"license": "mit"}), ("own: 'x' #1", {"license": "other"}), (None, {})):
        card = model_card(WeightsFile(here / "a.safetensors", tiny_config(), {"licence": licence}))
        read = yaml.safe_load(card.split("---\n")[1])
        assert {key: read[key] for key in read if key == "license"} == told
        assert read.get("license_name") == ("own: 'x' #1" if told.get("license") == "other" else None)
        assert read["tags"][-1] == "instance-norm"
    assert all(name == name.lower() for name in LICENCES)


def test_a_file_that_says_nothing_has_a_card_that_says_so(here: Path) -> None:
    card = model_card(WeightsFile(here / "a.safetensors", tiny_config(), {}))
    for line in (
        "Nothing is recorded of the painting.",
        "Nothing was measured of this network.",
        "Nothing is recorded of the training.",
        "The licence of the weights is not stated.",
    ):
        assert line in card
    assert "license" not in card


@given(
    st.dictionaries(
        st.sampled_from(["style", "licence", "painting", "metrics", "steps", "seconds", "parameters", "mixture"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=12) | st.floats(allow_nan=False),
            lambda inner: st.dictionaries(
                st.sampled_from(["title", "artist", "evaluation_mode", "style", "photo", "contrast_change"]), inner
            ),
            max_leaves=5,
        ),
    )
)
@example({"licence": "<b>&"})
@settings(max_examples=60, deadline=None)
def test_whatever_a_header_holds_the_card_keeps_its_form(metadata: dict[str, Any]) -> None:
    """Metadata come from somebody's file: they add neither lines nor cells, nor HTML, nor a second front matter."""
    card = model_card(WeightsFile(Path("a.safetensors"), tiny_config(), metadata))
    plain = model_card(WeightsFile(Path("a.safetensors"), tiny_config(), {}))
    assert card.startswith("---\nlibrary_name: stylize\n") and card.splitlines().count("---") == 2
    headings = [line for line in plain.splitlines() if line.startswith("## ")]
    assert [line for line in card.splitlines() if line.startswith("## ")] == headings
    assert "<" not in card


def test_names_of_strangers_stay_text() -> None:
    metadata = {"style": "a|b ## c <script>", "painting": {"title": "x | y\n| z |", "artist": "`rm`"}}
    card = model_card(WeightsFile(Path("a.safetensors"), tiny_config(), metadata))
    assert "\n# a\\|b \\#\\# c &lt;script&gt;\n" in card
    # A name of several lines is none, and the stem of the file takes its place.
    assert "\n# a\n" in model_card(WeightsFile(Path("a.safetensors"), tiny_config(), {"style": "x\n## y"}))
    assert "| title | x \\| y \\| z \\| |\n| artist | \\`rm\\` |" in card


# ----------------------------------------------------------------------------------------------------------- bad input


def test_folders_that_are_none(here: Path) -> None:
    (here / "empty").mkdir()
    (here / "other").mkdir()
    tiny_weights(here / "other" / "network.safetensors")
    for folder, said in (
        ("empty/", "empty is a folder without model.safetensors; a .safetensors file is accepted, or a folder made by"),
        ("other/", "other is a folder without model.safetensors; it holds network.safetensors: give the path of one"),
        ("none/", "weights file none not found"),
    ):
        for refuse in (stylize.load, read_weights_file, read_collection, choose_collection):
            with pytest.raises(WeightsError) as raised:
                refuse(folder)
            assert said in str(raised.value).replace("none/", "none")
    assert weights_path("none/x") == Path("none/x")
    assert weights_path("\0") == Path("\0")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x80\x04pickled nonsense", "is a pickle"),
        (b"PK\x03\x04 a zip file", "is a pickle"),
        (b"", "is not a safetensors file, or it is truncated (0 bytes)"),
        (b"\x02\x00\x00\x00\x00\x00\x00\x00{}", "a safetensors file of something else"),
        (b"just some text, long enough", "is not a safetensors file"),
    ],
)
def test_a_model_of_another_kind(here: Path, content: bytes, said: str) -> None:
    (here / "folder").mkdir()
    (here / "folder/model.safetensors").write_bytes(content)
    with pytest.raises(WeightsError) as raised:
        stylize.load("folder/")
    assert said in str(raised.value) and str(Path("folder/model.safetensors")) in str(raised.value)
    save_photo(here / "photo.png")
    result = invoke("apply", "photo.png", "--style", "folder/")
    assert result.exit_code == 2 and len(result.stderr.splitlines()) == 1 and said in result.stderr


def test_a_folder_is_known_by_its_separator(here: Path) -> None:
    write_model_folder(choose_style(tiny_weights(here / "tiny.safetensors")), "folder")
    with pytest.raises(InputError, match=rf"unknown style 'folder' .*\(a folder needs a {os.sep} at its end\)"):
        stylize.load("folder")
    with pytest.raises(InputError, match=r"unknown style 'tiny' .*\(for the file here: ./tiny.safetensors\)"):
        stylize.load("tiny")


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("tiny.safetensors", "-o", "tiny.safetensors"), 2, "the output tiny.safetensors is a file"),
        (("tiny.safetensors", "-o", "new.onnx"), 2, "has the suffix of a file; the name of a folder is accepted"),
        (("tiny.safetensors", "-o", "tiny.safetensors/folder"), 1, "cannot write"),
        (("tiny.safetensors", "-o", "there"), 1, "there holds config.json already; pass --overwrite or another name"),
        (("stary-night",), 2, "did you mean 'starry-night'?"),
        (("base.safetensors", "--norm", "batch"), 2, "have instance norm, not batch norm"),
        (("damaged.safetensors",), 2, "are not finite numbers"),
        (("a.onnx",), 2, "a.onnx"),
    ],
)
def test_bad_exports(here: Path, arguments: tuple[str, ...], status: int, said: str) -> None:
    tiny_weights(here / "tiny.safetensors")
    tiny_collection(here / "base.safetensors")
    damaged = bytearray((here / "tiny.safetensors").read_bytes())
    damaged[-4:] = b"\xff\xff\xff\xff"
    (here / "damaged.safetensors").write_bytes(damaged)
    (here / "there").mkdir()
    (here / "there/config.json").write_text("mine")
    before = sorted(path.relative_to(here).as_posix() for path in here.rglob("*"))
    result = invoke("export", *arguments, "--format", "huggingface")
    assert (result.exit_code, len(result.stderr.splitlines())) == (status, 1), result.output
    assert said in result.stderr
    assert sorted(path.relative_to(here).as_posix() for path in here.rglob("*")) == before
    assert (here / "there/config.json").read_text() == "mine"


def test_other_files_of_a_folder_stay(here: Path) -> None:
    tiny_weights(here / "tiny.safetensors")
    (here / "folder").mkdir()
    (here / "folder/.gitattributes").write_text("mine")
    assert invoke("export", "tiny.safetensors", "--format", "huggingface", "-o", "folder").exit_code == 0
    tiny_weights(here / "tiny.safetensors", seed=1)
    result = invoke("export", "tiny.safetensors", "--format", "huggingface", "-o", "folder", "--overwrite", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert (document["output"], document["files"], document["style"]) == ("folder", list(FILES), "test-style")
    assert (here / "folder/.gitattributes").read_text() == "mine"
    assert (here / "folder/model.safetensors").read_bytes() == (here / "tiny.safetensors").read_bytes()
    assert sorted(os.listdir("folder")) == sorted([*FILES, ".gitattributes"])


@pytest.mark.parametrize("existing", [False, True])
def test_a_failure_leaves_what_was_there(here: Path, monkeypatch: pytest.MonkeyPatch, existing: bool) -> None:
    """The disk is full at the third file: none of the three gets its name."""
    chosen = choose_style(tiny_weights(here / "tiny.safetensors"))
    if existing:
        write_model_folder(chosen, "folder")
    before = {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}
    real = Path.write_text

    def write_text(path: Path, text: str, **options: Any) -> int:
        if "README.md" in path.name:
            real(path, text[:10], **options)
            raise OSError(28, "No space left on device")
        return real(path, text, **options)

    monkeypatch.setattr(Path, "write_text", write_text)
    with pytest.raises(OutputError, match="the disk is full"):
        write_model_folder(chosen, "folder", overwrite=True)
    assert {path: path.read_bytes() for path in here.rglob("*") if path.is_file()} == before
    assert (here / "folder").exists() == existing


def test_help_of_export_needs_no_torch() -> None:
    result = run_python("-c", "import sys, stylize.cli.export, stylize.model_cards; assert 'torch' not in sys.modules")
    assert result.returncode == 0, result.stderr
