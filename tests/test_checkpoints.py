"""Weights files and training states: round trips, every way in which a file can be bad, and atomic writing."""

from __future__ import annotations

import errno
import json
import math
import os
import struct
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from stylize.checkpoints import (
    load_network,
    read_training_state,
    read_weights_file,
    replacing,
    save_network,
    write_training_state,
)
from stylize.config import TransformerConfig
from stylize.errors import InputError, OutputError, WeightsError
from stylize.transformer import TransformerNet
from stylize.weights_header import MAXIMUM_HEADER_BYTES, read_header
from tests.helpers import run_python, tiny_config, tiny_metadata, tiny_weights


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    """The bytes of a valid weights file."""
    return tiny_weights(tmp_path_factory.mktemp("valid") / "valid.safetensors").read_bytes()


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    """A file name to write bad content to, for tests that run many times."""
    return tmp_path_factory.mktemp("scratch") / "scratch.safetensors"


def raw_file(path: Path, header: bytes, data: bytes = b"") -> Path:
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)
    return path


def with_metadata(path: Path, **changes: str | None) -> Path:
    """Write a tiny network whose header metadata is changed; None removes an entry."""
    metadata = {
        "format": "stylize",
        "format_version": "1",
        "architecture": json.dumps(asdict(tiny_config())),
        "metadata": "{}",
    }
    kept = {name: value for name, value in (metadata | changes).items() if value is not None}
    save_file(TransformerNet(tiny_config()).state_dict(), str(path), metadata=kept)
    return path


def refused(path: Path | str) -> str:
    """Return the one line with which a file is refused."""
    with pytest.raises(WeightsError) as caught:
        load_network(path)
    message = str(caught.value)
    assert "\n" not in message
    assert Path(path).name in message
    return message


# -------------------------------------------------------------------------------------------------------- round trips


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_float32_round_trip_is_exact(tmp_path, norm):
    network = TransformerNet(tiny_config(norm), seed=3)
    with torch.no_grad():
        for index, tensor in enumerate(network.state_dict().values()):
            tensor.add_(index + 1)  # running statistics and their counter, too
    path = tmp_path / "a.safetensors"
    save_network(path, network, tiny_metadata(), dtype="float32")
    loaded, weights = load_network(path)
    assert weights.architecture == network.config
    assert weights.path == path
    assert not loaded.training
    expected, found = network.state_dict(), loaded.state_dict()
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor), name
    photos = torch.rand(1, 3, 9, 7, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(loaded(photos), network.eval()(photos))


def test_float16_round_trip_rounds_once_and_halves_the_file(tmp_path):
    network = TransformerNet(tiny_config("batch"), seed=3)
    for dtype in ("float16", "float32"):
        save_network(tmp_path / f"{dtype}.safetensors", network, {}, dtype=dtype)
    loaded, _ = load_network(tmp_path / "float16.safetensors")
    for name, tensor in network.state_dict().items():
        rounded = tensor.half().float() if tensor.is_floating_point() else tensor
        assert torch.equal(loaded.state_dict()[name], rounded), name
        assert loaded.state_dict()[name].dtype == tensor.dtype
    stored = load_file(str(tmp_path / "float16.safetensors"))
    assert {t.dtype for t in stored.values()} == {torch.float16, torch.int64}
    data = {
        dtype: (tmp_path / f"{dtype}.safetensors").stat().st_size
        - len_of_header(tmp_path / f"{dtype}.safetensors")
        - sum(t.nbytes for t in stored.values() if t.dtype == torch.int64)
        for dtype in ("float16", "float32")
    }
    assert data["float32"] == 2 * data["float16"]


def len_of_header(path: Path) -> int:
    return 8 + struct.unpack("<Q", path.read_bytes()[:8])[0]


def test_channels_last_networks_are_stored_alike(tmp_path):
    network = TransformerNet(tiny_config())
    save_network(tmp_path / "a.safetensors", network, {})
    save_network(tmp_path / "b.safetensors", network.to(memory_format=torch.channels_last), {})
    first, second = (load_file(str(tmp_path / name)) for name in ("a.safetensors", "b.safetensors"))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_metadata_round_trip(tmp_path):
    metadata = tiny_metadata(painting={"title": "Die große Welle 神奈川", "year": 1831}, empty=None, list=[1, 2.5, "x"])
    save_network(tmp_path / "a.safetensors", TransformerNet(tiny_config()), metadata)
    assert read_weights_file(tmp_path / "a.safetensors").metadata == metadata
    assert read_weights_file(str(tmp_path / "a.safetensors")).architecture == tiny_config()


def test_unknown_dtype_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="'int8' given; float16 or float32"):
        save_network(tmp_path / "a.safetensors", TransformerNet(tiny_config()), {}, dtype="int8")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("length", [640, 896, 1152, 1280, 19280])
def test_a_header_whose_length_looks_like_a_pickle(tmp_path, length):
    header = json.dumps({"__metadata__": {"format": "stylize"}}).encode().ljust(length)
    assert read_header(raw_file(tmp_path / "a.safetensors", header)) == {"format": "stylize"}


def test_training_state_round_trip(tmp_path):
    tensors = {"a": torch.arange(6.0).view(2, 3).t(), "step": torch.tensor(7.0), "n": torch.tensor([2**60])}
    facts = {"step": 7, "seconds": 1.25, "unreadable": {"x": "y"}, "config": {"style": "ü"}}
    path = tmp_path / "state.safetensors"
    write_training_state(path, {"a": torch.zeros(1)}, {})
    write_training_state(path, tensors, facts)
    found, found_facts = read_training_state(path)
    assert found_facts == facts
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensors[name]) and found[name].dtype == tensors[name].dtype for name in tensors)


# ----------------------------------------------------------------------------------------------------------- bad files


def test_missing(tmp_path):
    assert "not found" in refused(tmp_path / "none.safetensors")
    assert "cannot be read (Not a directory)" in refused(tiny_weights(tmp_path / "a.safetensors") / "b.safetensors")


def test_folder(tmp_path):
    assert "is a folder" in refused(tmp_path)


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 100])
def test_the_first_bytes_alone(tmp_path, valid, size):
    path = tmp_path / "a.safetensors"
    path.write_bytes(valid[:size])
    assert f"not a safetensors file, or it is truncated ({size} bytes)" in refused(path)


def test_truncated_data(tmp_path, valid):
    path = tmp_path / "a.safetensors"
    for missing in (1, 1000):
        path.write_bytes(valid[:-missing])
        assert "truncated or damaged" in refused(path)
    path.write_bytes(valid + b"\0")
    assert "truncated or damaged" in refused(path)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", ["a.pt", "a.safetensors"])
def test_pickles_are_never_loaded(tmp_path, zipped, name):
    path = tmp_path / name
    torch.save(TransformerNet(tiny_config()).state_dict(), path, _use_new_zipfile_serialization=zipped)
    assert "is a pickle (.pt, .pth), which can execute code" in refused(path)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_bare_pickles(tmp_path, protocol):
    import pickle

    path = tmp_path / "a.safetensors"
    path.write_bytes(pickle.dumps({"weights": list(range(100))}, protocol))
    assert "is a pickle" in refused(path)


def test_other_safetensors(tmp_path):
    path = tmp_path / "a.safetensors"
    save_file({"weight": torch.zeros(3)}, str(path))
    assert "a safetensors file of something else" in refused(path)
    save_file({"weight": torch.zeros(3)}, str(path), metadata={"format": "pt"})
    assert "is a 'pt' file; a network made by `stylize train` is accepted" in refused(path)
    write_training_state(path, {"a": torch.zeros(1)}, {})
    assert "is a 'stylize-training' file" in refused(path)


def test_weights_are_no_training_state(tmp_path):
    with pytest.raises(WeightsError, match="not the state of a training run"):
        read_training_state(tiny_weights(tmp_path / "a.safetensors"))


@pytest.mark.parametrize("facts", [None, "{", ""])
def test_a_training_state_without_facts(tmp_path, facts):
    metadata = {"format": "stylize-training"} | ({} if facts is None else {"facts": facts})
    save_file({"a": torch.zeros(1)}, str(tmp_path / "a.safetensors"), metadata=metadata)
    with pytest.raises(WeightsError, match="cannot be read"):
        read_training_state(tmp_path / "a.safetensors")


@pytest.mark.parametrize("version", ["2", None])
def test_other_format_version(tmp_path, version):
    assert f"format version {version!r}" in refused(with_metadata(tmp_path / "a.safetensors", format_version=version))


@pytest.mark.parametrize(
    ("architecture", "said"),
    [
        ({"colour": 1}, "settings this stylize does not know: ['colour']"),
        ({"norm": "layer2"}, "unknown normalisation 'layer2'"),
        ({"norm": 5}, "cannot be used"),
        ({"norm": ["instance"]}, "cannot be used"),
        ({"channels": [10**9]}, "it must be 1 to 4 whole numbers from 1 to 1024"),
        ({"channels": [8] * 5}, "it must be 1 to 4 whole numbers"),
        ({"channels": []}, "it must be 1 to 4 whole numbers"),
        ({"channels": 8}, "cannot be used"),
        ({"channels": [8.0]}, "it must be 1 to 4 whole numbers"),
        ({"residual_blocks": 10**9}, "it must be 0 to 64"),
        ({"residual_blocks": -1}, "it must be 0 to 64"),
        ({"first_kernel": 10**6 + 1}, "it must be an odd number from 1 to 15"),
        ({"last_kernel": 4}, "it must be an odd number from 1 to 15"),
        ({"space_to_depth": 10**6}, "it must be 1, 2 or 4"),
        ({"space_to_depth": 2.0}, ""),
        ({"output": None}, "unknown output 'None'"),
        ({"norm_epsilon": "1"}, "cannot be used"),
        ({"norm_epsilon": math.nan}, "it must lie between 0 and 1"),
    ],
    ids=repr,
)
def test_unusable_architectures(tmp_path, architecture, said):
    values = json.dumps(asdict(tiny_config()) | architecture)
    assert said in refused(with_metadata(tmp_path / "a.safetensors", architecture=values))


@pytest.mark.parametrize("text", [None, "", "{", "[]", "[[1]]", "null", "5", '"norm"', "[" * 100_000, '{"norm": 1e'])
def test_architecture_that_is_no_table(tmp_path, text):
    refused(with_metadata(tmp_path / "a.safetensors", architecture=text))


@pytest.mark.parametrize("text", ["[]", "1", "{", "[" * 100_000])
def test_metadata_that_is_no_table(tmp_path, text):
    refused(with_metadata(tmp_path / "a.safetensors", metadata=text))


@pytest.mark.parametrize(
    "header",
    [
        b"[]" + b" " * 6,
        b'"text"  ',
        b"{" * 64,
        b"[" * 100_000,
        b"\xff" * 16,
        b'{"__metadata__": 5}',
        b'{"__metadata__": {"format": 5}}',
        b'{"a": 5}',
        b'{"a": {"data_offsets": [0]}}',
        b'{"a": {"data_offsets": [0, -8]}}',
        b'{"a": {"data_offsets": [0, 1e3]}}',
        b'{"a": {"data_offsets": [0, 100000000000000]}}',
    ],
    ids=lambda header: header[:40].decode("latin-1"),
)
def test_broken_headers(tmp_path, header):
    refused(raw_file(tmp_path / "a.safetensors", header))


def test_a_header_beyond_the_limit_is_not_read(tmp_path):
    path = tmp_path / "a.safetensors"
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", MAXIMUM_HEADER_BYTES + 1) + b"{")
        file.truncate(MAXIMUM_HEADER_BYTES + 100)
    assert "not a safetensors file" in refused(path)


def test_tensors_of_another_architecture(tmp_path):
    path = tmp_path / "a.safetensors"
    for other in ({"residual_blocks": 0}, {"channels": (4, 16)}, {"norm": "batch"}, {"first_kernel": 5}):
        values = json.dumps(asdict(tiny_config()) | other)
        assert "the weights of another architecture" in refused(with_metadata(path, architecture=values))


@pytest.mark.parametrize(
    "change",
    [
        lambda tensor: tensor.to(torch.int32),
        lambda tensor: tensor.to(torch.bool),
        lambda tensor: tensor.to(torch.complex64),
        lambda tensor: tensor[None],
        lambda tensor: tensor.flatten(),
    ],
    ids=["int32", "bool", "complex", "one dimension more", "flat"],
)
def test_tensors_of_another_type_or_shape(tmp_path, change):
    path = tmp_path / "a.safetensors"
    with_metadata(path)
    metadata, tensors = read_header(path), load_file(str(path))
    tensors["encoder.0.conv.weight"] = changed = change(tensors["encoder.0.conv.weight"])
    try:
        save_file(tensors, str(path), metadata=metadata)
    except KeyError:
        pytest.skip(f"this safetensors writes no {changed.dtype}")
    assert "the weights of another architecture" in refused(path)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_weights_that_are_not_finite(tmp_path, value, dtype):
    network = TransformerNet(tiny_config())
    with torch.no_grad():
        network.trunk[0].conv2.conv.weight[1, 2, 0, 1] = value
    save_network(tmp_path / "a.safetensors", network, {}, dtype=dtype)
    assert "not finite" in refused(tmp_path / "a.safetensors")


def test_float64_weights_load_unless_they_overflow(tmp_path):
    path = tmp_path / "a.safetensors"
    with_metadata(path)
    # A copy: an older safetensors shows the file itself, which is written over below.
    metadata, tensors = read_header(path), {name: tensor.clone() for name, tensor in load_file(str(path)).items()}
    doubled = {name: tensor.double() for name, tensor in tensors.items()}
    save_file(doubled, str(path), metadata=metadata)
    assert torch.equal(load_network(path)[0].state_dict()["decoder.0.conv.bias"], tensors["decoder.0.conv.bias"])
    doubled["decoder.0.conv.bias"][0] = 1e300
    save_file(doubled, str(path), metadata=metadata)
    assert "not finite" in refused(path)


LITTLE_MEMORY = """
import resource, sys
from stylize.checkpoints import load_network, read_weights_file
from stylize.errors import WeightsError

small, large = sys.argv[1:]
print(read_weights_file(small).metadata["style"], "torch" in sys.modules, "numpy" in sys.modules)
load_network(small)
with open("/proc/self/statm") as file:
    pages = int(file.read().split()[0])
limit = pages * resource.getpagesize() + 400 * 1024**2
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    load_network(large)
except WeightsError as error:
    print(error)
load_network(small)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits its own memory as Linux has it")
def test_the_header_is_read_without_torch_and_cannot_ask_for_memory(tmp_path):
    """A header that promises a network of 0.9 GB, in a process that may take 400 MB more than it has."""
    large = tmp_path / "large.safetensors"
    config = TransformerConfig(channels=(1024,) * 4, residual_blocks=9)
    with_metadata(large, architecture=json.dumps(asdict(config)))
    result = run_python("-c", LITTLE_MEMORY, str(tiny_weights(tmp_path / "small.safetensors")), str(large))
    assert result.stderr == ""
    first, second = result.stdout.splitlines()
    assert first == "test-style False False"
    assert "holds the weights of another architecture" in second


# ------------------------------------------------------------------------------------------------ random damage


def loads_or_is_refused(path: Path) -> bool:
    """Load a file and return whether that went well; anything but WeightsError fails the test."""
    try:
        load_network(path)
    except WeightsError:
        return False
    return True


@settings(max_examples=60, deadline=None)
@given(content=st.binary(max_size=400), framed=st.booleans())
def test_random_bytes(scratch, content, framed):
    if framed:
        raw_file(scratch, content)
    else:
        scratch.write_bytes(content)
    assert not loads_or_is_refused(scratch)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_random_truncation(scratch, valid, data):
    scratch.write_bytes(valid[: data.draw(st.integers(0, len(valid) - 1))])
    assert not loads_or_is_refused(scratch)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_random_bit_flips_in_the_header(scratch, valid, data):
    damaged = bytearray(valid)
    end = 8 + struct.unpack("<Q", valid[:8])[0]
    for _ in range(data.draw(st.integers(1, 3))):
        bit = data.draw(st.integers(0, 8 * end - 1))
        damaged[bit // 8] ^= 1 << bit % 8
    scratch.write_bytes(damaged)
    loads_or_is_refused(scratch)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_random_bit_flips_in_the_weights_load_or_are_not_finite(scratch, valid, data):
    damaged = bytearray(valid)
    bit = data.draw(st.integers(8 * (8 + struct.unpack("<Q", valid[:8])[0]), 8 * len(valid) - 1))
    damaged[bit // 8] ^= 1 << bit % 8
    scratch.write_bytes(damaged)
    if not loads_or_is_refused(scratch):
        assert "not finite" in refused(scratch)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-20, 20) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=100, deadline=None)
@given(name=st.sampled_from(sorted(asdict(tiny_config()))), value=JSON)
def test_any_value_of_any_architecture_setting(scratch, name, value):
    loads_or_is_refused(with_metadata(scratch, architecture=json.dumps(asdict(tiny_config()) | {name: value})))


# ------------------------------------------------------------------------------------------------------ atomic writing


def half_written(code: int):
    def write_bytes(self: Path, content: bytes) -> int:
        with open(self, "wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(code, os.strerror(code), str(self))

    return write_bytes


@pytest.mark.parametrize(("code", "said"), [(errno.ENOSPC, "the disk is full"), (errno.EACCES, "Permission denied")])
@pytest.mark.parametrize("moment", ["write", "fsync", "replace"])
@pytest.mark.parametrize("kind", ["weights", "state"])
def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch, code, said, moment, kind):
    def fail(*arguments):
        raise OSError(code, os.strerror(code))

    path = tmp_path / "a.safetensors"

    def write(seed: int) -> None:
        network = TransformerNet(tiny_config(), seed=seed)
        if kind == "weights":
            save_network(path, network, {}, overwrite=True)
        else:
            write_training_state(path, network.state_dict(), {"seed": seed})

    write(0)
    before = path.read_bytes()
    with monkeypatch.context() as patched:
        if moment == "write":
            patched.setattr(Path, "write_bytes", half_written(code))
        else:
            patched.setattr(os, moment, fail)
        with pytest.raises(OutputError, match=f"cannot write .*a.safetensors: {said}; what was there is unchanged"):
            write(1)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    write(1)
    assert path.read_bytes() != before


def test_ctrl_c_while_writing_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_network(tmp_path / "a.safetensors", TransformerNet(tiny_config()), {})
    assert not list(tmp_path.iterdir())


def test_an_existing_file_is_kept_unless_overwrite(tmp_path):
    path = tiny_weights(tmp_path / "a.safetensors")
    before = path.read_bytes()
    with pytest.raises(OutputError, match="exists already; pass --overwrite"):
        save_network(path, TransformerNet(tiny_config(), seed=1), {})
    assert path.read_bytes() == before
    save_network(path, TransformerNet(tiny_config(), seed=1), {}, overwrite=True)
    assert path.read_bytes() != before
    assert list(tmp_path.iterdir()) == [path]


def test_missing_folders_are_made(tmp_path):
    save_network(tmp_path / "x" / "y" / "a.safetensors", TransformerNet(tiny_config()), {})
    assert load_network(tmp_path / "x" / "y" / "a.safetensors")


def test_a_folder_that_cannot_be_made(tmp_path):
    path = tiny_weights(tmp_path / "a.safetensors")
    with pytest.raises(OutputError, match="cannot write .*b.safetensors"):
        save_network(path / "b.safetensors", TransformerNet(tiny_config()), {})
    assert list(tmp_path.iterdir()) == [path]


def test_replacing_passes_other_errors_and_cleans_up(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(ValueError, match="mine"), replacing(path) as temporary:
        temporary.write_text("new")
        raise ValueError("mine")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
