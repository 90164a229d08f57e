"""K01-K05: the exact divergences of best-of-n, what ties do to them, and the unbiased estimator."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import mpmath
import numpy as np
import sympy

from overopt.theory import best_of_n as bon
from overopt.theory.claims.comparison import Comparison, at_least, at_most, equal, printed
from overopt.theory.claims.entry import Claim, Counterexample, Property, Step
from overopt.theory.claims.oracles import normal_best_of_n
from overopt.theory.claims.worlds import FiniteTable

__all__ = ["CLAIMS"]

N, X = sympy.symbols("n x", positive=True)


def _kl_proof() -> Iterator[Step]:
    density = N * X ** (N - 1)
    kl = sympy.integrate(sympy.expand(density * (sympy.log(N) + (N - 1) * sympy.log(X))), (X, 0, 1))
    yield Step("KL of the winner's rank", kl, sympy.log(N) - (N - 1) / N)


def _kl_check() -> Iterator[Comparison]:
    for n in (1.5, 2.0, 100.0):
        # In the space of a normal proxy, not of ranks: the law of the proxy must not matter.
        def log_ratio(u: Any, n: float = n) -> Any:
            return mpmath.log(n) + (n - 1) * mpmath.log(mpmath.ncdf(u))

        yield equal(f"KL at n = {n:g}", bon.best_of_n_kl(n), normal_best_of_n(log_ratio, n))
    for n in (1.0, 1.001, 1.0102, 60_000.0, float(np.exp(30.0))):
        with mpmath.workdps(40):
            exact = float(mpmath.log(n) - (mpmath.mpf(n) - 1) / n)
        yield equal(f"KL at n = {n:g}", bon.best_of_n_kl(n), exact, 1e-13)
        yield equal(f"n at that KL, relative, n = {n:g}", float(bon.n_at_kl(exact)) / n, 1.0, 1e-6)
    yield printed("KL of the paper's n = 60,000", bon.best_of_n_kl(60_000), "10.002")
    yield printed("KL of best-of-e^30", bon.best_of_n_kl(np.exp(30.0)), "29.000")
    yield printed("n for 30 nats, in units of 1e13", float(bon.n_at_kl(30.0)) / 1e13, "2.9")
    yield equal("P(rank <= V^(1/n)) = V", float(np.exp(7.5 * bon.winner_log_rank(0.3, 7.5))), 0.3)


def _kl_slack(world: tuple[FiniteTable, int]) -> float:
    """Splitting every output into many equally good ones with distinct proxies takes the KL up to the formula."""
    table, n = world
    fine = np.repeat(np.asarray(table.probability) / 400, 400)
    exact = FiniteTable(tuple(fine), tuple(np.arange(len(fine), dtype=float)), tuple(fine)).best_of_n(n).kl
    formula = float(bon.best_of_n_kl(n))
    return min(formula - exact, exact - formula + n * float(fine.max()))


def _levels(table: FiniteTable) -> np.ndarray:
    _, level = np.unique(table.proxy, return_inverse=True)
    return np.bincount(level, weights=table.probability)


def _ties_check() -> Iterator[Comparison]:
    for table in (
        FiniteTable((0.5, 0.2, 0.3), (1.0, 0.0, 1.0), (0.0, 0.0, 0.0)),
        FiniteTable((0.01, 0.9, 0.09), (3.0, 1.0, 2.0), (0.0, 0.0, 0.0)),
    ):
        for n in (2, 7, 64):
            outcomes = _brute_force(table, n) if n == 2 else np.asarray(table.best_of_n(n).probability)
            p = np.asarray(table.probability)
            exact = float(np.sum(outcomes * np.log(outcomes / p)))
            yield equal(f"KL with ties, n = {n}", bon.best_of_n_kl_with_ties(_levels(table), n), exact)


def _brute_force(table: FiniteTable, n: int) -> np.ndarray:
    """Law of the winner by enumerating every tuple of n outputs, ties split evenly among the tied draws."""
    p, proxy = np.asarray(table.probability), np.asarray(table.proxy)
    law = np.zeros(len(p))
    for index in np.ndindex(*(len(p),) * n):
        draw = np.asarray(index)
        winners = draw[proxy[draw] == proxy[draw].max()]
        np.add.at(law, winners, np.prod(p[draw]) / len(winners))
    return law


def _ties_slack(world: tuple[FiniteTable, int]) -> float:
    table, n = world
    exact = table.best_of_n(n).kl
    formula = float(bon.best_of_n_kl_with_ties(_levels(table), n))
    return min(float(bon.best_of_n_kl(n)) - exact, 1e-8 - abs(exact - formula))


def _two_atoms(probability: tuple[float, float], n: int) -> Iterator[Comparison]:
    exact = FiniteTable(probability, (0.0, 1.0), (0.0, 0.0)).best_of_n(n).kl
    yield equal("KL with two atoms", bon.best_of_n_kl_with_ties(probability, n), exact)
    yield printed("KL with two atoms", exact, "0.693")
    yield printed("the formula", bon.best_of_n_kl(n), "3.615")
    yield at_most("KL never exceeds the entropy of the better atom", exact, -np.log(probability[1]))
    yield at_least("the formula's excess at n = 1e6", float(bon.best_of_n_kl(1e6)) - np.log(2), 12.0)


def _beirami_exact(e: float, n: int) -> float:
    with mpmath.workdps(40):
        e, miss = mpmath.mpf(e), (1 - mpmath.mpf(e)) ** n
        first = miss * (mpmath.log(n) + (n - 1) * mpmath.log(1 - e) - mpmath.mpf(n - 1) / n) if e < 1 else 0
        return float(first + (1 - miss) * mpmath.log((1 - miss) / e))


def _beirami_check() -> Iterator[Comparison]:
    for e, n in ((0.3, 2), (0.01, 50), (1e-6, 1000), (1.0, 9)):
        yield equal(f"estimate at e = {e:g}, n = {n}", bon.beirami_kl_estimate(e, n), _beirami_exact(e, n))


def _beirami_slack(world: tuple[FiniteTable, int]) -> float:
    table, n = world
    best = table.best_of_n(n)
    estimate = float(np.asarray(best.probability) @ bon.beirami_kl_estimate(table.probability, n))
    return min(estimate - best.kl, float(bon.best_of_n_kl(n)) - estimate)


def _rates_proof() -> Iterator[Step]:
    more = sympy.Symbol("m", positive=True)  # n - 1
    win = sympy.integrate((more + 1) * X ** (more + 1), (X, 0, 1))
    yield Step("win rate", win, (N / (N + 1)).subs(N, more + 1))
    moment = sympy.integrate((more + 1) ** 2 * X ** (2 * more), (X, 0, 1))
    yield Step("chi^2", moment - 1, ((N - 1) ** 2 / (2 * N - 1)).subs(N, more + 1))


def _rates_check() -> Iterator[Comparison]:
    for n in (1.0, 2.5, 64.0, 1e6):
        win = normal_best_of_n(mpmath.ncdf, n)
        yield equal(f"win rate at n = {n:g}", bon.best_of_n_win_rate(n), win)
    for n in (1.0, 2.5, 64.0):

        def excess(u: Any, n: float = n) -> Any:
            return n * mpmath.ncdf(u) ** (n - 1) - 1

        yield equal(f"chi^2 at n = {n:g}", bon.best_of_n_chi2(n), normal_best_of_n(excess, n))


def _rates_slack(world: tuple[FiniteTable, int]) -> float:
    table, n = world
    return float(bon.best_of_n_chi2(n)) - table.best_of_n(n).chi2


def _estimator_proof() -> Iterator[Step]:
    for samples, n in ((4, 2), (6, 3)):
        # Rank k of N uniforms is Beta(k, N-k+1): the weighted ranks must have the winner's law n x^(n-1).
        law = sum(
            sympy.binomial(k - 1, n - 1) / sympy.binomial(samples, n)
            * X ** (k - 1) * (1 - X) ** (samples - k)
            * sympy.gamma(samples + 1) / (sympy.gamma(k) * sympy.gamma(samples - k + 1))
            for k in range(n, samples + 1)
        )  # fmt: skip
        yield Step(f"law of the weighted rank, N = {samples}, n = {n}", sympy.expand(law), n * X ** (n - 1))


def _estimator_check() -> Iterator[Comparison]:
    gold = np.array([0.4, -1.0, 2.0, 5.5, 0.1, -3.0, 1.7])
    for n in (1, 2, 4, 7):
        weights = bon.order_statistic_weights(len(gold), n)
        subsets = np.mean([gold[max(subset)] for subset in combinations(range(len(gold)), n)])
        yield equal(f"average over all subsets of {n}", weights @ gold, subsets)
    many = bon.order_statistic_weights(200_000, 1000)
    yield equal("weights of 1e3 from 2e5 sum to 1", many.sum(), 1.0, 1e-9)
    yield equal("best rank's weight", many[-1], 1000 / 200_000, 1e-12)


def _estimator_slack(world: FiniteTable) -> float:
    """Average over all samples of size 3 from the world: the estimator's exact expectation for n = 2."""
    p, proxy, gold = (np.asarray(c) for c in (world.probability, world.proxy, world.gold))
    index = np.array(list(np.ndindex(*(len(p),) * 3)))
    order = np.take_along_axis(index, np.argsort(proxy[index], axis=1, kind="stable"), axis=1)
    estimates = gold[order] @ bon.order_statistic_weights(3, 2)
    return 1e-9 - abs(float(np.prod(p[index], axis=1) @ estimates) - world.best_of_n(2).gold)


CLAIMS = (
    Claim(
        id="K01", title="KL of best-of-n is log n - (n-1)/n", verdict="true",
        statement=r"\mathrm{KL}(\pi_n \| \pi_0) = \log n - \frac{n-1}{n}",
        assumptions="continuous proxy, no ties; per prompt",
        source="Stiennon et al. 2020, App. G.3; Beirami et al. 2401.01879",
        proof=_kl_proof, check=_kl_check, property=Property("tables_with_n", _kl_slack),
    ),
    Claim(
        id="K02", title="With ties the formula is only an upper bound, and the gap is unbounded", verdict="true",
        statement=r"\mathrm{KL}(\pi_n \| \pi_0) = \sum_i (C_i^n - C_{i-1}^n)"
        r" \log \frac{C_i^n - C_{i-1}^n}{p_i} \le \log n - \frac{n-1}{n}",
        assumptions="any proxy; C is the cumulative base probability of its levels",
        source="Beirami et al. 2401.01879, Theorem 1",
        check=_ties_check, property=Property("tables_with_n", _ties_slack, 1e-12),
        counterexample=Counterexample(
            "two equally likely proxy values at n = 100: the formula read as an equality is off by 2.9 nats",
            {"probability": (0.5, 0.5), "n": 100}, _two_atoms,
        ),
    ),
    Claim(
        id="K03", title="Beirami's estimate of the KL is tighter than the formula and not below the truth",
        verdict="true",
        statement=r"\mathrm{KL} \le \mathrm{E}_{y \sim \pi_n}\left[(1-\epsilon)^n \left(\log n + (n-1)\log(1-\epsilon)"
        r" - \frac{n-1}{n}\right) + (1-(1-\epsilon)^n) \log\frac{1-(1-\epsilon)^n}{\epsilon}\right]"
        r" \le \log n - \frac{n-1}{n}",
        assumptions="known base probability of the emitted output, outputs with distinct proxies; numerical evidence",
        source="Beirami et al. 2401.01879",
        check=_beirami_check, property=Property("untied_tables_with_n", _beirami_slack, 1e-11),
    ),
    Claim(
        id="K04", title="Win rate of best-of-n is n/(n+1), its chi^2 is (n-1)^2/(2n-1)", verdict="true",
        statement=r"P(U_n > U) = \frac{n}{n+1}, \quad \chi^2(\pi_n \| \pi_0) = \frac{(n-1)^2}{2n-1}",
        assumptions="continuous proxy; with ties the chi^2 is an upper bound",
        source="Beirami et al. 2401.01879; chi^2 derived",
        proof=_rates_proof, check=_rates_check, property=Property("tables_with_n", _rates_slack),
    ),
    Claim(
        id="K05", title="Rank weights C(k-1,n-1)/C(N,n) give the unbiased best-of-n estimator", verdict="true",
        statement=r"\mathrm{E} \sum_{k=n}^{N} \frac{\binom{k-1}{n-1}}{\binom{N}{n}} g_{(k)} = \mathrm{E}_{\pi_n}[g]",
        assumptions="iid samples",
        source="Nakano et al. 2021 (WebGPT), App. I; OpenAI, Measuring Goodhart's law, 2022",
        proof=_estimator_proof, check=_estimator_check, property=Property("untied_tables", _estimator_slack),
    ),
)  # fmt: skip
