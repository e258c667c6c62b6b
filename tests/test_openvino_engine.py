"""The engine openvino paints what the network paints."""

from __future__ import annotations

import importlib.util
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from stylize.devices import choose_precision
from stylize.engines import openvino_engine
from stylize.engines.openvino_engine import OpenVinoEngine, available, import_openvino
from stylize.errors import DeviceError, InputError, StylizeError
from stylize.norms import NORMS
from stylize.program import lower
from tests.helpers import tiny_config
from tests.test_program import CONFIGS, trained

pytest.importorskip("onnx")
pytest.importorskip("openvino", exc_type=ImportError)

NATIVE = choose_precision("auto", torch.device("cpu")) == torch.bfloat16


@pytest.fixture
def program():
    return lower(trained(tiny_config("instance")))


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def photos(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def painted(network, images):
    with torch.no_grad():
        return network(images).clamp(0, 1)


CASES = {
    **{norm: (norm, {}) for norm in NORMS},
    **{name: ("instance", changes) for name, changes in CONFIGS.items() if changes},
}


@pytest.mark.parametrize(("norm", "changes"), CASES.values(), ids=CASES)
def test_it_paints_what_the_network_paints(norm, changes, cache):
    network = trained(tiny_config(norm, **changes), seed=3)
    engine = OpenVinoEngine(lower(network), "float32", 1, cache)
    # Far below 1e-3: a float32 engine that computes in bfloat16 behind our back does not pass. Features of a single
    # pixel have no variance but rounding errors, which a norm enlarges 300-fold, layer after layer.
    for shape, tolerance in (((2, 3, 29, 34), 1e-4), ((1, 3, 1, 1), 1e-2), ((1, 3, 2, 19), 1e-4)):
        images = photos(*shape)
        found = engine.paint(images)
        torch.testing.assert_close(found, painted(network, images), atol=tolerance, rtol=0)
        assert found.dtype == torch.float32 and found.is_contiguous()
    assert (engine.name, engine.precision, engine.device) == ("openvino", "float32", torch.device("cpu"))


def test_pictures_of_any_memory_layout_and_results_that_stay(program, cache):
    engine = OpenVinoEngine(program, "float32", 1, cache)
    images = photos(2, 3, 24, 20)
    first = engine.paint(images)
    kept = first.clone()
    for other in (images.contiguous(memory_format=torch.channels_last), images.clone().requires_grad_()):
        torch.testing.assert_close(engine.paint(other), first, atol=1e-6, rtol=0)
    with torch.inference_mode():
        torch.testing.assert_close(engine.paint(images + 0), first, atol=1e-6, rtol=0)
    engine.paint(photos(2, 3, 24, 20, seed=2))
    assert torch.equal(first, kept)


def test_threads_may_share_an_engine(program, cache):
    engine = OpenVinoEngine(program, "float32", 1, cache)
    several = [photos(1, 3, 20 + number, 33, seed=number) for number in range(12)]
    expected = [engine.paint(images) for images in several]
    with ThreadPoolExecutor(4) as pool:
        for found, wanted in zip(pool.map(engine.paint, several), expected, strict=True):
            torch.testing.assert_close(found, wanted, atol=1e-6, rtol=0)


@pytest.mark.skipif(not NATIVE, reason="this CPU has no bfloat16")
def test_bfloat16_is_close(cache):
    network = trained(tiny_config("instance"))
    images = photos(2, 3, 45, 38)
    engine = OpenVinoEngine(lower(network), "bfloat16", 1, cache)
    difference = (engine.paint(images) - painted(network, images)).abs().mean()
    assert 0 < difference < 3 / 255
    assert OpenVinoEngine(lower(network), "auto", 1, cache).precision == "bfloat16"


def test_compiled_models_are_used_again(program, cache):
    images = photos(1, 3, 31, 30)
    first = OpenVinoEngine(program, "float32", 1, cache)
    second = OpenVinoEngine(program, "float32", 2, cache)
    assert (first.from_cache, second.from_cache) == (False, True)
    torch.testing.assert_close(second.paint(images), first.paint(images), atol=1e-5, rtol=0)
    assert not OpenVinoEngine(lower(trained(tiny_config("instance"), seed=1)), "float32", 1, cache).from_cache
    (kept,) = [
        path for path in cache.iterdir() if path.stat().st_mtime == min(p.stat().st_mtime for p in cache.iterdir())
    ]
    kept.write_bytes(kept.read_bytes()[:-10])
    third = OpenVinoEngine(program, "float32", 1, cache)
    torch.testing.assert_close(third.paint(images), first.paint(images), atol=1e-5, rtol=0)


def test_a_model_that_openvino_refuses_is_compiled_anew(program, cache, monkeypatch):
    OpenVinoEngine(program, "float32", 1, cache)
    # Whole as we wrote it, but of another build of OpenVINO.
    monkeypatch.setattr(openvino_engine.compiled_models, "read", lambda *_: ({}, b"something else"))
    engine = OpenVinoEngine(program, "float32", 1, cache)
    assert not engine.from_cache
    assert engine.paint(photos(1, 3, 16, 16)).shape == (1, 3, 16, 16)


def test_a_cache_that_cannot_be_written_only_means_no_cache(program, tmp_path):
    (tmp_path / "file").touch()
    for _ in range(2):
        engine = OpenVinoEngine(program, "float32", 1, tmp_path / "file")
        assert not engine.from_cache
    assert engine.paint(photos(1, 3, 16, 16)).isfinite().all()


def test_the_cache_of_the_user_is_the_default(program, tmp_path, monkeypatch):
    monkeypatch.setattr(openvino_engine.compiled_models, "user_cache", lambda: tmp_path / "mine")
    OpenVinoEngine(program, "float32", 1)
    assert len(list((tmp_path / "mine").iterdir())) == 1


def test_an_unknown_precision_is_refused(program, cache):
    with pytest.raises(InputError, match="unknown precision of the engine openvino 'int4'.*float32"):
        OpenVinoEngine(program, "int4", 1, cache)


def test_a_missing_package_is_named_with_its_extra(program, cache, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "openvino" else find(name, *rest)
    )
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert not available()
    with pytest.raises(InputError, match=r"needs the package openvino; pip install 'stylize\[openvino\]'"):
        OpenVinoEngine(program, "float32", 1, cache)


def test_an_engine_that_does_not_start_says_so_in_one_line(program, cache, monkeypatch):
    openvino = import_openvino()

    def refuse(*_, **__):
        raise RuntimeError("Exception from src/inference/core.cpp:1:\nno such instruction\n\n")

    real = openvino.Core()

    class Refusing:
        get_property, read_model, compile_model = real.get_property, real.read_model, staticmethod(refuse)

    for core in (refuse, Refusing):
        with monkeypatch.context() as patch:
            patch.setattr(openvino, "Core", core)
            with pytest.raises(DeviceError, match="does not start on this machine: no such instruction") as caught:
                OpenVinoEngine(program, "float32", 1, cache)
            assert "\n" not in str(caught.value)


def test_bfloat16_is_refused_where_the_cpu_has_none(program, cache, monkeypatch):
    openvino = import_openvino()
    real = openvino.Core()

    class Old:
        read_model, compile_model = real.read_model, real.compile_model

        def get_property(self, _, name):
            return ["FP32"] if "CAPABILITIES" in name else "an old CPU"

    monkeypatch.setattr(openvino, "Core", Old)
    with pytest.raises(DeviceError, match="does not multiply bfloat16; choose float32"):
        OpenVinoEngine(program, "bfloat16", 1, cache)
    assert OpenVinoEngine(program, "auto", 1, cache).precision == "float32"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError("place:1\nstd::bad_alloc"), "not enough memory for a picture of 20x24 px.*--size 12"),
        (MemoryError(), "not enough memory"),
        (RuntimeError("place:1\nthe shapes differ\n"), "OpenVINO failed: the shapes differ"),
    ],
)
def test_a_failure_while_painting_is_one_line(program, cache, error, expected):
    engine = OpenVinoEngine(program, "float32", 1, cache)

    class Failing:
        def set_input_tensor(self, _):
            raise error

    engine._request = Failing()
    with pytest.raises(StylizeError, match=expected):
        engine.paint(photos(1, 3, 24, 20))
