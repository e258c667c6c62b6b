"""What a report is made of: sections of text, charts, pictures and tables (:mod:`stylize.comparison.report_html` writes
it)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from PIL import Image


@dataclass(frozen=True)
class Picture:
    """A picture with its caption, which is its alternative text too.

    Attributes:
        caption: What it shows.
        image: The picture, of any mode; transparency is laid on white.
        lossless: Store it as PNG whatever its size, such as a difference picture whose pixels are data.
    """

    caption: str
    image: Image.Image
    lossless: bool = False


@dataclass(frozen=True)
class PictureRow:
    """Pictures beside each other, as many to a line as there is room for. Each opens large at a click."""

    pictures: Sequence[Picture]


@dataclass(frozen=True)
class Slider:
    """Two pictures of the same shape over each other with a slider between them; side by side where it is printed."""

    caption: str
    before: Picture
    after: Picture


@dataclass(frozen=True)
class Figure:
    """A chart.

    Attributes:
        svg: SVG document (:mod:`stylize.comparison.charts`).
        finding: What it shows, in one sentence computed from the numbers; stands above it, unless it is the finding of
            its section, which does already.
        alt: The chart in words, for readers who cannot see it.
    """

    svg: str
    finding: str
    alt: str


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        header: Names of the columns.
        rows: As many cells in each; numbers are written with three significant digits, None and NaN as a dash.
        numeric: Indices of the columns of numbers, which are aligned to the right.
        caption: What it lists, or what it shows.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[object]]
    numeric: Sequence[int] = ()
    caption: str = ""


Block = str | Figure | Picture | PictureRow | Slider | Table
"""A part of a section; text is a paragraph."""


@dataclass(frozen=True)
class Section:
    """A question, its answer, and what the answer rests on.

    Attributes:
        anchor: Name of its place in the page: small letters, digits and dashes.
        title: Heading.
        question: What is asked, as a question.
        finding: The answer, computed from the numbers.
        body: Evidence, in the order of reading.
        caveats: What limits the answer, a sentence each.
    """

    anchor: str
    title: str
    question: str
    finding: str
    body: Sequence[Block] = ()
    caveats: Sequence[str] = ()


@dataclass(frozen=True)
class Reference:
    """A paper or page, as text, with its address (http or https)."""

    text: str
    url: str


@dataclass(frozen=True)
class Report:
    """Everything that is on the page.

    Attributes:
        title: Its heading.
        verdict: Sentences; the first is the answer and stands out.
        not_reproduced: Published claims that did not hold here, a sentence each.
        sections: The evidence.
        facts: How it was made: command, date, seed, versions, hardware.
        files: Names of the files of numbers beside the page.
        references: Sources.
    """

    title: str
    verdict: Sequence[str]
    not_reproduced: Sequence[str] = ()
    sections: Sequence[Section] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    files: Sequence[str] = ()
    references: Sequence[Reference] = ()
