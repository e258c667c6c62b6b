"""Weights, collections and style files that are made to do harm: what their headers claim is checked first."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

from stylize.checkpoints import (
    MAXIMUM_ARCHITECTURE,
    load_network,
    read_training_state,
    read_weights_file,
)
from stylize.cli import main
from stylize.cli.outputs import Naming
from stylize.comparison.inference import _check_named
from stylize.config import TrainConfig
from stylize.errors import InputError, OutputError, WeightsError
from stylize.exporting import default_output
from stylize.owned_folder import refuse_links
from stylize.run_folder import RunFolder
from stylize.run_log import RunLog
from stylize.style_collections import read_collection, read_style_file, tidy_name
from stylize.stylizer import load
from stylize.video.work_folder import WorkFolder
from stylize.web.painting import FullSize, paint_full_size
from stylize.web.settings import Limits
from stylize.web.uploads import open_photo
from stylize.weights_header import MAXIMUM_DIMENSIONS, MAXIMUM_ENTRIES, MAXIMUM_TENSORS, read_header
from stylize.zoo import preset_name, style_name
from tests.helpers import save_photo, tiny_collection, tiny_config, tiny_metadata, tiny_style_file, tiny_weights
from tests.hostile_files import raw_weights, split_weights, with_texts

TENSOR = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def refused(path: Path, read=read_weights_file) -> str:
    begun = time.process_time()  # the machine may be busy
    with pytest.raises(WeightsError) as caught:
        read(path)
    message = str(caught.value)
    assert time.process_time() - begun < 2
    assert message.isprintable() and len(message) < 1500 and path.name in message
    return message


def refused_header(path: Path, header: object, data: bytes = b"") -> str:
    path.write_bytes(raw_weights(header, data))
    return refused(path, read_header)


# ------------------------------------------------------------------------------------------------ the table of tensors


@pytest.mark.parametrize(
    ("tensors", "data", "said"),
    [
        ({"a": TENSOR, "b": TENSOR}, 8, "overlap or leave gaps"),
        ({"a": TENSOR, "b": TENSOR | {"data_offsets": [4, 12]}}, 12, "overlap or leave gaps"),
        ({"a": TENSOR, "b": TENSOR | {"data_offsets": [16, 24]}}, 24, "overlap or leave gaps"),
        ({"a": TENSOR | {"data_offsets": [8, 0]}}, 8, "has not the size of its shape"),
        ({"a": TENSOR | {"shape": [3]}}, 8, "has not the size of its shape"),
        ({"a": TENSOR | {"dtype": "F64"}}, 8, "has not the size of its shape"),
        ({"a": TENSOR | {"dtype": "PICKLE"}}, 8, "of an unknown type"),
        ({"a": TENSOR | {"dtype": ["F32"]}}, 8, "of an unknown type"),
        ({"a": TENSOR | {"shape": [2.0]}}, 8, "without a shape"),
        ({"a": TENSOR | {"shape": [True, 2]}}, 8, "without a shape"),
        ({"a": TENSOR | {"shape": [-1, -2]}}, 8, "without a shape"),
        ({"a": TENSOR | {"shape": [2**62, 2**62]}}, 8, "has not the size of its shape"),
        ({"a": TENSOR | {"shape": [10**30]}}, 8, "without a shape"),
        ({"a": TENSOR | {"shape": [1] * MAXIMUM_DIMENSIONS + [2]}}, 8, "without a shape"),
        ({"a": TENSOR | {"shape": [1] * 300_000}}, 8, "without a shape"),
        ({"a": {"dtype": "F32", "shape": [2]}}, 8, "without a place"),
        ({"a": TENSOR | {"data_offsets": [0, 2**70]}}, 8, "without a place"),
    ],
)
def test_tensors_that_cannot_be(tmp_path, tensors, data, said):
    assert said in refused_header(tmp_path / "a.safetensors", tensors, bytes(data))


def test_names_that_are_there_twice(tmp_path):
    one = json.dumps(TENSOR)
    for header in (
        f'{{"a": {one}, "a": {one}}}',
        '{"__metadata__": {"format": "stylize", "format": "pt"}}',
        '{"__metadata__": {}, "__metadata__": {"format": "stylize"}}',
        '{"a": {"dtype": "F32", "shape": [2], "shape": [3], "data_offsets": [0, 8]}}',
    ):
        assert "names something twice" in refused_header(tmp_path / "a.safetensors", header.encode(), bytes(8))


def test_numbers_of_tensors_and_texts(tmp_path):
    path, empty = tmp_path / "a.safetensors", TENSOR | {"shape": [0], "data_offsets": [0, 0]}
    path.write_bytes(raw_weights({str(number): empty for number in range(MAXIMUM_TENSORS)}))
    assert read_header(path) == {}
    said = refused_header(path, {str(number): empty for number in range(MAXIMUM_TENSORS + 1)})
    assert f"holds {MAXIMUM_TENSORS + 1} tensors, more than the {MAXIMUM_TENSORS} that are read" in said
    texts = {str(number): "" for number in range(MAXIMUM_ENTRIES + 1)}
    assert f"holds {MAXIMUM_ENTRIES + 1} texts" in refused_header(path, {"__metadata__": texts})


def test_shapes_are_compared_before_a_tensor_is_read(tmp_path, monkeypatch):
    path = tiny_weights(tmp_path / "a.safetensors")
    with_texts(path, architecture=json.dumps(asdict(tiny_config(channels=[4, 16]))))
    monkeypatch.setattr("safetensors.torch.load_file", lambda *_: pytest.fail("tensors were read"))
    assert "the weights of another architecture" in refused(path, load_network)


def test_a_file_that_is_exchanged_after_its_header_was_read(tmp_path, monkeypatch):
    path, other = tiny_weights(tmp_path / "a.safetensors"), tiny_weights(tmp_path / "b.safetensors", norm="batch")
    from safetensors.torch import load_file

    monkeypatch.setattr("safetensors.torch.load_file", lambda _: load_file(str(other)))
    assert "the weights of another architecture" in refused(path, load_network)


@pytest.mark.parametrize("kind", [torch.float8_e4m3fn, torch.int64, torch.bool, torch.uint8])
def test_learned_numbers_of_another_type(tmp_path, kind):
    path = tiny_weights(tmp_path / "a.safetensors")
    network, weights = load_network(path)
    tensors = network.state_dict()
    tensors["encoder.0.conv.bias"] = tensors["encoder.0.conv.bias"].to(kind)
    save_file(tensors, str(path), metadata=read_header(path))
    refused(path, load_network)


def test_something_else_than_a_file_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "pipe.safetensors")
    assert "is no regular file" in refused(tmp_path / "pipe.safetensors")
    assert "is no regular file" in refused(Path("/dev/zero"), read_header)


# ------------------------------------------------------------------------------------------------- texts in the header


def test_the_length_of_an_architecture(tmp_path):
    path, text = tiny_weights(tmp_path / "a.safetensors"), json.dumps(asdict(tiny_config()))
    with_texts(path, architecture=text.ljust(MAXIMUM_ARCHITECTURE))
    assert read_weights_file(path).architecture == tiny_config()
    with_texts(path, architecture=text.ljust(MAXIMUM_ARCHITECTURE + 1))
    assert f"{MAXIMUM_ARCHITECTURE + 1} characters" in refused(path)


@pytest.mark.parametrize(
    "architecture",
    [
        '{"channels": ' + "[" * 4000 + "]" * 4000 + "}",
        json.dumps({"x" * 5000: 1}),
        json.dumps({"norm": "\x1b[31m" * 1000}),
        json.dumps({"norm": "x" * 9000}),
        '{"norm_epsilon": 1e-999}',
        '{"norm_epsilon": ' + "9" * 9000 + "}",
        '{"channels": [' + "1," * 4000 + "1]}",
        '{"norm": "instance", "norm": "batch"}',
    ],
    ids=lambda text: text[:24],
)
def test_what_an_architecture_says_does_not_reach_a_terminal(tmp_path, architecture):
    refused(with_texts(tiny_weights(tmp_path / "a.safetensors"), architecture=architecture))


@pytest.mark.parametrize("name", ["format", "format_version"])
def test_a_format_that_is_an_escape_sequence_of_a_megabyte(tmp_path, name):
    path = with_texts(tiny_weights(tmp_path / "a.safetensors"), **{name: "\x1b[2J" * 200_000})
    assert "\\x1b[2J" in refused(path)
    assert "\\x1b[2J" in refused(path, read_style_file) or name == "format_version"


@pytest.mark.parametrize(
    "metadata", ["[" * 100_000, '{"a":' * 100_000, '{"style": "' + "x" * 20_000 + '"}', '{"a":1,"a":2}'], ids=range(4)
)
def test_metadata_that_is_too_deep_too_long_or_twice(tmp_path, metadata):
    path = with_texts(tiny_weights(tmp_path / "a.safetensors"), metadata=metadata)
    assert "its metadata cannot be used" in refused(path)


STRANGE = (
    "\x1b]0;owned\x07", "../../../etc/passwd", "/etc/passwd", "..\\..\\x", "a\nb", "\u202egnp.exe", "\ud800", "x" * 101,
    "", "\x00", "$(touch x)", "; rm -rf ~", "-rf", "C:\\x", None, 5, ["a"], {"a": 1}, 10**400, True,
)  # fmt: skip


@pytest.mark.parametrize("name", STRANGE, ids=repr)
def test_names_of_networks_are_safe_wherever_they_go(tmp_path, name):
    path = tiny_weights(tmp_path / "mine.safetensors")
    with_texts(path, metadata=json.dumps(tiny_metadata() | {"style": name, "preset": name}))
    weights = read_weights_file(path)
    for text in (style_name(weights), preset_name(weights)):
        assert text and text.isprintable() and len(text) <= 120
        assert isinstance(text, str)
    assert "/" not in style_name(weights) and "\\" not in style_name(weights)
    assert default_output(weights).parent == Path(".")
    assert Path("photo" + Naming(style_name(weights), ("instance",)).tag("instance") + ".png").parent == Path(".")


@pytest.mark.parametrize("name", [one for one in STRANGE if isinstance(one, str)], ids=repr)
def test_names_of_styles_are_safe_or_refused(tmp_path, name):
    collection = tiny_collection(tmp_path / "all.safetensors", names=("first", "second"))
    style = tiny_style_file(tmp_path / "one.safetensors", collection)
    header = split_weights(collection.read_bytes())[0]["__metadata__"]
    facts = json.loads(header["metadata"])
    facts["styles"][0]["name"] = name
    with_texts(collection, metadata=json.dumps(facts))
    with_texts(style, metadata=json.dumps(tiny_metadata(name)))
    for path, read in ((collection, read_collection), (style, read_style_file)):
        try:
            found = read(path)
        except WeightsError as error:
            assert str(error).isprintable()
            continue
        names = found.names if path == collection else (found.name,)
        for one in names:
            assert one and one.isprintable() and len(one) <= 100 and "/" not in one and "\\" not in one
        result = CliRunner().invoke(main, ["styles", str(path)])
        assert result.exit_code == 0 and result.output.replace("\n", "").isprintable()


def test_names_of_two_styles_that_are_one_when_they_are_tidy(tmp_path):
    path = tiny_collection(tmp_path / "a.safetensors", names=("x-y", "x/y"))
    assert tidy_name("x/y") == tidy_name("x\\y") == "x-y"
    assert "names 1 styles" in refused(path, read_collection)


def test_a_style_of_a_collection_writes_nowhere_else_on_the_web_page(tmp_path):
    (tmp_path / "private" / "photo-").mkdir(parents=True)
    path = tiny_weights(tmp_path / "a.safetensors")
    with_texts(path, metadata=json.dumps(tiny_metadata() | {"style": "/../../outside"}))
    photo = open_photo(save_photo(tmp_path / "private" / "photo.png"), Limits())
    output = paint_full_size(load(path, device="cpu"), photo, tmp_path / "private", FullSize(), Limits())
    assert output.parent == tmp_path / "private" and output.is_file()
    assert not (tmp_path / "outside.jpg").exists()


def test_a_photo_with_a_name_as_long_as_names_can_be(tmp_path):
    photo = open_photo(save_photo(tmp_path / ("ä" * 125 + ".png")), Limits())
    weights = tiny_weights(tmp_path / "a.safetensors")
    output = paint_full_size(load(weights, device="cpu"), photo, tmp_path, FullSize(), Limits())
    assert output.is_file() and len(os.fsencode(output.name)) <= 255


def test_a_hundred_thousand_styles(tmp_path):
    path = tiny_collection(tmp_path / "a.safetensors")
    facts = json.loads(split_weights(path.read_bytes())[0]["__metadata__"]["metadata"])
    with_texts(path, metadata=json.dumps(facts | {"styles": [{"name": f"s{number}"} for number in range(100_000)]}))
    assert "names 100000 styles, and its network has 3" in refused(path, read_collection)
    with_texts(path, architecture=json.dumps(asdict(tiny_config("conditional-instance")) | {"styles": 100_000}))
    assert "from 1 to 4096" in refused(path, read_collection)


@pytest.mark.parametrize(
    "metadata",
    [
        {"metrics": {"evaluation_mode": {"style": 10**400, "content": "x"}}, "steps": 10**400},
        {"metrics": [], "painting": "x", "licence": {"a": "\x1b[31m"}},
        {"metrics": {"evaluation_mode": {"style": float("nan")}}, "painting": {"title": "\x1b[31m" * 99, "year": [1]}},
        {"painting": {"title": {}, "artist": 5, "year": "\n" * 50}},
    ],
    ids=range(4),
)
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_what_is_recorded_of_a_style_is_shown_and_not_obeyed(tmp_path, metadata, options):
    path = with_texts(tiny_weights(tmp_path / "a.safetensors"), metadata=json.dumps(tiny_metadata() | metadata))
    result = CliRunner().invoke(main, ["styles", str(path), *options])
    assert result.exit_code == 0, result.output
    assert result.stdout.replace("\n", "").isprintable()


def test_a_file_whose_own_name_is_an_escape_sequence(tmp_path):
    path = tmp_path / "\x1b[2J\x9b31m.safetensors"
    for make in (tiny_weights, lambda one: one.write_bytes(b"nothing")):
        make(path)
        for options in ([], ["--json"]):
            result = CliRunner().invoke(main, ["styles", str(path), *options])
            assert "\x1b" not in result.output and "\x9b" not in result.output


# ------------------------------------------------------------------------------------ files that name files, and links


@pytest.mark.parametrize(
    "name", ["//host/share/a.safetensors", "\\\\host\\a.safetensors", "/tmp/a.pth", "a.pt", "x", 5, None]
)
def test_a_loss_network_that_a_stranger_names_is_not_read(name):
    with pytest.raises(InputError, match="cannot make us read"):
        _check_named(name)


def test_loss_networks_of_our_own_are():
    for name in ("vgg19", "torchvision", "/home/me/mine.safetensors", "mine.safetensors"):
        _check_named(name)


@pytest.mark.parametrize("facts", ["[" * 100_000, "[]", "null", '{"a":' * 50_000])
def test_facts_of_a_training_state_that_are_none(tmp_path, facts):
    path = tmp_path / "state.safetensors"
    save_file({"a": torch.zeros(1)}, str(path), metadata={"format": "stylize-training", "facts": facts})
    with pytest.raises(WeightsError, match="cannot be read"):
        read_training_state(path)


@pytest.mark.parametrize("line", ["[]", "5", "[" * 100_000, "null"])
def test_a_log_ends_at_what_is_no_row(tmp_path, line):
    (tmp_path / "log.jsonl").write_text(f'{{"step": 1}}\n{line}\n{{"step": 2}}\n')
    assert RunLog(tmp_path / "log.jsonl").read() == [{"step": 1}]


@pytest.mark.parametrize(
    "record", ["[]", "5", "[" * 100_000, "{}", '{"number": 0, "problems": 5}', '{"problems": [], "x": 1}']
)
def test_records_of_segments_that_are_none(tmp_path, record):
    work = WorkFolder(tmp_path / "clip.mp4")
    work.path.mkdir()
    (work.path / "segment-00000.json").write_text(record)
    (work.path / "work.json").write_text(record)
    assert work.segments() == []
    work.begin({"clip": 1}, overwrite=False)


def test_run_folders_with_links_are_refused_and_nothing_behind_them_changes(tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("mine")
    folder = tmp_path / "a.run"
    run = RunFolder(
        TrainConfig(style=tmp_path / "p.jpg", output=tmp_path / "a.safetensors"), resume=False, overwrite=True
    )
    work = WorkFolder(tmp_path / "clip.mp4")
    for place, owner in ((folder, run), (work.path, work)):
        for name in (".lock", "log.jsonl", "work.json", "samples/1.png"):
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).symlink_to(precious)
            with pytest.raises(OutputError, match="is a link, which no run of stylize makes"), owner.owned():
                pytest.fail("it was owned")
            (place / name).unlink()
    assert precious.read_text() == "mine"
    refuse_links(folder)


def test_no_result_goes_through_a_link_that_nobody_named(tmp_path):
    precious = tmp_path / "precious.jpg"
    precious.write_bytes(b"mine")
    photos, elsewhere = tmp_path / "photos", tmp_path / "elsewhere"
    for name in ("a.jpg", "b.jpg", "sub/c.jpg", "d.jpg"):
        save_photo(photos / name)
    elsewhere.mkdir()
    results = tmp_path / "photos-test-style"
    results.mkdir()
    (results / "a.jpg").symlink_to(precious)
    (results / "b.jpg").symlink_to(tmp_path / "not there.jpg")
    (results / "sub").symlink_to(elsewhere)
    weights = tiny_weights(tmp_path / "w.safetensors")
    arguments = ["apply", str(photos), "--style", str(weights), "--overwrite", "--device", "cpu"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1 and "3 of 4 failed" in result.output, result.output
    assert result.output.count("is a link, through which no result goes") == 3
    assert precious.read_bytes() == b"mine" and not (tmp_path / "not there.jpg").exists()
    assert not list(elsewhere.iterdir()) and (results / "d.jpg").stat().st_size > 100


@pytest.mark.parametrize("change", ["variance", "large", "tiny epsilon"])
def test_finite_weights_of_any_size_give_a_picture_or_an_error(tmp_path, change):
    path = tmp_path / "a.safetensors"
    network, _ = load_network(tiny_weights(path, norm="batch"))
    tensors = network.state_dict()
    for name, tensor in tensors.items():
        if change == "variance" and name.endswith("running_var"):
            tensor.fill_(-1.0)
        if change == "large" and tensor.is_floating_point():
            tensor.fill_(3e38)
    texts = read_header(path)
    if change == "tiny epsilon":
        texts["architecture"] = json.dumps(json.loads(texts["architecture"]) | {"norm_epsilon": 5e-324})
    save_file(tensors, str(path), metadata=texts)
    arguments = ["apply", str(save_photo(tmp_path / "p.jpg")), "--style", str(path), "-o", str(tmp_path / "o.png")]
    result = CliRunner().invoke(main, [*arguments, "--device", "cpu"])
    assert result.exit_code in (0, 1, 2) and (result.exception is None or isinstance(result.exception, SystemExit))
    assert (tmp_path / "o.png").exists() == (result.exit_code == 0)
