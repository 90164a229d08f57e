"""`overopt fit` from the outside."""

from __future__ import annotations

import json
import re

import pytest

from overopt.reports.cli import main
from overopt.reports.pages.fit_page import fit_page

CURVE = "n,kl,gold,gold_se,proxy\n1,0,0,0,0\n2,.193,.30,.01,.4\n4,.636,.50,.01,.8\n8,1.204,.60,.01,1.2\n16,1.835,.61,.01,1.5\n32,2.497,.58,.01,1.8\n"  # noqa: E501


@pytest.fixture
def curve(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "curve.csv").write_text(CURVE)
    return tmp_path


def fit(capsys, *argv: str) -> dict:
    assert main(["fit", *argv, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_json_has_the_stable_keys(curve, capsys) -> None:
    found = fit(capsys, "curve.csv")
    assert found["law"] == "bon"
    for name in ("alpha", "beta"):
        low, high = found[f"{name}_ci"]
        assert low < found[name] < high
    assert found["peak_d"] == pytest.approx(found["alpha"] / (2 * found["beta"]))
    assert found["peak_gold"] == pytest.approx(found["alpha"] ** 2 / (4 * found["beta"]))
    assert {rival["law"] for rival in found["laws"]} == {"bon", "rl", "log1p", "power", "saturating", "linear"}
    errors = [rival["heldout_rmse"] for rival in found["laws"]]
    assert errors == sorted(errors)
    assert found["paper_split"]["extremal"] == found["beta"]
    assert "same units" in found["paper_split"]["caveat"]


@pytest.mark.parametrize("law", ["bon", "rl", "log1p", "power", "saturating", "linear", "best"])
def test_every_law_can_be_asked_for(curve, capsys, law) -> None:
    found = fit(capsys, "curve.csv", "--law", law)
    assert found["law"] == (found["laws"][0]["law"] if law == "best" else law)


def test_checkpoints_default_to_the_rl_law_and_have_null_intervals_without_errors(curve, capsys) -> None:
    (curve / "run.csv").write_text("checkpoint,kl,gold\n0,0,0\n100,1,.8\n200,4,1.1\n300,9,1.0\n400,16,.7\n")
    found = fit(capsys, "run.csv")
    assert (found["law"], found["alpha_ci"], found["beta_ci"]) == ("rl", None, None)
    assert "paper_split" not in found


def test_text_and_page(curve, capsys) -> None:
    assert main(["fit", "curve.csv", "--report", "page.html"]) == 0
    text = capsys.readouterr().out
    for part in ("rival laws", "Fitted law: peak", "The paper's split", "Note: intervals treat the points as"):
        assert part in text
    assert "<html" in (curve / "page.html").read_text()


def test_the_page_draws_gold_without_a_proxy_and_names_every_parameter(curve, capsys) -> None:
    rows = [line.split(",") for line in CURVE.splitlines()]
    (curve / "gold.csv").write_text("\n".join(",".join(row[:3]) for row in rows) + "\n")
    assert main(["fit", "gold.csv", "--law", "power", "--report", "page.html"]) == 0
    page = (curve / "page.html").read_text()
    assert page.count('class="chart"') == 1
    assert re.search(r"</code>: α = [−\d.]+, β = [−\d.]+, γ = [−\d.]+\.</p>", page)


def test_the_band_is_that_of_the_gain_and_the_base_point_has_none(curve, capsys) -> None:
    errors = {"1": ".05", "32": ".05"}
    rows = [line.split(",") for line in CURVE.splitlines()]
    text = [",".join([n, kl, gold, errors.get(n, se), proxy]) for n, kl, gold, se, proxy in rows]
    (curve / "curve.csv").write_text("\n".join(text) + "\n")
    (figure,) = fit_page(fit(capsys, "curve.csv")).figures()
    drawn = {
        row["pressure"]: (row["high"] - row["low"]) / 2
        for layer in figure.chart.to_dict()["layer"]
        for row in layer["data"]["values"]
        if row.get("what") == "gold" and "low" in row
    }
    assert drawn[1] == 0
    assert drawn[32] == pytest.approx(1.96 * 0.05 * 2**0.5)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("n,kl,gold\n1,0,0\n2,x,1\n", "curve.csv, row 2, column 'kl': must be a number, got 'x'."),
        ("n,kl,gold\n1,0,0\n2,1,1\n", "a fit needs at least 3 points with different KL > 0, got 1."),
        ("prompt,gold\na,1\n", "curve.csv: column 'n' must exist"),
    ],
)
def test_bad_curves_end_in_one_line_and_code_2(curve, capsys, content, message) -> None:
    (curve / "curve.csv").write_text(content)
    assert main(["fit", "curve.csv"]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
