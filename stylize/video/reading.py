"""Video files in: any container and codec that FFmpeg, inside PyAV, can read."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylize.errors import InputError
from stylize.image_errors import reason_of, shown
from stylize.image_folders import READ_SUFFIXES
from stylize.images import MAXIMUM_PIXELS
from stylize.video.colour import colour_of, to_rgb
from stylize.video.digests import file_digest
from stylize.video.frames import CLIP, ClipFacts, Frame, Source
from stylize.video.orientation import UPRIGHT, Orientation, read_display_matrix
from stylize.video.pyav import import_av
from stylize.video.times import WHOLE, Span
from stylize.video.transparency import transparency_note

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream

SEEK_MARGIN = 2.0
"""Seconds before a frame at which decoding begins: a jump may land behind the point it aims at by the reordering of
frames, and the first frames after it may lack what they refer to."""

TAIL = 0.5
"""Seconds that may be missing at the end of a clip before it counts as cut off."""

CONTAINERS = (
    "3dostr,4xm,amv,anm,apng,asf,av1,avi,avs,avs2,avs3,bethsoftvid,bfi,bink,c93,cavsvideo,cdxl,cine,dhav,dirac,dnxhd,"
    "dsicin,dv,dxa,ea,evc,film_cpk,flic,flv,gif,gxf,h261,h263,h264,hevc,idcin,iff,ivf,ivr,ipmovie,jv,kux,live_flv,lxf,"
    "m4v,matroska,mjpeg,mjpeg_2000,mlv,mm,moflex,mov,mpeg,mpegts,mpegvideo,mtv,mv,mvi,mxf,mxg,nc,nsv,nut,nuv,obu,ogg,"
    "paf,pmp,pva,r3d,rl2,rm,roq,rpl,smjpeg,smk,swf,thp,tmv,ty,usm,vc1,vc1test,vivo,vmd,vvc,wc3movie,webm,webp,wsvqa,wtv,"
    "xmv,xwma,yop,yuv4mpegpipe,"
    "bmp_pipe,dpx_pipe,exr_pipe,gif_pipe,ico,image2,j2k_pipe,jpeg_pipe,jpegls_pipe,jpegxl_anim,jpegxl_pipe,pam_pipe,"
    "pbm_pipe,pcx_pipe,pgm_pipe,png_pipe,ppm_pipe,psd_pipe,qoi_pipe,sgi_pipe,tiff_pipe,webp_pipe"
)
"""Kinds of files that FFmpeg may take a clip for: those that are one file. Play lists (``hls``, ``dash``, ``concat``)
and descriptions of streams (``sdp``) are not among them, because they make it open other files and addresses."""

READING = {"format_whitelist": CONTAINERS, "protocol_whitelist": "file", "max_pixels": str(MAXIMUM_PIXELS)}
"""What FFmpeg may do with a clip: read it as one of these kinds, open no other, and decode frames up to a size."""

DAMAGE_LIMIT = 1000
"""Damaged parts in a row after which the rest of a clip is given up."""


@contextlib.contextmanager
def open_clip(path: Path) -> Iterator[InputContainer]:
    """Open a video file.

    Raises:
        InputError: It is missing or no video file, or PyAV is.
    """
    av, name = import_av(), shown(path)
    if path.is_dir():
        raise InputError(f"{name} is a folder, not a clip")
    if not path.exists():
        raise InputError(f"{name}: there is no such file")
    if path.stat().st_size == 0:
        raise InputError(f"{name} is empty (0 bytes)")
    try:
        # Absolute, because FFmpeg takes what stands before a colon for a protocol.
        container = av.open(str(path.absolute()), metadata_errors="replace", options=READING)
    except av.error.FFmpegError as error:
        kind = "clip: it cannot be read, or its beginning or its index is missing"
        raise InputError(f"{name} is no {kind} ({reason_of(error)})") from None
    with container:
        yield container


def video_stream(container: InputContainer, name: str) -> VideoStream:
    """Return the stream of moving pictures of a clip: the one that is marked, else the largest.

    Raises:
        InputError: There is none.
    """
    av = import_av()
    streams = [one for one in container.streams.video if not one.disposition & av.stream.Disposition.attached_pic]
    # A codec that this FFmpeg does not know has no context.
    known = [one for one in streams if one.codec_context is not None and one.codec_context.width > 0]
    if not known:
        what = "moving pictures of a kind that cannot be read" if streams else "no video, only " + (
            ", ".join(sorted({one.type for one in container.streams})) or "nothing"
        )  # fmt: skip
        raise InputError(f"{name} holds {what}; a clip with video is needed")
    for one in known:
        one.codec_context.options = {"max_pixels": READING["max_pixels"]}
    default = av.stream.Disposition.default
    return max(known, key=lambda one: (bool(one.disposition & default), one.codec_context.width))


def read_facts(path: Path) -> ClipFacts:
    """Return what is known of a video file; its first frame is decoded.

    Raises:
        InputError: It is missing, no clip, or holds no video that can be read.
    """
    name = shown(path)
    with open_clip(path) as container:
        if _is_picture(container.format.name, path):
            raise InputError(f"{name} is one picture, not a clip; paint it with 'stylize apply {name}'")
        stream = video_stream(container, name)
        wide, tall = stream.codec_context.width, stream.codec_context.height
        if wide * tall > MAXIMUM_PIXELS:
            raise InputError(f"{name} has frames of {wide} x {tall} pixels, more than the {MAXIMUM_PIXELS:,} accepted")
        frame = next(_decoded(container, stream, []), None)
        if frame is None:
            raise InputError(f"{name} holds no frame that can be decoded; copy or convert it again")
        tick, turn, notes = stream.time_base, _orientation(frame), []
        if turn is None:
            turn = UPRIGHT
            notes.append("its rotation is no multiple of a quarter turn, and is left out")
        colour = colour_of(frame, name)
        if colour.hdr:
            notes.append(f"it is of high dynamic range ({colour.hdr}) and is painted tone-mapped to the ordinary one")
        elif (bits := max(one.bits for one in frame.format.components)) > 8:
            notes.append(f"its colours have {bits} bits; they are painted and written with 8")
        transparency = transparency_note(frame, stream)
        if transparency is not None:
            notes.append(transparency)
        if frame.interlaced_frame:
            notes.append("its frames are interlaced and are painted as they are; deinterlace it first for better ones")
        duration = _duration(container, stream)
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        counted = stream.frames or (round(duration * rate) if duration else _count_packets(path, name))
        aspect = Fraction(stream.sample_aspect_ratio or 1)
        width, height = turn.size(frame.width, frame.height)
        return ClipFacts(
            name=name,
            kind=CLIP,
            path=path,
            width=width,
            height=height,
            time_base=tick,
            rate=rate,
            frames=max(1, counted) if counted else None,
            duration=duration,
            digest=file_digest(path),
            zero=_zero(container, tick),
            aspect=1 / aspect if turn.swap and aspect else aspect or Fraction(1),
            colour=colour,
            notes=tuple(notes),
        )


def _is_picture(container_format: str, path: Path) -> bool:
    """Tell whether FFmpeg reads the file as one picture (its demuxers of pictures are called so)."""
    picture = container_format.endswith("_pipe") or container_format in ("image2", "ico", "webp")
    return picture and path.suffix.lower() in READ_SUFFIXES | {".ico", ".tga", ".exr", ".svg", ""}


def _orientation(frame: VideoFrame) -> Orientation | None:
    """Return how a frame is to be turned, or None where its matrix says something else."""
    data = frame.side_data.get("DISPLAYMATRIX")
    return UPRIGHT if data is None else read_display_matrix(bytes(data))


def _duration(container: InputContainer, stream: VideoStream) -> float | None:
    """Return how long a clip is, in seconds: to the end of its video, on the clock of the clip."""
    if stream.duration:
        begin = max(0, (stream.start_time or 0) - _zero(container, stream.time_base))
        return float((stream.duration + begin) * stream.time_base)
    return container.duration / 1_000_000 if container.duration else None


def _count_packets(path: Path, name: str) -> int:
    """Return how many pictures are stored in a clip that does not say how long it is; it is read, but not decoded.

    Recordings that were never finished, and streams without a container, are such.
    """
    count = 0
    with open_clip(path) as container, contextlib.suppress(import_av().error.FFmpegError):
        for packet in container.demux(video_stream(container, name)):
            count += bool(packet.size)
    return count


def _zero(container: InputContainer, tick: Fraction) -> int:
    """Return the tick at which the clip begins: the earliest of its streams, where that is not before 0."""
    return max(0, round(Fraction(container.start_time or 0, 1_000_000) / tick))


def _decoded(container: InputContainer, stream: VideoStream, problems: list[str]) -> Iterator[VideoFrame]:
    """Yield what can be decoded from here to the end; what cannot is left out and said in ``problems``."""
    av = import_av()
    stream.thread_type = "AUTO"
    damaged = in_a_row = 0
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
            for frame in packet.decode():
                in_a_row = 0
                yield frame
        except StopIteration:
            break
        except av.error.EOFError:
            break
        except av.error.FFmpegError:
            damaged, in_a_row = damaged + 1, in_a_row + 1
            if in_a_row >= DAMAGE_LIMIT:
                break
    if damaged:
        problems.append(f"parts of it are damaged and left out ({damaged} could not be read)")


class ClipSource(Source):
    """A video file.

    Args:
        facts: From :func:`read_facts`.
        span: The part that is read.
        size: Long edge of the frames in pixels; None keeps that of the clip.
    """

    def __init__(self, facts: ClipFacts, span: Span = WHOLE, size: int | None = None) -> None:
        super().__init__(facts, span, size)
        tick = facts.time_base
        self._begin = facts.zero + round(Fraction(span.start) / tick) if span.start else None
        self._end = None if span.end is None else facts.zero + round(Fraction(span.end) / tick)

    def frames(self, first: int | None = None) -> Iterator[Frame]:
        """Yield the frames of the part, see :meth:`stylize.video.frames.Source.frames`.

        A jump is trusted only where it leads to the very frame that was asked for; else the clip is decoded from its
        beginning.
        """
        begin = self._begin if first is None else first
        if begin is not None:
            jumped = self._read(begin, jump=True, exact=first is not None)
            head = next(jumped, None)
            if head is not None:
                yield head
                yield from jumped
                return
        yield from self._read(begin, jump=False, exact=False)

    def _read(self, begin: int | None, jump: bool, exact: bool) -> Iterator[Frame]:
        """Yield the frames from a tick on.

        Args:
            begin: The tick; None is the beginning.
            jump: Whether to jump there; else everything before is decoded.
            exact: Whether to yield nothing where no frame has that very tick.
        """
        av, facts = import_av(), self.facts
        self.problems = problems = []
        with open_clip(facts.path) as container:
            stream = video_stream(container, facts.name)
            if jump and begin is not None:
                aim = begin - round(Fraction(SEEK_MARGIN) / facts.time_base)
                if aim <= facts.zero:
                    jump = False
                else:
                    try:
                        container.seek(aim, stream=stream, backward=True)
                    except av.error.FFmpegError:
                        return
            earlier, tick = True, None
            step = max(1, round(1 / (facts.rate * facts.time_base)))
            last: VideoFrame | None = None
            for frame in _decoded(container, stream, problems):
                given = frame.pts if frame.pts is not None else frame.dts
                if given is None and jump:
                    return  # Without times of its own nothing says which frame this is.
                tick = next_tick(given, tick, step)
                if begin is not None and earlier:
                    if tick < begin:
                        last = frame
                        continue
                    if jump and (last is None or (exact and tick != begin)):
                        return  # It landed too late, or beside.
                    earlier = False
                if self._end is not None and tick >= self._end:
                    return
                last = frame
                yield Frame(self._pixels(frame), tick, int(frame.duration or 0))
            self._note_end(facts.zero if tick is None else tick + step)

    def _pixels(self, frame: VideoFrame) -> Any:
        turn = _orientation(frame) or UPRIGHT
        colour = self.facts.colour
        stored = turn.size(self.width, self.height)
        return turn.upright(to_rgb(frame, colour, stored))

    def _note_end(self, tick: int) -> None:
        """Take note of a clip that ends at this tick, if that is before it should."""
        duration = self.facts.duration or 0.0
        expected = duration if self.span.end is None else min(self.span.end, duration)
        found = float((tick - self.facts.zero) * self.facts.time_base)
        if found < expected - max(TAIL, 2 / self.facts.rate):
            self.problems.append(f"the clip is cut off or damaged: it ends at {found:.2f} s of {expected:.2f} s")


def next_tick(given: int | None, before: int | None, step: int) -> int:
    """Return the tick of a frame: its own, but after that of the frame before, and one step after it without its own.

    Args:
        given: Its tick; None where the clip does not say.
        before: Tick of the frame before; None for the first one.
        step: Ticks from a frame to the next one, usually.
    """
    if given is None:
        return 0 if before is None else before + step
    return given if before is None else max(given, before + 1)
