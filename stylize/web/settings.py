"""What the web page is told once, when it starts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from stylize.errors import InputError
from stylize.web.line import MOST_WAITING

EXTRA = "the web page needs the package gradio; install it: pip install 'stylize[web]'"


@dataclass(frozen=True)
class Limits:
    """How large an upload may be.

    Attributes:
        megabytes: Millions of bytes of a file.
        megapixels: Millions of pixels of a picture.
    """

    megabytes: float = 100.0
    megapixels: float = 64.0

    def __post_init__(self) -> None:
        if not 0 < self.megabytes <= 10_000:
            raise InputError(f"a limit of {self.megabytes:g} megabytes given; above 0 up to 10,000 is accepted")
        from stylize.images import MAXIMUM_PIXELS  # Pillow, which `stylize --help` has no use for

        most = MAXIMUM_PIXELS / 1e6
        if not 0 < self.megapixels <= most:
            raise InputError(f"a limit of {self.megapixels:g} megapixels given; above 0 up to {most:.0f} is accepted")

    @property
    def file_bytes(self) -> int:
        """Most bytes of a file."""
        return int(self.megabytes * 1e6)

    @property
    def pixels(self) -> int:
        """Most pixels of a picture."""
        return int(self.megapixels * 1e6)


@dataclass(frozen=True)
class Settings:
    """How the page paints.

    Attributes:
        collection: Name or file of the collection whose styles are offered; None takes what is shipped.
        device: Where it computes.
        engine: What computes; None is torch.
        precision: What it computes in.
        limits: How large an upload may be.
        waiting: Most requests that wait for a kind of work; the next is told to come back later.
    """

    collection: str | Path | None = None
    device: str = "auto"
    engine: str | None = None
    precision: str = "auto"
    limits: Limits = field(default_factory=Limits)
    waiting: int = MOST_WAITING
