"""K45, K47, K48: the geometry of divergences, and what they bound."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import sympy
from scipy import optimize, stats
from scipy.spatial.distance import jensenshannon
from scipy.special import rel_entr

from overopt.theory import best_of_n as bon
from overopt.theory.claims.comparison import Comparison, at_least, at_most, equal
from overopt.theory.claims.entry import Claim, Counterexample, Property, Step
from overopt.theory.claims.oracles import normal_best_of_n
from overopt.theory.claims.worlds import FiniteTable, Policy
from overopt.theory.kl_geometry import (
    binarised_tilt,
    fisher_quadratic,
    jensen_shannon,
    kl_divergence,
    normal_kl,
    reward_at_kl,
    tilted,
)

__all__ = ["CLAIMS"]


def _correlation(table: FiniteTable) -> tuple[float, float, float]:
    """Correlation of gold with proxy under the base policy, and the two standard deviations."""
    p, proxy, gold = (np.asarray(column) for column in (table.probability, table.proxy, table.gold))
    proxy, gold = proxy - p @ proxy, gold - p @ gold
    sd_proxy, sd_gold = np.sqrt(p @ proxy**2), np.sqrt(p @ gold**2)
    return float(p @ (proxy * gold)) / max(float(sd_proxy * sd_gold), 1e-300), float(sd_proxy), float(sd_gold)


def _correlated(table: FiniteTable) -> FiniteTable:
    """The table, changed as little as makes gold and proxy rise together."""
    if len(set(table.proxy)) == 1:
        table = table.with_output(0.25, table.proxy[0] + 1, max(table.gold) + 1)
    r = _correlation(table)[0]
    if abs(r) < 1e-6:
        return replace(table, gold=tuple(np.add(table.gold, table.proxy).tolist()))
    return table if r > 0 else replace(table, gold=tuple(np.negative(table.gold).tolist()))


def _laidlaw_slack(world: tuple[FiniteTable, int]) -> float:
    table, n = _correlated(world[0]), world[1]
    r, sd_proxy, sd_gold = _correlation(table)
    base = table.base()
    slacks = []
    for policy in (table.best_of_n(n), table.exponential_tilt(n / 200), table.quantilizer(1 / n)):
        bound = ((policy.proxy - base.proxy) / sd_proxy - np.sqrt(max(0.0, 1 - r**2) * policy.chi2)) / r
        slacks.append(r * ((policy.gold - base.gold) / sd_gold - bound))
    return float(min(slacks))


def _laidlaw_proof() -> Iterator[Step]:
    r, gold, error, chi = sympy.symbols("r Dg De chi", positive=True)
    proxy = r * gold + sympy.sqrt(1 - r**2) * error
    bound = (proxy - sympy.sqrt(1 - r**2) * chi) / r
    # Cauchy-Schwarz gives error <= chi for a standardised error uncorrelated with gold.
    yield Step("gap to the bound", gold - bound, sympy.sqrt(1 - r**2) * (chi - error) / r)


def _laidlaw_check() -> Iterator[Comparison]:
    r = 0.8

    def bound(n: float) -> float:
        return (normal_best_of_n(lambda u: u, n, 15) - float(np.sqrt((1 - r**2) * bon.best_of_n_chi2(n)))) / r

    zero = optimize.brentq(bound, 5.0, 60.0, xtol=1e-3)
    yield at_least("n beyond which the bound is vacuous at r = .8", zero, 21.0)
    yield at_most("n beyond which the bound is vacuous at r = .8", zero, 23.0)
    yield at_least("bound at n = 2", bound(2.0), 0.1)


def _kl(p: Any, q: Any) -> float:
    return float(np.sum(rel_entr(p, q)))


def _fisher_proof() -> Iterator[Step]:
    p, epsilon = sympy.symbols("p epsilon", positive=True)
    moved = p + epsilon
    kl = moved * sympy.log(moved / p) + (1 - moved) * sympy.log((1 - moved) / (1 - p))
    yield Step(
        "second derivative at 0 is the Fisher information",
        sympy.diff(kl, epsilon, 2).subs(epsilon, 0),
        1 / (p * (1 - p)),
    )
    yield Step("first derivative at 0", sympy.diff(kl, epsilon).subs(epsilon, 0), sympy.Integer(0))


def _geometry_check() -> Iterator[Comparison]:
    p, direction = np.array([0.2, 0.5, 0.3]), np.array([0.3, -0.1, -0.2])
    fisher = float(np.sum(direction**2 / p))
    for step in (1e-2, 1e-3):
        yield equal(
            f"KL / (half Fisher) at step {step:g}", 2 * _kl(p + step * direction, p) / (step**2 * fisher), 1.0, 2 * step
        )
        coded = step**2 * fisher_quadratic(p, direction)
        yield equal(f"half Fisher as coded at step {step:g}", coded, step**2 * fisher / 2, 1e-12)
    q = np.array([0.1, 0.1, 0.8])
    yield equal("KL as coded", kl_divergence(p, q), float(np.sum(p * np.log(p / q))))
    yield equal("JS as coded", jensen_shannon(p, q), float(jensenshannon(p, q)) ** 2)
    yield equal("JS of disjoint laws", jensen_shannon([1.0, 0.0], [0.0, 1.0]), np.log(2))
    shift, covariance = np.array([0.7, -1.1]), np.array([[2.0, 0.6], [0.6, 1.0]])
    x = np.stack(np.meshgrid(*[np.linspace(-14, 14, 401)] * 2, indexing="ij"), axis=-1)
    moved, base = stats.multivariate_normal(shift, covariance), stats.multivariate_normal([0, 0], covariance)
    cell = (28 / 400) ** 2
    exact = float(np.sum(moved.pdf(x) * (moved.logpdf(x) - base.logpdf(x)))) * cell
    mahalanobis = float(shift @ np.linalg.solve(covariance, shift))
    yield equal("KL of shifted Gaussians is half the squared Mahalanobis distance", mahalanobis / 2, exact, 1e-8)
    yield equal("the same as coded", normal_kl(shift, covariance, [0.0, 0.0], covariance), exact, 1e-8)
    u = np.linspace(-40, 40, 200_001)
    wide, narrow = stats.norm(0.5, 2.0), stats.norm(-1.0, 1.5)
    other = float(np.trapezoid(wide.pdf(u) * (wide.logpdf(u) - narrow.logpdf(u)), u))
    yield equal("KL of Gaussians of different variance as coded", normal_kl(0.5, 4.0, -1.0, 2.25), other, 1e-8)


def _triangle(laws: tuple[tuple[float, ...], ...]) -> float:
    """Slack of the triangle inequality of sqrt JS over the three orders of the three laws."""
    a, b, c = (np.asarray(law) for law in laws)
    ab, bc, ac = (
        float(jensenshannon(*pair)) if not np.array_equal(*pair) else 0.0 for pair in ((a, b), (b, c), (a, c))
    )
    return min(ab + bc - ac, ab + ac - bc, ac + bc - ab)


def _triangle_breaks(p: tuple[float, ...], q: tuple[float, ...], r: tuple[float, ...]) -> Iterator[Comparison]:
    yield at_least("KL(p, r) - KL(p, q) - KL(q, r)", _kl(p, r) - _kl(p, q) - _kl(q, r), 0.3)
    roots = np.sqrt([_kl(p, r), _kl(p, q), _kl(q, r)])
    yield at_least("the same for sqrt KL", roots[0] - roots[1] - roots[2], 0.1)
    yield at_least("sqrt JS keeps the triangle", _triangle((p, q, r)), 0.0)


def _gibbs_proof() -> Iterator[Step]:
    """The penalised objective of any policy is the tilt's minus its KL from the tilt: three outputs, in general."""
    q1, q2, p1, p2, u1, u2, u3, strength = sympy.symbols("q1 q2 p1 p2 u1 u2 u3 lambda", positive=True)
    q, p, u = (q1, q2, 1 - q1 - q2), (p1, p2, 1 - p1 - p2), (u1, u2, u3)
    log_mass = sympy.log(sum(pi * sympy.exp(strength * ui) for pi, ui in zip(p, u, strict=True)))
    objective = sum(qi * (strength * ui - sympy.log(qi) + sympy.log(pi)) for qi, pi, ui in zip(q, p, u, strict=True))
    from_tilt = sum(
        qi * (sympy.log(qi) - sympy.log(pi) - strength * ui + log_mass) for qi, pi, ui in zip(q, p, u, strict=True)
    )
    yield Step("E u - KL / lambda, times lambda", sympy.expand(objective + from_tilt), log_mass)


def _optimum_check() -> Iterator[Comparison]:
    table = FiniteTable((0.5, 0.2, 0.2, 0.1), (0.0, 1.0, 1.5, 4.0), (0.0, 0.0, 0.0, 0.0))
    base, reward = np.asarray(table.probability), np.asarray(table.proxy)
    for kl in (0.1, 0.9):
        found = optimize.minimize(
            lambda q: -(q @ reward), base, method="SLSQP", bounds=[(1e-9, 1.0)] * 4, tol=1e-12,
            constraints=[
                {"type": "eq", "fun": lambda q: q.sum() - 1},
                {"type": "ineq", "fun": lambda q, kl=kl: kl - np.sum(rel_entr(q, base))},
            ],
        )  # fmt: skip
        yield equal(f"largest reward within {kl:g} nats", reward_at_kl(base, reward, kl), -found.fun, 1e-6)
    yield equal("beyond log 10 nats it is the top reward", reward_at_kl(base, reward, 2.4), 4.0)
    exact = base * np.exp(0.7 * reward)
    yield equal("tilted law", float(np.abs(tilted(base, reward, 0.7) - exact / exact.sum()).max()), 0.0)
    rate, spent = binarised_tilt(0.2, 3.0)
    binary = FiniteTable((0.8, 0.2), (0.0, 1.0), (0.0, 1.0)).exponential_tilt(3.0)
    yield equal("binarised reward: success rate", rate, binary.gold)
    yield equal("binarised reward: KL", spent, binary.kl)
    yield equal("in the limit it conditions on success", binarised_tilt(0.2, 60.0)[1], np.log(5.0))


def _optimality_slack(world: tuple[FiniteTable, int]) -> float:
    """No policy within the tilt's KL has a larger proxy; none with its proxy has a smaller KL; none a better sum."""
    table, n = world
    strength = n / 250
    best = table.exponential_tilt(strength)
    slacks = []
    for rival in _rivals(table, n):
        slacks.append((best.proxy - best.kl / strength) - (rival.proxy - rival.kl / strength))
        if rival.kl <= best.kl:
            slacks.append(best.proxy - rival.proxy)
        if rival.proxy >= best.proxy:
            slacks.append(rival.kl - best.kl)
    return float(min(slacks))


def _rivals(table: FiniteTable, n: int) -> Iterator[Policy]:
    yield table.base()
    yield table.best_of_n(n)
    yield table.quantilizer(1 / n)
    p = np.asarray(table.probability)
    for sign in (1.0, -1.0):
        yield table.policy(p * np.exp(sign * np.asarray(table.gold) / 4))
        tilted = table.exponential_tilt(n / 250).probability
        yield table.policy(np.asarray(tilted) * np.exp(sign * 0.05 * np.asarray(table.gold)))


def _nonconvex_class(proxy: tuple[float, ...], kl: tuple[float, ...]) -> Iterator[Comparison]:
    """Three policies; the middle one is a KL-constrained optimum, never a penalised one."""
    reward, cost = np.asarray(proxy), np.asarray(kl)
    affordable = np.flatnonzero(cost <= 1.5)
    yield equal("constrained optimum", affordable[np.argmax(reward[affordable])], 1.0, 0.0)
    coefficients = np.geomspace(1e-4, 1e4, 4001)
    chosen = np.argmax(reward - coefficients[:, None] * cost, axis=1)
    yield equal("how often a penalty chooses it", np.count_nonzero(chosen == 1), 0.0, 0.0)


CLAIMS = (
    Claim(
        id="K45", title="Correlation and chi^2 bound gold from below", verdict="true",
        statement=r"\frac{\Delta J}{\sigma} \ge \frac{1}{r}"
        r"\left(\frac{\Delta p}{\sigma_p} - \sqrt{(1 - r^2)\, \chi^2}\right)",
        assumptions="r > 0, the base correlation; vacuous for Gaussian best-of-n at r = .8 beyond n = 22",
        source="Laidlaw 2403.03185",
        proof=_laidlaw_proof, check=_laidlaw_check, property=Property("tables_with_n", _laidlaw_slack, 1e-8),
    ),
    Claim(
        id="K47", title="KL and sqrt KL are no metrics, sqrt JS is; locally KL is half Fisher", verdict="true",
        statement=r"\sqrt{\mathrm{JS}(p, r)} \le \sqrt{\mathrm{JS}(p, q)} + \sqrt{\mathrm{JS}(q, r)}, \quad"
        r" \mathrm{KL}(p + \epsilon \| p) = \frac{1}{2} \epsilon^\top I(p)\, \epsilon + O(\epsilon^3)",
        assumptions="sqrt KL is a metric on Gaussians of equal covariance: Mahalanobis distance / sqrt 2",
        source="discussion of the reference paper; Endres & Schindelin 2003 for sqrt JS",
        proof=_fisher_proof, check=_geometry_check, property=Property("three_laws", _triangle),
        counterexample=Counterexample(
            "KL and sqrt KL break the triangle inequality on two outputs",
            {"p": (0.5, 0.5), "q": (0.25, 0.75), "r": (0.01, 0.99)}, _triangle_breaks,
        ),
    ),
    Claim(
        id="K48", title="Penalised, KL-constrained and reward-constrained optimum coincide", verdict="conditional",
        statement=r"\mathrm{E}_\pi[u] - \frac{1}{\lambda} \mathrm{KL}(\pi \| \pi_0) ="
        r" \frac{1}{\lambda} \log Z_\lambda - \frac{1}{\lambda} \mathrm{KL}(\pi \| \pi_\lambda)",
        assumptions="convex policy class that contains the tilt, finite moment generating function",
        source="standard (Gibbs variational principle)",
        proof=_gibbs_proof, check=_optimum_check, property=Property("tables_with_n", _optimality_slack, 1e-8),
        counterexample=Counterexample(
            "a class of three policies whose middle one lies below the chord of the others",
            {"proxy": (0.0, 1.0, 4.0), "kl": (0.0, 1.0, 2.0)}, _nonconvex_class,
        ),
    ),
)  # fmt: skip
