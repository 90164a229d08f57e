"""One self-contained HTML page from frozen parts: it works offline, under a strict content-security policy.

A :class:`Page` holds :class:`Section`\\ s, a section holds blocks (:mod:`overopt.reports.pages.blocks`). All text is
escaped. Behind every chart stands its text alternative and, where given, its table.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import re
from functools import cache
from importlib.resources import files
from pathlib import Path

from overopt.reports.charts.theme import DARK, LIGHT, css_variables, themed_spec
from overopt.reports.numbers import count, plain
from overopt.reports.output import write_text
from overopt.reports.pages.blocks import (
    Block,
    Bullets,
    Columns,
    Facts,
    Figure,
    Formula,
    Key,
    Mark,
    Measured,
    Note,
    Page,
    Sample,
    SampleColumn,
    Samples,
    Section,
    Table,
    Text,
)
from overopt.reports.pages.export import write_figure, write_figures

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
    "page_html",
    "write_figure",
    "write_figures",
    "write_page",
]


_MOST_SAMPLES = 12
"""Longer columns of samples are not aligned row by row."""

_SIGNS = {"good": "✓", "bad": "✗", "open": "?"}
_NUMBER = re.compile(r"^[−+]?(\d[\d,.]*[kMB]?|–)( [±\[].*)?$")
_MARKUP = re.compile(r"\*\*(.+?)\*\*|`([^`]+)`")


def _words(text: str) -> str:
    def tag(match: re.Match[str]) -> str:
        return f"<strong>{match[1]}</strong>" if match[1] is not None else f"<code>{match[2]}</code>"

    return _MARKUP.sub(tag, html.escape(text))


def _cell(value: object) -> str:
    if isinstance(value, Mark):
        return f'<span class="mark {value.kind}" data-sign="{_SIGNS[value.kind]}">{html.escape(value.text)}</span>'
    if isinstance(value, Measured):
        return html.escape(value.value) + (f"<small>{html.escape(value.interval)}</small>" if value.interval else "")
    if isinstance(value, str):
        return _words(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return count(value) if abs(value) >= 10_000 else str(value)
    return plain(None if value is None else float(value))  # type: ignore[arg-type]


def _is_number(value: object) -> bool:
    if isinstance(value, str):
        return bool(_NUMBER.match(value))
    return (
        value is None
        or isinstance(value, Measured)
        or (isinstance(value, (int, float)) and not isinstance(value, bool))
    )


def _table(table: Table) -> str:
    numeric = [all(_is_number(row[index]) for row in table.rows) for index in range(len(table.columns))]
    classes = [' class="number"' if number else "" for number in numeric]
    head = "".join(
        f'<th scope="col"{kind}>{_words(name)}</th>' for name, kind in zip(table.columns, classes, strict=True)
    )
    body = "".join(
        "<tr>" + "".join(f"<td{kind}>{_cell(cell)}</td>" for cell, kind in zip(row, classes, strict=True)) + "</tr>"
        for row in table.rows
    )
    caption = f"<caption>{_words(table.caption)}</caption>" if table.caption else ""
    label = html.escape(table.caption or ", ".join(table.columns), quote=True)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{label}">'
        f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _folded(words: str, table: Table) -> str:
    return f"<details><summary>{_words(words)}</summary>{_table(table)}</details>"


def _mathml(latex: str) -> str:
    from latex2mathml.converter import convert

    # HTML knows the element; the namespace is an address that a reader might take for a fetched one.
    return str(convert(latex, display="block")).replace(' xmlns="http://www.w3.org/1998/Math/MathML"', "")


def _json_block(identity: str, value: object) -> str:
    # "<" never appears raw, so no string in the data can close the script element.
    text = json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return f'<script type="application/json" id="{identity}">{text}</script>'


class _Renderer:
    """Renders blocks and numbers the charts."""

    def __init__(self) -> None:
        self.charts = 0

    def block(self, block: Block) -> str:
        match block:
            case Figure():
                return self.figure(block)
            case Columns():
                size = {2: "two", 3: "three"}.get(len(block.blocks), "")
                return f'<div class="columns {size}">' + "".join(map(self.block, block.blocks)) + "</div>"
            case Table():
                return _folded(block.fold, block) if block.fold else _table(block)
            case Text():
                return f"<p>{_words(block.text)}</p>"
            case Formula():
                return f'<div class="scroll formula">{_mathml(block.latex)}</div>'
            case Note():
                return f'<p class="note">{_words(block.text)}</p>'
            case Bullets():
                items = "".join(f"<li>{_words(item)}</li>" for item in block.items)
                many = ' class="many"' if len(block.items) > 5 else ""
                return f"<ul{many}>{items}</ul>" if items else ""
            case Facts():
                rows = "".join(f"<dt>{_words(name)}</dt><dd>{_words(value)}</dd>" for name, value in block.pairs)
                return f"<dl>{rows}</dl>"
            case Key():
                entries = "".join(
                    f'<span class="tone-{concept}">{_words(words)}</span>' for concept, words in block.entries
                )
                return f'<div class="key">{entries}</div>'
            case Samples():
                size = {2: "two", 3: "three"}.get(len(block.columns), "")
                return f'<div class="columns {size}">' + "".join(map(_sample_column, block.columns)) + "</div>"

    def figure(self, figure: Figure) -> str:
        self.charts += 1
        identity = f"chart-{self.charts}"
        spec = themed_spec(figure.chart)
        title = f"<h3>{_words(figure.title)}</h3>" if figure.title else ""
        subtitle = f'<p class="subtitle">{_words(figure.subtitle)}</p>' if figure.subtitle else ""
        caption = f"<figcaption>{_words(figure.caption)}</figcaption>" if figure.caption else ""
        table = _folded("Numbers", figure.table) if figure.table else ""
        label = html.escape(figure.alt, quote=True)
        holder = f'<div class="chart" role="img" aria-label="{label}" data-chart="{identity}"></div>'
        return f"<figure>{title}{subtitle}{holder}{_json_block(identity, spec)}{caption}{table}</figure>"

    def section(self, section: Section) -> str:
        lead = f'<p class="lead">{_words(section.lead)}</p>' if section.lead else ""
        return f"<section><h2>{_words(section.title)}</h2>{lead}{''.join(map(self.block, section.blocks))}</section>"


def _sample_column(column: SampleColumn) -> str:
    quotes = "".join(
        f'<blockquote><p class="text"><span class="prompt">{html.escape(sample.prompt.lstrip())}</span>'
        f"{html.escape(sample.completion.rstrip())}</p>"
        f'<p class="scores"><span>gold <b class="gold-number">{plain(sample.gold)}</b></span>'
        f'<span>proxy <b class="proxy-number">{plain(sample.proxy)}</b></span></p></blockquote>'
        for sample in column.samples
    )
    return (
        f'<div class="sample rows-{len(column.samples) + 1} tone-{column.tone}"><p class="when">{_words(column.title)} '
        f"<span>{_words(column.note)}</span></p>{quotes}</div>"
    )


@cache
def _bundle() -> str:
    import vl_convert

    return f"(()=>{{{vl_convert.javascript_bundle('window.vegaEmbed = vegaEmbed;')}\n}})();"


def _asset(name: str) -> str:
    return files("overopt.reports.pages").joinpath(name).read_text(encoding="utf-8")


def _stylesheet() -> str:
    tones = "".join(f".tone-{name}{{--tone:var(--{name})}}" for name in LIGHT)
    # The samples of one prompt stand in one row across columns; a style attribute would break the policy.
    rows = "".join(f".rows-{span}{{grid-row:span {span}}}" for span in range(2, _MOST_SAMPLES + 2))
    # On paper the page is light, whatever the screen is: the dark palette applies to screens only.
    dark = f"@media screen and (prefers-color-scheme:dark){{:root{{{css_variables(DARK)}}}}}"
    return f":root{{{css_variables(LIGHT)}}}{dark}{tones}{rows}{_asset('page.css')}"


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def page_html(page: Page) -> str:
    """The page as one HTML document. No address is ever fetched: styles, scripts and data are inside."""
    render = _Renderer()
    hero = "".join(map(render.block, page.hero))
    sections = "".join(map(render.section, page.sections))
    style = _stylesheet()
    scripts = [_bundle(), _asset("page.js")] if render.charts else []
    policy = f"default-src 'none'; style-src {_hash(style)}; base-uri 'none'; form-action 'none'"
    if scripts:
        policy += f"; script-src {' '.join(map(_hash, scripts))}"
    kicker = f'<p class="kicker">{_words(page.kicker)}</p>' if page.kicker else ""
    summary = "".join(f"<p>{_words(paragraph)}</p>" for paragraph in page.summary)
    footer = "".join(f"<p>{_words(line)}</p>" for line in page.footer)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(page.title)}</title><style>{style}</style></head>\n<body>"
        f'<header>{kicker}<h1>{_words(page.headline)}</h1><div class="summary">{summary}</div></header>\n'
        f"<main>{hero}{sections}"
        f"{'<noscript><p>Charts need JavaScript; their numbers are in the tables.</p></noscript>' if scripts else ''}"
        f"</main>\n<footer>{footer}</footer>\n"
        + "".join(f"<script>{script}</script>" for script in scripts)
        + "</body></html>\n"
    )


def write_page(path: str | os.PathLike[str], page: Page) -> Path:
    """Write the page to ``path`` in one step (a reader never sees half of it) and return the path."""
    return write_text(path, page_html(page))
