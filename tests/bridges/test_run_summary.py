"""The summary of a run: what is written is read back, and every other file is refused with its place."""

from __future__ import annotations

import dataclasses
import json

import pytest

from overopt.bridges.run_summary import (
    SUMMARY_FILE,
    CurvePoint,
    GoldPeak,
    MeasuredCurve,
    ProxyModel,
    RunSummary,
    SplitRow,
)
from overopt.theory.errors import InputError


def summary(seed=0, **changes):
    points = (CurvePoint(0, 0.0, 0.0, 0.0, 0.0), CurvePoint(10, 1.0, 1.0, 0.5, 0.25, gold_se=0.1, gold_ci=(0.05, 0.45)))
    run = RunSummary(
        recipe="tiny",
        seeds=(seed,),
        world="w",
        scale="s",
        headline_proxy="p",
        proxies=(ProxyModel("p", 1000, 200, 0.6, (0.5, 0.7), 0.65),),
        curves=(MeasuredCurve("ppo", "p", seed, "k1", points),),
        splits=(
            SplitRow("ppo", "p", seed, 10, 1.0, 1.0, 0.5, 0.25, None, 0.0, 0.0, 0.25, {"delivered": (0.05, 0.45)}),
        ),
        peaks=(GoldPeak("ppo", "p", seed, 10, 1.0, 0.2, 0.1, 0.0, 0.1, 10, 1.0, 0.5, 0.0, 0.1),),
        provenance={"commit": "abc"},
        timings={"ppo": 1.5},
    )
    return dataclasses.replace(run, **changes)


def written(tmp_path, change):
    """A run directory whose summary was changed by ``change(plain)``."""
    plain = json.loads(summary().write(tmp_path).read_text(encoding="utf-8"))
    change(plain)
    (tmp_path / SUMMARY_FILE).write_text(json.dumps(plain), encoding="utf-8")
    return tmp_path


def test_round_trip(tmp_path):
    assert RunSummary.read(summary().write(tmp_path).parent) == summary()
    assert [file.name for file in tmp_path.iterdir()] == [SUMMARY_FILE]


def test_not_a_number_is_never_written(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        summary(timings={"ppo": float("nan")}).write(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda plain: plain.pop("recipe"), "must have the key 'recipe'"),
        (lambda plain: plain.update(colour="red"), "unknown key 'colour'"),
        (lambda plain: plain.update(seeds=["0"]), r"seeds\[0\] must be of type int, got '0'"),
        (lambda plain: plain.update(seeds=0), "seeds must be a list, got 0"),
        (lambda plain: plain.update(seeds=[True]), r"seeds\[0\] must be of type int, got True"),
        (lambda plain: plain.update(timings=[]), "timings must be an object"),
        (lambda plain: plain["curves"][0].update(method=3), r"curves\[0\]: method must be of type str, got 3"),
        (lambda plain: plain["curves"][0]["points"][1].update(gold="x"), r"points\[1\]: gold must be of type float"),
        (lambda plain: plain["curves"][0]["points"][1].update(gold_ci=[1]), "gold_ci must be a list of 2"),
        (lambda plain: plain["proxies"].append(3), r"proxies\[1\] must be an object"),
    ],
)
def test_another_file_is_refused_with_its_place(tmp_path, change, message):
    with pytest.raises(InputError, match=message) as error:
        RunSummary.read(written(tmp_path, change))
    assert SUMMARY_FILE in str(error.value)
    assert "\n" not in str(error.value)


def test_unfinished_runs_are_named(tmp_path):
    with pytest.raises(InputError, match=r"must hold summary\.json"):
        RunSummary.read(tmp_path)
    with pytest.raises(InputError, match="must be a folder"):
        RunSummary.read(tmp_path / "none")
    (tmp_path / SUMMARY_FILE).write_text('{"recipe": ', encoding="utf-8")
    with pytest.raises(InputError, match="must be JSON"):
        RunSummary.read(tmp_path)


def test_seeds_are_overlaid():
    both = RunSummary.overlay([summary(0), summary(1)])
    assert both.seeds == (0, 1)
    assert [curve.seed for curve in both.curves] == [0, 1]
    assert [peak.seed for peak in both.peaks] == [0, 1]
    assert both.proxies == summary().proxies


def test_runs_that_do_not_belong_together_are_refused():
    with pytest.raises(InputError, match="at least one run"):
        RunSummary.overlay([])
    with pytest.raises(InputError, match=r"different seeds, got \[0, 0\]"):
        RunSummary.overlay([summary(), summary()])
    with pytest.raises(InputError, match="share `recipe`, got 'tiny' and 'small'"):
        RunSummary.overlay([summary(), summary(1, recipe="small")])
    with pytest.raises(InputError, match="share `scale`"):
        RunSummary.overlay([summary(), summary(1, scale="raw")])
