"""The stages of each pass over a picture: for running it, and for telling beforehand what it takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from stylize.program import Program
from stylize.tiles.features import Finish, Format, Keeping
from stylize.tiles.passes import ENTER, KEEP, LEAVE, Pass, Place
from stylize.tiles.rows import strip_heights
from stylize.tiles.sources import PictureSource, PictureStrips, StoredStrips
from stylize.tiles.stages import (
    Added,
    Convolved,
    Finished,
    Moments,
    Padded,
    Painting,
    Remembered,
    Stage,
    Stored,
    Upsampled,
)
from stylize.tiles.store import RowStore
from stylize.transformer import padded_size


@dataclass(frozen=True)
class Inside:
    """What a run needs besides the shapes.

    Attributes:
        source: The picture.
        write: Takes painted rows.
        stores: Where features wait.
        finishes: What follows each layer whose statistics are known.
        kernels: Weights and bias of each layer.
    """

    source: PictureSource
    write: Callable[[int, Tensor], None]
    stores: Mapping[Place, RowStore]
    finishes: Mapping[int, Finish]
    kernels: list[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Chain:
    """The stages of a pass.

    Attributes:
        first: Where its rows come from.
        stages: What they go through.
        moments: The one of the stages that gathers statistics, if there is one.
    """

    first: PictureStrips | StoredStrips
    stages: list[Stage]
    moments: Moments | None


class Chains:
    """Make the stages of passes over a picture of one size.

    Args:
        program: The network.
        height: Rows of the picture.
        width: Columns of the picture.
        keeping: How features are kept.
        dtype: What features are computed in.
        device: Where.
    """

    def __init__(
        self,
        program: Program,
        height: int,
        width: int,
        keeping: Mapping[Place, Keeping],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.program, self.keeping = program, keeping
        self.height, self.width = height, width
        self.device = torch.device(device)
        self.padded = padded_size(program.config, height, width)
        self.reduction = program.config.reduction
        tall, wide = (side // program.unshuffle for side in self.padded)
        self.inputs: list[Format] = []
        self.convolved: list[Format] = []
        self.outputs: list[Format] = []
        for layer in program.layers:
            self.inputs.append(Format(layer.channels_in, tall, wide, dtype, self.device))
            kernel = layer.weight.shape[-1]
            tall, wide = ((side + 2 * layer.padding - kernel) // layer.stride + 1 for side in (tall, wide))
            self.convolved.append(Format(layer.weight.shape[0], tall, wide, dtype, self.device))
            if layer.upsampling:
                tall, wide = 2 * (tall - 1), 2 * (wide - 1)
            self.outputs.append(Format(layer.channels_out, tall, wide, dtype, self.device))
        self.trunk = self.outputs[len(program.encoder) - 1]

    def make(self, one: Pass, inside: Inside | None = None) -> Chain:
        """Return the stages of a pass; without ``inside`` they can only be weighed."""
        stages: list[Stage] = []
        moments: Moments | None = None
        remembered: Remembered | None = None
        nothing = Finish(None, None, None, False)
        pending, features = nothing, self.trunk
        for position, step in enumerate(one.steps):
            if isinstance(step, int):
                layer, last = self.program.layers[step], position == len(one.steps) - 1
                stages.append(Padded(self.inputs[step], layer, pending))
                features = self.outputs[step]
                stages.append(Convolved(layer, self.convolved[step], inside.kernels[step] if inside else None))
                if layer.upsampling:
                    stages.append(Upsampled(self.convolved[step], features))
                pending = nothing if last else self._finish(step, inside)
                continue
            if pending != nothing:
                stages.append(Finished(features, pending))
                pending = nothing
            if step == KEEP:
                stages.append(self._stored("trunk", inside))
            elif step == ENTER:
                remembered = Remembered(features)
                stages.append(remembered)
            elif step == LEAVE and remembered is not None:
                stages.append(Added(features, remembered))
        if one.gathers:
            moments = Moments(features.channels)
            stages.append(moments)
        if one.store is not None:
            stages.append(self._stored(one.store, inside))
        if one.paints:
            write = inside.write if inside else None
            stages.append(Painting(features, self.program.shuffle, self.height, self.width, write))
        return Chain(self._first(one, inside), stages, moments)

    def _finish(self, number: int, inside: Inside | None) -> Finish:
        if inside is not None:
            return inside.finishes[number]
        layer = self.program.layers[number]
        # Only whether there is a norm counts for the memory it takes.
        some = None if layer.norm is None else torch.empty(0)
        return Finish(some, some, some, layer.relu)

    def _stored(self, place: Place, inside: Inside | None) -> Stored:
        return Stored(self.trunk, self.keeping[place], inside.stores[place] if inside else None)

    def _first(self, one: Pass, inside: Inside | None) -> PictureStrips | StoredStrips:
        if one.source == "picture":
            source = inside.source if inside else None
            return PictureStrips(source, (self.height, self.width), self.padded, self.program.unshuffle, self.device)
        parts = []
        for place, raw in (("trunk", one.trunk_raw), ("branch", one.branch_raw)):
            if place == one.source or raw is not None:
                finish = None if raw is None else self._finish(raw, inside)
                parts.append((self.keeping[place], inside.stores[place] if inside else None, finish))
        return StoredStrips(self.trunk, parts, self.reduction)

    def strips(self, strip: int) -> int:
        """Return the number of strips in a pass."""
        return -(-self.padded[0] // strip)

    def most_bytes(self, one: Pass, strip: int, waste: int = 1) -> int:
        """Return the most memory that a pass takes at any moment, in bytes, without stores and weights.

        Args:
            one: The pass.
            strip: Rows of the picture in a strip.
            waste: How many times its size what comes and goes with a strip takes; what stays is counted once.
        """
        chain = self.make(one)
        heights = strip_heights(self.padded[0], strip)
        # How far, in rows of the picture, the pass looks; once that much was read all strips but the last are alike.
        reach = sum(
            self.program.layers[number].weight.shape[-1] * self.padded[0] // self.inputs[number].height
            for number in one.layers
        )
        settled = 8 + -(-reach // strip)
        if len(heights) > settled:
            # A picture that is lower by the strips that tell nothing new.
            chain = Chains(
                self.program,
                self.height - strip * (len(heights) - settled),
                self.width,
                self.keeping,
                self.trunk.dtype,
            ).make(one)
            heights = heights[len(heights) - settled :]
        most = 0
        for height in heights:
            weight = chain.first.weigh(height)
            most = max(most, waste * weight.work + sum(stage.held for stage in chain.stages))
            for stage in chain.stages:
                before = sum(other.held for other in chain.stages)
                size = weight.size
                weight = stage.weigh(weight.rows, size)
                after = sum(other.held for other in chain.stages)
                most = max(most, waste * (size + weight.work) + max(before, after))
                if not weight.rows:
                    break
        return most

    def multiplications(self, one: Pass) -> int:
        """Return the multiplications of a pass. Every row of every layer is computed once, whatever the strips."""
        return sum(
            self.convolved[number].height * self.convolved[number].width * self.program.layers[number].multiplications
            for number in one.layers
        )
