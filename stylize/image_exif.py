"""The EXIF data of a photo: which way up it is, and what of the rest stays true of a repainted picture.

What a photographer wants is kept: date, camera, lens, place, author, copyright. What is no longer true of the new
picture is lost: orientation, pixel size, colour space, thumbnail and the maker's private notes.
"""

from __future__ import annotations

import contextlib

from PIL import Image

from stylize.image_directories import sound_exif
from stylize.image_errors import DECODER_ERRORS

# EXIF tags of the main directory that stay true of a repainted photo.
_KEPT_EXIF = (
    270, 271, 272, 305, 306, 315, 316, 33432,  # description, make, model, software, date, artist, host, copyright
    282, 283, 296,  # resolution and its unit
    18246, 18249, 40091, 40092, 40093, 40094, 40095,  # rating and the title, comment, author, keywords of Windows
)  # fmt: skip
_EXIF_ORIENTATION, _EXIF_DETAILS, _EXIF_PLACE, _EXIF_COLOUR_SPACE = 274, 34665, 34853, 40961
_DROPPED_DETAILS = (37500, 40962, 40963, 40965)  # maker note, pixel width and height, interoperability

LONGEST_VALUE = 2**16
"""Characters or bytes of a value that is kept: more would not fit into a JPEG."""

UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What turns a picture of each EXIF orientation upright; 1 is upright already."""


def kept_metadata(image: Image.Image) -> tuple[bytes | None, int]:
    """Return the EXIF data to keep and the orientation (1 to 8); damaged data count as none."""
    stored = image.info.get("exif")
    if isinstance(stored, bytes) and not sound_exif(stored):
        return None, 1
    try:
        source = image.getexif()
        orientation = source.get(_EXIF_ORIENTATION, 1)
        orientation = orientation if isinstance(orientation, int) else 1
    except DECODER_ERRORS:
        return None, 1
    main: dict[int, object] = {}
    with contextlib.suppress(*DECODER_ERRORS):
        main = _short({tag: source[tag] for tag in _KEPT_EXIF if tag in source})
    details: dict[int, object] = {}
    place: dict[int, object] = {}
    with contextlib.suppress(*DECODER_ERRORS):
        found = source.get_ifd(_EXIF_DETAILS)
        details = _short({tag: value for tag, value in found.items() if tag not in _DROPPED_DETAILS})
    with contextlib.suppress(*DECODER_ERRORS):
        place = _short(dict(source.get_ifd(_EXIF_PLACE)))
    if not (main or details or place or _EXIF_ORIENTATION in source):
        return None, orientation
    main[_EXIF_ORIENTATION] = 1
    if _EXIF_COLOUR_SPACE in details:
        details[_EXIF_COLOUR_SPACE] = 1  # sRGB
    parts = {0: main, _EXIF_DETAILS: details, _EXIF_PLACE: place}
    data = _exif_bytes(parts)
    if data is None:
        # Cameras write values that their own tag cannot hold; one of them must not cost the date.
        data = _exif_bytes(
            {part: {t: v for t, v in tags.items() if _exif_bytes({part: {t: v}})} for part, tags in parts.items()}
        )
    return data, orientation


def _short(tags: dict[int, object]) -> dict[int, object]:
    """Return the tags whose values are not too long to be kept."""
    long = (str, bytes, tuple)
    return {tag: value for tag, value in tags.items() if not isinstance(value, long) or len(value) <= LONGEST_VALUE}


def _exif_bytes(parts: dict[int, dict[int, object]]) -> bytes | None:
    """Return EXIF data with the tags of the main directory (0) and of those inside it, or None where they cannot be."""
    exif = Image.Exif()
    for part, tags in parts.items():
        if part == 0:
            exif.update(tags)
        elif tags:
            exif[part] = tags
    try:
        return exif.tobytes()
    except DECODER_ERRORS:
        return None
