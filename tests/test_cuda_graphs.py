"""Recordings for sizes that come again: when they are made, that nothing else changes, and what may not be recorded.

A stand-in for the recording runs on the CPU. What needs a GPU is at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from stylize.engines import channel_statistics, cuda_graphs
from stylize.engines.cuda_graphs import KEPT, PLAIN_RUNS, GraphCache
from stylize.engines.torch_engine import TorchEngine
from stylize.norms import NORMS
from stylize.program import lower
from tests.helpers import tiny_config
from tests.test_program import CONFIGS, trained

CPU = torch.device("cpu")


class Recorder:
    """Stands in for a GPU: a replay does again what was recorded, in the same memory.

    Attributes:
        recorded: How many recordings were made.
        replayed: How often they were replayed.
    """

    def __init__(self) -> None:
        self.recorded = self.replayed = 0

    def __call__(self, function: Callable[[], None], device: torch.device) -> Callable[[], None]:
        assert device == CPU
        self.recorded += 1
        function()

        def replay() -> None:
            self.replayed += 1
            function()

        return replay


class Negative:
    """Paints the negative of a photo, and remembers in which memory.

    Attributes:
        places: Where photos lay, run by run.
    """

    def __init__(self) -> None:
        self.places: list[int] = []

    def __call__(self, photo: Tensor, painted: Tensor) -> None:
        self.places.append(photo.data_ptr())
        torch.sub(1, photo, out=painted)


def photo(height: int = 4, width: int = 5, seed: int = 0) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def paint(cache: GraphCache, work: Callable[[Tensor, Tensor], None], image: Tensor) -> Tensor:
    painted = torch.full_like(image, -1)
    cache.paint(work, image, painted)
    return painted


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def cache(recorder) -> GraphCache:
    return GraphCache(CPU, recorder)


def test_a_size_is_recorded_when_it_comes_again_and_again(cache, recorder):
    work, photos = Negative(), [photo(seed=seed) for seed in range(6)]
    for number, image in enumerate(photos):
        assert torch.equal(paint(cache, work, image), 1 - image)
        assert recorder.recorded == (number >= PLAIN_RUNS)
    # One replay to see that the recording is right, and one for each photo since.
    assert recorder.replayed == 1 + len(photos) - PLAIN_RUNS
    own = {image.data_ptr() for image in photos}
    plain, recorded = work.places[:PLAIN_RUNS], set(work.places[PLAIN_RUNS:])
    assert set(plain) <= own
    assert len(recorded) == 1 and not recorded & own  # Always the same memory, and none of the caller's.


def test_what_was_painted_stays_when_the_next_is(cache):
    photos = [photo(seed=seed) for seed in range(7)]
    paintings = [paint(cache, Negative(), image) for image in photos]
    assert all(torch.equal(painted, 1 - image) for painted, image in zip(paintings, photos, strict=True))
    assert len({painted.data_ptr() for painted in paintings}) == len(paintings)


def test_sizes_are_counted_each_for_itself(cache, recorder):
    for seed in range(PLAIN_RUNS):
        for height, width in ((4, 5), (5, 4)):
            paint(cache, Negative(), photo(height, width, seed))
    assert recorder.recorded == 0
    paint(cache, Negative(), photo(5, 4))
    assert cache.sizes == [(5, 4)]


def test_the_size_unused_for_longest_goes_and_begins_anew(cache, recorder):
    def often(height: int) -> None:
        for seed in range(PLAIN_RUNS + 1):
            paint(cache, Negative(), photo(height, seed=seed))

    for height in range(1, KEPT + 1):
        often(height)
    paint(cache, Negative(), photo(1))
    often(KEPT + 1)
    assert [height for height, _ in cache.sizes] == [*range(3, KEPT + 1), 1, KEPT + 1]
    before = recorder.recorded
    paint(cache, Negative(), photo(2))
    assert recorder.recorded == before
    often(2)
    assert recorder.recorded == before + 1


def test_large_pictures_are_not_recorded(cache, recorder, monkeypatch):
    monkeypatch.setattr(cuda_graphs, "MOST_PIXELS", 20)
    for seed in range(2 * PLAIN_RUNS):
        for width in (5, 6):
            paint(cache, Negative(), photo(4, width, seed))
    assert cache.sizes == [(4, 5)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, KEPT + 2), max_size=60))
def test_whatever_sizes_come_every_picture_is_right(widths):
    recorder = Recorder()
    cache, work = GraphCache(CPU, recorder), Negative()
    for seed, width in enumerate(widths):
        image = photo(2, width, seed)
        assert torch.equal(paint(cache, work, image), 1 - image)
        assert len(cache.sizes) <= KEPT
    assert recorder.recorded <= len(widths) // (PLAIN_RUNS + 1)


def never(function: Callable[[], None], device: torch.device) -> Callable[[], None]:
    raise RuntimeError("CUDA error: operation not permitted when stream is capturing\n  a second line")


def silent(function: Callable[[], None], device: torch.device) -> Callable[[], None]:
    function()
    return lambda: None


@pytest.mark.parametrize(
    ("faulty", "said"),
    [
        (never, "CUDA error: operation not permitted when stream is capturing a second line"),
        (silent, "a recording painted another picture, by nan grey levels"),
    ],
)
def test_where_recording_fails_everything_is_painted_without(faulty, said):
    cache, attempts = GraphCache(CPU, lambda *given: attempts.append(1) or faulty(*given)), []
    for seed in range(8):
        image = photo(seed=seed)
        assert torch.equal(paint(cache, Negative(), image), 1 - image)
    assert (cache.failure, cache.sizes, len(attempts)) == (said, [], 1)


def test_a_recording_that_paints_something_else_is_not_used():
    places: list[Tensor] = []

    def work(image: Tensor, painted: Tensor) -> None:
        places.append(painted)
        torch.sub(1, image, out=painted)

    def wrong(function: Callable[[], None], device: torch.device) -> Callable[[], Any]:
        function()
        painted = places[-1]
        return lambda: painted.fill_(0.25)

    cache = GraphCache(CPU, wrong)
    for seed in range(5):
        image = photo(seed=seed)
        assert torch.equal(paint(cache, work, image), 1 - image)
    assert cache.failure.startswith("a recording painted another picture, by ") and cache.sizes == []


def test_a_later_failure_gives_back_what_was_recorded(recorder):
    def at_first(function: Callable[[], None], device: torch.device) -> Callable[[], None]:
        return recorder(function, device) if recorder.recorded == 0 else never(function, device)

    cache = GraphCache(CPU, at_first)
    for height in (4, 5):
        for seed in range(PLAIN_RUNS + 1):
            image = photo(height, seed=seed)
            assert torch.equal(paint(cache, Negative(), image), 1 - image)
    assert cache.sizes == [] and cache.failure.startswith("CUDA error")


def test_a_defect_of_the_work_is_not_hidden(cache):
    def work(image: Tensor, painted: Tensor) -> None:
        raise AttributeError("a defect")

    with pytest.raises(AttributeError):
        paint(cache, work, photo())


def test_pictures_in_inference_mode_and_out_of_it(cache, recorder):
    for seed in range(8):
        image = photo(seed=seed)
        with torch.inference_mode(seed in (PLAIN_RUNS, PLAIN_RUNS + 2)):
            painted = paint(cache, Negative(), image + 0)
        assert torch.equal(painted, 1 - image)
    assert recorder.replayed == 1 + 8 - PLAIN_RUNS


def test_where_memory_runs_out_recordings_are_given_back(cache):
    for seed in range(PLAIN_RUNS + 1):
        paint(cache, Negative(), photo(seed=seed))
    full = iter([True, False, True])

    def work(image: Tensor, painted: Tensor) -> None:
        if next(full):
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        Negative()(image, painted)

    large = photo(9, 9)
    assert torch.equal(paint(cache, work, large), 1 - large)
    assert cache.sizes == [] and cache.failure is None
    with pytest.raises(torch.cuda.OutOfMemoryError):
        paint(cache, work, large)


def test_threads_may_share_recordings(cache, recorder):
    photos = [photo(30, 40, seed) for seed in range(40)]
    with ThreadPoolExecutor(4) as pool:
        paintings = list(pool.map(lambda image: paint(cache, Negative(), image), photos))
    assert all(torch.equal(painted, 1 - image) for painted, image in zip(paintings, photos, strict=True))
    assert recorder.recorded == 1 and recorder.replayed == 1 + len(photos) - PLAIN_RUNS


# The engine.


@pytest.mark.parametrize("norm", ["instance", "batch", "layer"])
def test_the_engine_paints_the_same_with_recordings(norm, recorder):
    program = lower(trained(tiny_config(norm), seed=3))
    plain, engine = TorchEngine(program), TorchEngine(program)
    assert engine.graphs is None  # There is no GPU to record.
    engine.graphs = GraphCache(CPU, recorder)
    for seed in range(3):
        images = torch.rand(2, 3, 21, 18, generator=torch.Generator().manual_seed(seed))
        assert torch.equal(engine.paint(images), plain.paint(images))
    assert engine.graphs.sizes == [(21, 18)] and recorder.replayed == 1 + 6 - PLAIN_RUNS


def test_what_a_filter_changes_is_not_recorded(recorder):
    engine = TorchEngine(lower(trained(tiny_config("instance"))))
    engine.graphs = GraphCache(CPU, recorder)
    calls = []

    def keep(layer: int, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        calls.append(layer)
        return mean, variance

    for _ in range(PLAIN_RUNS + 2):
        engine.paint(photo(16, 16), keep)
    assert recorder.recorded == 0 and len(calls) == (PLAIN_RUNS + 2) * len(set(calls))


class OnTheGpu(TorchDispatchMode):
    """Fails where values go from the CPU to a (fake) GPU or back.

    Attributes:
        operations: How many there were.
    """

    operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.operations += 1
        places = {leaf.device.type for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, Tensor)}
        assert places <= {"cuda"}, f"{func} computes on {places}"
        return result


def on_a_fake_gpu(engine: TorchEngine, mode: Any) -> None:
    """Move an engine to a GPU that has shapes but no values, so that whatever needs a value fails."""

    def moved(tensor: Tensor) -> Tensor:
        return mode.from_tensor(tensor).to("cuda")

    engine.device = torch.device("cuda")
    for step in {id(step): step for step in [*engine._encoder, *sum(engine._blocks, ()), *engine._decoder]}.values():
        step.device = engine.device
        for name, value in list(vars(step).items()):
            if isinstance(value, Tensor):
                setattr(step, name, moved(value))
        if step.norm is not None:
            parts = {name: moved(getattr(step.norm, name)) for name in ("fixed", "scale", "shift")}
            step.norm = replace(step.norm, **parts)


@pytest.fixture
def fake_gpu(monkeypatch) -> Iterator[Any]:
    fake = pytest.importorskip("torch._subclasses.fake_tensor")

    def of_piece(piece: Tensor) -> tuple[Tensor, Tensor]:
        # The kernel of torch has no fake; it is known not to wait.
        variance, mean = torch.var_mean(piece.float(), dim=(0, 2, 3), correction=0)
        return mean, variance

    monkeypatch.setattr(channel_statistics, "_statistics_of_piece", of_piece)
    monkeypatch.setattr(channel_statistics, "POSITIONS_PER_SUM", 64)
    real = torch.zeros(1)
    with fake.FakeTensorMode() as mode:
        try:
            mode.from_tensor(real).to("cuda") + 1
        except RuntimeError as error:
            pytest.skip(f"this torch has no GPU without a GPU: {str(error).splitlines()[0]}")
        yield mode


CASES = [*((norm, {}) for norm in NORMS), *(("instance", changes) for changes in CONFIGS.values() if changes)]


@pytest.mark.parametrize(("norm", "changes"), CASES)
def test_nothing_waits_for_the_gpu_or_comes_from_the_cpu(norm, changes, fake_gpu):
    with torch._subclasses.fake_tensor.unset_fake_temporarily():
        engine = TorchEngine(lower(trained(tiny_config(norm, **changes))), "float16")
    on_a_fake_gpu(engine, fake_gpu)
    images = torch.empty(1, 3, 29, 34, device="cuda")
    with OnTheGpu() as watched:
        painted = engine.paint(images)
    assert painted.shape == images.shape and painted.device.type == "cuda"
    assert watched.operations > 50


def test_waiting_would_be_seen(fake_gpu):
    values = torch.empty(4, device="cuda")
    with OnTheGpu(), pytest.raises(Exception, match="(?i)data.dependent|_local_scalar_dense"):
        bool((values > 0).any())
    with OnTheGpu(), pytest.raises(AssertionError, match="computes on"):
        torch.tensor([1.0], device="cuda")


# With a GPU.

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")


@needs_cuda
@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("norm", ["instance", "batch", "layer"])
def test_a_gpu_paints_the_same_with_recordings(norm, precision):
    program = lower(trained(tiny_config(norm), seed=3))
    plain = TorchEngine(program, precision, "cuda", graphs=False)
    engine = TorchEngine(program, precision, "cuda")
    paintings = []
    for seed in range(6):
        images = photo(45, 38, seed).cuda()
        paintings.append((engine.paint(images), plain.paint(images)))
    assert engine.graphs.failure is None
    assert engine.graphs.sizes == [(45, 38)]
    for found, expected in paintings:
        torch.testing.assert_close(found, expected, atol=2 / 255, rtol=0)


@needs_cuda
def test_a_gpu_goes_on_where_something_cannot_be_recorded():
    cache = GraphCache(torch.device("cuda"))

    def work(image: Tensor, painted: Tensor) -> None:
        if float(image.sum()) > 0:
            torch.sub(1, image, out=painted)

    for seed in range(5):
        image = photo(seed=seed).cuda()
        assert torch.equal(paint(cache, work, image), 1 - image)
    assert cache.failure is not None and cache.sizes == []


@needs_cuda
def test_a_gpu_agrees_with_the_cpu():
    program = lower(trained(tiny_config("instance"), seed=3))
    images = photo(64, 48)
    expected = TorchEngine(program).paint(images)
    for precision, limit in (("float32", 0.5), ("float16", 2.0), ("bfloat16", 3.0)):
        found = TorchEngine(program, precision, "cuda").paint(images.cuda()).cpu()
        assert 255 * float((found - expected).abs().mean()) < limit
