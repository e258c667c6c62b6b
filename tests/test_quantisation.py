"""Networks in 8 bits: close to float32, quiet, and kept for the next time."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from stylize.checkpoints import load_network
from stylize.engines import quantisation
from stylize.engines.quantisation import Loss, measure_loss, quantise
from stylize.errors import InputError, StylizeError
from stylize.evaluation import style_distance
from stylize.images import read_image, resize_long_edge, resize_short_side, to_tensor
from stylize.program import lower
from stylize.zoo import example_photos, painting_of, resolve_weights
from tests.helpers import run_python, tiny_config
from tests.test_program import trained

INSTALLED = all(importlib.util.find_spec(name) is not None for name in ("onnx", "openvino", "nncf"))
needs_nncf = pytest.mark.skipif(not INSTALLED, reason="needs onnx, openvino and nncf")


class Painter:
    """An engine that only brightens."""

    name, precision, device = "torch", "float32", torch.device("cpu")

    def __init__(self, brighter: float) -> None:
        self.brighter = brighter

    def paint(self, images):
        return images * (1 + self.brighter)


def test_the_loss_is_that_of_the_pictures():
    photos = [torch.full((1, 3, 32, 32), 0.25), torch.full((1, 3, 32, 40), 0.5)]
    painting = torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    loss = measure_loss(Painter(0.08), Painter(0.0), photos, painting)
    # 8 % of 0.25 and of 0.5, in grey levels: 5.1 and 10.2.
    assert loss.difference == pytest.approx(255 * (0.02 + 0.04) / 2, rel=1e-4)
    assert loss.worst_difference == pytest.approx(255 * 0.04, rel=1e-4)
    ours, theirs = (sum(float(style_distance(x * f, painting)) for x in photos) for f in (1.08, 1.0))
    assert loss.style_change == pytest.approx(ours / theirs - 1, rel=1e-4)
    assert abs(loss.style_change) > 1e-4
    same = measure_loss(Painter(0.0), Painter(0.0), photos[:1], painting)
    assert (same.difference, same.style_change) == (0, 0)
    with pytest.raises(InputError, match="no photos"):
        measure_loss(Painter(0), Painter(0), [], painting)


@pytest.mark.parametrize(
    ("difference", "change", "within"),
    [(1.9, 0.02, True), (1.9, -0.02, True), (2.0, 0.0, False), (1.0, 0.021, False), (1.0, -0.021, False)],
)
def test_the_limits(difference, change, within):
    assert Loss(difference, 9.0, change).within_limits is within


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "nncf" else find(name, *rest))
    with pytest.raises(InputError, match=r"int8 needs the package nncf.*pip install 'stylize\[openvino\]'"):
        quantise(b"", threads=1)


def test_a_failure_is_told_in_one_line(monkeypatch, tmp_path, capfd):
    process = tmp_path / "process.py"
    process.write_text("print('chatter')\nraise SystemExit('warning: old\\nno such layer')\n")
    monkeypatch.setattr(quantisation, "PROCESS", process)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: True)
    with pytest.raises(StylizeError, match="^the network could not be quantised: no such layer$"):
        quantise(b"", threads=1, photos=[torch.zeros(1, 3, 8, 8)])
    assert capfd.readouterr() == ("", "")


@needs_nncf
def test_the_step_that_comes_closest_is_taken(monkeypatch):
    from stylize.engines.onnx_graph import onnx_model

    monkeypatch.setattr(quantisation, "TARGET", -1.0)
    monkeypatch.setattr(quantisation, "STEPS", (["decoder.*"], [".*"], ["encoder.*"]))
    model = onnx_model(lower(trained(tiny_config("instance")))).SerializeToString()
    photos = [torch.rand(1, 3, 24, 28, generator=torch.Generator().manual_seed(seed)) for seed in range(2)]
    small = quantise(model, threads=1, photos=photos)
    # With all of it in float nothing is lost.
    assert small.kept == (".*",)
    assert small.difference < 0.01


QUIET = """
import sys
import torch
from stylize.engines.openvino_engine import OpenVinoEngine
from stylize.program import lower
from tests.helpers import tiny_config
from tests.test_program import trained
network = trained(tiny_config("instance"))
images = torch.rand(1, 3, 33, 38, generator=torch.Generator().manual_seed(0))
engines = [OpenVinoEngine(lower(network), "int8", 1) for _ in range(2)]
found = engines[0].paint(images)
with torch.no_grad():
    far = float((found - network(images).clamp(0, 1)).abs().mean()) * 255
assert [engine.from_cache for engine in engines] == [False, True]
assert 0 < engines[0].difference == engines[1].difference < 4, engines[0].difference
assert torch.equal(engines[1].paint(images), found)
assert 0 < far < 4, far
assert not {"nncf", "openvino_telemetry"} & {name for name, module in sys.modules.items() if module is not None}
"""


@needs_nncf
def test_nothing_is_printed_and_nobody_is_told(tmp_path, monkeypatch):
    for name in ("HOME", "USERPROFILE", "LOCALAPPDATA", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    finished = run_python("-c", QUIET)
    assert (finished.stdout, finished.stderr, finished.returncode) == ("", "", 0)
    # OpenVINO's reporting leaves a folder "intel" with a number for its user.
    assert [path.name for path in tmp_path.iterdir()] == ["stylize"]


@needs_nncf
@pytest.mark.slow
def test_the_shipped_network_stays_within_the_limits(tmp_path):
    from stylize.engines.openvino_engine import OpenVinoEngine

    weights = resolve_weights("starry-night", "instance")
    program = lower(load_network(weights.path)[0])
    painting = to_tensor(resize_short_side(read_image(painting_of(weights)), int(weights.metadata["style_size"])))
    photo = to_tensor(resize_long_edge(read_image(example_photos()[0]), 320))
    engine, reference = (OpenVinoEngine(program, precision, 1, tmp_path) for precision in ("int8", "float32"))
    loss = measure_loss(engine, reference, [photo], painting)
    assert loss.within_limits, loss
    assert loss.difference > 0.1  # It did compute in 8 bits.
