"""Static export of figures as SVG and PNG, in the light palette, for papers, slides and a README."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from overopt.reports.charts.theme import static_spec

__all__ = ["write_figure", "write_figures"]


def write_figure(path: str | os.PathLike[str], chart: Any, width: int = 640) -> Path:
    """Write an altair chart as SVG or PNG (by the path's ending), in the light palette, ``width`` pixels wide."""
    import vl_convert

    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    spec = static_spec(chart, width)
    if target.suffix == ".png":
        target.write_bytes(vl_convert.vegalite_to_png(spec, scale=2))
    else:
        target.write_text(vl_convert.vegalite_to_svg(spec), encoding="utf-8")
    return target


def write_figures(folder: str | os.PathLike[str], charts: Mapping[str, Any]) -> Iterator[Path]:
    """Write every chart as ``NAME.svg`` and ``NAME.png`` into ``folder``, one path at a time.

    Characters that file systems or shells mind become dashes.
    """
    for name, chart in charts.items():
        for ending in (".svg", ".png"):
            yield write_figure(Path(folder) / (re.sub(r"[^\w.-]+", "-", name) + ending), chart)
