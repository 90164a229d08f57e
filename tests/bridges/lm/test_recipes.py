"""Recipes: every arm has what it needs, a smoke keeps its recipe's kinds, settings are checked."""

from dataclasses import replace

import pytest

pytest.importorskip("torch", reason="the lm extra is not installed")

from overopt.bridges.lm.pipeline import Pipeline
from overopt.bridges.lm.recipe import EnsembleProxy, Optimizer, PlantedProxy, Proxy
from overopt.bridges.lm.recipes import RECIPES, TINY
from overopt.bridges.lm.stages import optimizer_config
from overopt.bridges.lm.world import WorldSource
from overopt.theory.errors import InputError

pytestmark = pytest.mark.lm


@pytest.mark.parametrize("recipe", [r for full in RECIPES.values() for r in (full, full.smoke())], ids=lambda r: r.name)
def test_every_stage_that_a_task_needs_is_a_task_before_it_can_be_waited_for(recipe, tmp_path):
    tasks = Pipeline(recipe, WorldSource()).tasks(tmp_path)
    stages = [task.stage for task in tasks]
    assert len(set(stages)) == len(stages)
    finished: set[str] = set()
    waiting = list(tasks)
    while waiting:
        ready = [task for task in waiting if finished.issuperset(task.needs)]
        assert ready, [task.stage for task in waiting]
        finished |= {task.stage for task in ready}
        waiting = [task for task in waiting if task.stage not in finished]
    names = [proxy.name for proxy in recipe.proxies]
    assert len(set(names)) == len(names)
    for arm in recipe.arms:
        assert arm.stage in stages
        assert arm.proxy == "gold" or arm.proxy in names


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda r: r.name)
def test_the_smoke_of_a_recipe_keeps_its_optimizers_and_kinds_of_proxies(recipe):
    smoke = recipe.smoke()
    assert smoke.optimizers == recipe.optimizers
    assert {type(p) for p in smoke.proxies} == {type(p) for p in recipe.proxies}
    assert {p.variant for p in smoke.trained} == {p.variant for p in recipe.trained}
    # Numbers of labels stay different where they were.
    assert len({p.labels for p in smoke.trained}) == len({p.labels for p in recipe.trained})


def test_two_recipes_share_what_is_equal_in_both(tmp_path):
    """Bank, labels and the PPO runs of equal proxies have the same inputs: a store computes them once."""
    size = {t.stage: t.inputs for t in Pipeline(RECIPES["rm-size"], WorldSource()).tasks(tmp_path)}
    data = {t.stage: t.inputs for t in Pipeline(RECIPES["data-size"], WorldSource()).tasks(tmp_path)}
    common = size.keys() & data.keys() - {"bank"}
    assert {"preferences", "samples/00", "proxy/252k-4000-r1", "ppo/252k-4000-r2-2"} <= common
    assert all(size[stage] == data[stage] for stage in common)


def test_a_fresh_proxy_per_seed_is_another_replicate():
    recipe = replace(
        TINY, trained=tuple(Proxy("41k", 4000, r) for r in range(2)), optimized=(Proxy("41k", 4000),), seeds=2,
        fresh_proxy_per_seed=True, gold_control_seeds=0,
    )  # fmt: skip
    assert [arm.stage for arm in recipe.arms] == ["ppo/41k-4000-0", "ppo/41k-4000-r1-1"]


def test_names_tell_proxies_apart():
    assert Proxy("252k", 1000, 1, "epochs8").name == "252k-1000-epochs8-r1"
    assert PlantedProxy("noise", 1.0).name == "planted-noise"
    assert EnsembleProxy((), "min", "noise25").name == "ensemble-min-noise25"


def test_an_unknown_kind_or_setting_is_one_line():
    with pytest.raises(InputError, match=r"unknown optimizer 'pppo'; expected one of ppo, rloo"):
        optimizer_config(TINY, Optimizer("x", "pppo"))
    with pytest.raises(InputError, match=r"'ppo' has no setting `kl`"):
        optimizer_config(TINY, Optimizer("x", "ppo", (("kl", 0.1),)))
    with pytest.raises(InputError, match=r"`comparisons` must be >= 9000"):
        replace(TINY, trained=(Proxy("41k", 9000),))


@pytest.mark.parametrize(("name", "most"), [("rm-size", 3), ("data-size", 3), ("label-noise", 3)])
def test_more_seeds_than_replicates_are_one_line(name, most):
    assert RECIPES[name].most_seeds == most
    assert len(replace(RECIPES[name], seeds=1).arms) == len(RECIPES[name].arms) / most
    with pytest.raises(InputError, match=rf"`seeds` must be <= {most}, the replicates .* '{name}' .*, got {most + 1}"):
        replace(RECIPES[name], seeds=most + 1)
    with pytest.raises(InputError, match=r"`seeds` must be <= 1, .*, got 2"):
        replace(RECIPES[name].smoke(), seeds=2)
    assert len(replace(TINY, seeds=50).arms) == 51, "one proxy for all seeds has no such limit"


def test_a_built_world_has_the_acting_policy_and_its_stages_keep_their_inputs(tmp_path):
    """Inputs that changed once `world/` lies there would redo what is finished."""
    pipeline = Pipeline(RECIPES["policy-67k"], WorldSource(), from_scratch=True)
    before = {task.stage: task for task in pipeline.tasks(tmp_path)}
    for name in ("policy", "gold", "backbone-67k"):
        (tmp_path / "world" / name).mkdir(parents=True)
        (tmp_path / "world" / name / "config.json").write_text("{}")
    after = {task.stage: task for task in pipeline.tasks(tmp_path)}
    assert {stage: task.inputs for stage, task in before.items()} == {s: task.inputs for s, task in after.items()}
    built = str(tmp_path / "world")
    assert before["ppo/41k-4000-0"].work.args[0].policy == f"{built}/backbone-67k"
    assert before["samples/00"].work.args[0].gold == f"{built}/gold"
    assert before["preferences"].work.args[0].policy == f"{built}/policy"
    other = {
        task.stage: task for task in Pipeline(RECIPES["policy-252k"], WorldSource(), from_scratch=True).tasks(tmp_path)
    }
    assert before["samples/00"].inputs != other["samples/00"].inputs
    assert before["preferences"].inputs == other["preferences"].inputs
