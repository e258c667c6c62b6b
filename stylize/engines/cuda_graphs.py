"""Painting with CUDA graphs: what a GPU is told to do for pictures of one size is recorded, and then told as a whole.

To paint a picture takes hundreds of small steps, and each of them is told to a GPU by itself, which takes its time too.
What PyTorch asks of a recording ("CUDA semantics", section "CUDA Graphs"; ``torch.cuda.graph``), and where it is kept:

- each replay reads and writes the same memory: photos are copied into it, and paintings out of it before the next
  replay (:class:`GraphCache`);
- the stream of the recording has run the same before, so that libraries set themselves up outside of it, and there is
  one recording at a time in a process (:func:`record`);
- nothing waits for the GPU, or takes values from the CPU (:mod:`stylize.engines.torch_engine`;
  ``tests/test_cuda_graphs.py`` watches it).
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

PLAIN_RUNS = 2
"""Pictures of a size that are painted without a graph: a recording takes as long as several, and is for sizes that come
again and again, as in a video or a folder."""

KEPT = 3
"""Recordings that are kept, each for one size; beyond that the one unused for longest goes. Each keeps the memory that
painting takes."""

MOST_PIXELS = 4 * 2**20
"""Larger pictures are painted without a graph: they give a GPU more to do for each step, and need more memory."""

MOST_DIFFERENCE = 0.5
"""Mean difference, in grey levels, up to which a recording paints the same as the run it was made of. Libraries may
choose other kernels for it, which round otherwise."""

Work = Callable[[Tensor, Tensor], None]
"""Paints a photo (1, 3, H, W) into a tensor of the same shape, in the same steps for all photos of a size."""

Record = Callable[[Callable[[], None], torch.device], Callable[[], None]]
"""Records what a function tells a device to do, and returns what tells it again. RuntimeError says that it cannot."""

_RECORDING = threading.Lock()


@dataclass(frozen=True)
class _Recording:
    """One recording, and the memory that it reads and writes."""

    photo: Tensor
    painted: Tensor
    replay: Callable[[], None]


def record(function: Callable[[], None], device: torch.device) -> Callable[[], None]:
    """Record what ``function`` tells a GPU to do; see :data:`Record`.

    Raises:
        RuntimeError: It does something that cannot be recorded, or memory ran out.
    """
    graph = torch.cuda.CUDAGraph()
    with _RECORDING, torch.cuda.device(device):
        stream = torch.cuda.Stream(device)
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            function()
        torch.cuda.current_stream(device).wait_stream(stream)
        # thread_local: what other threads do on the GPU meanwhile is no concern of this recording.
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            function()
    return graph.replay


class GraphCache:
    """Recordings of the sizes that come again; everything else is painted as if there were none.

    Args:
        device: The GPU.
        record: What records.

    Attributes:
        failure: Why nothing is recorded any more, in one line; None as long as all goes well.
    """

    def __init__(self, device: torch.device, record: Record = record) -> None:
        self.failure: str | None = None
        self._device, self._record = device, record
        self._seen: dict[tuple[int, int], int] = {}
        self._kept: dict[tuple[int, int], _Recording] = {}  # The one used last is at the end.
        self._busy = threading.Lock()

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Height and width of what is recorded, the one unused for longest first."""
        return list(self._kept)

    def paint(self, work: Work, photo: Tensor, painted: Tensor) -> None:
        """Paint a photo with ``work``, or with a recording of it.

        Args:
            work: The same for all calls.
            photo: (1, 3, H, W).
            painted: Where to, of the same shape.
        """
        with self._busy:
            recording = self._recording(work, photo)
            if recording is not None:
                recording.photo.copy_(photo)
                recording.replay()
                painted.copy_(recording.painted)
                return
        try:
            work(photo, painted)
        except torch.cuda.OutOfMemoryError:
            if not self._forget():
                raise
            work(photo, painted)

    def _forget(self) -> bool:
        """Give back what recordings hold; return whether there were any."""
        with self._busy:
            held = bool(self._kept)
            self._kept.clear()
            self._seen.clear()
            return held

    def _recording(self, work: Work, photo: Tensor) -> _Recording | None:
        """Return the recording for the size of a photo, made now if it is time; None where there is to be none."""
        height, width = photo.shape[-2:]
        recording = self._kept.pop((height, width), None)
        if recording is None:
            if self.failure is not None or height * width > MOST_PIXELS:
                return None
            self._seen[height, width] = self._seen.get((height, width), 0) + 1
            if self._seen[height, width] <= PLAIN_RUNS:
                return None
            # Whether it succeeds or not, the size begins anew once its recording is gone.
            del self._seen[height, width]
            while len(self._kept) >= KEPT:
                del self._kept[next(iter(self._kept))]
            recording = self._recorded(work, photo)
            if recording is None:
                return None
        self._kept[height, width] = recording
        return recording

    def _recorded(self, work: Work, photo: Tensor) -> _Recording | None:
        """Return a recording that paints what ``work`` paints; None, and :attr:`failure`, where that cannot be had."""
        try:
            # Ordinary tensors: outside inference mode, those made in it cannot be written to.
            with torch.inference_mode(False), torch.no_grad():
                own, painted, expected = photo.clone(), torch.empty_like(photo), torch.empty_like(photo)
                recording = _Recording(own, painted, self._record(lambda: work(own, painted), self._device))
                work(own, expected)
                painted.fill_(math.nan)
                recording.replay()
                difference = 255 * float((painted - expected).abs().mean())
        except RuntimeError as error:
            self.failure = " ".join(str(error).split()) or type(error).__name__
        else:
            if difference <= MOST_DIFFERENCE:  # False for NaN, too.
                return recording
            self.failure = f"a recording painted another picture, by {difference:.1f} grey levels"
        self._kept.clear()
        return None
