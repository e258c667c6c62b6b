"""Makers of tiny clips for the tests, and what is to be seen in a clip."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stylize.video.colour import Colour, from_rgb
from tests.helpers import synthetic_image

av = pytest.importorskip("av", reason="av is not installed (pip install 'stylize[video]')")

SUBTITLES = ((0, 120, "first"), (200, 150, "second"))
"""Begin and duration in thousandths of a second, and text."""

PERIOD = 32
"""Frames after which the moving picture is the same again."""


def picture(number: int, width: int = 64, height: int = 48) -> np.ndarray:
    """Return a frame: a picture that moves by two pixels, with a red upper left corner."""
    pixels = np.roll(np.asarray(synthetic_image(width, height)), 2 * number, axis=1).copy()
    pixels[: height // 4, : width // 4] = (230, 20, 20)
    return pixels


def make_clip(
    path: Path,
    frames: int = 12,
    size: tuple[int, int] = (64, 48),
    rate: int | Fraction = 25,
    *,
    ticks: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    sound: str | None = "aac",
    subtitles: str | None = None,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    rotation: int | None = None,
    settings: dict[str, Any] | None = None,
    options: dict[str, str] | None = None,
    pixels: Sequence[np.ndarray] | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Write a clip with a moving picture, a tone and subtitles, and return its path.

    Args:
        path: The file; its suffix says the container.
        frames: How many.
        size: Width and height.
        rate: Frames per second.
        ticks: When each frame is shown; None is one after the other.
        time_base: One tick in seconds; None is 1 / rate.
        sound: Encoder of the tone; None makes none.
        subtitles: Encoder of the subtitles; None makes none.
        codec: Encoder of the pictures.
        pixel_format: What the pictures are stored as.
        rotation: Degrees against the clock by which an MP4 is to be turned.
        settings: Attributes of the codec context, such as ``colorspace``.
        options: Of the encoder.
        pixels: The frames, uint8 (H, W, 3); None are those of :func:`picture`.
        container_options: Of the container.
    """
    width, height = size
    ticks = list(range(frames)) if ticks is None else list(ticks)
    time_base = time_base or 1 / Fraction(rate)
    with av.open(str(path), "w", options=container_options or {}) as container:
        container.metadata["title"] = "a tiny clip"
        stream = container.add_stream(codec, rate=Fraction(rate))
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        stream.options = options or {}
        stream.codec_context.time_base = time_base
        for name, value in (settings or {}).items():
            setattr(stream.codec_context, name, value)
        tone = container.add_stream(sound, rate=48000, layout="mono") if sound else None
        words = None
        if subtitles:
            words = container.add_stream(subtitles)
            words.codec_context.subtitle_header = SUBTITLE_HEADER
            words.codec_context.time_base = Fraction(1, 1000)
        packets = []
        colour = (settings or {}).get("colorspace", 6)
        for number, tick in enumerate(ticks):
            frame = av.VideoFrame.from_ndarray(picture(number, width, height) if pixels is None else pixels[number])
            space = {1: 1, 6: 5, 9: 9}.get(colour, 5)
            full = (settings or {}).get("color_range", 1)
            if colour == 9 and pixel_format == "yuv420p":
                # PyAV before 18 cannot; tests/test_video_colour.py holds this against the standard.
                frame = from_rgb(frame.to_ndarray(), Colour(9, full), pixel_format)
            elif not pixel_format.startswith(("rgb", "gbr", "bgr", "pal")):
                frame = frame.reformat(
                    format=pixel_format, dst_colorspace=space, src_color_range=2, dst_color_range=full,
                    interpolation=2 | 0x40000 | 0x2000,
                )  # fmt: skip
                frame.colorspace, frame.color_range = colour, full
            frame.pts, frame.time_base = tick, time_base
            packets += stream.encode(frame)
        packets += stream.encode(None)
        if tone is not None:
            seconds = float((ticks[-1] + 1) * time_base)
            packets += _tone(tone, seconds)
        if words is not None:
            packets += [_subtitle(words, *one) for one in SUBTITLES]
        for packet in sorted(packets, key=lambda one: (one.dts or 0) * one.time_base):
            container.mux(packet)
    if rotation is not None:
        _set_rotation(path, rotation)
    return path


def _set_rotation(path: Path, degrees: int) -> None:
    """Write a display matrix into the header of the first track of an MP4 (ISO/IEC 14496-12, section 8.3.2)."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    cosine, sine = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    one = 1 << 16
    # Against the clock: (x, y) is shown at (cosine x + sine y, -sine x + cosine y).
    data[at : at + 36] = struct.pack(">9i", cosine * one, -sine * one, 0, sine * one, cosine * one, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


SUBTITLE_HEADER = (
    b"[Script Info]\r\nScriptType: v4.00+\r\n\r\n[V4+ Styles]\r\n"
    b"Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, "
    b"Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, "
    b"MarginV, Encoding\r\nStyle: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,1\r\n"
    b"\r\n[Events]\r\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\r\n"
)


def _tone(stream: Any, seconds: float) -> list[Any]:
    wave = np.sin(np.arange(int(48000 * seconds)) * 2 * np.pi * 440 / 48000).astype(np.float32)
    packets = []
    for start in range(0, len(wave), 1024):
        frame = av.AudioFrame.from_ndarray(wave[None, start : start + 1024], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
        packets += stream.encode(frame)
    return packets + stream.encode(None)


def _subtitle(stream: Any, begin: int, duration: int, text: str) -> Any:
    """Return a packet of text as the container stores it."""
    words = text.encode()
    data = len(words).to_bytes(2, "big") + words if stream.codec_context.name == "mov_text" else words
    packet = av.Packet(data)
    packet.stream, packet.time_base = stream, Fraction(1, 1000)
    packet.pts = packet.dts = begin
    packet.duration = duration
    return packet


@dataclass(frozen=True)
class Seen:
    """What is to be seen and heard in a clip.

    Attributes:
        times: When each frame is shown, in seconds.
        frames: The frames, (H, W, 3), uint8.
        duration: Of the video stream, in seconds.
        sound: The packets of sound: time in seconds and bytes.
        subtitles: Those of the subtitles: time and duration in seconds, and bytes.
        context: Facts of the video stream.
        kinds: Codecs of all streams.
    """

    times: list[Fraction]
    frames: list[np.ndarray]
    duration: float
    sound: list[tuple[Fraction, bytes]]
    subtitles: list[tuple[Fraction, Fraction, bytes]]
    context: dict[str, Any]
    kinds: list[str]


def look(path: Path) -> Seen:
    """Read a whole clip with PyAV."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        decoded = list(container.decode(stream))
        context = stream.codec_context
        facts = {
            "size": (context.width, context.height), "colorspace": context.colorspace, "range": context.color_range,
            "primaries": context.color_primaries, "transfer": context.color_trc, "codec": context.name,
            "aspect": stream.sample_aspect_ratio, "metadata": dict(container.metadata),
        }  # fmt: skip
        kinds = [one.codec_context.name for one in container.streams]
        duration = float((stream.duration or 0) * stream.time_base) or container.duration / 1e6
    with av.open(str(path)) as container:
        others = [one for one in container.streams if one.type in ("audio", "subtitle")]
        packets = [one for one in container.demux(others) if one.size and one.pts is not None] if others else []
        sound = [(one.pts * one.time_base, bytes(one)) for one in packets if one.stream.type == "audio"]
        words = [
            (one.pts * one.time_base, (one.duration or 0) * one.time_base, bytes(one))
            for one in packets
            if one.stream.type == "subtitle"
        ]
    times = [frame.pts * frame.time_base for frame in decoded]
    pictures = [frame.to_ndarray(format="rgb24") for frame in decoded]
    return Seen(times, pictures, duration, sound, words, facts, kinds)
