"""The mutation study: every operator and number is found, broken once, and judged in a process of its own."""

from __future__ import annotations

import ast

import numpy as np
import pytest

from overopt.bridges.validation import mutation
from overopt.bridges.validation.mutation import Mutant, MutationStudy, Outcome, formula_modules, mutants
from overopt.theory.errors import InputError


def test_every_formula_file_has_mutants_and_each_changes_one_node():
    for module in formula_modules():
        found = mutants(module)
        assert found, module
        text = (mutation._theory() / f"{module}.py").read_text(encoding="utf-8")
        true = ast.dump(ast.parse(text))
        for mutant in found[:: max(1, len(found) // 5)]:
            broken = mutation._compiled(mutant)
            assert broken.co_filename.endswith(f"{module}.py")
            assert mutant.function[0] <= mutant.line <= mutant.function[1]
        assert ast.dump(ast.parse(text)) == true


def test_the_kl_of_best_of_n_loses_every_operator():
    text = (mutation._theory() / "best_of_n.py").read_text(encoding="utf-8")
    function = next(
        node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef) and node.name == "best_of_n_kl"
    )
    operators = sum(isinstance(node, ast.BinOp) for node in ast.walk(function))
    inside = [m for m in mutants("best_of_n") if m.function[0] == function.lineno and " becomes " in m.change]
    assert sum(m.change[0] in "+-*/@%" for m in inside) >= operators - 1


def test_the_share_caught_counts_survivors():
    one = Mutant("best_of_n", 3, "+ becomes -", 7, (1, 9))
    study = MutationStudy(
        9, (Outcome(one, "ledger", "K01"), Outcome(one, "survived"), Outcome(one, "time"), Outcome(one, "test"))
    )
    assert study.share_caught == pytest.approx(0.75)
    assert [outcome.result for outcome in study.survivors()] == ["survived"]


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
    answer = mutation._forked(lambda: mutation._judge(chosen, ["K42", "K43"], [], mutation._theory().parent), 60.0)
    assert answer[0] == "ledger"
