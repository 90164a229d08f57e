"""Charts: what is drawn is the data, and the colours can be told apart."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import replace

import numpy as np
import pytest

from overopt.bridges.run_summary import CurvePoint, MeasuredCurve
from overopt.reports.charts.arms import CONTROL_SUFFIX, gold_of_arms
from overopt.reports.charts.gap import gap, gap_domain
from overopt.reports.charts.labels import LINE_HEIGHT, apart
from overopt.reports.charts.overoptimization import d_title, overoptimization, value_domain
from overopt.reports.charts.theme import DARK, LIGHT, STEPS, TERMS, color, themed_spec
from overopt.reports.charts.toy_chart import toy_terms
from overopt.reports.charts.waterfall import waterfall
from overopt.reports.pages.run_page import run_page


def data_rows(spec):
    """All inline rows of a specification."""
    found = []
    if isinstance(spec, dict):
        values = spec.get("data", {}).get("values") if isinstance(spec.get("data"), dict) else None
        found += values or []
        for value in spec.values():
            found += data_rows(value)
    elif isinstance(spec, list):
        for value in spec:
            found += data_rows(value)
    return found


@pytest.fixture(scope="module")
def split(run_summary):
    return [s for s in run_summary.splits if s.method == "ppo"][-1]


def test_charts_name_colours_by_concept_only(run_summary):
    for figure in run_page(run_summary).figures():
        spec = json.dumps(themed_spec(figure.chart))
        assert not re.findall(r"#[0-9a-fA-F]{3,8}\b", spec), figure.name
        assert set(re.findall(r"var\(--([\w-]+)\)", spec)) <= set(LIGHT)
    with pytest.raises(KeyError, match="gould"):
        color("gould")


def test_the_picture_draws_every_point_once(run_summary):
    curve = next(c for c in run_summary.curves if c.method == "ppo")
    rows = data_rows(overoptimization([curve], x_title=d_title(curve.kl_kind)).to_dict())
    for what in ("gold", "proxy"):
        drawn = {(r["d"], r["gain"]) for r in rows if r.get("what") == what}
        assert drawn == {(p.d, getattr(p, what)) for p in curve.points}


def test_every_optimizer_has_a_hue_of_its_own_and_its_control_the_same_hue_dashed(run_summary):
    curve = next(c for c in run_summary.curves if c.method == "ppo")
    optimizers = [f"optimizer {i}" for i in range(9)]
    control = optimizers[3] + CONTROL_SUFFIX
    drawn = gold_of_arms({name: [curve] for name in [*optimizers, control]}, x_title="d").to_dict()["layer"][1]
    scale = drawn["encoding"]["color"]["scale"]
    hue = dict(zip(scale["domain"], scale["range"], strict=True))
    assert len({hue[name] for name in optimizers}) == 9
    assert hue[control] == hue[optimizers[3]]
    dash = dict(zip(*(drawn["encoding"]["strokeDash"]["scale"][key] for key in ("domain", "range")), strict=True))
    assert [name for name in dash if dash[name] != [1, 0]] == [control]


def test_an_interval_goes_before_a_standard_error():
    points = (
        CurvePoint(1, 0.0, 0.0, 0.0, 0.0, gold_se=1.0),
        CurvePoint(2, 1.0, 1.0, 2.0, 1.0, gold_se=1.0, gold_ci=(0.9, 1.2)),
    )
    curve = MeasuredCurve("ppo", "p", 0, "k1", points)
    rows = data_rows(overoptimization([curve], x_title="d").to_dict())
    bands = {(r["what"], r["d"]): (r["low"], r["high"]) for r in rows if "low" in r}
    assert bands["gold", 1.0] == (0.9, 1.2)
    assert bands["gold", 0.0] == (-1.96, 1.96)
    assert bands["proxy", 1.0] == (2.0, 2.0)
    low, high = value_domain([curve])
    assert low < -1.96
    assert high > 2.0


def test_a_curve_without_kl_is_drawn_against_pressure():
    points = (CurvePoint(10, None, None, 0.0, 0.0), CurvePoint(20, None, None, 1.0, 0.5))
    rows = data_rows(overoptimization([MeasuredCurve("ppo", "p", 0, "", points)], x_title="step").to_dict())
    assert {r["d"] for r in rows if r.get("what")} == {10, 20}


def test_the_waterfall_lands_on_delivered(split):
    bars = [r for r in data_rows(waterfall(split).to_dict()) if "start" in r and "end" in r]
    chain = {r["term"]: r for r in bars}
    assert chain["promise"]["end"] == split.promise
    for before, after in itertools.pairwise(("promise", *TERMS)):
        assert chain[after]["start"] == pytest.approx(chain[before]["end"])
    assert chain[TERMS[-1]]["end"] == pytest.approx(chain["delivered"]["end"])
    assert chain["delivered"]["end"] == split.delivered


def test_an_unknown_term_is_left_out_of_the_waterfall(split):
    terms = {r["term"] for r in data_rows(waterfall(replace(split, causal=None)).to_dict()) if "start" in r}
    assert "causal" not in terms
    assert {"promise", "regressional", "delivered"} <= terms


def test_the_gap_is_the_sum_of_its_bars(run_summary):
    name = run_summary.headline_proxy
    splits = [s for s in run_summary.splits if (s.method, s.proxy_name, s.seed) == ("ppo", name, 0)]
    rows = data_rows(gap(splits, x_title="step", domain=gap_domain(splits)).to_dict())
    for split in splits:
        at = f"{split.pressure:,.0f}"
        dot = next(r["gap"] for r in rows if r.get("at") == at and "gap" in r)
        assert sum(r["loss"] for r in rows if r.get("at") == at and "loss" in r) == pytest.approx(dot, abs=1e-9)
        assert dot == pytest.approx(split.promise - split.delivered)


def test_labels_are_moved_apart_inside_the_axis():
    rows = [{"y": value} for value in (0.98, 0.99, 1.0, 0.2)]
    placed = sorted(row["at"] for row in apart(rows, "y", (0.0, 1.0), 300))
    assert min(np.diff(placed)) >= LINE_HEIGHT / 300 - 1e-12
    assert placed[-1] <= 1.0
    assert placed[0] == 0.2


@pytest.mark.parametrize("reach", [(-3.75, 10.4), (0.0, 700.0), (-0.2, 0.3)])
def test_the_ticks_of_a_symmetric_log_axis_enclose_the_values(reach):
    terms = dict.fromkeys((*TERMS, "delivered"), 0.0)
    points = [terms | {"d": float(d), "delivered": value} for d, value in enumerate(reach)]
    y = toy_terms(points).to_dict()["encoding"]["y"]
    ticks = y.get("axis", {}).get("values")
    if ticks is None:
        assert max(map(abs, reach)) < 2, "Vega's own ticks do on a nearly linear axis"
    else:
        assert ticks[0] <= reach[0] < reach[1] <= ticks[-1]
        assert y["scale"]["domain"] == [ticks[0], ticks[-1]]
        assert y["axis"]["tickCount"] == len(ticks), "Vega thins the values out to the default count"


def linear_rgb(name):
    channels = np.array([int(name[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def oklab(rgb):
    """Ottosson 2020, from linear sRGB."""
    lms = np.array([[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
                    [0.0883024619, 0.2817188376, 0.6299787005]]) @ rgb  # fmt: skip
    return np.array([[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
                     [0.0259040371, 0.7827717662, -0.8086757660]]) @ np.cbrt(lms)  # fmt: skip


# Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB.
EYES = {
    "normal": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
TOGETHER = [("gold", "proxy"), TERMS, ("proxy", *TERMS, "gold"), ("best-of-n", "ppo"), ("proxy", "causal", "gold")]


def distance(first, second, palette, eye):
    seen = [oklab(np.clip(np.array(EYES[eye]) @ linear_rgb(palette[name]), 0, 1)) for name in (first, second)]
    return float(np.linalg.norm(seen[0] - seen[1]))


@pytest.mark.parametrize("eye", EYES)
@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_colours_that_meet_in_a_chart_can_be_told_apart(palette, eye):
    """0.08 in Oklab: about four just noticeable differences; names stand beside every colour as well."""
    for group in TOGETHER:
        for first, second in itertools.combinations(group, 2):
            found = distance(first, second, palette, eye)
            assert found > 0.08, f"{first} and {second} are {found:.3f} apart for {eye} eyes"


def test_the_distance_sees_a_confusing_pair():
    red_green = {"red": "#c04000", "green": "#608000"}
    assert distance("red", "green", red_green, "deutan") < 0.08 < distance("red", "green", red_green, "normal")


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_contrast_with_the_paper(palette):
    """WCAG 2.2: 4.5 for text, 3 for graphics."""

    def luminance(name):
        return float(linear_rgb(palette[name]) @ (0.2126, 0.7152, 0.0722))

    paper = luminance("paper")
    for name, needed in {
        "ink": 7,
        "muted": 4.5,
        "proxy": 4.5,
        **dict.fromkeys(("gold", "ppo", *TERMS), 3),
        STEPS[1]: 3,
    }.items():
        light, dark = sorted((paper, luminance(name)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= needed, name


def test_steps_are_in_order():
    for palette, sign in ((LIGHT, -1), (DARK, 1)):
        lightness = [oklab(linear_rgb(palette[name]))[0] for name in STEPS]
        assert all(sign * step > 0.04 for step in np.diff(lightness))
