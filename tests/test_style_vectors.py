"""One style, or a mixture, taken out of a network of several."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stylize.checkpoints import load_network, save_network
from stylize.conditional_norms import Conditional
from stylize.errors import InputError
from stylize.style_vectors import (
    all_style_vectors,
    network_digest,
    stacked_names,
    style_vectors,
    take_style,
    vector_names,
    with_vectors,
)
from stylize.transformer import TransformerNet
from tests.helpers import tiny_config, tiny_metadata

STYLES = 3

LAYOUTS = {
    "full resolution": {"last_kernel": 5},
    "blocks of 2": {"space_to_depth": 2},
    "blocks of 4": {"space_to_depth": 4},
    "blocks of 2, shuffled": {"space_to_depth": 2, "output": "shuffle"},
    "blocks of 4, shuffled": {"space_to_depth": 4, "output": "shuffle", "last_kernel": 1},
}
"""Every kind of last convolution there is."""

BOTH_OUTPUTS = pytest.mark.parametrize("own_output", [False, True], ids=["shared output", "own output"])
EVERY_LAYOUT = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=list(LAYOUTS))


def several(norm: str = "conditional-instance", seed: int = 0, **changes) -> TransformerNet:
    """Return a network whose styles and running averages differ from those of a new one."""
    network = TransformerNet(tiny_config(norm, styles=STYLES, **changes), seed=seed)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for name in stacked_names(network):
            numbers = network.get_parameter(name)
            numbers += 0.3 * torch.randn(numbers.shape, generator=generator)
        for name, buffer in network.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer += 0.2 * torch.rand(buffer.shape, generator=generator)
    return network.eval()


def images(batch: int = 1) -> torch.Tensor:
    return torch.rand(batch, 3, 13, 18, generator=torch.Generator().manual_seed(3))


def shared_and_own(**changes) -> tuple[TransformerNet, TransformerNet]:
    """Return a network whose styles share the last convolution, and the same where each of them has it."""
    shared = several(**changes)
    own = TransformerNet(replace(shared.config, own_output=True)).eval()
    rows = all_style_vectors(shared)
    own.load_state_dict(shared.state_dict() | {name: torch.stack([row[name] for row in rows]) for name in rows[0]})
    return shared, own


@BOTH_OUTPUTS
@EVERY_LAYOUT
def test_the_names_are_those_of_the_norms_and_of_the_last_convolution_in_order_of_depth(layout, own_output):
    network = several(own_output=own_output, **layout)
    names, stacked, state = vector_names(network), stacked_names(network), network.state_dict()
    layers = sum(isinstance(module, Conditional) for module in network.modules())
    assert len(names) == len(set(names)) and [name.rsplit(".", 1)[1] for name in names[:2]] == ["weight", "bias"]
    assert names[0].startswith("encoder") and names[-1].startswith("decoder")
    assert len(stacked) == 2 * layers == len(names) - (0 if own_output else 2)
    assert names[: len(stacked)] == stacked and all(state[name].shape[0] == STYLES for name in stacked)
    # The last convolution is the deepest that the network has: nothing with weights comes after it.
    assert names[-2:] == list(state)[-2:] and names[-1].endswith(".conv.bias")
    weight, bias = (state[name] for name in names[-2:])
    channels = 3 * layout.get("space_to_depth", 1) ** 2 if "output" in layout else 3
    assert bias.shape == ((STYLES, channels) if own_output else (channels,))
    assert weight.dim() == 4 + own_output
    assert all("conv" in name for name in set(state) - set(names))


@BOTH_OUTPUTS
def test_the_vectors_of_a_mixture_by_hand(own_output):
    network, shares = several(own_output=own_output), [0.2, -0.5, 1.7]
    stacked = stacked_names(network)
    for name, vector in style_vectors(network, shares).items():
        numbers = network.state_dict()[name].numpy().astype(np.float64)
        rows = numbers if name in stacked else [numbers] * STYLES
        expected = sum(share * row for share, row in zip(shares, rows, strict=True))
        assert vector.dtype == torch.float32
        np.testing.assert_allclose(vector.numpy(), expected, atol=1e-7)


@BOTH_OUTPUTS
@pytest.mark.parametrize("norm", ["conditional-instance", "conditional-batch"])
@EVERY_LAYOUT
def test_a_style_taken_out_paints_as_it_does_inside(norm, own_output, layout):
    network = several(norm, own_output=own_output, **layout)
    pictures = images(STYLES)
    with torch.no_grad():
        inside = network(pictures, torch.arange(STYLES))
        for style in range(STYLES):
            single = take_style(network, [float(style == other) for other in range(STYLES)])
            assert single.config == replace(tiny_config(norm.removeprefix("conditional-")), **layout)
            assert not single.training
            torch.testing.assert_close(
                single(pictures[style : style + 1]), inside[style : style + 1], atol=5e-6, rtol=0
            )
    spread = float((inside[0] - inside[1]).abs().mean())
    assert spread > 5e-4  # the styles differ, or the comparison above shows nothing


@BOTH_OUTPUTS
@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(0.01, 1), min_size=STYLES, max_size=STYLES))
def test_a_mixture_taken_out_paints_as_it_does_inside(own_output, shares):
    network = several(own_output=own_output)
    # What is shared is there once whatever the shares, so only where all is of each style may they have another sum.
    shares = shares if own_output else [share / sum(shares) for share in shares]
    with torch.no_grad():
        inside = network(images(), torch.tensor([shares]))
        # Rounding grows with the numbers, and those with the sum of the shares, which every layer is multiplied by.
        atol = 5e-6 * max(1.0, sum(shares))
        torch.testing.assert_close(take_style(network, shares)(images()), inside, atol=atol, rtol=0)


@BOTH_OUTPUTS
@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.floats(-2, 2), min_size=STYLES, max_size=STYLES),
    st.lists(st.floats(-2, 2), min_size=STYLES, max_size=STYLES),
)
def test_vectors_are_linear_in_the_shares(own_output, first, second):
    network = several(own_output=own_output)
    one, other = style_vectors(network, first), style_vectors(network, second)
    both = style_vectors(network, [a + b for a, b in zip(first, second, strict=True)])
    for name, vector in both.items():
        torch.testing.assert_close(vector, one[name] + other[name], atol=2e-6, rtol=1e-6)


def test_all_styles_are_those_taken_one_by_one():
    network = several(own_output=True)
    rows = all_style_vectors(network)
    assert len(rows) == STYLES
    for style, row in enumerate(rows):
        assert list(row) == vector_names(network)
        assert all(torch.equal(numbers, network.state_dict()[name][style]) for name, numbers in row.items())
    with pytest.raises(InputError, match="one style"):
        all_style_vectors(TransformerNet(tiny_config("instance")))


@BOTH_OUTPUTS
def test_the_order_of_the_styles_changes_at_most_the_last_bit(own_output):
    network = several(own_output=own_output)
    shares = [0.1, 0.2, 0.7]
    turned = several(own_output=own_output)
    with torch.no_grad():
        for name in stacked_names(turned):
            turned.get_parameter(name).copy_(network.get_parameter(name)[[2, 0, 1]])
    expected, found = style_vectors(network, shares), style_vectors(turned, [shares[2], shares[0], shares[1]])
    assert all(torch.allclose(found[name], expected[name], rtol=2**-23, atol=0) for name in expected)


def test_what_is_taken_out_shares_nothing_with_the_network():
    network = several()
    with torch.no_grad():
        single = take_style(network, [1.0, 0.0, 0.0])
        before = single(images())
        for parameter in network.parameters():
            parameter.zero_()
        assert torch.equal(single(images()), before)


def test_with_vectors_puts_them_in():
    network = several()
    vectors = {name: torch.full_like(vector, 0.5) for name, vector in style_vectors(network, [1, 0, 0]).items()}
    single = with_vectors(network, vectors)
    state = single.state_dict()
    assert all(torch.equal(state[name], vectors[name]) for name in vectors)
    assert torch.equal(state["encoder.0.conv.weight"], network.state_dict()["encoder.0.conv.weight"])


@pytest.mark.parametrize(
    ("shares", "said"), [([], "shares of 0 styles given for a network of 3 styles"), ([1.0, 2.0], "shares of 2 styles")]
)
def test_shares_for_another_number_of_styles(shares, said):
    with pytest.raises(InputError, match=said):
        take_style(several(), shares)


def test_a_network_of_one_style_has_no_styles_to_take():
    with pytest.raises(InputError, match="for a network of one style"):
        take_style(TransformerNet(tiny_config("instance")), [1.0])
    assert vector_names(TransformerNet(tiny_config("instance"))) == []


@pytest.mark.parametrize("norm", ["conditional-instance", "conditional-batch"])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_the_digest_is_the_same_after_storing(tmp_path, norm, dtype):
    network = several(norm)
    digest = network_digest(network)
    assert re.fullmatch("[0-9a-f]{64}", digest)
    save_network(tmp_path / "a.safetensors", network, tiny_metadata(), dtype=dtype)
    stored = load_network(tmp_path / "a.safetensors")[0]
    assert network_digest(stored) == digest
    save_network(tmp_path / "b.safetensors", stored, tiny_metadata())
    assert network_digest(load_network(tmp_path / "b.safetensors")[0]) == digest


@BOTH_OUTPUTS
def test_the_digest_is_of_what_no_style_changes(own_output):
    network = several(own_output=own_output)
    digest = network_digest(network)
    with torch.no_grad():
        for name in vector_names(network):
            network.get_parameter(name).mul_(3)
    assert network_digest(network) == digest
    larger = TransformerNet(tiny_config("conditional-instance", styles=STYLES + 2, own_output=own_output))
    larger.load_state_dict(
        {
            name: torch.cat([tensor, tensor[:2]]) if name in stacked_names(network) else tensor
            for name, tensor in network.state_dict().items()
        }
    )
    assert network_digest(larger) == digest


@EVERY_LAYOUT
def test_the_digest_and_the_picture_are_the_same_whether_the_last_convolution_is_shared_or_copied(layout):
    shared, own = shared_and_own(**layout)
    assert network_digest(shared) == network_digest(own)
    assert vector_names(shared)[: len(stacked_names(shared))] == stacked_names(shared)
    assert set(vector_names(shared)) == set(vector_names(own)) == set(stacked_names(own))
    with torch.no_grad():
        pictures, styles = images(STYLES), torch.arange(STYLES)
        torch.testing.assert_close(own(pictures, styles), shared(pictures, styles), atol=2e-6, rtol=0)
    for shares in ([0, 1, 0], [0.25, 0.25, 0.5], [1.5, 0, -0.5], [0.3, 0.0, 0.0]):
        one, other = style_vectors(shared, shares), style_vectors(own, shares)
        assert all(torch.allclose(one[name], other[name], atol=1e-7) for name in one)


@pytest.mark.parametrize("name", ["encoder.0.conv.weight", "trunk.0.conv2.conv.bias", "decoder.0.conv.weight"])
def test_the_digest_changes_with_every_convolution(name):
    network = several()
    digest = network_digest(network)
    with torch.no_grad():
        network.get_parameter(name).view(-1)[-1] += 0.05
    assert network_digest(network) != digest


def test_the_digest_changes_with_the_running_averages_and_the_settings():
    batch = several("conditional-batch")
    digest = network_digest(batch)
    with torch.no_grad():
        batch.get_buffer("encoder.1.running_mean")[0] += 0.5
    assert network_digest(batch) != digest
    assert network_digest(several(norm_epsilon=1e-4)) != network_digest(several())
    assert network_digest(several()) != network_digest(several("conditional-batch"))
