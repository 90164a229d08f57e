"""Every entry of the ledger recomputes, and notices a formula that is broken."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from overopt.theory.claims import evaluate, find, ledger
from overopt.toys import strategies
from overopt.toys.claim_search import searcher

IDS = [f"K{number:02}" for number in range(1, 51)]
FALSE = {"K13", "K22", "K27"}
CONDITIONAL = {"K08", "K10", "K14", "K21", "K23", "K25", "K33", "K36", "K39", "K40", "K42", "K43", "K48"}


def test_the_ledger_holds_every_row_with_its_verdict():
    verdicts = {entry.id: entry.verdict for entry in ledger()}
    assert list(verdicts) == IDS
    assert {key for key, verdict in verdicts.items() if verdict == "false"} == FALSE
    assert {key for key, verdict in verdicts.items() if verdict == "conditional"} == CONDITIONAL


def test_every_property_names_a_strategy_that_ships():
    for entry in ledger():
        if entry.property is not None:
            assert entry.property.worlds in strategies.__all__


@pytest.mark.parametrize("identity", IDS)
def test_entry(identity):
    (entry,) = find((identity,))
    evidence = evaluate(entry, searcher(200))
    assert evidence.ok, evidence.failures


# Formula, its planted error, and the entry that must notice.
PLANTED = [
    ("best_of_n", "best_of_n_kl", lambda true: lambda n: true(n) + 1e-6, "K01"),
    ("best_of_n", "best_of_n_kl_with_ties", lambda true: lambda p, n: -true(p, n), "K02"),
    ("best_of_n", "beirami_kl_estimate", lambda true: lambda p, n: true(p, n) * (1 + 1e-7), "K03"),
    ("best_of_n", "best_of_n_win_rate", lambda true: lambda n: 1 - true(n), "K04"),
    ("best_of_n", "best_of_n_chi2", lambda true: lambda n: -true(n), "K04"),
    ("best_of_n", "order_statistic_weights", lambda true: lambda m, n: true(m, n)[..., ::-1], "K05"),
    ("best_of_poisson", "best_of_poisson_kl", lambda true: lambda mu: -true(mu), "K09"),
    ("conditional_mean", "given_normal_noise", lambda true: lambda s, **k: -true(s, **k), "K11"),
    ("regressional", "case_b_remainder", lambda true: lambda c, **k: -true(c, **k), "K12"),
    ("conditional_mean", "given_uniform_noise", lambda true: lambda s, **k: -true(s, **k), "K13"),
    ("conditional_mean", "given_two_point_noise", lambda true: lambda s, **k: -true(s, **k), "K14"),
    ("conditional_mean", "tweedie_dual", lambda true: lambda f, s, **k: -true(f, s, **k), "K16"),
    ("regressional", "far_limit", lambda true: lambda x, z: -true(x, z), "K19"),
    ("regressional", "reliability", lambda true: lambda x, z: 1 - true(x, z) + 0.1, "K26"),
    ("mechanisms", "gumbel_penalty", lambda true: lambda f: -true(f), "K30"),
    ("quantilizer", "quantilizer_kl", lambda true: lambda q: -true(q), "K46"),
]


@pytest.mark.parametrize(("module", "formula", "plant", "identity"), PLANTED)
def test_a_planted_error_is_noticed(monkeypatch, module, formula, plant, identity):
    home = importlib.import_module(f"overopt.theory.{module}")
    broken = plant(getattr(home, formula))
    (entry,) = find((identity,))
    family = importlib.import_module(entry.check.__module__)  # type: ignore[union-attr]
    monkeypatch.setattr(home, formula, broken)
    if hasattr(family, formula):
        monkeypatch.setattr(family, formula, broken)
    assert not evaluate(entry).ok


def test_a_planted_error_in_the_fit_is_noticed(monkeypatch):
    family = importlib.import_module("overopt.theory.claims.law_claims")
    true = family.fit_law

    def negated(law, d, gold):
        return true(law, d, -np.asarray(gold))

    monkeypatch.setattr(family, "fit_law", negated)
    assert not evaluate(find(("K28",))[0]).ok
