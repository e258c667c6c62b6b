"""Pictures that are made to take memory or time are refused at once, whatever door they come in by."""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from stylize import image_directories, image_limits, images
from stylize.errors import ImageError
from stylize.image_limits import check_structure
from stylize.image_reading import format_of_head
from stylize.strips import open_rows, picture_size
from stylize.web.settings import Limits
from stylize.web.uploads import read_upload
from tests.helpers import ROOT, run_python
from tests.hostile_files import ATTACKS, avif_with, gif_with, many_scans, picture, plain_tags, png, samples, saved, tiff
from tests.image_helpers import chunk, encoded, noise, wide_gamut_profile

SECONDS = 3.0
"""Most time for one refusal, on a busy machine; most take a hundredth of it."""

ATTACKED = """
import io, os, resource, sys, time
from pathlib import Path
from stylize.errors import ImageError
from stylize.images import normalise_image, read_picture
from stylize.strips import open_rows, picture_size
from stylize.web.settings import Limits
from stylize.web.uploads import read_upload
from tests.hostile_files import ATTACKS

path = Path(sys.argv[1]) / "attack.jpg"
doors = {
    "stream": lambda: read_picture(io.BytesIO(data)),
    "file": lambda: read_picture(path),
    "strips": lambda: open_rows(path, 64 * 2**20),
    "size": lambda: picture_size(path),
    "web": lambda: read_upload(path, Limits()),
}
for name, make in ATTACKS.items():
    data = make()
    path.write_bytes(data)
    with open("/proc/self/statm") as file:
        limit = int(file.read().split()[0]) * resource.getpagesize() + 400 * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    for door, enter in doors.items():
        begun = time.process_time()
        try:
            found = f"was let in: {enter()}"
        except ImageError as error:
            found = "no memory" if "memory for this" in str(error) else "refused"
        except MemoryError:
            found = "no memory"
        print(f"{found}\\t{time.process_time() - begun:.3f}\\t{door}\\t{name}", flush=True)
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
"""

LET_BY = {
    ("size", "a PNG with a text of 50 MB in 50 kB"),
    ("size", "a PNG with a profile of 50 MB"),
    ("size", "a PNG of 60,000 x 60,000 pixels"),
}
"""The size of these is told, or not known; they are refused where they are opened."""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits its own memory as Linux has it")
def test_every_attack_is_refused_by_every_door_in_little_time_and_memory(tmp_path):
    """In a process that may take 400 MB more than it has."""
    result = run_python("-c", ATTACKED, str(tmp_path), cwd=ROOT)
    assert result.returncode == 0, result.stderr[-2000:]
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert len(rows) == 5 * len(ATTACKS)
    for found, seconds, door, name in rows:
        refused = found == "refused" or ((door, name) in LET_BY and found.startswith("was let in"))
        assert refused, (name, door, found)
        assert float(seconds) < SECONDS, (name, door, seconds)


@pytest.mark.parametrize("name", samples())
def test_samples_of_every_kind_are_read(name, tmp_path):
    data = samples()[name]
    kind = format_of_head(data[:32])
    assert kind == name.split()[0]
    check_structure(io.BytesIO(data), kind, name)
    whole = images.read_picture(io.BytesIO(data))
    assert whole.image.mode == "RGB" and whole.format == kind
    (tmp_path / "a.any").write_bytes(data)
    assert picture_size(tmp_path / "a.any") in (whole.image.size, whole.image.size[::-1], None)
    with open_rows(tmp_path / "a.any", 64 * 2**20) as rows:
        assert (rows.width, rows.height) == whole.image.size


@pytest.mark.parametrize("name", [path.name for path in sorted((ROOT / "examples").glob("*/*.jpg"))])
def test_example_pictures_pass(name):
    path = next((ROOT / "examples").glob(f"*/{name}"))
    with open(path, "rb") as file:
        check_structure(file, "JPEG", name)
        assert file.tell() == 0


def refused(data: bytes, **options: object) -> str:
    with pytest.raises(ImageError) as caught:
        images.read_picture(io.BytesIO(data), **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_said_names_the_file_and_the_reason(tmp_path):
    path = tmp_path / "mine.gif"
    path.write_bytes(ATTACKS["a GIF with 400,000 comments"]())
    with pytest.raises(
        ImageError, match=r"mine\.gif is damaged, or made to do harm: it has comments .*; export it again"
    ):
        images.read_picture(path)


def test_the_limit_on_pixels_can_be_lower_and_comes_before_decoding(monkeypatch):
    data = encoded(noise(40, 30)).getvalue()
    assert images.read_picture(io.BytesIO(data), 1200).image.size == (40, 30)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda *_: pytest.fail("it was decoded"))
    assert "is 40 x 30 pixels, more than the 1,199 pixels" in refused(data, most_pixels=1199)


def test_a_kind_whose_header_is_not_read_beforehand_keeps_the_limit_of_the_web_page(tmp_path, monkeypatch):
    path = tmp_path / "photo.avif"
    if "AVIF" not in samples():
        pytest.skip("this Pillow reads no AVIF")
    path.write_bytes(saved(picture("RGB", 400, 300), "AVIF"))
    monkeypatch.setattr("PIL.AvifImagePlugin.AvifImageFile.load", lambda *_: pytest.fail("it was decoded"))
    with pytest.raises(ImageError, match=r"photo\.avif is 400 x 300 pixels, more than the 100,000"):
        read_upload(path, Limits(megapixels=0.1))


def test_files_and_streams_have_a_largest_size(tmp_path, monkeypatch):
    data = encoded(noise(40, 30)).getvalue()
    monkeypatch.setattr(image_limits, "MAXIMUM_FILE_BYTES", len(data))
    assert images.read_picture(io.BytesIO(data)).image.size == (40, 30)
    (tmp_path / "a.png").write_bytes(data + b"\0")
    for source in (io.BytesIO(data + b"\0"), tmp_path / "a.png"):
        with pytest.raises(ImageError, match=f"has {len(data) + 1:,} bytes, more than the {len(data):,} that are read"):
            images.read_picture(source)


def test_an_endless_stream_that_begins_as_a_picture_ends(monkeypatch):
    monkeypatch.setattr(image_limits, "MAXIMUM_FILE_BYTES", 5_000_000)

    class Endless(io.RawIOBase):
        given = 0

        def read(self, size: int = -1) -> bytes:
            assert 0 < size <= 2**20
            piece = (samples()["PNG"] if not self.given else b"")[:size].ljust(size, b"\0")
            self.given += size
            return piece

    endless = Endless()
    with pytest.raises(ImageError, match="more than the 5,000,000 that are read"):
        images.read_picture(endless)
    assert endless.given < 8_000_000


def test_the_largest_side(monkeypatch):
    monkeypatch.setattr("stylize.image_reading.MAXIMUM_SIDE", 50)
    assert images.read_picture(encoded(noise(50, 3))).image.size == (50, 3)
    assert "is 51 x 3 pixels, a side has more than the 50" in refused(encoded(noise(51, 3)).getvalue())


# ------------------------------------------------------------------------------------------------ limits, exact to one


@pytest.mark.parametrize(
    ("count", "accepted"), [(image_limits.MAXIMUM_SCANS, True), (image_limits.MAXIMUM_SCANS + 1, False)]
)
def test_passes_of_a_progressive_jpeg(count, accepted):
    data = samples()["JPEG progressive"]
    usual = data.count(b"\xff\xda")
    many = many_scans(count - usual)
    assert many.count(b"\xff\xda") == count
    if accepted:
        check_structure(io.BytesIO(many), "JPEG", "it")
    else:
        assert "passes over the picture" in refused(many)


def test_what_follows_the_end_of_a_jpeg_is_not_counted():
    # A phone puts a clip of megabytes behind its photo; two bytes of it may look like the beginning of a pass.
    data = samples()["JPEG progressive"] + b"\xff\xda\0\2" * 5000
    assert images.read_picture(io.BytesIO(data)).format == "JPEG"


def test_an_end_marker_inside_a_segment_does_not_end_the_counting():
    data = many_scans(1000)
    first = data.find(b"\xff\xda", data.find(b"\xff\xda") + 2)
    hidden = data[:first] + b"\xff\xfe\0\6\xff\xd9\xff\xd9" + data[first:]
    assert "passes over the picture" in refused(hidden)


def test_the_size_of_exif_data():
    limit = image_directories.MAXIMUM_EXIF_BYTES
    assert images.read_picture(io.BytesIO(png(4, 4, chunk(b"eXIf", bytes(limit)), bytes(68)))).image.size == (4, 4)
    assert f"{limit + 1:,} bytes of EXIF data" in refused(png(4, 4, chunk(b"eXIf", bytes(limit + 1)), bytes(68)))


def test_damaged_exif_data_whose_values_overlap_a_little_cost_no_photo():
    # 200 tags that all stand for the same 50 kB: 10 MB, which do no harm.
    exif = tiff({274: (3, 1, 6)} | {40_000 + number: (7, 50_000, 3000) for number in range(200)}, bytes(53_000))
    jpeg = samples()["JPEG grey"]
    data = jpeg[:2] + b"\xff\xe1" + (len(exif) + 8).to_bytes(2, "big") + b"Exif\0\0" + exif + jpeg[2:]
    assert images.read_picture(io.BytesIO(data)).image.size == (18, 24)


@pytest.mark.parametrize(("strips", "accepted"), [(4, True), (5, False)])
def test_a_tiff_has_no_more_strips_than_rows(strips, accepted):
    tags = plain_tags(2, 4) | {273: (4, strips, 160), 278: (4, 1, 1), 279: (4, strips, 190)}
    places = len(tiff(tags))
    ones = b"".join((220 + 2 * row).to_bytes(4, "little") for row in range(strips))
    lengths = b"".join((2).to_bytes(4, "little") for _ in range(strips))
    tags |= {273: (4, strips, places), 279: (4, strips, places + 4 * strips)}
    data = tiff(tags, ones + lengths + bytes(200))
    if accepted:
        assert images.read_picture(io.BytesIO(data)).image.size == (2, 4)
    else:
        assert "5 strips or tiles" in refused(data)


def test_comments_of_a_gif_up_to_a_size():
    whole, left = divmod(image_limits.MAXIMUM_GIF_NOTES - len("made for a test"), 255)  # which the sample has
    fits = b"!\xfe" + (b"\xff" + b"a" * 255) * whole + bytes([left]) + b"a" * left + b"\0"
    assert images.read_picture(io.BytesIO(gif_with(fits))).format == "GIF"
    assert "comments" in refused(gif_with(fits + b"!\xfe\1a\0"))


def test_a_profile_beyond_the_limit_is_left_aside(monkeypatch):
    swapped = wide_gamut_profile()
    data = encoded(noise(8, 8), icc_profile=swapped).getvalue()
    converted = images.read_image(io.BytesIO(data)).tobytes()
    assert converted != noise(8, 8).tobytes()
    monkeypatch.setattr("stylize.image_colour.MAXIMUM_PROFILE_BYTES", len(swapped) - 1)
    assert images.read_image(io.BytesIO(data)).tobytes() == noise(8, 8).tobytes()


def test_long_values_of_exif_data_are_not_kept():
    exif = Image.Exif()
    exif[271], exif[270] = "Maker", "x" * 70_000
    kept = images.read_picture(encoded(noise(), "PNG", exif=exif.tobytes())).exif
    assert kept is not None and b"Maker" in kept and len(kept) < 1000


def test_overlapping_exif_of_an_avif_is_found_before_pillow_reads_it(monkeypatch):
    if "AVIF" not in samples():
        pytest.skip("this Pillow reads no AVIF")
    from tests.hostile_files import overlapping

    data = avif_with(overlapping(2000, 100_000))
    monkeypatch.setattr("PIL.AvifImagePlugin.AvifImageFile._open", lambda *_: pytest.fail("it was opened"))
    assert "overlap" in refused(data)


def test_the_check_takes_no_time_on_an_honest_file():
    data = saved(picture("RGB", 900, 700), "JPEG", progressive=True, quality=97)
    begun = time.process_time()
    for _ in range(10):
        check_structure(io.BytesIO(data), "JPEG", "it")
    assert time.process_time() - begun < 1


def test_a_pipe_is_no_weights_file_but_a_picture(tmp_path: Path):
    import os
    import threading

    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    threading.Thread(target=lambda: pipe.write_bytes(samples()["PNG"])).start()
    assert images.read_picture(pipe).format == "PNG"
