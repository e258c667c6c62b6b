"""Which engine is chosen, and what is said when one cannot be had."""

from __future__ import annotations

import pytest
import torch

from stylize.config import ENGINE_NAMES
from stylize.engines import choice
from stylize.engines.choice import disagreement, installed_engines, make_engine, precisions
from stylize.engines.torch_engine import TorchEngine
from stylize.errors import DeviceError, InputError, StylizeError
from tests.helpers import tiny_config
from tests.test_program import trained


@pytest.fixture(scope="module")
def network():
    return trained(tiny_config())


def without(monkeypatch, *packages: str) -> None:
    """Let some packages look as if they were not installed."""
    find = choice.importlib.util.find_spec
    monkeypatch.setattr(choice.importlib.util, "find_spec", lambda name: None if name in packages else find(name))


class Fixed:
    """An engine that always paints the same grey."""

    def __init__(self, value: float) -> None:
        self.name, self.precision, self.device, self.value = "openvino", "bfloat16", torch.device("cpu"), value

    def paint(self, images):
        return torch.full_like(images, self.value)


def test_torch_is_always_there(monkeypatch):
    without(monkeypatch, "onnx", "onnxruntime", "openvino", "nncf")
    assert installed_engines() == ["torch"]


@pytest.mark.parametrize(("name", "extra"), [("onnxruntime", "onnx"), ("openvino", "openvino")])
def test_an_engine_that_is_not_installed_is_named_with_its_extra(monkeypatch, network, name, extra):
    without(monkeypatch, "onnxruntime", "openvino")
    with pytest.raises(InputError, match=rf"the engine {name} needs .*; pip install 'stylize\[{extra}\]'"):
        make_engine(network, name)


def test_unknown_names(network):
    with pytest.raises(InputError, match="unknown engine 'openvin'.*openvino"):
        make_engine(network, "openvin")
    with pytest.raises(InputError, match="torch does not compute in int8 here; it has float32"):
        make_engine(network, "torch", "int8")


def test_precision_auto_follows_the_cpu(monkeypatch, network):
    for native, expected in ((torch.bfloat16, "bfloat16"), (torch.float32, "float32")):
        monkeypatch.setattr(choice, "choose_precision", lambda name, device, native=native: native)
        assert make_engine(network).precision == expected
        assert ("bfloat16" in precisions("torch")) == (expected == "bfloat16")


def test_other_engines_do_not_compute_on_a_gpu(network):
    present = [name for name in installed_engines() if name != "torch"]
    if not present:
        pytest.skip("only torch is installed")
    with pytest.raises(DeviceError, match="computes on the CPU here, not on 'meta'"):
        make_engine(network, present[0], device="meta")


def test_auto_takes_the_first_that_agrees(monkeypatch, network):
    monkeypatch.setattr(choice, "_missing", lambda name: [])
    made = {"openvino": Fixed(0.5)}
    original = choice._make
    monkeypatch.setattr(choice, "_make", lambda net, name, *rest: made.get(name) or original(net, name, *rest))
    said: list[str] = []
    monkeypatch.setattr(choice, "AGREEMENT", 300.0)
    assert make_engine(network, "auto", on_fallback=said.append) is made["openvino"]
    assert said == []
    monkeypatch.setattr(choice, "AGREEMENT", 2.0)
    assert isinstance(make_engine(network, "auto", on_fallback=said.append), TorchEngine)
    assert len(said) == 1 and "openvino is passed over: its pictures differ from float32 by" in said[0]


def test_auto_passes_over_an_engine_that_fails_and_says_so(monkeypatch, network):
    original = choice._make

    def make(net, name, *rest):
        if name == "openvino":
            raise StylizeError("no such instruction")
        return original(net, name, *rest)

    monkeypatch.setattr(choice, "_missing", lambda name: [])
    monkeypatch.setattr(choice, "_make", make)
    said: list[str] = []
    assert make_engine(network, "auto", on_fallback=said.append).name == "torch"
    assert said == ["the engine openvino is passed over: no such instruction"]
    with pytest.raises(StylizeError, match="no such instruction"):
        make_engine(network, "openvino")


def test_auto_is_float16_on_a_gpu_where_that_agrees(monkeypatch, network):
    # The CPU stands in for the GPU; PyTorch computes in float16 on it, too.
    monkeypatch.setattr(choice, "HALF_DEVICES", ("cpu",))
    said: list[str] = []
    for name in ("torch", "auto"):
        assert make_engine(network, name, on_fallback=said.append).precision == "float16"
    assert make_engine(network, "torch", "float32").precision == "float32"
    assert said == []
    monkeypatch.setattr(choice, "AGREEMENT", 0.0)
    engine = make_engine(network, on_fallback=said.append)
    assert (engine.name, engine.precision) == ("torch", "float32")
    assert len(said) == 1
    assert said[0].startswith("float16 is passed over for float32, from which its pictures differ by 0.")


def test_float16_that_overflows_is_passed_over(monkeypatch):
    monkeypatch.setattr(choice, "HALF_DEVICES", ("cpu",))
    network = trained(tiny_config("none"))
    with torch.no_grad():
        for parameter in network.encoder.parameters():
            parameter.mul_(1e4)  # Features of 1e8: beyond float16.
    assert make_engine(network).precision == "float32"


def test_elsewhere_float16_is_not_chosen(network):
    assert make_engine(network).precision in ("float32", "bfloat16")
    assert make_engine(network, "torch", "auto", "meta").precision == "float32"


def test_a_network_is_quantised_with_a_word_and_only_once(monkeypatch, network, tmp_path):
    for package in ("onnx", "openvino", "nncf"):
        pytest.importorskip(package, exc_type=ImportError)
    from stylize.engines import quantisation

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    said: list[str] = []

    def quantise(model: bytes, **options: object) -> quantisation.Quantised:
        said.append("quantised")
        raise StylizeError("enough for a test")

    monkeypatch.setattr(quantisation, "quantise", quantise)
    with pytest.raises(StylizeError, match="enough for a test"):
        make_engine(network, "openvino", "int8", threads=1, on_fallback=said.append)
    assert said[1:] == ["quantised"]
    assert said[0].startswith("quantising to int8, which takes seconds; done once for each network, and kept in ")
    assert said[0].endswith("stylize")
    said.clear()
    make_engine(network, "openvino", "float32", threads=1, on_fallback=said.append)
    assert said == []


def test_disagreement_is_a_mean_in_grey_levels():
    assert disagreement(Fixed(0.5), Fixed(0.4)) == pytest.approx(25.5, rel=1e-4)


def test_every_engine_has_a_place_in_the_order():
    assert sorted(choice.PREFERENCE) == sorted(ENGINE_NAMES)
