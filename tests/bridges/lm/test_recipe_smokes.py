"""Every recipe runs from labels to page at smoke size; what is equal in two of them is computed once."""

import pytest

pytest.importorskip("torch", reason="the lm extra is not installed")

import torch
from inline_engine import InlineEngine

from overopt.bridges.lm.pipeline import Pipeline
from overopt.bridges.lm.recipes import RECIPES
from overopt.bridges.lm.stages import prepare_process
from overopt.bridges.lm.world import WorldSource
from overopt.bridges.run_analysis import analyse
from overopt.bridges.run_directory import RunDirectory
from overopt.bridges.run_summary import RunSummary
from overopt.bridges.task_graph import run_graphs
from overopt.bridges.task_store import TaskStore
from overopt.reports.pages.page import write_page
from overopt.reports.pages.run_page import run_page

pytestmark = [pytest.mark.lm, pytest.mark.smoke]


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """One folder for all worker processes of this test session."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if base.name.startswith("popen-") else base) / "recipe-smokes"


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    prepare_process()
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", [name for name in RECIPES if name not in ("smoke", "gpu-10min")])
def test_smoke(name, shared):
    recipe = RECIPES[name].smoke()
    pipeline = Pipeline(recipe, WorldSource())
    run = RunDirectory.open(shared / name, pipeline.config())
    run.record(pipeline.config(), {}, {})
    run_graphs([(run, pipeline.tasks(run.path))], InlineEngine(), store=TaskStore(shared / "store"))
    assert run.verify() == []
    summary = analyse(run.path, world="w", limits=["l"], provenance={}, timings={})
    methods = {curve.method for curve in summary.curves}
    assert methods == {"best-of-n", *recipe.reweighted, *(arm.optimizer.name for arm in recipe.arms)}
    moving = {arm.name for arm in summary.arms if arm.kind == "iterated"}
    assert not moving & {split.method for split in summary.splits}, "its reward changes from round to round"
    assert {proxy.name for proxy in summary.proxies} == {proxy.name for proxy in recipe.proxies}
    for row in summary.splits:
        terms = (row.regressional, row.extremal, row.causal, row.unattributed)
        if None not in (*terms, row.promise, row.delivered):
            assert row.promise - sum(terms) == pytest.approx(row.delivered, abs=1e-9)
    assert any(trend.paper for trend in summary.trends)
    summary.write(run.path)
    assert RunSummary.read(run.path) == summary
    page = write_page(run.path / "report.html", run_page(summary))
    assert page.stat().st_size > 50_000
