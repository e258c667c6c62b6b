"""Finished segments into one clip, packet by packet, with the sound and the subtitles of the source."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylize.errors import OutputError
from stylize.image_errors import reason_of, shown
from stylize.video.frames import CLIP, ClipFacts
from stylize.video.other_streams import StreamReport, Window, plan_streams
from stylize.video.pyav import import_av
from stylize.video.reading import open_clip, video_stream
from stylize.video.times import Span
from stylize.video.work_folder import Segment

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet

OF_THE_FILE = frozenset(("major_brand", "minor_version", "compatible_brands", "encoder", "duration", "creation_time"))
"""Metadata that describe the old file, not what is in it."""


@dataclass(frozen=True)
class Picture:
    """An encoded frame and its times in ticks of the clip, from the beginning of the painted clip."""

    packet: Packet
    shown: int
    decoded: int
    duration: int


def decode_ticks(shown: Sequence[int], lasting: Mapping[int, int]) -> list[int]:
    """Return when each packet is decoded, from when each is shown, both in the order of the packets.

    Frames are stored in the order in which they are decoded, which must never run backwards, nor reach a frame after it
    is shown. So the times of decoding are those of showing, sorted, and as much earlier as the reordering needs. MP4
    takes the time from the first decoding to the end of the last one for the duration: the first ones are put where
    that is right.

    Args:
        shown: Times, all different.
        lasting: How long the frame of each time is shown.
    """
    ordered = sorted(shown)
    rank = {tick: position for position, tick in enumerate(ordered)}
    delay = max((position - rank[tick] for position, tick in enumerate(shown)), default=0)
    if not delay:
        return ordered
    count = len(ordered)
    end = ordered[-1] + lasting[ordered[-1]]
    lead = max(delay, end - ordered[count - 1 - delay] - lasting[shown[-1]])
    before = [ordered[0] - lead + lead * position // delay for position in range(delay)]
    return (before + ordered)[:count]


def durations_of(ticks: Sequence[int], durations: Sequence[int], usual: int) -> list[int]:
    """Return how long each frame is shown: until the next one, and the last one as the clip says.

    Args:
        ticks: When each is shown, in order.
        durations: What the clip says of each, 0 where it says nothing.
        usual: For a last one of which nothing is said.
    """
    between = [after - before for before, after in zip(ticks, ticks[1:], strict=False)]
    return [*between, durations[-1] or usual]


def join_clip(
    path: Path,
    output_format: str,
    facts: ClipFacts,
    span: Span,
    segments: Sequence[Segment],
    parts: Sequence[Path],
    extras: bool = True,
) -> list[StreamReport]:
    """Write the painted clip.

    Args:
        path: The file, which is replaced.
        output_format: FFmpeg's name of its container.
        facts: Of the source.
        span: The part of it that was painted.
        segments: The finished segments, in order.
        parts: Their files.
        extras: Whether sound, subtitles, chapters and metadata of the source are taken over.

    Returns:
        What became of the other streams of the source.

    Raises:
        OutputError: It cannot be written.
    """
    av = import_av()
    ticks = [tick for one in segments for tick in one.ticks]
    given = [duration for one in segments for duration in one.durations]
    origin = ticks[0] if span.start else facts.zero
    usual = max(1, round(1 / (facts.rate * facts.time_base)))
    lasting = dict(zip(ticks, durations_of(ticks, given, usual), strict=True))
    end = Fraction(ticks[-1] + lasting[ticks[-1]]) * facts.time_base if span.end is not None else None
    window = Window(origin * facts.time_base, end, cut=bool(span.start))
    options = {"movflags": "+faststart"} if output_format in ("mp4", "mov") else {}
    try:
        with contextlib.ExitStack() as stack:
            output = stack.enter_context(av.open(str(path), "w", format=output_format, options=options))
            first = stack.enter_context(av.open(str(parts[0]), format="nut"))
            template = first.streams.video[0]
            stream = output.add_stream_from_template(template, opaque=True)
            stream.time_base = facts.time_base
            reports: list[StreamReport] = []
            others: Iterator[Packet] = iter(())
            if extras and facts.kind == CLIP:
                source = stack.enter_context(open_clip(facts.path))
                painted = video_stream(source, facts.name)
                _copy_metadata(source, output, painted, stream, window)
                carriers, reports = plan_streams(source, output, painted.index, window)
                others = _carried(source, carriers, window)
            pictures = _pictures(segments, parts, origin, facts.time_base, lasting)
            _interleave(output, stream, pictures, others, facts.time_base)
    except (av.error.FFmpegError, ValueError) as error:
        raise OutputError(f"the painted clip cannot be put together: {reason_of(error)}") from error
    return reports


def _copy_metadata(source: InputContainer, output: OutputContainer, given: Any, made: Any, window: Window) -> None:
    output.metadata.update({key: value for key, value in source.metadata.items() if key.lower() not in OF_THE_FILE})
    for name in ("language", "title"):
        if given.metadata.get(name):
            made.metadata[name] = given.metadata[name]
    if not hasattr(source, "chapters"):
        return
    kept = []
    for chapter in source.chapters():
        tick = chapter["time_base"]
        if not tick:
            continue
        begin, end = chapter["start"] * tick - window.begin, chapter["end"] * tick - window.begin
        last = None if window.end is None else window.end - window.begin
        if end <= 0 or (last is not None and begin >= last):
            continue
        begin, end = max(Fraction(0), begin), end if last is None else min(end, last)
        kept.append({**chapter, "start": round(begin / tick), "end": round(end / tick)})
    if kept:
        output.set_chapters(kept)


def _pictures(
    segments: Sequence[Segment], parts: Sequence[Path], origin: int, time_base: Fraction, lasting: dict[int, int]
) -> Iterator[Picture]:
    """Yield the encoded frames of all segments in the order in which they are decoded."""
    shown = []
    for segment, part in zip(segments, parts, strict=True):
        shown += [tick for tick, _ in _packets(segment, part, time_base)]
    decoded = iter(decode_ticks(shown, lasting))
    for segment, part in zip(segments, parts, strict=True):
        for tick, packet in _packets(segment, part, time_base):
            yield Picture(packet, tick - origin, next(decoded) - origin, lasting[tick])


def _packets(segment: Segment, part: Path, time_base: Fraction) -> list[tuple[int, Packet]]:
    """Return the packets of a segment, each with the tick of its frame.

    Raises:
        OutputError: It does not hold the frames that it should.
    """
    with import_av().open(str(part)) as container:
        packets = [one for one in container.demux(container.streams.video[0]) if one.pts is not None and one.size]
    # The container moves all times, so that decoding begins at 0.
    begin = min((one.pts for one in packets), default=0)
    found = [(segment.ticks[0] + round((one.pts - begin) * one.time_base / time_base), one) for one in packets]
    if sorted(tick for tick, _ in found) != segment.ticks:
        raise OutputError(
            f"the finished segment {part.name} does not hold its {len(segment.ticks)} frames: it is damaged; remove "
            f"the folder {shown(part.parent)} and start anew"
        )
    return found


def _carried(source: InputContainer, carriers: dict[int, Any], window: Window) -> Iterator[Packet]:
    """Yield the packets of the other streams."""
    av = import_av()
    streams = [one.given for one in carriers.values()]
    if not streams:
        return
    if window.cut:
        with contextlib.suppress(av.error.FFmpegError):
            source.seek(int(max(Fraction(0), window.begin - 2) * 1_000_000), backward=True)
    packets = source.demux(streams)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.error.EOFError):
            return
        except av.error.FFmpegError:
            return  # A clip that is cut off: what can be read of its sound is there.
        yield from carriers[packet.stream.index].carry(packet)


def _interleave(
    output: OutputContainer, stream: Any, pictures: Iterator[Picture], others: Iterator[Packet], time_base: Fraction
) -> None:
    """Write frames and other packets in the order of time, so that the container need not hold much back."""
    waiting = next(pictures, None)
    for packet in others:
        tick = packet.dts if packet.dts is not None else packet.pts
        moment = None if tick is None or not packet.time_base else tick * packet.time_base
        while waiting is not None and (moment is None or waiting.decoded * time_base <= moment):
            _write(output, stream, waiting, time_base)
            waiting = next(pictures, None)
        output.mux(packet)
    while waiting is not None:
        _write(output, stream, waiting, time_base)
        waiting = next(pictures, None)


def _write(output: OutputContainer, stream: Any, picture: Picture, time_base: Fraction) -> None:
    packet = picture.packet
    packet.stream = stream
    packet.time_base = time_base
    packet.pts, packet.dts, packet.duration = picture.shown, picture.decoded, picture.duration
    output.mux(packet)
