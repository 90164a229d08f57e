"""Every entry of the ledger recomputes, and notices a formula that is broken."""

from __future__ import annotations

import importlib
import math
import pkgutil
from dataclasses import replace

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


def test_every_entry_has_a_property_over_a_strategy_that_ships():
    for entry in ledger():
        assert entry.property is not None, entry.id
        assert entry.property.worlds in strategies.__all__


@pytest.mark.parametrize("identity", IDS)
def test_entry(identity):
    (entry,) = find((identity,))
    slacks = []
    slack = entry.property.slack

    def counted(world):
        slacks.append(slack(world))
        return slacks[-1]

    entry = replace(entry, property=replace(entry.property, slack=counted))
    evidence = evaluate(entry, searcher(200))
    assert evidence.ok, evidence.failures
    # A property whose premise hardly any world meets is searched in vain.
    outside = sum(slack == math.inf for slack in slacks)
    assert outside <= 0.1 * len(slacks), f"{outside} of {len(slacks)} worlds do not meet the premise"


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


def _turns_never(true):
    return lambda self, strength: np.ones(np.shape(strength))


def _turns_back(true):
    return lambda self, strength: np.where(strength > 5, -1, 1) * true(self, strength)


def _turns_away_and_back(true):
    return lambda self, strength: np.where((strength > 5) & (strength < 7), -1, 1) * true(self, strength)


def _policy_with(**factors):
    """Plants policies whose named figures are off by a factor."""

    def plant(true):
        def broken(*arguments):
            policy = true(*arguments)
            return replace(policy, **{name: factor * getattr(policy, name) for name, factor in factors.items()})

        return broken

    return plant


# What the property's worlds are drawn for, its planted error, and the entry whose search must notice.
UNTRUE = [
    ("claims.efficiency_claims:special.log_ndtr", lambda true: lambda u: 1.01 * true(u), "K07"),
    ("best_of_n:best_of_n", _policy_with(proxy=1.001), "K07"),
    ("claims.worlds:BentMean.tilted_slope", _turns_never, "K10"),
    ("claims.worlds:BentMean.tilted_slope", _turns_back, "K10"),
    ("claims.worlds:BentMean.tilted_slope", _turns_away_and_back, "K10"),
    ("claims.worlds:BentMean.tilted_slope", lambda true: lambda self, strength: -true(self, strength), "K10"),
    ("conditional_mean:given_normal_noise", lambda true: lambda s, **k: true(s, **k) + 1e-3, "K11"),
    ("conditional_mean:tweedie_dual", lambda true: lambda f, s, **k: 1.001 * true(f, s, **k), "K16"),
    ("claims.regressional_claims:_dependence", lambda true: lambda p, error, gold: 0.0, "K18"),
    ("regressional:far_limit", lambda true: lambda x, z: 1.001 * true(x, z), "K19"),
    ("claims.worlds:HeavyTailed.survival", lambda true: lambda self, y: np.exp(-y / 1e5), "K20"),
    ("claims.worlds:HeavyTailed.survival", lambda true: lambda self, y: (1 + y / 100) ** (-2 * self.index), "K20"),
    ("claims.heavy_tail_claims:_mixed_kl", lambda true: lambda share, mass: -np.log(mass), "K20"),
    ("claims.heavy_tail_claims:stats.t", lambda true: lambda degrees: true(50), "K23"),
    ("claims.heavy_tail_claims:_upper_normal", lambda true: lambda c: (*true(c)[:2], 1.01 * true(c)[2]), "K25"),
    ("regressional:reliability", lambda true: lambda x, z: true(z, x), "K26"),
    ("claims.law_claims:given_normal_noise", lambda true: lambda s, **k: 1.001 * true(s, **k), "K28"),
    ("claims.law_claims:fit_law", lambda true: lambda law, d, gold: true(law, d, -gold), "K28"),
    ("claims.law_claims:exponential_tilt", _policy_with(kl=1.001), "K28"),
    ("mechanisms:QuadraticGold.implied_law", lambda true: lambda self: ("bon", (1.4 * self.slope, 0.0)), "K29"),
    ("mechanisms:PowerBreakPoints.overshoot", lambda true: lambda self, u: 1.001 * true(self, u), "K31"),
    ("claims.mechanism_claims:_residuals", lambda true: lambda d, gold: true(d, gold)[::-1], "K32"),
    ("claims.mechanism_claims:n_at_kl", lambda true: lambda kl: true(kl / 4), "K32"),
    ("claims.mechanism_claims:_hinge_gain", lambda true: lambda tau, shift: true(tau, shift) * shift, "K32"),
    ("mechanisms:LogUniformBreakPoints.overshoot", lambda true: lambda self, u: 1.001 * true(self, u), "K33"),
    ("claims.mechanism_claims:_hinge_gain", lambda true: lambda tau, shift: true(tau, -shift), "K33"),
    ("claims.causal_claims:exponential_tilt", _policy_with(gold=1.001), "K36"),
    ("claims.causal_claims:best_of_n", _policy_with(gold=1.001), "K36"),
    ("claims.causal_claims:quantilizer", _policy_with(proxy=1.001), "K36"),
    ("claims.causal_claims:_given_top", lambda true: lambda count, share: 1 / (count * share), "K37"),
    ("claims.causal_claims:_switch", lambda true: lambda count, odd: true(count, odd + 100), "K37"),
    ("claims.causal_claims:_switch", lambda true: lambda count, odd: true(count + 1, odd - 50), "K37"),
    ("claims.causal_claims:shift_kl", lambda true: lambda m, v, rho: true(m, v, -rho), "K38"),
    ("claims.policy_gradient_claims:_vanilla", _policy_with(kl=0.9), "K40"),
    ("claims.law_claims:iterated_peak", _policy_with(d=1.05), "K42"),
    ("claims.law_claims:composed_slope", lambda true: lambda k, c, errors: true(k, c, errors=errors) ** 2, "K43"),
    ("claims.ensemble_claims:stats.norm.sf", lambda true: lambda u: 1 - (1 - true(u)) ** 9, "K44"),
    ("claims.ensemble_claims:_effective_dimension", lambda true: lambda n, dimension: true(n, -dimension), "K49"),
    ("claims.ensemble_claims:_effective_dimension", lambda true: lambda n, d: true(np.pi / 4 * n, d), "K49"),
    ("claims.ensemble_claims:_effective_dimension", lambda true: lambda n, d: true(n, 1.1 * d), "K49"),
    ("claims.kl_claims:FiniteTable.best_of_n", _policy_with(chi2=0.5), "K45"),
]


@pytest.mark.parametrize(("place", "plant", "identity"), UNTRUE)
def test_a_planted_error_is_found_by_the_search(monkeypatch, place, plant, identity):
    home = f"overopt.theory.{place}"
    owner, _, name = home.replace(":", ".").rpartition(".")
    true = pkgutil.resolve_name(home)
    (entry,) = find((identity,))
    monkeypatch.setattr(pkgutil.resolve_name(owner), name, plant(true))
    assert not searcher(200)(entry.property).holds


# A false claim's worlds, made to obey it: the search that refutes the claim must find nothing.
OBEYED = [
    (
        "noise_worlds:BoundedNoise.conditional_mean",
        lambda true: lambda self, c: c / (1 + self.variance),
        "K13",
    ),
    ("noise_worlds:InnerNoise.conditional_mean", lambda true: lambda self, c: true(self, 0.0), "K22"),
]


@pytest.mark.parametrize(("place", "plant", "identity"), OBEYED)
def test_a_false_claim_is_not_refuted_in_worlds_that_obey_it(monkeypatch, place, plant, identity):
    home = f"overopt.theory.claims.{place}"
    owner, _, name = home.replace(":", ".").rpartition(".")
    (entry,) = find((identity,))
    assert not searcher(200)(entry.property).holds
    monkeypatch.setattr(pkgutil.resolve_name(owner), name, plant(pkgutil.resolve_name(home)))
    assert searcher(200)(entry.property).holds


@pytest.mark.parametrize("identity", sorted(FALSE))
def test_false_claims_are_refuted_whichever_worlds_are_drawn(identity):
    (entry,) = find((identity,))
    assert not any(searcher(50, seed)(entry.property).holds for seed in range(3))
