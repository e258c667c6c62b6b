"""The door to Pillow: tensors, sizes, and what passes through it."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from stylize import images
from stylize.errors import ImageError, InputError
from tests.helpers import ROOT
from tests.image_helpers import DEEP, EIGHT, ORIENTATION, encoded, noise, pixels, save_noise


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return save_noise(tmp_path / "photo.jpg")


# ------------------------------------------------------------------------------------------------------------- the door


def test_everybody_else_comes_through_the_door() -> None:
    # Strips and videos are decoded and encoded by modules of their own; those have the keys.
    rooms = {path for name in ("image_*.py", "strips/*.py", "video/*.py") for path in (ROOT / "stylize").glob(name)}
    assert rooms
    for folder in ("stylize", "benchmarks", "examples"):
        for path in set((ROOT / folder).rglob("*.py")) - rooms - {ROOT / "stylize" / "images.py"}:
            assert not re.search(r"\bstylize\.image_|\bimport image_", path.read_text(encoding="utf-8")), path


def test_reading_and_writing_need_no_torch(photo: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from stylize import images\n"
        "path = Path(sys.argv[1]); image = images.read_image(path)\n"
        "images.write_image(image, path.with_suffix('.png'))\n"
        "sys.exit('torch' in sys.modules)"
    )
    root = Path(images.__file__).resolve().parent.parent
    environment = {**os.environ, "PYTHONPATH": str(root)}
    assert subprocess.run([sys.executable, "-c", script, str(photo)], env=environment, timeout=60).returncode == 0


# -------------------------------------------------------------------------------------------------------------- tensors


@settings(max_examples=50, deadline=None)
@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))))
def test_an_eight_bit_picture_survives_the_round_trip(values: np.ndarray) -> None:
    tensor = images.to_tensor(Image.fromarray(values))
    assert tensor.shape == (1, 3, *values.shape[:2]) and tensor.dtype == torch.float32
    assert (np.asarray(images.to_image(tensor)) == values).all()
    assert (np.asarray(images.to_image(tensor[0].double())) == values).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_level_survives_half_precision_within_its_precision(dtype: torch.dtype) -> None:
    values = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    result = pixels(images.to_image(images.to_tensor(Image.fromarray(values)).to(dtype)))
    assert abs(result - values).max() <= (1 if dtype == torch.bfloat16 else 0)


def test_to_tensor_against_hand_values() -> None:
    image = Image.new("RGB", (2, 1), (0, 51, 255))
    image.putpixel((1, 0), (255, 102, 0))
    expected = torch.tensor([[[[0.0, 1.0]], [[0.2, 0.4]], [[1.0, 0.0]]]])
    tensor = images.to_tensor(image)
    torch.testing.assert_close(tensor, expected, rtol=0, atol=1e-7)
    assert tensor.is_contiguous()


def test_to_tensor_converts_other_modes_without_turning() -> None:
    assert images.to_tensor(Image.new("L", (3, 2), 51)).unique().tolist() == pytest.approx([0.2])
    assert images.to_tensor(Image.fromarray(DEEP))[0, 0].mul(255).round().tolist() == EIGHT
    turned = Image.open(encoded(noise(7, 5).convert("RGBA"), exif=Image.Exif().tobytes()))
    turned.getexif()[ORIENTATION] = 6
    assert images.to_tensor(turned).shape == (1, 3, 5, 7)


def test_to_tensor_of_a_damaged_picture() -> None:
    data = encoded(noise().convert("RGBA")).getvalue()
    with Image.open(io.BytesIO(data[: len(data) // 2])) as opened, pytest.raises(ImageError):
        images.to_tensor(opened)


def test_to_image_clamps_and_rounds() -> None:
    values = torch.tensor([-1.0, 0.49 / 255, 0.51 / 255, 127.4 / 255, 127.6 / 255, 254.6 / 255, 7.0])
    image = images.to_image(values.expand(1, 3, 1, 7))
    assert pixels(image)[0, :, 0].tolist() == [0, 0, 1, 127, 128, 255, 255]


def test_to_image_leaves_its_tensor_alone_and_takes_gradients_and_any_layout() -> None:
    tensor = torch.full((1, 3, 4, 5), 2.0, requires_grad=True)
    assert images.to_image(tensor).size == (5, 4)
    assert (tensor == 2).all()
    plain = images.to_tensor(noise())
    assert (pixels(images.to_image(plain.to(memory_format=torch.channels_last))) == pixels(noise())).all()


@pytest.mark.parametrize(
    "shape", [(3,), (4, 4), (1, 4, 4), (4, 4, 3), (2, 3, 4, 4), (1, 1, 3, 4, 4), (3, 0, 4), (0, 3, 4, 4)]
)
def test_to_image_refuses_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="shape"):
        images.to_image(torch.zeros(shape))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.bool, torch.complex64])
def test_to_image_refuses_other_types(dtype: torch.dtype) -> None:
    with pytest.raises(InputError, match=r"floats in \[0, 1\]"):
        images.to_image(torch.zeros(3, 4, 4, dtype=dtype))


def test_to_image_refuses_what_is_no_tensor() -> None:
    with pytest.raises(InputError, match="tensor is needed"):
        images.to_image(np.zeros((3, 4, 4), np.float32))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_to_image_refuses_values_that_are_not_finite(value: float) -> None:
    tensor = torch.zeros(1, 3, 4, 4)
    tensor[0, 1, 2, 3] = value
    with pytest.raises(InputError, match="not finite"):
        images.to_image(tensor)


# ------------------------------------------------------------------------------------------------------------- resizing


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 200))
def test_resizing_gives_the_exact_side_and_keeps_proportions(width: int, height: int, size: int) -> None:
    image = Image.new("RGB", (width, height))
    long = images.resize_long_edge(image, size)
    assert max(long.size) == size and min(long.size) == max(
        1, int(min(width, height) * size / max(width, height) + 0.5)
    )
    assert (long.width >= long.height) == (width >= height) or long.width == long.height
    if max(width, height) * size / min(width, height) < 20000:
        short = images.resize_short_side(image, size)
        assert min(short.size) == size
        assert max(short.size) == pytest.approx(max(width, height) * size / min(width, height), abs=0.5001)


def test_resizing_enlarges_too_and_returns_the_image_itself_at_its_size() -> None:
    image = noise(56, 40)
    assert images.resize_long_edge(image, 112).size == (112, 80)
    assert images.resize_short_side(image, 80).size == (112, 80)
    assert images.resize_long_edge(image, 56) is image and images.resize_short_side(image, 40) is image


def test_resizing_keeps_flat_colour_and_mean() -> None:
    flat = Image.new("RGB", (301, 199), (10, 200, 77))
    assert (pixels(images.resize_long_edge(flat, 64)) == (10, 200, 77)).all()
    gradient = Image.linear_gradient("L")
    small = images.resize_long_edge(gradient, 32)
    assert abs(pixels(small).mean() - pixels(gradient).mean()) < 1 and small.mode == "L"


@pytest.mark.parametrize("size", [0, -5, 2.5, True, None, "512"])
@pytest.mark.parametrize("resize", [images.resize_long_edge, images.resize_short_side])
def test_resizing_to_no_size_is_an_input_error(resize: object, size: object) -> None:
    with pytest.raises(InputError, match="whole number"):
        resize(noise(), size)


def test_resizing_beyond_the_limit_is_an_input_error() -> None:
    with pytest.raises(InputError, match="smaller size"):
        images.resize_long_edge(noise(), 100_000)
    with pytest.raises(InputError, match="smaller size"):
        images.resize_short_side(Image.new("L", (60000, 1)), 100)
