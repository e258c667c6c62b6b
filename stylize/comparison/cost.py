"""What a normalisation costs when a network is applied: time, memory, and whether a photo can be painted in tiles.

Batch norm in evaluation mode is a fixed scale and shift per channel. It can be folded into the convolution before it,
and then costs nothing; and a tile of a photo, with enough of its surroundings, becomes what it is in the whole. A norm
that takes statistics from the photo can have neither: it must see the whole photo before it can go on.

Reference: Jacob et al. 2018, arXiv 1712.05877, section 3.2 (folding batch norm into the convolution).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from time import perf_counter

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylize.comparison.halves import Halves, measure_halves
from stylize.comparison.live_tensors import peak_memory
from stylize.comparison.subject import Subject
from stylize.comparison.wording import listed
from stylize.config import TransformerConfig
from stylize.errors import InputError
from stylize.norms import BatchNorm, FollowsConvolution, make_norm
from stylize.transformer import TransformerNet

SIZES = (256, 512)
"""Sides in pixels of the square photos that are timed."""

REPEATS = 7
"""Rounds of timing; in each of them every network has its turn."""

TILED_PHOTOS = 2
"""Photos that are painted in halves."""

SAME = 0.05
"""Ratios this close to 1 are called the same: a busy machine measures no better."""

SEAMLESS = 0.5
"""Errors below half a grey level cannot be seen: they mostly round to the same pixel."""


@dataclass(frozen=True)
class Pass:
    """One forward pass of one network over one square photo.

    Attributes:
        label: Label of the network.
        folded: Whether it is the reference with its norms folded into the convolutions.
        reference: Label of the network with batch norm, of the same architecture, that it is compared with.
        size: Side of the photo in pixels.
        seconds: Median time over the rounds.
        ratio: Median over the rounds of its time divided by that of the reference in the same round.
        megabytes: Most memory that its tensors take at any moment of the pass (10^6 bytes), without the weights and the
            photo, and without what a call of torch uses for itself while it runs.
        memory_ratio: The same divided by that of the reference.
    """

    label: str
    folded: bool
    reference: str
    size: int
    seconds: float
    ratio: float
    megabytes: float
    memory_ratio: float


@dataclass(frozen=True)
class Cost:
    """What the norms of some networks cost.

    Attributes:
        passes: Time and memory, by size and network.
        halves: Errors of painting in halves, by network and overlap; none where the photos are too small.
        fold_error: Largest difference that folding batch norm makes to a picture, in grey levels.
        repeats: Rounds of timing.
        threads: Threads that torch computed with.
        device: Kind of device: ``cpu``, ``cuda``, ``mps``.
    """

    passes: tuple[Pass, ...]
    halves: tuple[Halves, ...]
    fold_error: float
    repeats: int
    threads: int
    device: str


@dataclass(frozen=True)
class _Contestant:
    """A network that is timed, and what it is compared with."""

    label: str
    network: TransformerNet
    reference: str
    folded: bool = False


def fold_batch_norm(network: TransformerNet) -> TransformerNet:
    """Return a copy of a network without norms that computes the same as ``network`` in evaluation mode.

    The scale and the shift of every norm go into the weights of the convolution before it. Padding by reflection or
    replication does not get in the way, since it comes before the convolution and is not touched. Nor does
    :class:`stylize.transformer.UpsampleConv`: it derives its kernels from the 3x3 weights by a linear map.

    Args:
        network: A network all of whose norms are fixed per channel: batch norm, weight norm, none.

    Raises:
        InputError: A norm takes its statistics from the photo.
    """
    folded = copy.deepcopy(network).eval()
    with torch.no_grad():
        for place in folded.norm_places():
            fixed = _scale_and_shift(place.norm, place.convolution)
            if fixed is None:
                kind = type(place.norm).__name__
                raise InputError(
                    f"{kind} in layer {place.name} cannot be folded into a convolution: it takes statistics from the "
                    "photo; a network with batch, weight or no norm is accepted"
                )
            # On the CPU, because some devices have no float64.
            scale, shift = (values.cpu().double() for values in fixed)
            convolution = place.convolution
            convolution.weight.copy_((convolution.weight.cpu().double() * scale[:, None, None, None]).float())
            convolution.bias.copy_((convolution.bias.cpu().double() * scale + shift).float())
            place.put(nn.Identity())
    return folded


def _scale_and_shift(norm: nn.Module, convolution: nn.Conv2d) -> tuple[Tensor, Tensor] | None:
    """Return the scale and the shift (C,) that a norm amounts to in evaluation mode; None: it depends on the photo."""
    if isinstance(norm, BatchNorm):
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        return scale, norm.bias - norm.running_mean * scale
    if isinstance(norm, FollowsConvolution | nn.Identity):
        # They are linear in the features, whatever their formula: two features tell.
        ones = convolution.weight.new_ones(1, convolution.out_channels, 1, 1)
        shift = norm(torch.zeros_like(ones)).flatten()
        return norm(ones).flatten() - shift, shift
    return None


def measure_cost(
    subjects: Sequence[Subject],
    photos: Tensor,
    sizes: Sequence[int] = SIZES,
    repeats: int = REPEATS,
    others: Sequence[Subject] = (),
) -> Cost:
    """Measure what the norms of some networks cost.

    Every network is compared with batch norm in evaluation mode in the same architecture: with a subject that is just
    that, or else with a copy whose norms are replaced, which takes the same time with whatever statistics. The
    networks run as when they are applied: in channels-last format, without gradients, one photo at a time.

    Args:
        subjects: The networks, in evaluation mode; unchanged afterwards.
        photos: (B, 3, H, W) in [0, 1]; the first, scaled to squares, is timed, and the first
            :data:`TILED_PHOTOS` are painted in halves.
        sizes: Sides in pixels of the squares.
        repeats: Rounds of timing.
        others: Networks that are timed too, but paint nothing that is looked at: they need not be trained.

    Raises:
        InputError: No networks, sizes or rounds, or a size below 1.
    """
    if not subjects or not sizes or min(sizes) < 1 or repeats < 1:
        raise InputError(
            f"{len(subjects)} networks, sizes {list(sizes)} and {repeats} rounds given to measure the cost of; "
            "at least one of each is needed, and sizes of 1 px or more"
        )
    contestants = _contestants([*subjects, *others])
    passes: list[Pass] = []
    for size in sizes:
        scaled = F.interpolate(photos[:1], size=(size, size), mode="bilinear", align_corners=False, antialias=True)
        passes += _passes(contestants, scaled.contiguous(memory_format=torch.channels_last), repeats)
    halves = [entry for subject in subjects for entry in measure_halves(subject, photos[:TILED_PHOTOS])]
    networks = {one.label: one.network for one in contestants if not one.folded}
    errors = [
        float(_largest(one.network, networks[one.reference], photos[:TILED_PHOTOS]))
        for one in contestants
        if one.folded
    ]
    return Cost(tuple(passes), tuple(halves), max(errors), repeats, torch.get_num_threads(), photos.device.type)


def _contestants(subjects: Sequence[Subject]) -> list[_Contestant]:
    """Return the networks to time: subjects, a batch norm reference for each architecture, and that one folded."""
    references: dict[TransformerConfig, _Contestant] = {}
    taken = {subject.label for subject in subjects}
    for subject in sorted(subjects, key=lambda one: one.network.config.norm != "batch"):
        config = replace(subject.network.config, norm="batch")
        if config not in references:
            own = subject.network.config.norm == "batch"
            label = subject.label if own else _free("batch", taken)
            taken.add(label)
            network = _channels_last(subject.network if own else _with_batch_norm(subject.network))
            references[config] = _Contestant(label, network, label)
    timed = {one.label: one for one in references.values()}
    for subject in subjects:
        reference = references[replace(subject.network.config, norm="batch")].label
        if subject.label not in timed:
            timed[subject.label] = _Contestant(subject.label, _channels_last(subject.network), reference)
    folded = [
        _Contestant(f"{one.label}, folded", fold_batch_norm(one.network), one.label, folded=True)
        for one in references.values()
    ]
    order = [
        *(subject.label for subject in subjects),
        *(label for label in timed if label not in {s.label for s in subjects}),
    ]
    return [*(timed[label] for label in order), *folded]


def _free(label: str, taken: set[str]) -> str:
    """Return ``label``, with a number if it is taken."""
    number, result = 2, label
    while result in taken:
        result, number = f"{label} ({number})", number + 1
    return result


def _channels_last(network: TransformerNet) -> TransformerNet:
    return copy.deepcopy(network).to(memory_format=torch.channels_last).eval()


def _with_batch_norm(network: TransformerNet) -> TransformerNet:
    """Return a copy of a network with a fresh batch norm in every place."""
    changed = copy.deepcopy(network)
    for place in changed.norm_places():
        norm = make_norm("batch", place.convolution.out_channels, network.config.norm_epsilon)
        place.put(norm.to(place.convolution.weight.device))
    return changed


def _passes(contestants: Sequence[_Contestant], photo: Tensor, repeats: int) -> list[Pass]:
    """Time every network on a photo (1, 3, S, S), each in every round, and measure its memory."""
    seconds: dict[str, list[float]] = {one.label: [] for one in contestants}
    memory = {one.label: peak_memory(one.network, photo) for one in contestants}  # This warms up, too.
    for number in range(repeats):
        # Each round begins with another network, so that none always follows the same one.
        for position in range(len(contestants)):
            one = contestants[(number + position) % len(contestants)]
            seconds[one.label].append(_time(one.network, photo))
    result = []
    for one in contestants:
        ratios = [own / other for own, other in zip(seconds[one.label], seconds[one.reference], strict=True)]
        megabytes, reference = memory[one.label] / 1e6, memory[one.reference] / 1e6
        times = median(seconds[one.label]), median(ratios)
        size = photo.shape[-1]
        result.append(Pass(one.label, one.folded, one.reference, size, *times, megabytes, megabytes / reference))
    return result


def _time(network: nn.Module, photo: Tensor) -> float:
    """Return the seconds that one forward pass takes."""
    _finish(photo.device)
    begin = perf_counter()
    with torch.inference_mode():
        network(photo)
    _finish(photo.device)
    return perf_counter() - begin


def _finish(device: torch.device) -> None:
    """Wait until a device has done what it was told; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _largest(first: TransformerNet, second: TransformerNet, photos: Tensor) -> Tensor:
    """Return the largest difference of two networks' pictures, in grey levels."""
    return 255 * (Subject("", first).paint(photos) - Subject("", second).paint(photos)).abs().max()


def finding(result: Cost) -> str:
    """Return in words what the norms cost in time and memory at the largest size, and what painting in halves does."""
    size = max(entry.size for entry in result.passes)
    rows = [entry for entry in result.passes if entry.size == size]
    parts = [
        f"{entry.label} takes {_ratio(entry.ratio)} time and {_ratio(entry.memory_ratio)} memory"
        for entry in rows
        if not entry.folded and entry.label != entry.reference
    ]
    parts += [
        f"{entry.reference} folded into the convolutions takes {_ratio(entry.ratio)} time"
        for entry in rows
        if entry.folded
    ]
    costs = f"For a photo of {size} px, next to batch norm as it is applied, {'; '.join(parts)}."
    enough = [entry for entry in result.halves if entry.enough]
    if not enough:
        return costs
    exact = [entry.label for entry in enough if entry.largest < SEAMLESS]
    wrong = [
        f"{entry.label} (by up to {entry.largest:.1f} grey levels)" for entry in enough if entry.largest >= SEAMLESS
    ]
    overlaps = sorted({entry.overlap for entry in enough})
    begin = f"Two halves of a photo, painted one by one with {listed(map(str, overlaps))} px of the other half,"
    claims = [f"give the whole with {listed(exact)}"] if exact else []
    claims += [f"do not give the whole with {listed(wrong)}"] if wrong else []
    return f"{costs} {begin} {' and '.join(claims)}."


def _ratio(value: float) -> str:
    return "the same" if abs(value - 1) <= SAME else f"{value:.2f} times the"
