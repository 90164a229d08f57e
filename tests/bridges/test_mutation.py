"""The mutation study: every operator and number is found, broken once, and judged in a process of its own."""

from __future__ import annotations

import ast
from itertools import chain

import numpy as np
import pytest

from overopt.bridges.validation import explained_mutants, mutation
from overopt.bridges.validation import mutants as mutants_module
from overopt.bridges.validation.mutants import (
    Mutant,
    compiled,
    formula_modules,
    mutants,
    stratified,
    theory_folder,
    unmatched,
)
from overopt.bridges.validation.mutation import MutationStudy, Outcome, study_from_record, study_record
from overopt.theory.errors import InputError


def test_every_formula_file_has_mutants_and_each_changes_one_node():
    for module in formula_modules():
        found = mutants(module)
        assert found, module
        text = (theory_folder() / f"{module}.py").read_text(encoding="utf-8")
        true = ast.dump(ast.parse(text))
        for mutant in found[:: max(1, len(found) // 5)]:
            broken = compiled(mutant)
            assert broken.co_filename.endswith(f"{module}.py")
            assert mutant.function[0] <= mutant.line <= mutant.function[1]
        assert ast.dump(ast.parse(text)) == true


def test_the_kl_of_best_of_n_loses_every_operator():
    text = (theory_folder() / "best_of_n.py").read_text(encoding="utf-8")
    function = next(
        node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef) and node.name == "best_of_n_kl"
    )
    operators = sum(isinstance(node, ast.BinOp) for node in ast.walk(function))
    inside = [m for m in mutants("best_of_n") if m.function[0] == function.lineno and " becomes " in m.change]
    assert sum(m.change[0] in "+-*/@%" for m in inside) >= operators - 1


def _outcome(result: str, kind: str = "formula", line: int = 3) -> Outcome:
    return Outcome(Mutant("best_of_n", line, "a + b", "+ becomes -", kind, "", 7, (1, 9)), result)


def test_shares_are_counted_by_kind():
    outcomes = (*map(_outcome, ("ledger", "survived", "time", "test")), _outcome("survived", "setting"))
    study = MutationStudy(
        {"formula": 9, "setting": 3, "equivalent": 1}, (*outcomes, _outcome("equivalent", "equivalent"))
    )
    assert study.share("formula").caught_share == pytest.approx(0.75)
    assert (study.share("setting").sampled, study.share("setting").caught) == (1, 0)
    assert (study.share("equivalent").mutants, study.share("equivalent").caught) == (1, 0)
    assert [outcome.result for outcome in study.survivors("formula")] == ["survived"]


def test_a_setting_is_what_stands_in_a_default_or_among_the_settings():
    kinds = {(m.text, m.change): m.kind for m in mutants("mechanisms")}
    assert kinds["curvature: float = 0.1", "0.1 becomes 0.15000000000000002"] == "setting"
    assert kinds["result: Array = self.slope * x - self.curvature * (x**2 - 1)", "** becomes *"] == "formula"
    assert {m.kind for m in mutants("numerics")} == {"setting"}
    assert "setting" not in {m.kind for m in mutants("world")}


def test_every_explanation_names_a_line_and_a_change_that_exist(monkeypatch):
    assert unmatched() == []
    gone = explained_mutants.Explained("best_of_n", "a line that is gone", "+ becomes -", "no reason")
    monkeypatch.setattr(mutants_module, "EXPLAINED", (gone,))
    assert unmatched() == [gone]


def test_every_beginning_of_the_order_holds_every_file_in_proportion():
    groups = [mutants(module) for module in ("best_of_n", "world", "iterated")]
    order = stratified(np.random.default_rng(3), groups)
    assert sorted(order, key=lambda m: (m.module, m.node)) == sorted(chain(*groups), key=lambda m: (m.module, m.node))
    for stop in (10, 40, len(order) // 2):
        for group in groups:
            expected = stop * len(group) / len(order)
            assert abs(sum(m.module == group[0].module for m in order[:stop]) - expected) <= 2


def test_a_stored_study_is_read_back_and_another_file_is_refused():
    first, second = mutants("iterated")[:2]
    study = MutationStudy(
        {"formula": 2, "setting": 0, "equivalent": 0}, (Outcome(first, "test", "a"), Outcome(second, "survived"))
    )
    record = study_record(study)
    assert study_from_record(record) == study.outcomes
    record["outcomes"][0][1] += 1
    with pytest.raises(InputError, match=r"another iterated\.py"):
        study_from_record(record)


def test_an_unknown_module_is_named():
    with pytest.raises(InputError, match="must be one of"):
        mutants("nothing")


def test_a_forked_process_answers_or_dies_alone():
    assert mutation._forked(lambda: [1, "two"], 10.0) == [1, "two"]

    def endless() -> None:
        while True:
            np.sqrt(2.0)

    assert mutation._forked(endless, 0.1) is None


def test_a_broken_formula_is_caught_by_the_ledger():
    chosen = next(m for m in mutants("iterated") if m.change.startswith("*") and m.line > 30)
    answer = mutation._forked(lambda: mutation._judge(chosen, ["K42", "K43"], [], theory_folder().parent), 60.0)
    assert answer[0] == "ledger"
