"""One repetition of a study: draw data from a world, run the estimator, compare every answer with the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from overopt.bridges.best_of_n import best_of_n_curve
from overopt.bridges.decomposition import decompose_best_of_n, decompose_checkpoints
from overopt.bridges.decomposition.terms import Term
from overopt.bridges.fits import fit_curve
from overopt.bridges.score_bank import ScoreBank
from overopt.bridges.validation.bank_truth import BankTruth, bank_truth
from overopt.bridges.validation.policy_truth import PolicyTruth
from overopt.bridges.validation.policy_worlds import POLICY_WORLDS, draw_run
from overopt.bridges.validation.table_fuzz import FuzzTrial
from overopt.bridges.validation.worlds import BANK_WORLDS

__all__ = ["BankTrial", "Outcome", "PolicyTrial", "Trial"]

TEST_PERMUTATIONS = 39
"""Of the independence test in a trial: p <= .05 has size .05 exactly, and each of 20 bins of p is equally likely."""

Outcome = dict[str, bool | float]
"""Name -> whether it happened (an interval covered, a claim was made), or a number in [0, 1] (a p-value)."""


def _covers(term: Term, truth: float) -> bool | None:
    """Whether the interval covers; None without one, or if it is a point (best-of-2 promises 1/sqrt pi Gini SD)."""
    if term.interval is None or term.interval[1] - term.interval[0] < 1e-9:
        return None
    return bool(term.interval[0] <= truth <= term.interval[1])


def _keep(outcome: dict[str, bool | float | None]) -> Outcome:
    return {name: value for name, value in outcome.items() if value is not None}


@dataclass(frozen=True)
class BankTrial:
    """Best-of-n in a bank world: coverage of every term at each n, of alpha and beta; claims and p-values.

    The laws are fitted on powers of two; true alpha and beta are the same fit to the exact curve.
    """

    world: str
    prompts: int
    samples: int
    sizes: tuple[int, ...]
    truth: BankTruth

    @classmethod
    def prepare(
        cls, world: str, prompts: int, samples: int, sizes: tuple[int, ...], truth_records: int = 2_000_000
    ) -> BankTrial:
        """With the truth from ``truth_records`` fresh samples."""
        truth = bank_truth(BANK_WORLDS[world], sizes, np.random.default_rng(20_221_019), truth_records)
        return cls(world, prompts, samples, sizes, truth)

    def __call__(self, rng: np.random.Generator) -> Outcome:
        world = BANK_WORLDS[self.world]
        gold, proxy = world.draw(rng, rng.random((self.prompts, 1)), self.samples)
        bank = ScoreBank.from_rectangle(gold, {"proxy": proxy})
        result = decompose_best_of_n(bank, "proxy", self.sizes, rng=rng, test_permutations=TEST_PERMUTATIONS)
        outcome: dict[str, bool | float | None] = {}
        truth = self.truth
        for index, point in enumerate(result.points):
            for name in ("promise", "regressional", "extremal", "delivered"):
                values: NDArray[np.float64] = getattr(truth, name)
                outcome[f"{name}, n = {point.n}"] = _covers(getattr(point, name), float(values[index]))
        if world.kind == "monotone":
            scores = [point.extremal_normal_scores for point in result.points]
            for point, term in zip(result.points, scores, strict=True):
                outcome[f"extremal on normal scores, n = {point.n}"] = _covers(term, 0.0)
        bands = [point.extremal.band for point in result.points]
        outcome["extremal band, all n"] = all(
            band is not None and band[0] <= value <= band[1] for band, value in zip(bands, truth.extremal, strict=True)
        )
        outcome["skewed promise warned of"] = any("heavy tails" in text for text in result.warnings)
        outcome["dependent error claimed"] = any(point.dependent_error for point in result.points)
        outcome["independence p"] = result.independence.p_value
        outcome["independence rejected"] = (
            None if result.independence.p_value is None else result.independence.p_value <= 0.05
        )
        if world.kind != "coarse":  # the measured curve's d knows the ties, the exact curve's does not
            outcome |= self._fit_outcome(bank, rng)
        return _keep(outcome)

    def _fit_outcome(self, bank: ScoreBank, rng: np.random.Generator) -> dict[str, bool | float | None]:
        fit = fit_curve(best_of_n_curve(bank, "proxy", self.sizes), "bon", rng=rng, resamples=2, rivals=False)
        alpha, beta = true_coefficients(self.sizes, self.truth.delivered * self.truth.gold_sd)
        covered: dict[str, bool | float | None] = {}
        for name, value in (("alpha", alpha), ("beta", beta)):
            interval = fit.intervals[name]
            if interval is not None and interval[0] is not None and interval[1] is not None:
                covered[name] = interval[0] <= value <= interval[1]
        return covered


def true_coefficients(sizes: Sequence[int], gold: NDArray[np.float64]) -> tuple[float, float]:
    """alpha and beta of ``d (alpha - beta d)`` by least squares on the exact curve at ``d = sqrt(log n - (n-1)/n)``."""
    n = np.asarray(sizes, dtype=np.float64)
    d = np.sqrt(np.log(n) - (n - 1) / n)
    alpha, beta = np.linalg.lstsq(np.column_stack([d, -(d**2)]), gold, rcond=None)[0]
    return float(alpha), float(beta)


@dataclass(frozen=True)
class PolicyTrial:
    """A run in a policy world: coverage of every term at each checkpoint, of the path, and the fresh-winner control."""

    world: str
    prompts: int
    samples: int
    policy_samples: int
    truth: PolicyTruth

    @classmethod
    def prepare(cls, world: str, prompts: int, samples: int, policy_samples: int) -> PolicyTrial:
        """With the truth from 2 million fresh samples."""
        truth = PolicyTruth(POLICY_WORLDS[world], np.random.default_rng(20_221_019))
        return cls(world, prompts, samples, policy_samples, truth)

    def __call__(self, rng: np.random.Generator) -> Outcome:
        bank, run = draw_run(POLICY_WORLDS[self.world], rng, self.prompts, self.samples, self.policy_samples)
        result = decompose_checkpoints(bank, run, "proxy", rng=rng, test_permutations=TEST_PERMUTATIONS)
        low, high = result.support
        support = (low * result.scale.proxy_unit, high * result.scale.proxy_unit)
        outcome: dict[str, bool | float | None] = {}
        for index, point in enumerate(result.points):
            truth = self.truth.terms(index, support)
            truth["path_shift"] = float(self.truth.path_shift[index])
            truth["path_selection"] = truth["delivered"] - truth["path_shift"]
            for name, value in truth.items():
                outcome[f"{name.replace('_', ' ')}, step {index + 1}"] = _covers(getattr(point, name), value)
        if result.fresh_winners_causal is not None:
            outcome["fresh winners, causal"] = _covers(result.fresh_winners_causal, 0.0)
        return _keep(outcome)


Trial = BankTrial | PolicyTrial | FuzzTrial
