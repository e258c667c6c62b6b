"""What a training run begins with when it does not begin with random numbers: another network, or a collection.

Reference: Dumoulin, Shlens, Kudlur 2017, arXiv 1610.07629, section 3.3 (a new style from the convolutions of a trained
network, by learning its scales and shifts only; here its last convolution too).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from stylize.checkpoints import load_network, read_weights_file
from stylize.config import PHOTO_STYLE
from stylize.errors import InputError
from stylize.losses import PerceptualLoss, StyleTargets
from stylize.style_collections import Collection, load_collection, read_collection
from stylize.style_vectors import all_style_vectors, stacked_names, take_style, vector_names
from stylize.transformer import TransformerNet
from stylize.zoo import find_collection, is_path

OUTPUT_RATE_FACTOR = 0.2
"""How fast the last convolution learns beside scales and shifts when a painting is added to a collection: its weights
are much smaller numbers."""

NEAREST_PHOTOS = 4
"""Photos on which the styles of a collection are tried to find the nearest to a new painting."""


def resolve_collection(name: str | Path) -> Collection:
    """Return the collection that a shipped name or a path stands for.

    Raises:
        InputError: No such collection.
        WeightsError: The file is missing, damaged, or holds a network of one style.
    """
    return read_collection(name) if is_path(name) else find_collection(str(name))


def start_from(network: TransformerNet, names: Sequence[str], path: Path) -> None:
    """Give a network the weights of another of the same architecture, of one style or of several.

    Styles that both have keep their numbers; a style that the other does not have begins as the mean of the other's
    paintings. A last convolution that the network's styles share begins as the mean of what each would begin with.

    Args:
        network: The network that is about to be trained.
        names: Names of its styles.
        path: The weights file of the other.

    Raises:
        InputError: It has another architecture.
        WeightsError: It cannot be read.
    """
    weights = read_weights_file(path)
    if weights.architecture.of_one_style != network.config.of_one_style:
        raise InputError(f"{path} has another architecture than the network to train; give its --preset and --norm")
    other, _ = load_network(path)
    state = dict(other.state_dict())
    several = weights.architecture.conditional
    theirs = read_collection(path).names if several else ()
    rows = all_style_vectors(other) if several else [state]
    painted = [row for row, name in zip(rows, theirs, strict=True) if name != PHOTO_STYLE] if several else rows
    stacked = stacked_names(network)
    for name in vector_names(network) or vector_names(other):
        mean = _mean([row[name] for row in painted or rows])
        begun = [rows[theirs.index(one)][name] if one in theirs else mean for one in names]
        state[name] = torch.stack(begun) if name in stacked else _mean(begun)
    network.load_state_dict(state)


def _mean(numbers: Sequence[Tensor]) -> Tensor:
    # In float64, so that the mean of equal numbers is that number.
    return torch.stack(list(numbers)).double().mean(0).float()


def begin_adapting(
    collection: Collection, photos: Tensor, loss: PerceptualLoss, target: StyleTargets
) -> tuple[TransformerNet, str, list[str]]:
    """Return the network with which a painting is added to a collection.

    It begins as the style whose results the loss of the new painting likes best.

    Args:
        collection: The collection.
        photos: Some photos, (B, 3, H, W) in [0, 1], on the device of the loss network.
        loss: The perceptual loss.
        target: What it asks of the new painting.

    Returns:
        The network, of one style; the name of the style it begins as; and the names of the parameters to learn. All
        others are frozen.
    """
    base = load_collection(collection)
    few = photos[:NEAREST_PHOTOS]
    content = loss.content_targets(few)
    totals = []
    for number in range(len(collection.names)):
        with torch.no_grad():
            shares = [float(number == other) for other in range(len(collection.names))]
            painted = take_style(base, shares).to(few.device)(few)
            totals.append(float(loss(painted.clamp(0, 1), content, target).total.mean()))
    nearest = totals.index(min(totals))
    network = take_style(base, [float(nearest == other) for other in range(len(collection.names))])
    learned = vector_names(base)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name in set(learned))
    return network, collection.names[nearest], learned


def adapting_groups(network: TransformerNet, learned: Sequence[str]) -> list[dict[str, object]]:
    """Return the parameters that are learned of a new style, for an optimiser, with their ``rate_factor``."""
    named = dict(network.named_parameters())
    output = {id(parameter) for parameter in network.output.parameters()}
    norms = [named[name] for name in learned if id(named[name]) not in output]
    last = [named[name] for name in learned if id(named[name]) in output]
    return [{"params": norms, "rate_factor": 1.0}, {"params": last, "rate_factor": OUTPUT_RATE_FACTOR}]
