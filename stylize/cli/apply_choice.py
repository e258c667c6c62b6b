"""Which styles a run of ``stylize apply`` paints with, and which options do not go together; needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from stylize import zoo
from stylize.default_styles import default_style
from stylize.errors import ImageError, InputError
from stylize.style_choice import ChosenStyle, choose_collection, choose_style
from stylize.style_mixtures import parse_styles


def choose_for_apply(
    styles: Sequence[str],
    norms: Sequence[str],
    preset: str | None,
    collection: str | None,
    mask: Path | None,
) -> tuple[ChosenStyle, ...]:
    """Return the styles of pictures: one; one for each norm; or two for the white and the black of a mask.

    Raises:
        InputError: There is no such style, or what was given does not go together.
        WeightsError: A file is missing, damaged or of another kind.
    """
    asked = list(dict.fromkeys(norms))
    if len(styles) > 1 and mask is None:
        mixture = ",".join(f"{style}:{1 / len(styles):.2g}" for style in styles)
        raise click.UsageError(
            f"{len(styles)} styles given without a mask; to mix them: --style {mixture}; to paint one where a mask is "
            "white and one where it is black, add --mask MASK.png; to see all of them, add --sheet"
        )
    if len(styles) > 2:
        raise click.UsageError(
            f"{len(styles)} styles given with a mask; two are accepted: the first where it is white, the second where "
            "it is black"
        )
    norm = asked[0] if asked else None
    texts = tuple(styles) or (default_style(collection),)
    named = [choose_style(text, norm, preset, collection) for text in texts]
    if len(asked) < 2:
        return tuple(named)
    if mask is not None:
        raise click.UsageError("--norm given twice compares two networks and takes no --mask; give one --norm")
    if named[0].is_mixture:
        raise click.UsageError(
            f"--norm given twice compares two networks of one style, and '{texts[0]}' is a mixture: the styles of a "
            "collection are mixed in one network, which has one norm; give one style, or one --norm"
        )
    return (named[0], *(choose_style(texts[0], one, preset, collection) for one in asked[1:]))


def choose_for_sheet(
    styles: Sequence[str], norm: str | None, preset: str | None, collection: str | None
) -> tuple[ChosenStyle, ...]:
    """Return the styles of a sheet: those that were named, else every one of the collection, else all that is shipped.

    Args:
        styles: What was given, each a name, a file, a list ``a,b,c``, or a mixture with weights ``a:0.6,b:0.4``.
        norm: Normalisation; None takes the usual one.
        preset: Architecture of a shipped style.
        collection: Where names are looked up.

    Raises:
        InputError: There is no such style.
        WeightsError: A file is missing, damaged or of another kind.
    """
    source = None if collection is None else choose_collection(collection)
    names = [name for text in styles for name in _listed(text)]
    if not names:
        if source is None and norm is None and preset is None:
            source = next(iter(zoo.list_collections()), None)
        names = list(source.painted_names) if source is not None else _shipped_alone(norm, preset)
    if not names:
        raise InputError("no style is there for a sheet; make one with 'stylize train PAINTING.jpg PHOTOS'")
    return tuple(choose_style(name, norm, preset, source) for name in dict.fromkeys(names))


def _listed(text: str) -> list[str]:
    """Return the styles of a list ``a,b,c``; a mixture with weights is one."""
    parts = parse_styles(text)
    return [text] if any(part.weighted for part in parts) else [part.style for part in parts]


def _shipped_alone(norm: str | None, preset: str | None) -> list[str]:
    """Return the styles that are shipped as networks of their own."""
    wanted = norm or zoo.DEFAULT_NORM
    return [one.style for one in zoo.list_weights() if one.norm == wanted and preset in (None, one.preset)]


def check_mask(mask: Path, files: Sequence[Path]) -> None:
    """Check that a mask is a picture and that none of the files that will be written takes its place.

    Raises:
        InputError: It is none, or one does.
    """
    from stylize.images import read_picture
    from stylize.strips import picture_size

    try:
        if picture_size(mask) is None:
            read_picture(mask)  # Its header does not do: it is missing, no picture, or of a kind that has to be read.
    except ImageError as error:
        raise ImageError(f"mask: {error}") from None
    for path in files:
        if path.exists() and path.samefile(mask):
            raise InputError(f"'{path}' is the mask; it is not replaced by a result: choose another -o")
