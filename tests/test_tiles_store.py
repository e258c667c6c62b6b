"""Features that wait between passes come back as they were, and leave nothing behind."""

from __future__ import annotations

import errno
import os

import pytest
import torch

from stylize.errors import InputError, OutputError
from stylize.tiles.store import open_store


def features(height: int = 7, scale: float = 1.0) -> torch.Tensor:
    rows = torch.randn(1, 3, height, 5, generator=torch.Generator().manual_seed(height)) * scale
    return rows.contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("place", ["memory", "scratch"])
@pytest.mark.parametrize("stored", ["float32", "int16"])
@pytest.mark.parametrize("chunk", [40, 2**20], ids=["row by row", "at once"])
def test_rows_come_back(place, stored, chunk, tmp_path, monkeypatch):
    monkeypatch.setattr("stylize.tiles.encoding.CHUNK_BYTES", chunk)
    rows = features()
    # Of a range of about 4: half of 65534 steps, and a little for rounding.
    allowed = 0 if stored == "float32" else 4e-5
    with open_store(place, tmp_path, 3, 7, 5, stored) as store:
        store.write(0, rows[:, :, :3])
        store.write(3, rows[:, :, 3:])
        read = store.read(1, 6)
        torch.testing.assert_close(read, rows[:, :, 1:6], atol=allowed, rtol=0)
        assert read.dtype == torch.float32
        assert read.is_contiguous(memory_format=torch.channels_last)
        store.write(2, torch.zeros(1, 3, 2, 5))
        assert not store.read(2, 4).any()
        torch.testing.assert_close(store.read(4, 7), rows[:, :, 4:], atol=allowed, rtol=0)
        torch.testing.assert_close(store.read(0, 2), rows[:, :, :2], atol=allowed, rtol=0)


@pytest.mark.parametrize("place", ["memory", "scratch"])
@pytest.mark.parametrize("stored", ["float32", "int16"])
def test_features_of_other_dtypes_are_kept(place, stored, tmp_path):
    rows = features().to(torch.bfloat16)
    with open_store(place, tmp_path, 3, 7, 5, stored) as store:
        store.write(0, rows)
        # bfloat16 has 8 binary digits: a value that is off by 4e-5 at most rounds to the one it was, but near 0.
        torch.testing.assert_close(store.read(0, 7), rows.float(), atol=4e-5, rtol=0)


def test_a_scratch_file_is_gone_however_the_block_ends(tmp_path):
    for problem in (None, ValueError, KeyboardInterrupt):
        try:
            with open_store("scratch", tmp_path, 3, 7, 5, "float32") as store:
                store.write(0, features())
                if problem is not None:
                    raise problem
        except (ValueError, KeyboardInterrupt):
            pass
        assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written(tmp_path):
    with pytest.raises(InputError, match="cannot make a scratch file in .*nowhere: No such file"):
        with open_store("scratch", tmp_path / "nowhere", 3, 7, 5, "float32"):
            pass


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system cannot reserve room on a disk")
def test_a_disk_with_too_little_room_is_found_before_anything_is_computed(tmp_path, monkeypatch):
    asked = []

    def refuse(descriptor: int, start: int, size: int) -> None:
        asked.append(size)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(OutputError, match="not enough room; it takes 0.0 MB; name another folder"):
        with open_store("scratch", tmp_path, 3, 7, 5, "float32"):
            pytest.fail("there was no room")
    assert asked == [3 * 7 * 5 * 4]
    assert not list(tmp_path.iterdir())


def test_a_file_system_that_cannot_reserve_room_is_used_all_the_same(tmp_path, monkeypatch):
    def unable(descriptor: int, start: int, size: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "not supported")

    monkeypatch.setattr(os, "posix_fallocate", unable, raising=False)
    rows = features()
    with open_store("scratch", tmp_path, 3, 7, 5, "float32") as store:
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

    with open_store("scratch", tmp_path, 3, 7, 5, "float32") as store:
        monkeypatch.setattr(store, "_file", Full(store._file))
        with pytest.raises(OutputError, match="not enough room"):
            store.write(0, features())
    assert not list(tmp_path.iterdir())
