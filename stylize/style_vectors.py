"""What a network of several styles knows about each: scales, shifts, last convolution; and one style taken out.

Reference: Dumoulin, Shlens, Kudlur 2017, arXiv 1610.07629, sections 2.2 and 3.4 (styles are mixed by mixing these
numbers).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from stylize.conditional_norms import Conditional
from stylize.errors import InputError
from stylize.transformer import TransformerNet


def stacked_names(network: TransformerNet) -> list[str]:
    """Return the names of what a network holds for each of its styles, (N, ...), in order of depth."""
    layers = [name for name, module in network.named_modules() if isinstance(module, Conditional)]
    return [f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")]


def vector_names(network: TransformerNet) -> list[str]:
    """Return the names of the numbers that are a style: those of the norms, and those of the last convolution, which
    the styles of a network may share; empty for a network of one style."""
    stacked = stacked_names(network)
    last = next(name for name, module in network.named_modules() if module is network.output)
    output = [f"{last}.conv.{kind}" for kind in ("weight", "bias")]
    return [*stacked, *(name for name in output if name not in stacked)] if stacked else []


def style_vectors(network: TransformerNet, shares: Sequence[float]) -> dict[str, Tensor]:
    """Return the numbers of one style or of a mixture, by name.

    Args:
        network: A network of N styles.
        shares: How much of each style, N numbers. Networks come from shares that sum to 1; other sums are for parts
            that are added up.

    Raises:
        InputError: The network is of one style, or has another number of styles.
    """
    stacked, count = set(stacked_names(network)), network.config.styles
    if not stacked or len(shares) != count:
        kind = f"{count} styles" if stacked else "one style"
        raise InputError(f"shares of {len(shares)} styles given for a network of {kind}; give one for each")
    state = network.state_dict()
    # In float64: the order of its parts must not change a mixture by more than the last bit.
    mixing = torch.tensor(list(shares), dtype=torch.float64)
    vectors = {}
    for name in vector_names(network):
        numbers = state[name].to("cpu", torch.float64)
        mixed = torch.tensordot(mixing, numbers, dims=1) if name in stacked else mixing.sum() * numbers
        vectors[name] = mixed.to(torch.float32)
    return vectors


def all_style_vectors(network: TransformerNet) -> list[dict[str, Tensor]]:
    """Return the numbers of every style of a network, in its order.

    Raises:
        InputError: The network is of one style.
    """
    count = network.config.styles
    return [style_vectors(network, [float(style == one) for one in range(count)]) for style in range(count)]


def with_vectors(network: TransformerNet, vectors: dict[str, Tensor]) -> TransformerNet:
    """Return the network of one style that has these numbers, in evaluation mode; its other weights are copies."""
    single = TransformerNet(network.config.of_one_style)
    state = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    single.load_state_dict(state | vectors)
    return single.to(next(network.parameters()).device).eval()


def take_style(network: TransformerNet, shares: Sequence[float]) -> TransformerNet:
    """Return the network of one style, or of a mixture of styles, that is in a network of several.

    Args:
        network: A network of N styles, with ``conditional-instance`` or ``conditional-batch`` norm.
        shares: How much of each style, N numbers; they need not sum to 1.

    Returns:
        A network with ``instance`` or ``batch`` norm, in evaluation mode.

    Raises:
        InputError: The network is of one style, or has another number of styles.
    """
    return with_vectors(network, style_vectors(network, shares))


def take_mixture(
    network: TransformerNet,
    names: Sequence[str],
    shares: Mapping[str, float],
    added: Mapping[str, Mapping[str, Tensor]],
) -> TransformerNet:
    """Return the network of a mixture of styles, some of which may be numbers from elsewhere.

    Args:
        network: A network of N styles.
        names: Their names.
        shares: How much of each style, by name; a style that is not named has none.
        added: Numbers of further styles (:func:`vector_names`), by name. A name that both have means these.
    """
    own = [0.0 if name in added else float(shares.get(name, 0.0)) for name in names]
    vectors = style_vectors(network, own)
    for name, numbers in added.items():
        if share := float(shares.get(name, 0.0)):
            vectors = {key: vector + share * numbers[key] for key, vector in vectors.items()}
    return with_vectors(network, vectors)


def network_digest(network: TransformerNet) -> str:
    """Return the sha256 of everything in a network but what its styles have of their own, in float16.

    Style files and collections fit together when this is the same.
    """
    own = set(vector_names(network))
    one = network.config.of_one_style
    digest = hashlib.sha256(f"{one.norm} {one.space_to_depth} {one.output} {one.norm_epsilon:g}".encode())
    for name, tensor in sorted(network.state_dict().items()):
        if name not in own:
            digest.update(f" {name} {tuple(tensor.shape)} ".encode())
            # In the precision of a weights file, so that a network has one digest before and after it was stored.
            stored = tensor.detach().cpu().to(torch.float16) if tensor.is_floating_point() else tensor.detach().cpu()
            digest.update(stored.contiguous().numpy().tobytes())
    return digest.hexdigest()
