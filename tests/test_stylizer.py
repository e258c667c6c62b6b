"""The object that repaints pictures."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import stylize
from stylize import zoo
from stylize.checkpoints import read_weights_file
from stylize.errors import DeviceError, InputError, StylizeError
from stylize.images import to_tensor
from stylize.stylizer import Stylizer, load
from tests.helpers import synthetic_image, tiny_weights


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    return {norm: tiny_weights(folder / f"{norm}.safetensors", norm=norm, seed=3) for norm in ("instance", "batch")}


@pytest.fixture(scope="module", params=["instance", "batch"])
def stylizer(request, weights):
    return load(weights[request.param], device="cpu", precision="float32")


def test_load_describes_itself(weights):
    loaded = load(weights["batch"], device="cpu")
    assert isinstance(loaded, stylize.Stylizer)
    assert (loaded.style, loaded.norm, loaded.preset) == ("test-style", "batch", "fast")
    assert loaded.device == torch.device("cpu")
    assert loaded.weights.metadata["steps"] == 100
    assert not loaded.network.training
    assert "style='test-style', norm='batch'" in repr(loaded)
    assert f"engine='torch', precision='{loaded.engine.precision}'" in repr(loaded)


def test_load_with_another_precision_paints_nearly_the_same(weights):
    images = torch.rand(1, 3, 24, 20, generator=torch.Generator().manual_seed(0))
    exact, rounded = (load(weights["instance"], device="cpu", precision=one) for one in ("float32", "bfloat16"))
    assert (exact.engine.precision, rounded.engine.precision) == ("float32", "bfloat16")
    difference = 255 * (exact(images) - rounded(images)).abs().mean()
    assert 0 < difference < 2


def test_load_by_name(weights, monkeypatch):
    monkeypatch.setattr(zoo, "weights_directory", lambda: weights["instance"].parent)
    assert load("test-style", device="cpu").norm == "instance"
    assert load("test-style", norm="batch", device="cpu").norm == "batch"
    with pytest.raises(InputError, match="did you mean 'test-style'"):
        load("test-stile")


def test_load_refuses_another_norm_and_an_absent_device(weights, monkeypatch):
    with pytest.raises(InputError, match="with batch norm, not with instance norm"):
        load(weights["batch"], norm="instance")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError):
        load(weights["batch"], device="cuda")


def test_network_in_training_mode_is_put_in_evaluation_mode(weights):
    network = load(weights["batch"], device="cpu").network.train()
    assert not Stylizer(network, read_weights_file(weights["batch"])).network.training


@settings(max_examples=20, deadline=None)
@given(width=st.integers(1, 40), height=st.integers(1, 40))
def test_every_size_is_kept(weights, width, height):
    stylizer = load(weights["instance"], device="cpu")
    painted = stylizer(synthetic_image(width, height))
    assert painted.size == (width, height)
    assert painted.mode == "RGB"


def test_tensor_in_tensor_out(stylizer):
    images = torch.rand(2, 3, 17, 23, generator=torch.Generator().manual_seed(0))
    painted = stylizer(images)
    assert painted.shape == images.shape
    assert painted.dtype == torch.float32
    assert 0 <= painted.min() and painted.max() <= 1
    assert painted.is_contiguous()
    assert not torch.equal(painted, images)


def test_output_is_the_clamped_network(stylizer):
    images = torch.rand(1, 3, 16, 20, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = stylizer.network(images).clamp(0, 1)
    torch.testing.assert_close(stylizer(images), expected, atol=1e-5, rtol=0)


def test_output_is_clamped(weights):
    network = load(weights["batch"], device="cpu").network
    with torch.no_grad():
        network.decoder[-1].conv.bias.copy_(torch.tensor([9.0, -9.0, 9.0]))
    painted = Stylizer(network, read_weights_file(weights["batch"]))(torch.rand(1, 3, 8, 8))
    assert painted.amax((0, 2, 3)).tolist() == [1, 0, 1] and painted.amin((0, 2, 3)).tolist() == [1, 0, 1]


def test_pictures_of_a_batch_do_not_influence_each_other(stylizer):
    images = torch.cat([to_tensor(synthetic_image(24, 18, seed)) for seed in range(3)])
    images[1] *= 0.2
    together = stylizer(images)
    apart = torch.cat([stylizer(one) for one in images.split(1)])
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=0)


def test_picture_and_tensor_agree(stylizer):
    image = synthetic_image(21, 13)
    expected = (stylizer(to_tensor(image)) * 255).round().to(torch.uint8)
    torch.testing.assert_close((to_tensor(stylizer(image)) * 255).round().to(torch.uint8), expected)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_kept(stylizer, mode):
    image = synthetic_image(16, 12, mode=mode)
    painted = stylizer(image)
    assert painted.mode == "RGBA"
    assert painted.getchannel("A").tobytes() == image.getchannel("A").tobytes()


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "I;16", "F"])
def test_other_modes(stylizer, mode):
    image = synthetic_image(16, 12, mode="L" if mode in ("I;16", "F") else mode)
    painted = stylizer(image.convert(mode) if image.mode != mode else image)
    assert (painted.size, painted.mode) == ((16, 12), "RGB")


def test_given_tensor_and_picture_are_not_changed(stylizer):
    images = torch.rand(1, 3, 8, 8)
    image = synthetic_image(8, 8)
    before, pixels = images.clone(), image.tobytes()
    stylizer(images)
    stylizer(image)
    assert torch.equal(images, before)
    assert image.tobytes() == pixels


def test_the_same_twice(stylizer):
    image = synthetic_image(30, 20)
    assert stylizer(image).tobytes() == stylizer(image).tobytes()


def test_result_can_be_used_in_autograd(stylizer):
    painted = stylizer(torch.rand(1, 3, 8, 8))
    scale = torch.ones(1, requires_grad=True)
    (painted * scale).sum().backward()
    assert scale.grad is not None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (torch.zeros(3, 8, 8), r"shape \(3, 8, 8\) given; \(B, 3, H, W\)"),
        (torch.zeros(1, 1, 8, 8), r"\(B, 3, H, W\)"),
        (torch.zeros(1, 3, 0, 8), r"\(B, 3, H, W\)"),
        (torch.zeros(0, 3, 8, 8), r"\(B, 3, H, W\)"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "torch.uint8 given; torch.float32"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.float64), "torch.float64 given; torch.float32"),
        (torch.full((1, 3, 8, 8), 255.0), r"\[255, 255\] given; \[0, 1\]"),
        (torch.full((1, 3, 8, 8), -0.5), r"\[0, 1\] is accepted"),
        (torch.full((1, 3, 8, 8), float("nan")), r"\[0, 1\] is accepted"),
        ("photo.jpg", "a str given; a PIL picture or a tensor"),
        (None, "a NoneType given"),
        (Image.new("RGB", (0, 5)), "0 x 5"),
    ],
)
def test_wrong_input(stylizer, given, said):
    with pytest.raises(InputError, match=said):
        stylizer(given)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.cuda.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
    ],
)
def test_out_of_memory_says_the_size_and_what_to_do(stylizer, monkeypatch, error):
    def fail(images):
        raise error

    monkeypatch.setattr(stylizer.engine, "paint", fail)
    with pytest.raises(StylizeError, match=r"not enough memory on cpu for a picture of 30x20 px; .*--size 15"):
        stylizer(synthetic_image(30, 20))


def test_other_runtime_errors_are_not_hidden(stylizer, monkeypatch):
    def fail(images):
        raise RuntimeError("a defect")

    monkeypatch.setattr(stylizer.engine, "paint", fail)
    with pytest.raises(RuntimeError, match="a defect"):
        stylizer(torch.zeros(1, 3, 8, 8))
