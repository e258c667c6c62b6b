"""Collections of styles and style files: what is read, what is refused, what is put together."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stylize import checkpoints, style_collections
from stylize.checkpoints import load_network, read_weights_file, write_safetensors
from stylize.config import PHOTO_STYLE
from stylize.errors import InputError, OutputError, WeightsError
from stylize.style_collections import (
    StyleFile,
    check_fitting,
    collect,
    describe_mixture,
    is_style_file,
    load_collection,
    load_mixture,
    load_style_vectors,
    read_collection,
    read_style_file,
    save_style_file,
)
from stylize.style_vectors import stacked_names, style_vectors, take_style, vector_names
from stylize.weights_header import read_header
from tests.helpers import run_python, tiny_collection, tiny_style_file, tiny_weights


@pytest.fixture(scope="module")
def files(request, tmp_path_factory):
    """A collection of ``first``, ``second`` and ``photo``, and a style file for it; never changed.

    The styles share the last convolution, unless a test asks for both kinds (BOTH).
    """
    folder = tmp_path_factory.mktemp("collection")
    base = tiny_collection(folder / "base.safetensors", own_output=getattr(request, "param", "shared") == "own")
    tiny_style_file(folder / "mine.safetensors", base)
    return folder


BOTH = pytest.mark.parametrize("files", ["shared", "own"], indirect=True)


@pytest.fixture
def base(files):
    return read_collection(files / "base.safetensors")


@pytest.fixture
def mine(files):
    return read_style_file(files / "mine.safetensors")


def images() -> torch.Tensor:
    return torch.rand(1, 3, 12, 17, generator=torch.Generator().manual_seed(5))


def painted(network) -> torch.Tensor:
    with torch.no_grad():
        return network(images())


def rewritten(source: Path, path: Path, change=None, tensors=None, **metadata) -> Path:
    """Write a changed copy of a safetensors file: its header, entries of its metadata (None removes), its tensors."""
    from safetensors.torch import load_file

    header = read_header(source)
    facts = json.loads(header["metadata"]) | metadata
    header["metadata"] = json.dumps({key: value for key, value in facts.items() if value is not None})
    if change is not None:
        change(header)
    state = load_file(source)
    if tensors is not None:
        tensors(state)
    write_safetensors(path, state, header, overwrite=True)
    return path


# ---- collections


def test_reading_a_collection(base):
    assert base.names == ("first", "second", "photo")
    assert base.painted_names == ("first", "second")
    assert base.has_photo_style
    assert base.weights.architecture.styles == 3
    assert base.facts("second")["painting"]["title"] == "Test"
    with pytest.raises(InputError, match=r"unknown style 'secnd'; did you mean 'second'\? \(known: first, second, ph"):
        base.facts("secnd")


def test_what_facts_returns_is_a_copy(base):
    base.facts("first")["name"] = "changed"
    assert base.facts("first")["name"] == "first"


def test_a_collection_without_a_photo_style(tmp_path):
    made = read_collection(tiny_collection(tmp_path / "a.safetensors", ("only",)))
    assert (made.names, made.painted_names, made.has_photo_style) == (("only",), ("only",), False)


def test_headers_are_read_without_torch(files):
    code = f"""
import sys
from stylize.style_collections import describe_mixture, is_style_file, read_collection, read_style_file
base, mine = read_collection({str(files / "base.safetensors")!r}), read_style_file({str(files / "mine.safetensors")!r})
assert is_style_file({str(files / "mine.safetensors")!r})
describe_mixture(base, {{"mine": 1.0}}, [mine])
assert "torch" not in sys.modules and "numpy" not in sys.modules
"""
    result = run_python("-c", code)
    assert result.returncode == 0, result.stderr


def test_a_network_of_one_style_is_no_collection(tmp_path):
    path = tiny_weights(tmp_path / "one.safetensors", norm="batch")
    with pytest.raises(WeightsError, match=r"network of one style with batch norm; a collection.* is needed"):
        read_collection(path)


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"styles": None}, "does not name its styles"),
        ({"network": None}, "does not name its styles"),
        ({"network": 7}, "does not name its styles"),
        ({"styles": "first"}, "does not name its styles"),
        ({"styles": ["first", "second", "photo"]}, "does not name its styles"),
        ({"styles": [{"name": 3}, {"name": "second"}, {"name": "photo"}]}, "does not name its styles"),
        ({"styles": [{"name": ""}, {"name": "second"}, {"name": "photo"}]}, "does not name its styles"),
        ({"styles": [{"name": "a\nb"}, {"name": "second"}, {"name": "photo"}]}, "does not name its styles"),
        ({"styles": [{"name": "a" * 101}, {"name": "b"}, {"name": "c"}]}, "does not name its styles"),
        ({"styles": [{"name": "first"}]}, "names 1 styles, and its network has 3"),
        ({"styles": [{"name": "a"}, {"name": "a"}, {"name": "b"}]}, "names 2 styles, and its network has 3"),
        ({"styles": []}, "names 0 styles"),
    ],
)
def test_metadata_that_do_not_fit(files, tmp_path, metadata, said):
    path = rewritten(files / "base.safetensors", tmp_path / "x.safetensors", **metadata)
    with pytest.raises(WeightsError, match=said) as caught:
        read_collection(path)
    assert "x.safetensors" in str(caught.value) and "\n" not in str(caught.value)


def set_architecture(**changes):
    def change(header):
        header["architecture"] = json.dumps(json.loads(header["architecture"]) | changes)

    return change


@pytest.mark.parametrize("styles", [0, -1, 2.5, "3", None, 4097, 10**12])
def test_an_impossible_number_of_styles_is_refused_by_the_header(files, tmp_path, styles):
    path = rewritten(files / "base.safetensors", tmp_path / "x.safetensors", set_architecture(styles=styles))
    with pytest.raises(WeightsError, match="styles is .*must be a whole number from 1 to 4096"):
        read_collection(path)


def test_more_styles_than_the_file_holds_are_refused_before_anything_is_allocated(files, tmp_path, monkeypatch):
    names = [{"name": f"style-{number}"} for number in range(4096)]
    change = set_architecture(styles=4096, channels=[1024, 1024])
    path = rewritten(files / "base.safetensors", tmp_path / "x.safetensors", change, styles=names)
    made = read_collection(path)
    from stylize.transformer import TransformerNet

    kept = TransformerNet.load_state_dict
    monkeypatch.setattr(TransformerNet, "load_state_dict", lambda *arguments, **settings: pytest.fail("allocated"))
    with pytest.raises(WeightsError, match="another architecture than its header says"):
        load_collection(made)
    monkeypatch.setattr(TransformerNet, "load_state_dict", kept)


def test_a_network_of_another_norm_with_styles(files, tmp_path):
    path = rewritten(files / "base.safetensors", tmp_path / "x.safetensors", set_architecture(norm="instance"))
    with pytest.raises(WeightsError, match="3 styles given with instance norm"):
        read_collection(path)


@pytest.mark.parametrize("cut", [1, 100, 5000])
def test_truncated_files(files, tmp_path, cut):
    for name, read in (("base", read_collection), ("mine", read_style_file)):
        whole = (files / f"{name}.safetensors").read_bytes()
        (tmp_path / "x.safetensors").write_bytes(whole[: max(0, len(whole) - cut)])
        with pytest.raises(WeightsError, match="truncated"):
            read(tmp_path / "x.safetensors")


def test_files_that_are_none(tmp_path):
    (tmp_path / "folder.safetensors").mkdir()
    (tmp_path / "text.safetensors").write_text("a style")
    for read in (read_collection, read_style_file, is_style_file):
        with pytest.raises(WeightsError, match="not found"):
            read(tmp_path / "absent.safetensors")
        with pytest.raises(WeightsError, match="is a folder"):
            read(tmp_path / "folder.safetensors")
        with pytest.raises(WeightsError, match="not a safetensors file"):
            read(tmp_path / "text.safetensors")


def test_weights_that_are_not_those_of_the_header(files, tmp_path):
    def damage(state):
        state["encoder.0.conv.weight"][0, 0, 0, 0] += 0.5

    path = rewritten(files / "base.safetensors", tmp_path / "x.safetensors", tensors=damage)
    with pytest.raises(WeightsError, match="damaged: its weights are not those"):
        load_collection(read_collection(path))


@BOTH
def test_a_header_that_says_otherwise_of_the_last_convolution(files, base, tmp_path):
    own = base.weights.architecture.own_output
    path = rewritten(files / "base.safetensors", tmp_path / "x.safetensors", set_architecture(own_output=not own))
    with pytest.raises(WeightsError, match="another architecture than its header says"):
        load_collection(read_collection(path))
    for value in (1, "yes", None):
        path = rewritten(files / "base.safetensors", tmp_path / "x.safetensors", set_architecture(own_output=value))
        with pytest.raises(WeightsError, match="own_output is .* collection of styles"):
            read_collection(path)
    path = rewritten(files / "mine.safetensors", tmp_path / "y.safetensors", set_architecture(own_output=True))
    with pytest.raises(WeightsError, match="own_output is True with instance norm"):
        read_style_file(path)


def test_a_collection_from_before_styles_had_a_last_convolution_is_read(files, base, tmp_path):
    def forget(header):
        values = json.loads(header["architecture"])
        del values["own_output"]
        header["architecture"] = json.dumps(values)

    path = rewritten(files / "base.safetensors", tmp_path / "x.safetensors", forget)
    assert read_collection(path).weights.architecture == base.weights.architecture
    load_collection(read_collection(path))


def test_a_last_convolution_that_is_not_finite(tmp_path):
    def damage(state):
        state["decoder.3.conv.weight"][1, 0, 0, 0, 0] = float("inf")

    source = tiny_collection(tmp_path / "own.safetensors", own_output=True)
    path = rewritten(source, tmp_path / "x.safetensors", tensors=damage)
    with pytest.raises(WeightsError, match="not finite"):
        load_collection(read_collection(path))


def test_weights_that_are_not_finite(files, tmp_path):
    def damage(state):
        state["encoder.1.weight"][1, 0] = float("nan")

    path = rewritten(files / "base.safetensors", tmp_path / "x.safetensors", tensors=damage)
    with pytest.raises(WeightsError, match="not finite"):
        load_collection(read_collection(path))


# ---- style files


def test_reading_a_style_file(files, base, mine):
    assert (mine.name, mine.digest) == ("mine", base.digest)
    assert mine.architecture == base.weights.architecture.of_one_style
    assert mine.metadata["steps"] == 100
    assert mine.path.stat().st_size < base.weights.path.stat().st_size / 3
    assert is_style_file(mine.path) and not is_style_file(base.weights.path)


def test_a_style_file_keeps_its_numbers(files, base, tmp_path):
    network = load_collection(base)
    vectors = {name: vector / 3 for name, vector in style_vectors(network, [0, 1, 0]).items()}
    path = tmp_path / "new" / "a.safetensors"
    save_style_file(path, vectors, network.config, base.digest, {"style": "a", "kept": [1, "two"]})
    style = read_style_file(path)
    assert style.metadata == {"style": "a", "kept": [1, "two"]}
    for name, vector in load_style_vectors(style, network).items():
        assert vector.dtype == torch.float32
        assert torch.equal(vector, vectors[name].to(torch.float16).to(torch.float32))
    with pytest.raises(OutputError, match="exists already"):
        save_style_file(path, vectors, network.config, base.digest, {"style": "b"})
    assert read_style_file(path).name == "a"
    save_style_file(path, vectors, network.config, base.digest, {"style": "b"}, overwrite=True)
    assert read_style_file(path).name == "b"


def test_other_files_are_no_style_files(files, tmp_path):
    with pytest.raises(WeightsError, match="is a whole network; a style file"):
        read_style_file(files / "base.safetensors")
    path = rewritten(files / "mine.safetensors", tmp_path / "x.safetensors", lambda header: header.pop("format"))
    with pytest.raises(WeightsError, match="a safetensors file of something else"):
        read_style_file(path)
    with pytest.raises(WeightsError, match="is a 'stylize-style' file; a network"):
        read_weights_file(files / "mine.safetensors")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda header: header.update(format_version="2"), "format version '2', not 1: update stylize"),
        (lambda header: header.pop("format_version"), "format version None"),
        (lambda header: header.pop("network"), "does not name its style and its network"),
        (lambda header: header.pop("architecture"), "architecture cannot be used"),
        (lambda header: header.pop("metadata"), "header cannot be used"),
        (lambda header: header.update(architecture="{"), "architecture cannot be used"),
        (lambda header: header.update(architecture="[]"), "architecture cannot be used"),
        (lambda header: header.update(architecture="3"), "architecture cannot be used"),
        (lambda header: header.update(architecture="[" * 100_000), "architecture has 100000 characters"),
        (lambda header: header.update(metadata="[]"), "header cannot be used"),
        (lambda header: header.update(metadata='"style"'), "header cannot be used"),
        (lambda header: header.update(metadata="{}"), "does not name its style"),
        (lambda header: header.update(metadata='{"style": 3}'), "does not name its style"),
        (lambda header: header.update(metadata='{"style": "a\\u0007"}'), "does not name its style"),
        (set_architecture(depth=3), r"settings this stylize does not know: \['depth'\]"),
        (set_architecture(channels=[10**9]), "architecture cannot be used"),
        (set_architecture(norm="instnce"), "architecture cannot be used.*instnce"),
    ],
)
def test_headers_of_style_files_that_cannot_be_used(files, tmp_path, change, said):
    path = rewritten(files / "mine.safetensors", tmp_path / "x.safetensors", change)
    with pytest.raises(WeightsError, match=said) as caught:
        read_style_file(path)
    assert "x.safetensors" in str(caught.value) and "\n" not in str(caught.value)


def remove_one(state):
    del state["encoder.1.weight"]


def add_one(state):
    state["encoder.0.conv.weight"] = torch.zeros(1)


def lengthen_one(state):
    state["encoder.1.weight"] = torch.zeros(len(state["encoder.1.weight"]) + 1)


def widen_one(state):
    state["encoder.1.weight"] = torch.zeros(3, len(state["encoder.1.weight"]))


def remove_output(state):
    """As style files were before they had a last convolution."""
    for name in output_names(state):
        del state[name]


def output_names(state):
    return [name for name in state if ".conv." in name]


def enlarge_output(state):
    weight, _ = sorted(output_names(state), reverse=True)
    state[weight] = torch.zeros(*state[weight].shape[:2], 5, 5)


def stack_output(state):
    for name in output_names(state):
        state[name] = torch.stack([state[name]] * 3)


@BOTH
@pytest.mark.parametrize(
    "damage", [remove_one, add_one, lengthen_one, widen_one, remove_output, enlarge_output, stack_output]
)
def test_style_files_with_other_numbers(files, base, tmp_path, damage):
    style = read_style_file(rewritten(files / "mine.safetensors", tmp_path / "x.safetensors", tensors=damage))
    with pytest.raises(WeightsError, match="numbers of another architecture"):
        load_mixture(base, {"mine": 1.0}, [style])
    with pytest.raises(WeightsError, match="numbers of another architecture"):
        collect(base, [style], tmp_path / "all.safetensors")
    assert not (tmp_path / "all.safetensors").exists()


@pytest.mark.parametrize("name", ["trunk.0.norm1.bias", "decoder.3.conv.bias"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_style_files_with_numbers_that_are_not_finite(files, base, tmp_path, name, value):
    def damage(state):
        state[name][2] = value

    style = read_style_file(rewritten(files / "mine.safetensors", tmp_path / "x.safetensors", tensors=damage))
    with pytest.raises(WeightsError, match="not finite; make it again"):
        load_mixture(base, {"mine": 1.0}, [style])


def test_a_style_file_whose_tensors_cannot_be_read(files, tmp_path):
    path = tmp_path / "x.safetensors"
    content = (files / "mine.safetensors").read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    header["encoder.1.weight"]["dtype"] = "F32"  # of twice the bytes that are there
    changed = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(changed)) + changed + content[8 + length :])
    with pytest.raises(WeightsError, match="has not the size of its shape"):
        read_style_file(path)


# ---- mixtures


@BOTH
@pytest.mark.parametrize("style", [0, 1, 2])
def test_one_style_of_a_collection(base, style):
    network, weights = load_mixture(base, {base.names[style]: 1.0})
    whole = load_network(base.weights.path)[0]
    with torch.no_grad():
        expected = whole(images(), torch.tensor([style]))
    torch.testing.assert_close(painted(network), expected, atol=2e-6, rtol=0)
    assert (weights.metadata["style"], weights.metadata["norm"]) == (base.names[style], "instance")
    assert weights.architecture == network.config == base.weights.architecture.of_one_style
    assert weights.path == base.weights.path
    assert weights.metadata["painting"]["title"] == "Test"
    assert "styles" not in weights.metadata


@BOTH
def test_a_mixture_by_hand(files, base, mine):
    from safetensors.numpy import load_file

    shares = {"second": 0.3, "mine": 0.9, "photo": -0.2}
    network, weights = load_mixture(base, shares, [mine])
    inside, added = load_file(files / "base.safetensors"), load_file(files / "mine.safetensors")
    whole = load_network(files / "base.safetensors")[0]
    names, stacked = vector_names(whole), stacked_names(whole)
    assert set(added) == set(names)
    for name, tensor in network.state_dict().items():
        if name in names:
            rows = inside[name].astype(float)
            rows = rows if name in stacked else np.stack([rows] * 3)
            expected = 0.3 * rows[1] - 0.2 * rows[2] + 0.9 * added[name].astype(float)
        else:
            expected = inside[name].astype(float)
        np.testing.assert_allclose(tensor.numpy(), expected, atol=1e-6)
    assert weights.metadata["style"] == "second-mine-photo"
    assert "painting" not in weights.metadata and "metrics" not in weights.metadata
    assert weights.metadata["steps"] == 100


@BOTH
@settings(max_examples=10, deadline=None)
@given(st.floats(0, 1.5))
def test_mixtures_move_in_a_straight_line(files, share):
    base, mine = read_collection(files / "base.safetensors"), read_style_file(files / "mine.safetensors")
    ends = [load_mixture(base, {name: 1.0}, [mine])[0].state_dict() for name in ("first", "mine")]
    between = load_mixture(base, {"first": share, "mine": 1 - share}, [mine])[0].state_dict()
    for name, tensor in between.items():
        expected = share * ends[0][name] + (1 - share) * ends[1][name]
        torch.testing.assert_close(tensor, expected, atol=2e-6, rtol=1e-6)


@BOTH
def test_an_addition_takes_the_place_of_a_style_of_its_name(files, base, tmp_path):
    style = read_style_file(tiny_style_file(tmp_path / "first.safetensors", base.weights.path))
    own, added = load_mixture(base, {"first": 1.0})[0], load_mixture(base, {"first": 1.0}, [style])[0]
    same = load_mixture(base, {"mine": 1.0}, [read_style_file(files / "mine.safetensors")])[0]
    assert torch.equal(painted(added), painted(same))  # made from the same seed
    assert not torch.allclose(painted(own), painted(added), atol=1e-3)


def test_an_addition_without_a_share_changes_nothing(base, mine):
    assert torch.equal(
        painted(load_mixture(base, {"first": 1.0}, [mine])[0]), painted(load_mixture(base, {"first": 1})[0])
    )


def test_what_is_written_down_of_an_added_style(base, mine):
    described = describe_mixture(base, {"mine": 1.0}, [mine])
    assert described == load_mixture(base, {"mine": 1.0}, [mine])[1]
    assert described.metadata["style_file"] == "mine.safetensors"
    assert described.metadata["painting"] == mine.metadata["painting"]
    assert "style_file" not in describe_mixture(base, {"first": 1.0}, [mine]).metadata


def test_a_share_of_zero_is_not_named(base):
    assert describe_mixture(base, {"first": 0.0, "second": 1.0}).metadata["style"] == "second"


def test_names_that_are_not_there(base, mine):
    with pytest.raises(InputError, match=r"unknown style 'mne'; did you mean 'mine'\? \(known: first, .*, mine\)"):
        load_mixture(base, {"first": 0.5, "mne": 0.5}, [mine])


def test_a_style_file_of_another_network(tmp_path, base, files):
    other = tiny_collection(tmp_path / "other.safetensors", seed=9)
    foreign = read_style_file(tiny_style_file(tmp_path / "foreign.safetensors", other))
    for work in (
        lambda: check_fitting(base, [foreign]),
        lambda: load_mixture(base, {"first": 1.0}, [foreign]),
        lambda: collect(base, [foreign], tmp_path / "out.safetensors"),
    ):
        with pytest.raises(InputError, match=r"foreign\.safetensors was made for another network than .*base"):
            work()
    assert not (tmp_path / "out.safetensors").exists()


def test_the_name_of_the_photo_is_kept(base, mine):
    style = StyleFile(mine.path, PHOTO_STYLE, mine.digest, mine.architecture, mine.metadata)
    with pytest.raises(InputError, match="a style called 'photo', which is kept for the photo itself"):
        check_fitting(base, [style])


# ---- collecting


@pytest.fixture
def additions(files, tmp_path):
    yours = tiny_style_file(tmp_path / "yours.safetensors", files / "base.safetensors", seed=21)
    return [read_style_file(files / "mine.safetensors"), read_style_file(yours)]


@BOTH
def test_a_collected_style_paints_as_its_file_did(base, additions, tmp_path):
    output = tmp_path / "all.safetensors"
    assert collect(base, additions, output) == output
    made = read_collection(output)
    assert made.names == ("first", "second", "photo", "mine", "yours")
    assert made.digest == base.digest
    # A style file brings its own last convolution, so all styles have one from then on.
    assert made.weights.architecture == replace(base.weights.architecture, styles=5, own_output=True)
    for name in base.names:
        assert torch.equal(painted(load_mixture(made, {name: 1.0})[0]), painted(load_mixture(base, {name: 1.0})[0]))
        assert made.facts(name) == base.facts(name)
    for style in additions:
        from_file = load_mixture(base, {style.name: 1.0}, [style])[0]
        assert torch.equal(painted(load_mixture(made, {style.name: 1.0})[0]), painted(from_file))
        assert made.facts(style.name)["painting"] == style.metadata["painting"]
        assert made.facts(style.name)["metrics"] == style.metadata["metrics"]


def test_a_style_file_fits_the_network_however_its_styles_have_the_last_convolution(files, base, mine, tmp_path):
    """Made for a network of one kind, applied to the same of the other kind, and the other way round."""
    own = read_collection(tiny_collection(tmp_path / "own.safetensors", own_output=True))  # of the same seed
    assert own.digest == base.digest and own.weights.architecture.own_output
    yours = read_style_file(tiny_style_file(tmp_path / "yours.safetensors", own.weights.path, seed=3))
    # They differ in the last convolution, so that a mixture-up would show.
    assert not torch.equal(painted(load_mixture(base, {"first": 1})[0]), painted(load_mixture(own, {"first": 1})[0]))
    for style in (mine, yours):
        pictures = [painted(load_mixture(kind, {style.name: 1.0}, [style])[0]) for kind in (base, own)]
        for number, kind in enumerate((base, own)):
            output = tmp_path / f"{number}-{style.name}.safetensors"
            made = read_collection(collect(kind, [style], output))
            assert made.digest == base.digest and made.weights.architecture.own_output
            pictures.append(painted(load_mixture(made, {style.name: 1.0})[0]))
        assert all(torch.equal(picture, pictures[0]) for picture in pictures)


def test_what_a_collection_that_was_collected_says(base, additions, tmp_path):
    collect(base, additions, tmp_path / "all.safetensors")
    weights = read_weights_file(tmp_path / "all.safetensors")
    network = load_collection(read_collection(tmp_path / "all.safetensors"))
    assert weights.architecture == network.config and network.config.styles == 5
    assert weights.metadata["style"] == "all"
    assert weights.metadata["parameters"] == network.parameter_count
    assert "metrics" not in weights.metadata  # means over other styles


@BOTH
def test_mixtures_are_the_same_before_and_after_collecting(base, additions, tmp_path):
    made = read_collection(collect(base, additions, tmp_path / "all.safetensors"))
    for shares in ({"first": 0.25, "mine": 0.75}, {"mine": 0.5, "yours": 0.5}, {"second": 1.5, "photo": -0.5}):
        before, after = load_mixture(base, shares, additions)[0], load_mixture(made, shares)[0]
        torch.testing.assert_close(before.state_dict(), after.state_dict(), atol=2e-6, rtol=0)


@BOTH
def test_style_files_fit_what_was_collected(base, additions, tmp_path):
    mine, yours = additions
    larger = read_collection(collect(base, [mine], tmp_path / "a.safetensors"))
    largest = read_collection(collect(larger, [yours], tmp_path / "b.safetensors"))
    assert largest.names[-2:] == ("mine", "yours")
    collect(base, [mine, yours], tmp_path / "c.safetensors")
    both = (
        load_network(tmp_path / "b.safetensors")[0].state_dict(),
        load_network(tmp_path / "c.safetensors")[0].state_dict(),
    )
    assert all(torch.equal(both[0][name], both[1][name]) for name in both[0])


def test_a_name_in_the_metadata_does_not_rename_the_style(files, base, tmp_path):
    path = rewritten(files / "mine.safetensors", tmp_path / "x.safetensors", name="first")
    made = read_collection(collect(base, [read_style_file(path)], tmp_path / "all.safetensors"))
    assert made.names[-1] == "mine"


def test_collect_refuses(files, base, mine, tmp_path):
    output = tmp_path / "all.safetensors"
    same = read_style_file(tiny_style_file(tmp_path / "first.safetensors", base.weights.path))
    for styles, said in (
        ([], "no style file given"),
        ([mine, mine], "two styles are called 'mine'"),
        ([same], "two styles are called 'first'"),
    ):
        with pytest.raises(InputError, match=said):
            collect(base, styles, output)
    with pytest.raises(InputError, match="is a folder"):
        collect(base, [mine], tmp_path)
    with pytest.raises(InputError, match="another suffix than .safetensors"):
        collect(base, [mine], tmp_path / "all.pth")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.safetensors"]


def test_collect_keeps_what_is_there(files, base, mine, tmp_path, monkeypatch):
    output = tmp_path / "all.safetensors"
    output.write_bytes(b"keep")
    with pytest.raises(OutputError, match="exists already"):
        collect(base, [mine], output)
    assert output.read_bytes() == b"keep"

    def fail(*arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.os, "replace", fail)
        with pytest.raises(OutputError, match="the disk is full"):
            collect(base, [mine], output, overwrite=True)
    assert output.read_bytes() == b"keep" and list(tmp_path.iterdir()) == [output]
    collect(base, [mine], output, overwrite=True)
    assert read_collection(output).names[-1] == "mine"


def test_a_collection_can_take_the_place_of_the_one_it_was_made_from(files, mine, tmp_path):
    path = tmp_path / "own.safetensors"
    path.write_bytes((files / "base.safetensors").read_bytes())
    collect(read_collection(path), [mine], path, overwrite=True)
    assert read_collection(path).names == ("first", "second", "photo", "mine")


def test_a_collection_cannot_hold_more_styles_than_there_may_be(base, mine, tmp_path, monkeypatch):
    monkeypatch.setattr("stylize.architectures.MAXIMUM_STYLES", 3)
    with pytest.raises(InputError, match="styles is 4; it must be a whole number from 1 to 3"):
        collect(base, [mine], tmp_path / "all.safetensors")
    assert not list(tmp_path.iterdir())


def test_batch_norm_collections_work_alike(tmp_path):
    from stylize.checkpoints import save_network
    from stylize.style_vectors import network_digest
    from stylize.transformer import TransformerNet
    from tests.helpers import tiny_config, tiny_metadata

    network = TransformerNet(tiny_config("conditional-batch", styles=2))
    with torch.no_grad():
        for name, buffer in network.named_buffers():
            if name.endswith("running_var"):
                buffer.fill_(0.25)
    facts = {"styles": [{"name": "a"}, {"name": "b"}], "network": network_digest(network)}
    save_network(tmp_path / "a.safetensors", network, tiny_metadata() | facts)
    base = read_collection(tmp_path / "a.safetensors")
    single, weights = load_mixture(base, {"b": 1.0})
    assert weights.architecture.norm == "batch"
    assert float(single.get_buffer("encoder.1.running_var")[0]) == 0.25
    style = read_style_file(tiny_style_file(tmp_path / "mine.safetensors", tmp_path / "a.safetensors"))
    made = read_collection(collect(base, [style], tmp_path / "all.safetensors"))
    assert torch.equal(
        painted(take_style(load_collection(made), [0, 0, 1])), painted(load_mixture(base, {"mine": 1.0}, [style])[0])
    )


def test_the_suffix_is_that_of_the_zoo():
    from stylize import zoo

    assert zoo.WEIGHTS_SUFFIX is style_collections.WEIGHTS_SUFFIX
