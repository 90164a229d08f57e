"""A sweep computes equal stages once, loses nothing to a failure or a second start, and says which word is wrong."""

import csv
import importlib.util
import os
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import pytest
from slow_sweep import slow_sweep

from overopt.bridges.sweep.grid import Cell, cells, parse_grid, settable_fields, with_settings
from overopt.bridges.sweep.ray_cluster import RayCluster
from overopt.bridges.worker_processes import WorkerProcesses
from overopt.theory.errors import InputError

local = partial(WorkerProcesses, 1)


@dataclass(frozen=True)
class Inner:
    steps: int = 4
    rate: float = 0.1
    clip: float | None = 0.2
    shared: int = 0


@dataclass(frozen=True)
class Outer:
    name: str = "outer"
    sizes: tuple[int, ...] = (1, 2)
    penalty: bool = False
    reward: Literal["gold", "proxy"] = "proxy"
    inner: Inner = field(default_factory=Inner)
    second: Inner = field(default_factory=Inner)
    hidden: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    seeds: int = 2
    inner: Inner = field(default_factory=Inner)


def test_every_plain_field_can_be_set_and_nothing_else():
    assert set(settable_fields(Recipe())) == {"seeds", "inner.steps", "inner.rate", "inner.clip", "inner.shared"}
    assert {"name", "hidden"}.isdisjoint(settable_fields(Outer()))


@pytest.mark.parametrize(
    ("word", "name", "values"),
    [
        ("inner.steps=2,8", "inner.steps", (2, 8)),
        ("inner-steps=2", "inner.steps", (2,)),
        ("rate=1e-3", "inner.rate", (0.001,)),
        ("clip=none,0.1", "inner.clip", (None, 0.1)),
        ("runs=3", "seeds", (3,)),
    ],
)
def test_a_key_may_be_dotted_dashed_or_the_field_alone(word, name, values):
    assert parse_grid(Recipe(), [word], {"runs": "seeds"}) == {name: values}


def test_values_have_the_fields_type():
    grid = parse_grid(Outer(), ["sizes=1+2,3", "penalty=true,false", "reward=gold"])
    assert grid == {"sizes": ((1, 2), (3,)), "penalty": (True, False), "reward": ("gold",)}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["inner.stepz=2"], r"got 'inner\.stepz'\. Did you mean 'inner\.steps'\?"),
        (["stepz=2"], r"Did you mean '(inner|second)\.steps'\?"),
        (["qqq=2"], r"Keys: inner\.clip, inner\.rate"),
        (["rate=2"], r"'rate' is ambiguous; name one of inner\.rate, second\.rate"),
        (["inner.steps=2.5"], r"`--grid inner\.steps` must hold a whole number, got '2\.5'"),
        (["inner.rate=inf"], "must hold finite numbers, got 'inf'"),
        (["penalty=yes"], "must hold true or false, got 'yes'"),
        (["reward=silver"], "must hold one of gold, proxy, got 'silver'"),
        (["name=x"], "must name a number or word of the recipe, got 'name'"),
        (["inner.steps=2", "inner-steps=3"], r"must name a field once, got 'inner\.steps' twice"),
        (["inner.steps=2,2"], "must hold each value once, got '2,2'"),
        (["inner.steps"], r"must be KEY=VALUE,VALUE,\.\.\., got 'inner\.steps'"),
        (["inner.steps=2,"], "must be KEY=VALUE"),
    ],
)
def test_a_wrong_word_is_one_line(words, message):
    with pytest.raises(InputError, match=message) as error:
        parse_grid(Outer(), words)
    assert "\n" not in str(error.value)


def test_cells_are_every_combination_and_settings_reach_inside():
    grid = {"inner.steps": (1, 2), "seeds": (3,)}
    found = cells(grid, range(2))
    assert [(cell.label, cell.seed) for cell in found] == [
        ("inner.steps=1,seeds=3", 0), ("inner.steps=1,seeds=3", 1),
        ("inner.steps=2,seeds=3", 0), ("inner.steps=2,seeds=3", 1),
    ]  # fmt: skip
    changed = with_settings(Recipe(), found[2].settings)
    assert changed == Recipe(3, Inner(steps=2))
    assert cells({}, range(1)) == [Cell({}, 0)]


def test_no_setting_can_leave_the_sweeps_folder():
    assert Path(Cell({"policy": "../../x"}, 0).folder).parts == ("policy=..%2F..%2Fx", "seed-0")


def test_equal_stages_are_worked_once_and_a_second_start_works_nothing(tmp_path):
    result = slow_sweep(tmp_path / "sweep", partial(WorkerProcesses, 2), ["a", "b"], 2, 0.0)
    # Parts 0 and 2 are the same in all four runs, part 1 and what follows are each run's own.
    assert result.worked == 2 + 4 * 3
    assert result.shared == 4 * 5 - result.worked
    assert result.failures == ()
    with (tmp_path / "sweep" / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["mark"], row["seed"]) for row in rows] == [("a", "0"), ("a", "1"), ("b", "0"), ("b", "1")]
    assert len({row["gold_at_peak"] for row in rows}) == 4
    before = (tmp_path / "sweep" / "table.csv").read_bytes()
    again = slow_sweep(tmp_path / "sweep", local, ["a", "b"], 2, 0.0)
    assert (again.worked, again.shared) == (0, 0)
    assert (tmp_path / "sweep" / "table.csv").read_bytes() == before
    wider = slow_sweep(tmp_path / "wider", local, ["a", "b", "c"], 2, 0.0)
    assert wider.worked == 2 * 3, "a larger grid beside it takes over what is there"


def test_a_failure_is_kept_in_a_file_and_stops_only_what_needs_it(tmp_path):
    result = slow_sweep(tmp_path / "sweep", local, ["a", "fails"], 2, 0.0)
    assert [(failure.cell.label, failure.cell.seed, failure.stage) for failure in result.failures] == [
        ("mark=fails", 0, "part/1"), ("mark=fails", 1, "part/1"),
    ]  # fmt: skip
    assert len({failure.traceback_file for failure in result.failures}) == 2
    for failure in result.failures:
        assert failure.traceback_file.parent == tmp_path / "sweep" / "failures"
        text = failure.traceback_file.read_text()
        assert text.startswith(f"mark=fails, seed {failure.cell.seed}, part/1")
        assert "ValueError: a stage failed" in text
    assert [(cell.label, cell.seed) for cell, _ in result.table] == [("mark=a", 0), ("mark=a", 1)]


def test_the_folder_of_another_sweep_is_refused_by_name(tmp_path):
    slow_sweep(tmp_path / "sweep", local, ["a"], 1, 0.0)
    with pytest.raises(InputError, match=r"belongs to another configuration .*`seeds` is 1 there, 2 here"):
        slow_sweep(tmp_path / "sweep", local, ["a"], 2, 0.0)


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="ray is installed")
def test_without_ray_the_extra_is_named():
    with pytest.raises(InputError, match=r"pip install 'overopt\[ray\]'"):
        RayCluster()


def test_a_ray_cluster_leaves_the_same_table(tmp_path, monkeypatch):
    pytest.importorskip("ray", reason="the ray extra is not installed")
    # Ray's workers import the stages by name.
    helpers = str(Path(importlib.util.find_spec("slow_stages").origin).parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([helpers, *filter(None, [os.environ.get("PYTHONPATH")])]))
    slow_sweep(tmp_path / "here" / "sweep", local, ["a", "fails"], 2, 0.0)
    result = slow_sweep(tmp_path / "there" / "sweep", partial(RayCluster, 2), ["a", "fails"], 2, 0.0)
    tables = [(tmp_path / place / "sweep" / "table.csv").read_bytes() for place in ("here", "there")]
    assert tables[0] == tables[1]
    assert [failure.error for failure in result.failures] == ["a stage failed"] * 2
    assert "in fail" in result.failures[0].traceback_file.read_text()
    again = slow_sweep(tmp_path / "there" / "sweep", local, ["a", "fails"], 2, 0.0)
    assert again.worked == 0, "what a cluster has computed, processes take over"
