"""From a path to a clip that can be read, whatever kind it is."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from stylize.errors import InputError, suggest
from stylize.image_errors import shown
from stylize.video import animations
from stylize.video.animations import AnimationSource, read_animation_facts
from stylize.video.frame_folders import FolderSource, read_folder_facts, read_pattern
from stylize.video.frames import ANIMATION, CLIP, FOLDER, ClipFacts, Source
from stylize.video.reading import ClipSource, read_facts
from stylize.video.times import WHOLE, Span

SOURCES: dict[str, type[Source]] = {CLIP: ClipSource, ANIMATION: AnimationSource, FOLDER: FolderSource}


def look_at(path: Path, rate: Fraction | None = None) -> ClipFacts:
    """Return what is known of a clip: a video file, an animated GIF or WebP, a folder of frames, or a pattern.

    Args:
        path: Where it is.
        rate: Frames per second; only for a folder, which says nothing about it.

    Raises:
        InputError: It is missing, or cannot be read; or a rate is given for something that has its own.
    """
    if path.is_dir() or (not path.exists() and read_pattern(path) is not None):
        return read_folder_facts(path, rate)
    if rate is not None:
        raise InputError(f"--fps is for a folder of frames; {shown(path)} has times of its own, which are kept")
    if not path.exists():
        folder = path.parent
        names = [one.name for one in folder.iterdir()] if folder.is_dir() else []
        raise InputError(f"no file or folder '{shown(path)}'{suggest(path.name, names)}")
    if path.suffix.lower() in animations.SUFFIXES and path.stat().st_size:
        return read_animation_facts(path)
    return read_facts(path)


def open_source(facts: ClipFacts, span: Span = WHOLE, size: int | None = None) -> Source:
    """Return a clip that can be read.

    Args:
        facts: From :func:`look_at`.
        span: The part that is read.
        size: Long edge of the frames in pixels; None keeps that of the clip.

    Raises:
        InputError: The part lies outside of the clip, or the size is too large.
    """
    return SOURCES[facts.kind](facts, span, size)
