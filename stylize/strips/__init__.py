"""Large pictures in and out, strip by strip: what exact tiles read from and write to.

A picture of 20,000 x 20,000 pixels has 1.2 GB of pixels in 8 bits and 4.8 GB as floats. Neither is ever held here:

- **Reading.** PNG and TIFF are decoded in pieces, with what Pillow makes of each piece, into 8 bits per channel,
  upright and in sRGB: held where that is little, else in a scratch file. The rows can then be read in any order and
  as often as needed. Other formats are decoded as a whole, in the memory that is allowed, and go the same way.
- **Writing.** PNG and TIFF are written from top to bottom as the strips come. JPEG and WebP can only be encoded as a
  whole; where the memory does not allow that, they are refused before anything is computed.

Other modules import from here alone.
"""

from __future__ import annotations

from stylize.strips.plans import DEFAULT_MEMORY, picture_size
from stylize.strips.reading import PictureRows, held_bytes_to_read, open_rows, rows_of
from stylize.strips.writing import RowWriter, held_bytes_to_write, open_writer

__all__ = [
    "DEFAULT_MEMORY",
    "PictureRows",
    "RowWriter",
    "held_bytes_to_read",
    "held_bytes_to_write",
    "open_rows",
    "open_writer",
    "picture_size",
    "rows_of",
]
