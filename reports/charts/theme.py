"""The visual language: one colour per concept, in light and dark, and the Vega-Lite configuration that uses it.

Charts name colours by concept (``color("gold")`` is the CSS variable ``var(--gold)``), so that one SVG follows the page
from light to dark and onto paper without being drawn again. Static export replaces the variables by the light palette.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

__all__ = [
    "CONFIG",
    "DARK",
    "FONT",
    "LIGHT",
    "STEPS",
    "TERMS",
    "color",
    "css_variables",
    "ramp",
    "static_spec",
    "themed_spec",
]

FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, "Liberation Sans", sans-serif'

LIGHT: Mapping[str, str] = {
    "paper": "#ffffff",
    "ink": "#1b1f24",
    "muted": "#5b6470",
    "rule": "#dfe3e8",
    "wash": "#f5f6f8",
    "gold": "#b57a00",
    "proxy": "#2462c0",
    "regressional": "#17a08f",
    "extremal": "#b83414",
    "causal": "#9361fa",
    "unattributed": "#4d535c",
    "best-of-n": "#1b1f24",
    "ppo": "#c2255c",
    "leaf": "#6f8f00",
    "step-1": "#7ba3dd",
    "step-2": "#4c82d0",
    "step-3": "#2463c4",
    "step-4": "#174a97",
    "step-5": "#0c2f66",
}

DARK: Mapping[str, str] = {
    "paper": "#14171b",
    "ink": "#eceff3",
    "muted": "#a2abb6",
    "rule": "#30363d",
    "wash": "#1c2026",
    "gold": "#f0b93a",
    "proxy": "#7db2ff",
    "regressional": "#50a499",
    "extremal": "#ff7a55",
    "causal": "#a778e8",
    "unattributed": "#6f7883",
    "best-of-n": "#eceff3",
    "ppo": "#ff6f9f",
    "leaf": "#b9d13c",
    "step-1": "#4d77b8",
    "step-2": "#6a9ae0",
    "step-3": "#8dbaff",
    "step-4": "#b4d2ff",
    "step-5": "#e0edff",
}

TERMS = ("regressional", "extremal", "causal", "unattributed")
"""The four loss terms of the decomposition, in the order in which they are drawn everywhere."""


STEPS = ("step-1", "step-2", "step-3", "step-4", "step-5")
"""Ordered colours for an ordered quantity, such as the size of a proxy."""


def color(concept: str) -> str:
    """The CSS variable of a concept's colour, for example ``"var(--gold)"``."""
    if concept not in LIGHT:
        raise KeyError(f"no colour named {concept!r}; have {', '.join(LIGHT)}")
    return f"var(--{concept})"


def ramp(length: int) -> list[str]:
    """``length`` colours from weak to strong, spread over :data:`STEPS`."""
    last = len(STEPS) - 1
    return [color(STEPS[round(i * last / max(length - 1, 1))]) for i in range(length)]


def css_variables(palette: Mapping[str, str]) -> str:
    """The palette as CSS declarations."""
    return "".join(f"--{name}:{value};" for name, value in palette.items())


CONFIG: dict[str, Any] = {
    "background": None,
    "font": FONT,
    "padding": 4,
    "view": {"stroke": None},
    "axis": {
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "labelColor": color("muted"),
        "titleColor": color("muted"),
        "gridColor": color("rule"),
        "domain": False,
        "ticks": False,
        "labelPadding": 6,
        "titlePadding": 10,
        "tickCount": 5,
    },
    "axisX": {
        "grid": False,
        "domain": True,
        "domainColor": color("muted"),
        "ticks": True,
        "tickColor": color("muted"),
        "labelFlush": False,
        "labelSeparation": 6,
    },
    "axisY": {"titleAlign": "left", "titleAnchor": "start", "titleAngle": 0, "titleX": 0, "titleY": -14},
    "legend": {"labelFontSize": 12, "labelColor": color("ink"), "titleColor": color("muted"), "orient": "top"},
    "title": {"anchor": "start", "color": color("ink"), "fontSize": 14, "fontWeight": 600, "offset": 14},
    "text": {"fontSize": 12, "fill": color("ink"), "font": FONT},
    "line": {"strokeWidth": 2.5},
    "point": {"size": 40, "filled": True, "opacity": 1},
    "rule": {"stroke": color("muted")},
}

_VARIABLE = re.compile(r"var\(--([\w-]+)\)")


def themed_spec(chart: Any) -> dict[str, Any]:
    """The chart's Vega-Lite specification in this house's look, as wide as its container where it has no width."""
    spec: dict[str, Any] = chart.to_dict()
    spec["config"] = CONFIG
    if not {"hconcat", "vconcat", "concat", "facet", "repeat"} & spec.keys():
        spec.setdefault("width", "container")
        spec.setdefault("height", 300)
        spec.setdefault("autosize", {"type": "fit-x", "contains": "padding"})
    return spec


def static_spec(chart: Any, width: int = 640) -> dict[str, Any]:
    """The same specification with the light palette and a fixed width in pixels, for export to SVG and PNG."""
    spec = themed_spec(chart)
    if spec.get("width") == "container":
        spec["width"] = width
    text = _VARIABLE.sub(lambda match: LIGHT[match[1]], json.dumps(spec))
    plain: dict[str, Any] = json.loads(text)
    plain["background"] = LIGHT["paper"]
    return plain
