"""Counting the numbers of a network from its architecture, and refusing one that has too many before it is built."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stylize.checkpoints import load_network, read_weights_file
from stylize.config import CONDITIONAL_NORMS, NORM_NAMES, PLACEMENTS, PRESETS, TransformerConfig
from stylize.errors import InputError, WeightsError
from stylize.network_size import MAXIMUM_PARAMETERS, NUMBERS_PER_CHANNEL
from stylize.style_collections import read_style_file
from stylize.transformer import TransformerNet
from tests.helpers import tiny_collection, tiny_style_file, tiny_weights
from tests.hostile_files import with_texts


def learned(config: TransformerConfig) -> int:
    with torch.device("meta"):
        return TransformerNet(config).parameter_count


def test_hand_values():
    # README's numbers of the two presets; and one network counted by hand: 3x3 convolutions 3 -> 2 -> 3 with biases
    # (56 and 57), and a scale and a shift for each of two channels.
    assert PRESETS["johnson"].most_parameters == 1_679_235
    assert PRESETS["fast"].most_parameters == 417_795
    small = TransformerConfig(channels=(2,), residual_blocks=0, first_kernel=3, last_kernel=3)
    assert small.most_parameters == 56 + 57 + 4


def test_every_norm_has_its_numbers():
    assert NUMBERS_PER_CHANNEL.keys() == set(NORM_NAMES)


@st.composite
def architectures(draw):
    conditional = draw(st.booleans())
    block = draw(st.sampled_from([1, 2, 4]))
    return TransformerConfig(
        norm=draw(st.sampled_from([*CONDITIONAL_NORMS] if conditional else NORM_NAMES)),
        space_to_depth=block,
        channels=tuple(draw(st.lists(st.integers(1, 9).map(lambda half: 2 * half), min_size=1, max_size=4))),
        residual_blocks=draw(st.integers(0, 3)),
        first_kernel=draw(st.sampled_from([1, 3, 9, 15])),
        last_kernel=draw(st.sampled_from([1, 3, 9, 15])),
        output=draw(st.sampled_from(["convolution", "shuffle"] if block > 1 else ["convolution"])),
        styles=draw(st.integers(1, 5)) if conditional else 1,
        own_output=conditional and draw(st.booleans()),
    )


@settings(max_examples=60, deadline=None, derandomize=True)
@given(config=architectures())
def test_the_count_is_that_of_the_network(config):
    assert config.most_parameters == learned(config)


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("norms", ["instance@{}+none", "none@{}+batch-instance", "batch@{}"])
def test_with_a_placement_it_is_no_less(placement, norms):
    config = TransformerConfig(norm=norms.format(placement), channels=(4, 8), residual_blocks=2)
    assert learned(config) <= config.most_parameters <= learned(config) + 3 * (4 + 8 + 4 * 8 + 4)


@pytest.mark.parametrize(
    "architecture",
    [
        {"channels": [1024] * 4, "residual_blocks": 64},
        {"channels": [1024] * 4, "residual_blocks": 14},
        {"channels": [1024], "styles": 4096, "norm": "conditional-instance", "own_output": True, "last_kernel": 15},
    ],
    ids=["all the largest", "just too large", "a last convolution for each of 4096 styles"],
)
def test_a_network_with_too_many_is_refused_before_it_is_built(tmp_path, monkeypatch, architecture):
    values = asdict(TransformerConfig()) | architecture
    monkeypatch.setattr("stylize.transformer.TransformerNet.__init__", lambda *_: pytest.fail("it was built"))
    with pytest.raises(InputError, match=r"a network of [\d,]+ parameters, [\d.]+ GB asked for; at most 250,000,000"):
        TransformerConfig(**values)
    monkeypatch.undo()
    collection = tiny_collection(tmp_path / "c.safetensors")
    style = tiny_style_file(tmp_path / "s.safetensors", collection)
    files = [tiny_weights(tmp_path / "a.safetensors"), collection, style]
    monkeypatch.setattr("stylize.transformer.TransformerNet.__init__", lambda *_: pytest.fail("it was built"))
    for path in files:
        with_texts(path, architecture=json.dumps(values))
        with pytest.raises(WeightsError, match=f"{path.name}: .*parameters"):
            (read_style_file if path == style else load_network)(path)


@pytest.mark.parametrize(
    "architecture",
    [
        {"channels": [10**9]},
        {"channels": [1] * 10**4},
        {"residual_blocks": 10**6},
        {"styles": 10**9},
        {"first_kernel": 10**9},
    ],
    ids=lambda one: next(iter(one)),
)
def test_numbers_beyond_their_limits_are_refused_before_they_are_multiplied(tmp_path, monkeypatch, architecture):
    path = tiny_weights(tmp_path / "a.safetensors")
    monkeypatch.setattr("stylize.architectures.count_parameters", lambda *_: pytest.fail("it was counted"))
    with_texts(path, architecture=json.dumps(asdict(PRESETS["johnson"]) | architecture))
    with pytest.raises(WeightsError, match="its architecture") as caught:
        read_weights_file(path)
    assert len(str(caught.value)) < 1000


def test_the_limit_is_exact():
    config = TransformerConfig(channels=(1024,) * 4, residual_blocks=9)
    assert config.most_parameters <= MAXIMUM_PARAMETERS
    with pytest.raises(InputError, match="at most"):
        while True:
            config = replace(config, residual_blocks=config.residual_blocks + 1)
            assert config.most_parameters <= MAXIMUM_PARAMETERS
