"""The frozen parts of a page: what it says, without how it looks.

Strings are plain text; ``**bold**`` and ```code``` are the only markup.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

__all__ = [
    "Block",
    "Bullets",
    "Columns",
    "Facts",
    "Figure",
    "Formula",
    "Key",
    "Mark",
    "Measured",
    "Note",
    "Page",
    "Sample",
    "SampleColumn",
    "Samples",
    "Section",
    "Table",
    "Text",
]


@dataclass(frozen=True)
class Mark:
    """A verdict as a table cell: its words, and whether it is good news, bad news or an open question."""

    text: str
    kind: Literal["good", "bad", "open"]


@dataclass(frozen=True)
class Measured:
    """A formatted number with its interval as a table cell."""

    value: str
    interval: str


@dataclass(frozen=True)
class Table:
    """Rows under named columns.

    Cells: text, :class:`Mark`, :class:`Measured`, numbers (floats get two decimals), None for no value.
    A table with a ``fold`` shows only these words until it is opened.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]
    caption: str = ""
    fold: str = ""


@dataclass(frozen=True)
class Figure:
    """An altair chart with its words.

    Attributes
    ----------
    chart
        An altair chart; without a width it fills its container.
    alt
        What the picture shows, in one or two sentences, for readers who cannot see it.
    title, subtitle, caption
        Above (bold), above (small: what the axes and bands are) and below the chart.
    table
        The numbers behind the chart, shown on demand and on paper.
    name
        File name without ending for static export; a figure without a name is not exported.
    """

    chart: Any
    alt: str
    title: str = ""
    subtitle: str = ""
    caption: str = ""
    table: Table | None = None
    name: str = ""


@dataclass(frozen=True)
class Text:
    """One paragraph."""

    text: str


@dataclass(frozen=True)
class Note:
    """One paragraph of small print, such as what the bands of a picture are."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """A list of sentences."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Facts:
    """Names with their values, such as versions and settings."""

    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Key:
    """A colour key: (concept of the palette, words)."""

    entries: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Sample:
    """One completion, its leading space included, with its two scores, in gold SD."""

    prompt: str
    completion: str
    gold: float
    proxy: float


@dataclass(frozen=True)
class SampleColumn:
    """Completions of one policy: ``title`` in bold, ``note`` beside it, ``tone`` a concept of the palette."""

    title: str
    note: str
    tone: str
    samples: tuple[Sample, ...]


@dataclass(frozen=True)
class Samples:
    """Completions of several policies side by side."""

    columns: tuple[SampleColumn, ...]


@dataclass(frozen=True)
class Columns:
    """Two or three blocks side by side; one below the other on a phone."""

    blocks: tuple[Figure | Table | Text | Bullets, ...]


@dataclass(frozen=True)
class Formula:
    """Mathematics on a line of its own, typeset by the browser (MathML)."""

    latex: str


Block = Figure | Columns | Formula | Table | Text | Note | Bullets | Facts | Key | Samples


@dataclass(frozen=True)
class Section:
    """A heading, one sentence under it, and blocks."""

    title: str
    blocks: tuple[Block, ...]
    lead: str = ""


@dataclass(frozen=True)
class Page:
    """A page.

    Attributes
    ----------
    title
        The browser's title.
    headline
        The answer, as one sentence.
    summary
        A few plain sentences under the headline, one paragraph each.
    hero
        Blocks before the first section: the picture.
    sections, footer
        The rest; ``footer`` lines are small print.
    kicker
        A short line above the headline: what this page is.
    """

    title: str
    headline: str
    sections: tuple[Section, ...]
    summary: tuple[str, ...] = ()
    hero: tuple[Block, ...] = ()
    footer: tuple[str, ...] = ()
    kicker: str = ""

    def figures(self) -> Iterator[Figure]:
        """Every figure, in reading order."""
        for block in (*self.hero, *(block for section in self.sections for block in section.blocks)):
            if isinstance(block, Figure):
                yield block
            elif isinstance(block, Columns):
                yield from (part for part in block.blocks if isinstance(part, Figure))
