"""Clips that are made to open other files, or to take any memory."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from stylize.errors import InputError
from stylize.images import MAXIMUM_PIXELS
from stylize.video import animations, reading
from stylize.video.sources import look_at
from tests.hostile_files import behind_palette, gif_with, picture, saved
from tests.video_helpers import make_clip

av = pytest.importorskip("av")


@pytest.fixture
def secret(tmp_path):
    """A clip of somebody else, which a play list names."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return make_clip(folder / "secret.ts", sound=None)


def lists(secret: Path) -> dict[str, str]:
    return {
        "hls.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{secret}\n#EXT-X-ENDLIST\n",
        "hls.mp4": f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile://{secret}\n#EXT-X-ENDLIST\n",
        "hls-web.mp4": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n",
        "concat.mp4": f"ffconcat version 1.0\nfile {secret.name}\n",
        "sdp.mp4": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
        "dash.mpd": f'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period>'
        f"<AdaptationSet><Representation><BaseURL>{secret}</BaseURL></Representation></AdaptationSet></Period></MPD>",
    }


@pytest.mark.parametrize("name", lists(Path("x")))
def test_play_lists_are_no_clips(tmp_path, secret, name):
    assert look_at(secret).frames  # it is one itself
    path = secret.parent / name  # beside it, where FFmpeg trusts relative names
    path.write_text(lists(secret)[name])
    with pytest.raises(InputError, match=f"{name} is no clip"):
        look_at(path)


def test_without_the_list_of_containers_a_play_list_would_be_read(secret, monkeypatch):
    path = secret.parent / "hls.m3u8"
    path.write_text(lists(secret)["hls.m3u8"])
    with av.open(str(path)) as container:
        assert container.format.name == "hls"


def test_the_list_of_containers():
    known = set(reading.CONTAINERS.split(","))
    assert {"mov", "matroska", "webm", "avi", "mpegts", "ogg", "nut", "flv", "asf", "mxf"} <= known
    assert not known & {"hls", "dash", "concat", "sdp", "rtsp", "rtp", "lavfi", "imf", "webm_dash_manifest"}
    there = {one for name in av.formats_available for one in name.split(",")}
    assert len(known & there) > 80  # a name that FFmpeg does not know would be a slip of the pen


def test_the_size_of_a_frame(tmp_path, monkeypatch):
    clip = make_clip(tmp_path / "a.mp4", sound=None)
    monkeypatch.setattr(reading, "MAXIMUM_PIXELS", 100)
    with pytest.raises(InputError, match="has frames of .* pixels, more than the 100 accepted"):
        look_at(clip)


def test_ffmpeg_keeps_the_limit_too():
    assert reading.READING["max_pixels"] == str(MAXIMUM_PIXELS)
    assert reading.READING["protocol_whitelist"] == "file"


def many_pictures(count: int) -> bytes:
    """Return a GIF whose picture is there many times."""
    data = saved(picture("P", 4, 4), "GIF")
    start = data.index(b",", behind_palette(data))
    return data[:start] + data[start:-1] * count + b";"


def test_a_hundred_thousand_pictures(tmp_path):
    path = tmp_path / "many.gif"
    path.write_bytes(many_pictures(100_000))
    with pytest.raises(InputError, match=r"many\.gif .* more than 50,000 pictures"):
        look_at(path)
    path.write_bytes(many_pictures(300))
    assert look_at(path).frames == 300


def test_few_pictures_of_many_pixels(tmp_path, monkeypatch):
    path = tmp_path / "large.gif"
    path.write_bytes(many_pictures(30))
    monkeypatch.setattr(animations, "MOST_PIXELS", 16 * 30 - 1)
    with pytest.raises(InputError, match="30 pictures of 4 x 4 pixels, more than the 50,000 pictures and 479 pixels"):
        look_at(path)


def test_comments_between_the_pictures_of_an_animation(tmp_path):
    path = tmp_path / "comments.gif"
    path.write_bytes(gif_with(b"!\xfe" + (b"\xff" + b"a" * 255) * 10_000 + b"\0"))
    with pytest.raises(InputError, match="comments and other things"):
        look_at(path)


def test_a_webp_that_says_it_has_many_pictures(tmp_path, monkeypatch):
    path = tmp_path / "a.webp"
    frames = [picture("RGB", 4, 4).point(lambda level, shift=shift: (level + shift) % 256) for shift in range(12)]
    path.write_bytes(saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True))
    assert struct.unpack("<I", path.read_bytes()[4:8])[0] == path.stat().st_size - 8
    assert look_at(path).frames == 12
    monkeypatch.setattr(animations, "MOST_PICTURES", 11)
    with pytest.raises(InputError, match="has 12 pictures"):
        look_at(path)
