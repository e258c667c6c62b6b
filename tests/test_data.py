"""Training photos: order, crops and flips as functions of seed and position, bad files, and what is held out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from stylize.data import PhotoStream, find_photos, hold_out, load_square
from stylize.errors import ImageError, InputError
from tests.helpers import save_photo, synthetic_image


@pytest.fixture
def photos(tmp_path) -> list[Path]:
    """Seven photos of different shapes."""
    sizes = [(40, 30), (30, 40), (25, 25), (60, 20), (33, 47), (80, 64), (20, 90)]
    return [save_photo(tmp_path / f"{i}.png", *size, seed=i) for i, size in enumerate(sizes)]


@pytest.fixture
def coloured(tmp_path) -> list[Path]:
    """Nine photos of one colour each, which says which photo a crop is from."""
    paths = []
    for number in range(9):
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (24, 18), (number * 25, 255 - number * 25, 100)).save(path)
        paths.append(path)
    return paths


def which(crop: torch.Tensor) -> int:
    assert crop[0].std() < 1e-6
    return round(crop[0].mean().item() * 255 / 25)


def stream(paths: list[Path], size: int = 12, crop_scale: float = 0.5, seed: int = 3) -> PhotoStream:
    return PhotoStream(paths, size, crop_scale, seed)


# ------------------------------------------------------------------------------------------------- seed and position


def test_a_photo_is_a_function_of_seed_and_position(photos):
    positions = list(range(20))
    one = stream(photos)
    forwards = {position: one.photo(position) for position in positions}
    other = stream(photos)
    backwards = {position: other.photo(position) for position in reversed(positions)}
    for position in positions:
        assert torch.equal(forwards[position], backwards[position])
        assert torch.equal(forwards[position], stream(photos).photo(position))
        assert torch.equal(forwards[position], one.photo(position))
    assert not all(torch.equal(forwards[p], stream(photos, seed=4).photo(p)) for p in positions)


def test_photos_do_not_depend_on_the_random_state_of_the_process(photos):
    np.random.seed(0)
    torch.manual_seed(0)
    first = stream(photos).photo(4)
    np.random.seed(1)
    torch.manual_seed(1)
    assert torch.equal(first, stream(photos).photo(4))


def test_a_photo_is_a_square_crop_in_unit_range(photos):
    for position in range(14):
        crop = stream(photos, size=17).photo(position)
        assert crop.shape == (3, 17, 17)
        assert crop.dtype == torch.float32
        assert crop.min() >= 0
        assert crop.max() <= 1
        assert crop.std() > 0.01


def test_every_photo_appears_once_in_every_epoch(coloured):
    source = stream(coloured)
    epochs = [[which(source.photo(9 * epoch + place)) for place in range(9)] for epoch in range(4)]
    assert all(sorted(epoch) == list(range(9)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4
    other = [which(stream(coloured, seed=4).photo(place)) for place in range(9)]
    assert sorted(other) == list(range(9))
    assert other != epochs[0]


def test_a_batch_is_its_photos_in_a_row_across_epochs(photos):
    source = stream(photos)
    batch = source.batch(step=2, batch_size=3)  # positions 6, 7, 8 of seven photos
    assert batch.shape == (3, 3, 12, 12)
    assert all(torch.equal(batch[i], source.photo(6 + i)) for i in range(3))


@pytest.mark.parametrize(("first", "last"), [(0, 6), (4, 9), (5, 6), (3, 3), (7, 5)])
def test_batches_read_ahead_are_the_batches(photos, first, last):
    found = list(stream(photos).batches(first, last, 2))
    expected = [stream(photos).batch(step, 2) for step in range(first, last)]
    assert len(found) == len(expected)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_batches_can_be_left_early_and_taken_up_again(photos):
    source = stream(photos)
    batches = source.batches(0, 1000, 2)
    first = [next(batches) for _ in range(3)]
    batches.close()
    rest = list(source.batches(3, 5, 2))
    whole = list(stream(photos).batches(0, 5, 2))
    assert all(torch.equal(a, b) for a, b in zip([*first, *rest], whole, strict=True))


# ----------------------------------------------------------------------------------------------------- crops and flips

WIDE, HIGH = 120, 80


@pytest.fixture
def ruler(tmp_path) -> Path:
    """A photo whose red says how far right a pixel lies, and whose green how far down, in two levels per pixel."""
    y, x = np.mgrid[0:HIGH, 0:WIDE]
    path = tmp_path / "ruler.png"
    Image.fromarray(np.stack([x * 2, y * 2, x * 0], axis=-1).astype(np.uint8)).save(path)
    return path


def measured(crop: torch.Tensor) -> tuple[float, float, float, float, bool]:
    """Return left, top, width and height of a crop of the ruler in pixels, and whether it is mirrored."""
    size = crop.shape[-1]
    across, down = crop[0].mean(0) * 255 / 2, crop[1].mean(1) * 255 / 2
    inner = np.arange(3, size - 3)  # the outermost pixels are bent by the filter
    step_x, step_y = (float(np.polyfit(inner, row[3:-3].numpy(), 1)[0]) for row in (across, down))
    width, height = abs(step_x) * size, abs(step_y) * size
    left = across.mean().item() + 0.5 - width / 2
    top = down.mean().item() + 0.5 - height / 2
    return left, top, width, height, step_x < 0


def test_crops_lie_within_the_photo_are_square_and_vary(ruler):
    source = stream([ruler], size=32, crop_scale=0.6)
    found = [measured(source.photo(position)) for position in range(150)]
    for left, top, width, height, _ in found:
        assert left > -0.8
        assert top > -0.8
        assert left + width < WIDE + 0.8
        assert top + height < HIGH + 0.8
        assert width == pytest.approx(height, abs=0.8)
        assert 0.6 * HIGH - 1 < width < HIGH + 1
    lefts, tops, widths, _, flips = (np.array(column) for column in zip(*found, strict=True))
    # All of the range is used: sides from 48 to 80 pixels, and places from one border to the other.
    assert widths.min() < 51
    assert widths.max() > 77
    assert lefts.min() < 5
    assert (lefts + widths).max() > WIDE - 5
    assert tops.min() < 2
    assert (tops + widths).max() > HIGH - 2
    # 150 coins: 75 heads, standard deviation 6.
    assert 50 < flips.sum() < 100


def test_crop_scale_1_takes_the_whole_short_side(ruler):
    source = stream([ruler], size=32, crop_scale=1.0)
    for position in range(20):
        left, top, width, height, _ = measured(source.photo(position))
        assert height == pytest.approx(HIGH, abs=0.8)
        assert width == pytest.approx(HIGH, abs=0.8)
        assert top == pytest.approx(0, abs=0.8)
        assert -0.8 < left < WIDE - HIGH + 0.8


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (2, 3)])
def test_tiny_photos_are_enlarged(tmp_path, size):
    path = save_photo(tmp_path / "tiny.png", *size)
    assert stream([path], crop_scale=0.1).photo(0).shape == (3, 12, 12)
    assert load_square(path, 12).shape == (1, 3, 12, 12)


def turned(path: Path, upright: Image.Image) -> Path:
    """Save a picture lying on its side, with the EXIF orientation that says so."""
    exif = Image.Exif()
    exif[274] = 6  # to be turned by 90 degrees clockwise
    upright.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif, quality=100, subsampling=0)
    return path


def test_the_orientation_in_exif_is_honoured(tmp_path):
    upright = synthetic_image(60, 40)
    upright.save(tmp_path / "upright.png")
    side = turned(tmp_path / "side.jpg", upright)
    for position in range(6):
        expected = stream([tmp_path / "upright.png"], seed=1).photo(position)
        assert (stream([side], seed=1).photo(position) - expected).abs().max() < 0.1
    assert (load_square(side, 20) - load_square(tmp_path / "upright.png", 20)).abs().max() < 0.1


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "P", "I;16"])
def test_other_modes_become_rgb(tmp_path, mode):
    path = tmp_path / ("photo.tif" if mode == "CMYK" else "photo.png")
    if mode == "I;16":
        Image.fromarray((np.arange(600).reshape(20, 30) * 100).astype(np.uint16)).save(path)
    else:
        synthetic_image(30, 20, mode=mode).save(path)
    assert stream([path]).photo(0).shape == (3, 12, 12)


# ------------------------------------------------------------------------------------------------------------ bad files


def test_an_unreadable_photo_is_replaced_by_the_next_and_recorded(coloured):
    coloured[4].write_bytes(b"no picture")
    coloured[5].unlink()
    source = stream(coloured)
    epoch = sorted(which(source.photo(place)) for place in range(9))
    assert epoch == [0, 1, 2, 3, 6, 6, 6, 7, 8]
    assert set(source.unreadable) == {coloured[4], coloured[5]}
    assert str(coloured[4]) in source.unreadable[coloured[4]]
    assert "there is no such file" in source.unreadable[coloured[5]]


def test_after_the_last_photo_the_first_stands_in(coloured):
    coloured[8].write_bytes(b"")
    source = stream(coloured)
    assert sorted(which(source.photo(place)) for place in range(9)) == [0, 0, 1, 2, 3, 4, 5, 6, 7]


def test_an_unreadable_photo_changes_nothing_for_a_resumed_run(coloured):
    coloured[4].write_bytes(b"no picture")
    whole = stream(coloured)
    uninterrupted = [whole.photo(position) for position in range(18)]
    # One that starts in the middle and one that knows of the bad photo from its checkpoint.
    later, knowing = stream(coloured), stream(coloured)
    knowing.unreadable |= whole.unreadable
    for position in range(9, 18):
        assert torch.equal(later.photo(position), uninterrupted[position])
        assert torch.equal(knowing.photo(position), uninterrupted[position])


@pytest.mark.parametrize("ahead", [False, True])
def test_all_photos_unreadable(coloured, ahead):
    for path in coloured:
        path.write_bytes(b"\xff\xd8\xff and no more")
    source = stream(coloured)
    with pytest.raises(InputError, match=r"none of the 9 training photos can be read; the first: .*0\.png"):
        if ahead:
            next(source.batches(0, 5, 2))
        else:
            source.photo(0)
    assert set(source.unreadable) == set(coloured)


# ---------------------------------------------------------------------------------------------------------- find_photos


def test_find_photos_searches_all_folders_in_order(tmp_path):
    expected = [save_photo(tmp_path / name) for name in ("a.jpg", "b/c.PNG", "b/d/e.webp")]
    (tmp_path / "notes.txt").write_text("no photo")
    assert find_photos(tmp_path, 3, "batches of 2") == sorted(expected)
    assert find_photos(tmp_path, 1, "batches of 2") == find_photos(tmp_path, 3, "batches of 2")


@pytest.mark.parametrize(("number", "found"), [(0, "no photo"), (1, "1 photo"), (2, "2 photos")])
def test_too_few_photos(tmp_path, number, found):
    for index in range(number):
        save_photo(tmp_path / f"{index}.jpg")
    with pytest.raises(InputError, match=f"holds {found}; at least 5 are needed for batches of 4$"):
        find_photos(tmp_path, 5, "batches of 4")


def test_no_such_folder(tmp_path):
    with pytest.raises(InputError, match=r"nowhere not found; give an existing folder of at least 5 photos"):
        find_photos(tmp_path / "nowhere", 5, "batches of 4")


def test_a_file_instead_of_a_folder(tmp_path):
    path = save_photo(tmp_path / "a.jpg")
    with pytest.raises(InputError, match=r"a.jpg is a file; a folder of at least 5 photos is needed for batches of 4"):
        find_photos(path, 5, "batches of 4")


# ------------------------------------------------------------------------------------------------------------- held out


@settings(max_examples=60)
@given(st.integers(2, 300), st.integers(0, 2**63 - 1), st.integers(1, 20))
def test_held_out_photos_are_disjoint_few_and_in_order(number, seed, at_most):
    paths = [Path(f"{index:03}.jpg") for index in range(number)]
    training, held_out = hold_out(paths, seed, at_most)
    assert len(held_out) == max(1, min(at_most, number // 8))
    assert sorted([*training, *held_out]) == paths
    assert training == sorted(training)
    assert held_out == sorted(held_out)
    assert hold_out(paths, seed, at_most) == (training, held_out)


def test_the_seed_decides_what_is_held_out():
    paths = [Path(f"{index:03}.jpg") for index in range(64)]
    chosen = {tuple(hold_out(paths, seed, 8)[1]) for seed in range(10)}
    assert len(chosen) == 10


# ---------------------------------------------------------------------------------------------------------- load_square


@pytest.mark.parametrize(("width", "height"), [(120, 40), (40, 120), (41, 40)])
def test_the_central_square(tmp_path, width, height):
    image = Image.new("RGB", (width, height), (255, 0, 0))
    left, top = (width - 40) // 2, (height - 40) // 2
    image.paste((0, 0, 255), (left, top, left + 40, top + 40))
    image.save(tmp_path / "centre.png")
    square = load_square(tmp_path / "centre.png", 40)
    assert square.shape == (1, 3, 40, 40)
    assert torch.equal(square[0, 2], torch.ones(40, 40))
    assert torch.equal(square[0, 0], torch.zeros(40, 40))
    assert load_square(tmp_path / "centre.png", 16).shape == (1, 3, 16, 16)


def test_the_central_square_of_an_unreadable_photo(tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"bad\.jpg"):
        load_square(tmp_path / "bad.jpg", 16)
