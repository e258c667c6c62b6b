"""Fuzz the readers of pictures, guided by which lines are reached.

    python -m tests.slow.fuzz_pictures --seconds 600

Pictures of every kind that is read are changed; each goes in by three doors: as a stream, in strips, and as a size to
be told. See :mod:`tests.slow.guided` for what comes out.
"""

from __future__ import annotations

from tests.slow.guided import arguments, fuzz, instrumented

LONGEST = 8192


def main() -> None:
    """Fuzz."""
    asked = arguments(__doc__ or "")
    instrumented(("PIL.Image", "PIL.JpegImagePlugin", "PIL.PngImagePlugin", "PIL.TiffImagePlugin", "stylize.strips"))
    from tests.fuzzing import try_picture
    from tests.hostile_files import samples

    fuzz(
        "pictures",
        try_picture,
        {name: data for name, data in samples().items() if len(data) <= LONGEST},
        asked,
        LONGEST,
    )


if __name__ == "__main__":
    main()
