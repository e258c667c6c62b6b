"""Sound and subtitles of the clip, taken over into the painted one: copied, or converted where they must be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from stylize.video.pyav import import_av

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet
    from av.stream import Stream

COPIED, CONVERTED, LEFT_OUT = "copied", "converted", "left out"

SOUND_ENCODERS = {"webm": ("libopus", "libvorbis")}
USUAL_SOUND_ENCODERS = ("aac",)
OPUS_RATES = (48000, 24000, 16000, 12000, 8000)

TEXT_SUBTITLES = frozenset(("subrip", "srt", "ass", "ssa", "mov_text", "webvtt", "text"))
SUBTITLE_ENCODERS = {"mp4": "mov_text", "mov": "mov_text", "webm": "webvtt", "matroska": "ass"}


@dataclass(frozen=True)
class StreamReport:
    """What became of a stream that is not painted; the field names are those of ``--json``.

    Attributes:
        kind: ``audio``, ``subtitle``, ``attachment``, ``data`` or ``video``.
        codec: FFmpeg's name of what it is.
        action: ``copied``, ``converted`` or ``left out``.
        detail: Into what it was converted, or why it was left out.
        language: Of the stream, where it says so.
    """

    kind: str
    codec: str
    action: str
    detail: str = ""
    language: str | None = None

    def line(self) -> str | None:
        """Return what to tell the user; nothing of what was simply copied."""
        if self.action == COPIED:
            return None
        spoken = f" ({self.language})" if self.language else ""
        what = {"audio": "sound", "subtitle": "subtitles"}.get(self.kind, f"{self.kind} stream")
        return f"{what} {self.codec}{spoken}: {self.action}{' to' if self.action == CONVERTED else ','} {self.detail}"


@dataclass(frozen=True)
class Window:
    """The part of the clip that is taken over, in seconds of the clip's own clock.

    Attributes:
        begin: What becomes 0 in the painted clip.
        end: Where it ends; None is the end of the clip.
        cut: Whether ``begin`` cuts something off; else everything is taken, and only moved.
    """

    begin: Fraction
    end: Fraction | None = None
    cut: bool = False


class Carrier:
    """Carries the packets of one stream over to a stream of the painted clip.

    Args:
        given: The stream of the clip.
        made: The stream of the painted clip.
        window: The part that is taken over.
    """

    def __init__(self, given: Stream, made: Stream, window: Window) -> None:
        self.given, self.made, self.window = given, made, window

    def carry(self, packet: Packet) -> Iterator[Packet]:
        """Yield what becomes of a packet of the stream; of the empty packet at the end, what is left."""
        moved = self.moved(packet)
        if moved is not None:
            moved.stream = self.made
            yield moved

    def moved(self, packet: Packet) -> Packet | None:
        """Return a packet on the clock of the painted clip, or None for one that is outside of the window."""
        if packet.dts is None and packet.pts is None:
            return None
        if packet.size == 2 and self.given.codec_context is not None and self.given.codec_context.name == "mov_text":
            return None  # The end of a subtitle of MP4, which the muxer writes again by itself.
        tick, window = packet.time_base or self.given.time_base, self.window
        begin = round(window.begin / tick)
        time = packet.pts if packet.pts is not None else packet.dts
        if window.end is not None and time >= window.end / tick:
            return None
        late = begin - time if window.cut and time < begin else 0
        if late:
            # A subtitle that is on show at the beginning stays, for as long as it would have.
            left = int(packet.duration or 0) - late
            if self.given.type != "subtitle" or left <= 0:
                return None
            packet.duration = left
        for name in ("pts", "dts"):
            value = getattr(packet, name)
            if value is not None:
                setattr(packet, name, value - begin + late)
        return packet


class SoundConverter(Carrier):
    """Decodes a stream of sound and encodes it anew."""

    def carry(self, packet: Packet) -> Iterator[Packet]:
        """Yield encoded packets, see :meth:`Carrier.carry`."""
        av = import_av()
        end = packet.dts is None and packet.pts is None and packet.size == 0
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            frames = []
        for frame in frames:
            if frame.pts is None:
                continue
            begin = self.window.begin / frame.time_base
            outside = (self.window.cut and frame.pts < begin) or (
                self.window.end is not None and frame.pts >= self.window.end / frame.time_base
            )
            if not outside:
                frame.pts -= round(begin)
                yield from self.made.encode(frame)
        if end:
            yield from self.made.encode(None)


class SubtitleConverter(Carrier):
    """Turns subtitles of text into those that the container can hold."""

    def carry(self, packet: Packet) -> Iterator[Packet]:
        """Yield encoded packets, see :meth:`Carrier.carry`."""
        av = import_av()
        moved = self.moved(packet)
        if moved is None:
            return
        try:
            found = self.given.codec_context.decode2(moved)
            if found is None:
                return
            made = self.made.codec_context.encode_subtitle(found)
        except av.error.FFmpegError:
            return
        made.pts = made.dts = moved.pts
        made.duration, made.time_base, made.stream = moved.duration, moved.time_base or self.given.time_base, self.made
        yield made


def plan_streams(
    source: InputContainer, output: OutputContainer, painted: int, window: Window
) -> tuple[dict[int, Carrier], list[StreamReport]]:
    """Make a stream of the painted clip for each stream of the clip that can be taken over.

    Args:
        source: The clip.
        output: The painted clip, which has its video already.
        painted: Index of the stream that is painted.
        window: The part that is taken over.

    Returns:
        Who carries each stream, by its index; and what becomes of each.
    """
    carriers: dict[int, Carrier] = {}
    reports = []
    for stream in source.streams:
        if stream.index == painted:
            continue
        carrier, report = _plan(stream, output, window)
        reports.append(report)
        if carrier is not None:
            carriers[stream.index] = carrier
            _describe(carrier.made, stream)
    return carriers, reports


def _plan(stream: Stream, output: OutputContainer, window: Window) -> tuple[Carrier | None, StreamReport]:
    kind = stream.type
    codec = (
        stream.codec_context.name
        if stream.codec_context is not None
        else str(getattr(stream, "name", None) or "unknown")
    )
    language = getattr(stream, "language", None)

    def report(action: str, detail: str = "") -> StreamReport:
        return StreamReport(kind, codec, action, detail, language if language != "und" else None)

    if kind == "attachment" and output.format.name == "matroska":
        return Carrier(stream, output.add_stream_from_template(stream), window), report(COPIED)
    if kind not in ("audio", "subtitle") or stream.codec_context is None:
        return None, report(LEFT_OUT, "only sound and subtitles are taken over")
    if codec in output.supported_codecs:
        try:
            return Carrier(stream, output.add_stream_from_template(stream, opaque=True), window), report(COPIED)
        except ValueError:
            pass  # It supports the codec by name, but not this kind of it.
    if kind == "audio":
        return _plan_sound(stream, output, window, report)
    return _plan_subtitles(stream, output, window, codec, report)


def _plan_sound(
    stream: Any, output: OutputContainer, window: Window, report: Any
) -> tuple[Carrier | None, StreamReport]:
    available = import_av().codecs_available
    for name in SOUND_ENCODERS.get(output.format.name, USUAL_SOUND_ENCODERS):
        if name not in available:
            continue
        rate = stream.codec_context.sample_rate
        if name == "libopus" and rate not in OPUS_RATES:
            rate = OPUS_RATES[0]
        made = output.add_stream(name, rate=rate)
        made.codec_context.layout = stream.codec_context.layout.name
        return SoundConverter(stream, made, window), report(CONVERTED, name)
    return None, report(LEFT_OUT, f"{output.format.name} cannot hold it")


def _plan_subtitles(
    stream: Any, output: OutputContainer, window: Window, codec: str, report: Any
) -> tuple[Carrier | None, StreamReport]:
    wanted = SUBTITLE_ENCODERS.get(output.format.name)
    refused = report(LEFT_OUT, f"a {output.format.name} file cannot hold it; write a .mkv to keep it")
    context = stream.codec_context
    if codec not in TEXT_SUBTITLES or wanted is None or not hasattr(type(context), "encode_subtitle"):
        return None, refused
    try:
        context.open(strict=False)  # Only then is the header known, which the encoder needs.
        if not context.subtitle_header:
            return None, refused
        made = output.add_stream(wanted)
    except (ValueError, import_av().error.FFmpegError):
        return None, refused
    made.codec_context.subtitle_header = context.subtitle_header
    made.codec_context.time_base = Fraction(1, 1000)
    return SubtitleConverter(stream, made, window), report(CONVERTED, wanted)


def _describe(made: Stream, given: Stream) -> None:
    """Give a stream the language, the title and the disposition of the one it comes from."""
    for name in ("language", "title"):
        if given.metadata.get(name):
            made.metadata[name] = given.metadata[name]
    made.disposition = given.disposition.value
