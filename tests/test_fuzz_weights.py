"""Weights, collections, style files and training states, changed in a thousand ways: loaded, or a WeightsError."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from stylize.checkpoints import load_network, write_training_state
from stylize.cli import main
from stylize.errors import WeightsError
from tests.fuzzing import (
    changed,
    changes,
    little_memory,
    sound_message,
    strange_values,
    try_weights,
    with_strange_header,
)
from tests.helpers import ROOT, tiny_collection, tiny_style_file, tiny_weights
from tests.hostile_files import raw_weights, split_weights

FUZZED = settings(derandomize=True, deadline=None, suppress_health_check=list(HealthCheck), database=None)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz") / "weights.safetensors"


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    """A small file of every kind, by its name, and the headers of the shipped networks."""
    folder = tmp_path_factory.mktemp("kinds")
    collection = tiny_collection(folder / "collection.safetensors")
    write_training_state(folder / "state.safetensors", {"a": torch.zeros(3)}, {"step": 1, "config": {}})
    paths = [
        tiny_weights(folder / "instance.safetensors"),
        tiny_weights(folder / "batch.safetensors", norm="batch"),
        tiny_weights(folder / "gates.safetensors", norm="batch-instance"),
        collection,
        tiny_style_file(folder / "style.safetensors", collection),
        folder / "state.safetensors",
    ]
    found = {path.stem: path.read_bytes() for path in paths}
    for path in sorted((ROOT / "weights").glob("*-*.safetensors")):
        # Shipped headers with small tensors: sizes are what they say, the texts are what training writes.
        header, _ = split_weights(path.read_bytes())
        found[path.stem] = save({"a": torch.zeros(2)}, metadata=header["__metadata__"])
    return found


def test_as_they_are_they_are_let_in(kinds, scratch):
    assert all(try_weights(content, scratch) for content in kinds.values())


def test_changed_bytes(kinds, scratch):
    refused = 0

    @settings(FUZZED, max_examples=250)
    @given(st.sampled_from(sorted(kinds)), changes())
    def run(name, wanted):
        nonlocal refused
        refused += not try_weights(changed(kinds[name], wanted), scratch)

    with little_memory():
        run()
    assert refused > 100


def test_strange_values_in_headers(kinds, scratch):
    let_in = refused = 0

    @settings(FUZZED, max_examples=350)
    @given(
        st.sampled_from(sorted(kinds)),
        st.integers(0, 500),
        strange_values(),
        st.sampled_from((None, "architecture", "metadata", "facts")),
    )
    def run(name, where, new, inside):
        nonlocal let_in, refused
        found = try_weights(with_strange_header(kinds[name], where, new, inside), scratch)
        let_in, refused = let_in + found, refused + (not found)

    with little_memory():
        run()
    assert let_in > 20 and refused > 100


@settings(FUZZED, max_examples=80)
@given(
    name=st.sampled_from(("starry-night-instance", "paintings-conditional-instance", "style", "gates")),
    where=st.integers(0, 500),
    new=strange_values(),
    inside=st.sampled_from(("architecture", "metadata")),
    options=st.sampled_from(([], ["--json"])),
)
def test_what_the_command_line_shows_of_strange_files(kinds, scratch, name, where, new, inside, options):
    scratch.write_bytes(with_strange_header(kinds[name], where, new, inside))
    result = CliRunner().invoke(main, ["styles", str(scratch), *options])
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code in (0, 2)
    assert result.output.replace("\n", "").isprintable()
    if options and result.exit_code == 0:
        json.loads(result.stdout)


@settings(FUZZED, max_examples=60)
@given(length=st.sampled_from((0, 1, 2, 7, 8, 2**22, 2**22 + 1, 2**31, 2**63, 2**64 - 1)) | st.integers(0, 20_000))
def test_a_header_that_lies_about_its_length(kinds, scratch, length):
    content = kinds["instance"]
    true = struct.unpack("<Q", content[:8])[0]
    with little_memory():
        let_in = try_weights(struct.pack("<Q", length) + content[8:], scratch)
    assert let_in == (length == true)


@settings(FUZZED, max_examples=80)
@given(data=st.data())
def test_tensors_that_overlap_or_lie_elsewhere(kinds, scratch, data):
    header, content = split_weights(kinds["batch"])
    names = sorted(name for name in header if name != "__metadata__")
    name = data.draw(st.sampled_from(names))
    other = header[data.draw(st.sampled_from(names))]
    what = data.draw(st.sampled_from(("data_offsets", "shape", "dtype")))
    same = header[name][what] == other[what]
    header[name] = header[name] | {what: other[what]}
    with little_memory():
        assert try_weights(raw_weights(header, content), scratch) == same


@settings(FUZZED, max_examples=60)
@given(value=st.sampled_from((np.nan, np.inf, -np.inf, 65504.0, -65504.0, 6e-8, 0.0)), place=st.integers(0, 10**6))
def test_numbers_that_are_none_in_the_weights(scratch, value, place):
    content = bytearray((ROOT / "weights" / "starry-night-instance.safetensors").read_bytes())
    start = 8 + struct.unpack("<Q", content[:8])[0]
    numbers = (len(content) - start) // 2
    offset = start + 2 * (place % numbers)
    content[offset : offset + 2] = np.float16(value).tobytes()
    scratch.write_bytes(bytes(content))
    if np.isfinite(value):
        load_network(scratch)
        return
    with pytest.raises(WeightsError, match="not finite") as caught:
        load_network(scratch)
    sound_message(caught.value)
