"""The diagnose page on real diagnoses of small simulated tables."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from overopt.bridges.checkpoints import Checkpoints
from overopt.bridges.diagnosis import diagnose
from overopt.bridges.kl import KL
from overopt.bridges.score_bank import ScoreBank
from overopt.reports.charts.losses import NOT_SPLIT, losses
from overopt.reports.diagnosis_record import diagnosis_record
from overopt.reports.output import plain
from overopt.reports.pages.diagnose_page import diagnose_page
from overopt.reports.pages.page import page_html

PROMPTS, SAMPLES = 16, 48


def scores(rng, shift=(0.0, 0.0)):
    """gold = q - .4 max(h - .5, 0)^2, proxy = q + .8 h + noise; the policy shifts the means of q and h."""
    q, h = (rng.standard_normal((PROMPTS, SAMPLES)) + s for s in shift)
    return q - 0.4 * np.maximum(h - 0.5, 0) ** 2, q + 0.8 * h + 0.5 * rng.standard_normal((PROMPTS, SAMPLES))


def record(bank, checkpoints=None):
    return plain(diagnosis_record(diagnose(bank, checkpoints)))


@pytest.fixture(scope="module")
def turning():
    """One proxy under best-of-n and along a run that turns; KL = (a^2 + b^2) / 2 exactly."""
    rng = np.random.default_rng(4)
    gold, proxy = scores(rng)
    shifts = {10.0 * k: (0.5 * k**0.5, 0.9 * k) for k in range(1, 5)}
    banks = {step: scores(rng, shift) for step, shift in shifts.items()}
    checkpoints = Checkpoints(
        {step: ScoreBank.from_rectangle(g, {"proxy": p}) for step, (g, p) in banks.items()},
        {
            step: KL((a * a + b * b) / 2, "k1", n=PROMPTS * SAMPLES, standard_error=0.1)
            for step, (a, b) in shifts.items()
        },
    )
    return record(ScoreBank.from_rectangle(gold, {"proxy": proxy}), checkpoints)


@pytest.fixture(scope="module")
def several():
    rng = np.random.default_rng(5)
    gold, good = scores(rng)
    levels = np.digitize(gold, [-0.5, 0.5]).astype(float)
    columns = {
        "good": good,
        "judge": levels,
        "bad": -gold + rng.standard_normal(gold.shape),
        "flat": np.zeros_like(gold),
    }
    return record(ScoreBank.from_rectangle(gold, columns))


def figures(result):
    return {figure.name: figure for figure in diagnose_page(result).figures()}


def test_a_run_that_turns_says_so_with_the_records_numbers(turning):
    turn = turning["proxies"]["proxy"]["turn"]["checkpoints"]
    page = diagnose_page(turning, source="bank.csv")
    assert turn["fall_interval"][0] > 0
    assert f"rose by {turn['rise']:.2f}" in page.headline
    assert f"fell by {turn['fall']:.2f}" in page.headline
    assert page.headline.endswith(f"highest at checkpoint {turn['peak']:.0f}")
    assert "bank.csv" in page.kicker


def test_each_panel_names_its_own_kl(turning):
    titles = {name: str(figure.chart.to_dict()) for name, figure in figures(turning).items()}
    assert "ties-exact KL" in titles["proxy-best-of-n"]
    assert "k1 KL" in titles["proxy-checkpoints"]
    assert {"proxy-path", "proxy-on-policy-slope", "proxy-checkpoints-stopping"} <= set(titles)


def test_the_drawn_law_is_in_gold_sd(turning):
    found = turning["proxies"]["proxy"]
    d, gold = found["fits"]["best-of-n"]["line"][-1]
    unit = found["scale"]["best-of-n"]["gold_unit"]
    spec = figures(turning)["proxy-best-of-n"].chart.to_dict()
    drawn = [row for layer in spec["layer"] for row in layer["data"]["values"] if row.keys() == {"curve", "d", "gain"}]
    assert drawn[-1]["d"] == d
    assert drawn[-1]["gain"] == pytest.approx(gold / unit)


def test_several_proxies_are_counted(several):
    headline = diagnose_page(several).headline
    assert headline.startswith("4 proxies: 2 raise gold, 1 lower gold, 1 not shown to do either; ")
    assert headline.endswith("none is shown to make gold rise, then fall")
    html = page_html(diagnose_page(several))
    assert all(f"<h2>{name}</h2>" in html for name in ("good", "judge", "bad", "flat"))
    assert "promises" in figures(several)


@pytest.mark.parametrize(("noise", "panels"), [(0.5, ["gold proxy"]), (6.0, ["gold", "proxy"])])
def test_gold_gets_an_axis_of_its_own_where_the_proxy_would_flatten_it(noise, panels):
    rng = np.random.default_rng(6)
    gold = rng.standard_normal((PROMPTS, SAMPLES))
    proxy = gold + noise * rng.standard_normal(gold.shape)
    drawn = figures(record(ScoreBank.from_rectangle(gold, {"proxy": proxy})))
    charts = [
        figure.chart.to_dict() for name, figure in drawn.items() if name in ("proxy-best-of-n", "proxy-best-of-n-proxy")
    ]
    shown = [
        sorted({row["what"] for layer in chart["layer"] for row in layer["data"]["values"] if "what" in row})
        for chart in charts
    ]
    assert [" ".join(words) for words in shown] == panels


def test_what_cannot_be_split_is_drawn_as_such(several):
    rows = [row for row in several["proxies"]["judge"]["decomposition"] if row["regressional"] is None]
    assert rows, "a judge of three levels must not be split"
    spec = figures(several)["judge-best-of-n-waterfall"].chart.to_dict()
    bars = [row for layer in spec["layer"] for row in layer["data"]["values"] if "start" in row]
    last = rows[-1]
    unsplit = next(bar for bar in bars if bar["term"] == NOT_SPLIT)
    assert unsplit["start"] - unsplit["end"] == pytest.approx(
        last["promise"] - last["delivered"] - (last["causal"] or 0) - (last["unattributed"] or 0)
    )


def test_losses_always_fill_the_gap(run_summary):
    for split in run_summary.splits[::9]:
        for hidden in ({}, {"extremal": None}, {"regressional": None, "causal": None}):
            part = losses(replace(split, **hidden))
            assert sum(part.values()) == pytest.approx(split.promise - split.delivered, abs=1e-9)
            assert (NOT_SPLIT in part) == bool(hidden)


def test_a_constant_proxy_alone_cannot_tell(several):
    alone = {**several, "proxies": {"flat": several["proxies"]["flat"]}}
    page = diagnose_page(alone)
    assert page.headline == "The data cannot tell"
    assert several["proxies"]["flat"]["verdicts"]
    assert several["proxies"]["flat"]["verdicts"][0] in re.sub(r"&\w+;|&#x27;", "'", page_html(page))
