"""Features that wait between passes come back as they were, and leave nothing behind."""

from __future__ import annotations

import errno
import os

import pytest
import torch

from stylize.errors import InputError, OutputError
from stylize.tile_store import open_store


def features(height: int = 7, scale: float = 1.0) -> torch.Tensor:
    rows = torch.randn(1, 3, height, 5, generator=torch.Generator().manual_seed(height)) * scale
    return rows.contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("place", ["memory", "scratch"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_rows_come_back(place, dtype, tmp_path):
    rows = features()
    with open_store(place, tmp_path, 3, 7, 5, dtype) as store:
        store.write(0, rows[:, :, :3])
        store.write(3, rows[:, :, 3:])
        read = store.read(1, 6)
        exact = dtype == torch.float32
        torch.testing.assert_close(read, rows[:, :, 1:6], atol=0 if exact else 3e-3, rtol=0)
        assert read.dtype == torch.float32
        assert read.is_contiguous(memory_format=torch.channels_last)
        store.write(2, torch.zeros(1, 3, 2, 5))
        assert not store.read(2, 4).any()
        torch.testing.assert_close(store.read(4, 7), rows[:, :, 4:], atol=0 if exact else 3e-3, rtol=0)


@pytest.mark.parametrize("place", ["memory", "scratch"])
@pytest.mark.parametrize("scale", [1.0, 1e6, 1e20])
def test_float16_neither_overflows_nor_loses_digits_to_a_mean(place, scale, tmp_path):
    rows = features(scale=scale)
    rows += 300 * scale
    rows[:, :, 2:3] = features(1)  # a row of another size altogether
    with open_store(place, tmp_path, 3, 7, 5, torch.float16) as store:
        for row in range(7):
            store.write(row, rows[:, :, row : row + 1])
        # 11 binary digits of what is left without the mean, though the mean is 300 times as large.
        error = (store.read(0, 7) - rows).abs()
    assert float(error[:, :, 2].max()) < 4e-3
    # One digit more is lost to float32 itself, which holds 300 to about 3e-5.
    assert float(error.max()) < 4e-3 * scale


def test_what_is_not_finite_stays_so(tmp_path):
    rows = features()
    rows[0, 0, 0, 0], rows[0, 1, 0, 0] = float("nan"), float("inf")
    with open_store("memory", None, 3, 7, 5, torch.float16) as store:
        store.write(0, rows)
        read = store.read(0, 7)
    assert read[0, 0, 0, 0].isnan()
    assert read[0, 1, 0, 0].isinf()
    assert read[0, 2].isfinite().all()


def test_a_scratch_file_is_gone_however_the_block_ends(tmp_path):
    for problem in (None, ValueError, KeyboardInterrupt):
        try:
            with open_store("scratch", tmp_path, 3, 7, 5, torch.float32) as store:
                store.write(0, features())
                if problem is not None:
                    raise problem
        except (ValueError, KeyboardInterrupt):
            pass
        assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written(tmp_path):
    with pytest.raises(InputError, match="cannot make a scratch file in .*nowhere: No such file"):
        with open_store("scratch", tmp_path / "nowhere", 3, 7, 5, torch.float32):
            pass


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system cannot reserve room on a disk")
def test_a_disk_with_too_little_room_is_found_before_anything_is_computed(tmp_path, monkeypatch):
    asked = []

    def refuse(descriptor: int, start: int, size: int) -> None:
        asked.append(size)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(OutputError, match="not enough room; it takes 0.0 MB; name another folder"):
        with open_store("scratch", tmp_path, 3, 7, 5, torch.float32):
            pytest.fail("there was no room")
    assert asked == [3 * 7 * 5 * 4]
    assert not list(tmp_path.iterdir())


def test_a_file_system_that_cannot_reserve_room_is_used_all_the_same(tmp_path, monkeypatch):
    def unable(descriptor: int, start: int, size: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "not supported")

    monkeypatch.setattr(os, "posix_fallocate", unable, raising=False)
    rows = features()
    with open_store("scratch", tmp_path, 3, 7, 5, torch.float32) as store:
        store.write(0, rows)
        assert torch.equal(store.read(0, 7), rows)


def test_a_disk_that_fills_up_later(tmp_path, monkeypatch):
    class Full:
        """A file on a full disk; like files, it may take a part of what it is given first."""

        def __init__(self, file):
            self.file, self.left = file, 100

        def write(self, values):
            if not self.left:
                raise OSError(errno.ENOSPC, "No space left on device")
            count, self.left = self.file.write(values[: self.left]), 0
            return count

        def __getattr__(self, name):
            return getattr(self.file, name)

    with open_store("scratch", tmp_path, 3, 7, 5, torch.float32) as store:
        monkeypatch.setattr(store, "_file", Full(store._file))
        with pytest.raises(OutputError, match="not enough room"):
            store.write(0, features())
    assert not list(tmp_path.iterdir())
