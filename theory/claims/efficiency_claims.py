"""K06-K09 and K46: what a nat buys under best-of-n, best-of-Poisson, quantilizers and the exponential tilt."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import mpmath
import numpy as np
import sympy
from scipy import integrate, optimize, special, stats

from overopt.theory import best_of_n as bon
from overopt.theory import best_of_poisson as bop
from overopt.theory import exponential_tilt as tilt
from overopt.theory import quantilizer as top
from overopt.theory.claims.comparison import Comparison, at_least, at_most, equal, printed
from overopt.theory.claims.entry import Claim, Counterexample, Property, Step
from overopt.theory.claims.oracles import normal_best_of_n, panels
from overopt.theory.claims.worlds import FiniteTable
from overopt.theory.world import World

__all__ = ["CLAIMS"]

X = sympy.Symbol("x", positive=True)


def _identity(u: np.ndarray) -> np.ndarray:
    return u


def _rank_tilt(strength: float) -> tuple[float, float]:
    """Mean rank and KL of the density proportional to ``exp(strength x)`` on [0, 1]."""
    mean = -1 / np.expm1(-strength) - 1 / strength
    log_mass = strength + np.log(-np.expm1(-strength)) - np.log(strength)
    return float(mean), float(strength * mean - log_mass)


def _rank_tilt_at(target: float, part: int) -> tuple[float, float]:
    """The rank tilt whose mean (part 0) or KL (part 1) is ``target``."""
    strength = optimize.brentq(lambda s: _rank_tilt(s)[part] - target, 1e-4, 1e7, xtol=1e-13, rtol=1e-13)
    return _rank_tilt(strength)


def _win_rate_gap(n: float) -> float:
    with mpmath.workdps(30):
        kl = float(mpmath.log(n) - 1 + 1 / mpmath.mpf(n))
    return _rank_tilt_at(kl, 1)[0] - n / (n + 1)


def _win_rate_check() -> Iterator[Comparison]:
    ranks = World(stats.uniform(), _identity)
    for strength in (0.3, 4.0, 60.0):
        curve, (mean, kl) = tilt.exponential_tilt(ranks, np.array([strength])), _rank_tilt(strength)
        yield equal(f"mean rank of the tilt by {strength:g}", curve.proxy[0], mean)
        yield equal(f"win rate of the tilt by {strength:g}", curve.win_rate[0], mean)
        yield equal(f"KL of the tilt by {strength:g}", curve.kl[0], kl)
    best = bon.best_of_n(ranks, np.array([2.0, 17.0]))
    optimal = tilt.tilt_at_kl(ranks, best.kl)
    for index, n in enumerate((2.0, 17.0)):
        gap = optimal.win_rate[index] - bon.best_of_n_win_rate(n)
        yield equal(f"win rate below the optimal, n = {n:g}", gap, _win_rate_gap(n), 1e-8)
    yield printed("largest gap over whole n, at n = 2", max(_win_rate_gap(n) for n in range(2, 40)), "0.0092")
    yield at_most("gap at n = 17", _win_rate_gap(17.0), 1e-4)
    yield at_least("gap at every n >= 1", min(_win_rate_gap(n) for n in (1.05, 2.0, 5.0, 100.0)), 0.0)


def _win_rate_slack(n: int) -> float:
    gap = _win_rate_gap(n + 1)
    return min(gap, (1e-4 if n + 1 > 16 else 0.0093) - gap)


def _real_n_gap(n: float) -> Iterator[Comparison]:
    yield at_least(f"gap at n = {n:g}", _win_rate_gap(n), 0.0094)


def _efficiency_check() -> Iterator[Comparison]:
    normal = World(stats.norm(), _identity)
    n = np.array([1.001, 1000.0, np.exp(30.0)])
    best = bon.best_of_n(normal, n)
    efficiency = best.proxy / np.sqrt(2 * best.kl)
    for index, value in enumerate(n):
        yield equal(f"E[max] at n = {value:.4g}", best.proxy[index], normal_best_of_n(lambda u: u, float(value)))
    limit = integrate.quad(lambda u: u * stats.norm.logcdf(u) * stats.norm.pdf(u), -12, 12)[0]
    yield printed("efficiency as n -> 1, percent", 100 * limit, "90.3")
    yield equal("efficiency at n = 1.001", efficiency[0], limit, 1e-3)
    yield printed("efficiency at n = 1000, percent", 100 * efficiency[1], "94.3")
    yield printed("efficiency at n = e^30, percent", 100 * efficiency[2], "97.6")
    spent = tilt.tilt_at_proxy(normal, best.proxy[1:2]).kl[0]
    yield equal("KL of the tilt at the same mean", spent, best.proxy[1] ** 2 / 2, 1e-8)


NORMAL_PROXY = World(stats.norm(), _identity)


def _largest_normal(n: float) -> float:
    """``E[max]`` of n standard normals as the integral of ``1[u > 0] - Phi(u)^n``."""
    u, weight = panels(np.linspace(-10.0, 14.0, 97))
    return float(weight @ ((u > 0) - np.exp(n * special.log_ndtr(u))))


def _efficiency_slack(n: float) -> float:
    """Up to n = e^30 best-of-n stays within the printed 90.3 to 97.6 percent of the tilt that costs as much."""
    size = float(np.exp(1e-3 + 2.9999 * np.log(n)))
    kl = np.log(size) - (size - 1) / size
    best, optimal = bon.best_of_n(NORMAL_PROXY, size), tilt.exponential_tilt(NORMAL_PROXY, np.sqrt(2 * kl))
    efficiency = _largest_normal(size) / np.sqrt(2 * kl)
    gaps = (float(best.proxy / optimal.proxy) - efficiency, float(optimal.kl) - kl, float(best.kl) - kl)
    return float(min(efficiency - 0.9025, 0.9765 - efficiency, 1e-6 - np.abs(gaps).max()))


def _heavy_efficiency(degrees: float) -> Iterator[Comparison]:
    law = stats.t(degrees)
    # Mixing the base policy with a share of its own far tail: gain up, KL down, so best-of-n has efficiency 0.
    for log_tail in (-20.0, -60.0, -180.0):
        q = np.exp(log_tail)
        far = law.isf(q)
        share = abs(log_tail) ** -1.5
        kl = share * np.log1p(share * (1 / q - 1)) + (1 - share) * np.log1p(-share)
        yield at_least(f"gain at tail e^{log_tail:g} (best-of-1000 gains {6.0})", share * far, 6.0)
        yield at_most("its KL, nats", kl, 2 * abs(log_tail) ** -0.5)


def _gaussian_bound_proof() -> Iterator[Step]:
    strength, sigma = sympy.symbols("lambda sigma", positive=True)
    cumulant = sigma**2 * strength**2 / 2
    gain = sympy.diff(cumulant, strength)
    kl = strength * gain - cumulant
    yield Step("the Gaussian tilt attains the bound", gain, sigma * sympy.sqrt(2 * kl))


def _bound_check() -> Iterator[Comparison]:
    for sigma, strength in ((1.0, 0.7), (2.5, 1.4)):
        curve = tilt.exponential_tilt(World(stats.norm(0, sigma), _identity), np.array([strength]))
        yield equal(f"gain of the Gaussian tilt, sigma = {sigma:g}", curve.proxy[0], sigma**2 * strength)
        yield equal(f"its bound, sigma = {sigma:g}", sigma * np.sqrt(2 * curve.kl[0]), sigma**2 * strength)


def _bound_slack(world: tuple[FiniteTable, int]) -> float:
    """A score on an interval is sub-Gaussian with half the range (Hoeffding); any policy must respect the bound."""
    table, n = world
    sigma = (max(table.proxy) - min(table.proxy)) / 2
    base = table.base().proxy
    policies = (table.best_of_n(n), table.exponential_tilt(n / 100), table.quantilizer(1 / n), table.best_of_poisson(n))
    return float(min(sigma * np.sqrt(2 * policy.kl) - (policy.proxy - base) for policy in policies))


def _exponential_breaks(n: int) -> Iterator[Comparison]:
    harmonic = float(np.sum(1 / np.arange(1, n + 1)))
    proxy = bon.best_of_n(World(stats.expon(), _identity), np.array([float(n)])).proxy[0]
    yield equal(f"E[max of {n} exponentials] is the harmonic number", proxy, harmonic)
    yield at_least("gain beyond the bound (sigma = 1)", harmonic - 1 - np.sqrt(2 * (np.log(n) - 1 + 1 / n)), 3.0)


def _poisson_proof() -> Iterator[Step]:
    mu = sympy.Symbol("mu", positive=True)
    k = sympy.Symbol("k", integer=True, nonnegative=True)
    series = sympy.summation(sympy.exp(-mu) * mu**k / sympy.factorial(k) * X ** (k + 1), (k, 0, sympy.oo))
    yield Step("mixture over the number of samples", sympy.simplify(series), X * sympy.exp(mu * (X - 1)))
    yield Step("density", sympy.diff(X * sympy.exp(mu * (X - 1)), X), (mu * X + 1) * sympy.exp(mu * (X - 1)))


def _poisson_law(mu: float) -> tuple[float, float, float]:
    """KL, chi^2 and mean rank by adaptive quadrature of the density."""

    def log_ratio(x: float) -> float:
        return float(np.log1p(mu * x) + mu * (x - 1))

    def ratio(x: float) -> float:
        return float(np.exp(log_ratio(x)))

    def over_ranks(function: Callable[[float], float]) -> float:
        edges = [0.0, *sorted(1 - min(share, depth / mu) for share, depth in ((0.9, 30), (0.7, 8), (0.4, 2))), 1.0]
        return float(sum(integrate.quad(function, *panel, epsabs=1e-11, epsrel=1e-11)[0] for panel in pairwise(edges)))

    return (
        over_ranks(lambda x: ratio(x) * log_ratio(x)),
        over_ranks(lambda x: (ratio(x) - 1) ** 2),
        over_ranks(lambda x: ratio(x) * x),
    )


def _poisson_check() -> Iterator[Comparison]:
    gaps = []
    ranks = World(stats.uniform(), _identity)
    for mu in (0.2, 0.9, 3.0, 10.0, 80.0, 1000.0):
        kl, chi2, mean = _poisson_law(mu)
        yield equal(f"KL at mu = {mu:g}", bop.best_of_poisson_kl(mu), kl)
        yield equal(f"chi^2 at mu = {mu:g}", bop.best_of_poisson_chi2(mu), chi2)
        yield equal(f"win rate at mu = {mu:g}", bop.best_of_poisson_win_rate(mu), mean)
        yield equal(f"mean rank at mu = {mu:g}", bop.best_of_poisson(ranks, np.array([mu])).proxy[0], mean)
        gaps.append(kl - _rank_tilt_at(mean, 0)[1])
    yield at_most("largest KL above the tilt at the same mean rank", max(gaps), 8e-4)
    yield at_least("no policy is below the tilt", min(gaps), 0.0, 1e-9)


def _poisson_slack(log_mu: float) -> float:
    mu = float(np.exp(log_mu))
    kl, _, mean = _poisson_law(mu)
    return min(8e-4 - (kl - _rank_tilt_at(mean, 0)[1]), 1e-9 - abs(kl - float(bop.best_of_poisson_kl(mu))))


def _cost_proof() -> Iterator[Step]:
    n, q = sympy.symbols("n q", positive=True)
    yield Step("largest density ratio of best-of-n", (n * X ** (n - 1)).subs(X, 1), n)
    yield Step("density of the quantilizer integrates to 1", sympy.integrate(1 / q, (X, 1 - q, 1)), 1)


def _cost_check() -> Iterator[Comparison]:
    costs = World(stats.norm(), lambda u: np.exp(1.5 * u))
    q = np.array([0.5, 0.01])
    curve = top.quantilizer(costs, q)
    base = float(np.exp(1.125))
    for index, fraction in enumerate(q):
        # E[e^(1.5 U); U > c] is a shifted normal tail.
        exact = base * stats.norm.sf(stats.norm.isf(fraction) - 1.5) / fraction
        yield equal(f"cost of the top {fraction:g}", curve.gold[index], exact)
        yield equal(f"KL of the top {fraction:g}", curve.kl[index], np.log(1 / fraction), 1e-12)
        yield equal(f"chi^2 of the top {fraction:g}", curve.chi2[index], 1 / fraction - 1, 1e-12)
        win = integrate.quad(lambda x: x, 1 - fraction, 1)[0] / fraction
        yield equal(f"win rate of the top {fraction:g}", curve.win_rate[index], win, 1e-12)
        yield at_most(f"cost over the base's, top {fraction:g}", curve.gold[index] / base, 1 / fraction)


def _cost_slack(world: tuple[FiniteTable, int]) -> float:
    table, n = world
    costs = FiniteTable(table.probability, table.proxy, tuple(np.abs(table.gold).tolist()))
    base = costs.base().gold
    return min(n * base - costs.best_of_n(n).gold, n * base - costs.quantilizer(1 / n).gold)


def _tilt_has_no_bound(rare: float, proxy: float) -> Iterator[Comparison]:
    table = FiniteTable((1 - rare, rare), (0.0, proxy), (0.0, 1.0))
    tilted = table.exponential_tilt(1.0)
    yield at_least("cost over the base's under the tilt by 1", tilted.gold / rare, 0.99 / rare)
    yield at_most("cost over the base's under best-of-10", table.best_of_n(10).gold / rare, 10.0)


CLAIMS = (
    Claim(
        id="K06", title="Best-of-n win rate is within .0093 of the KL-optimal policy's", verdict="true",
        statement=r"0 \le w^*(\mathrm{KL}_n) - \frac{n}{n+1} \le 0.0093, \quad < 10^{-4} \text{ for } n > 16",
        assumptions="objective = win rate against the base policy; continuous proxy; whole n >= 2",
        source="Gui et al. 2406.00832",
        check=_win_rate_check, property=Property("integer_n", _win_rate_slack, 1e-10),
        counterexample=Counterexample(
            "between whole numbers the gap is larger: .00947 at the real n = 1.8", {"n": 1.8}, _real_n_gap
        ),
        note="The bound .0093 is for whole n (.00924 at n = 2); over real n the largest gap is .00947, at n = 1.8.",
    ),
    Claim(
        id="K07", title="Best-of-n reaches 90.3% to 97.6% of the tilt's mean reward at equal KL", verdict="true",
        statement=r"\frac{\mathrm{E}[U_n]}{\sigma \sqrt{2 \mathrm{KL}_n}} = 90.3\% \,(n \to 1),"
        r"\ 94.3\% \,(n = 1000),\ 97.6\% \,(n = e^{30})",
        assumptions="Gaussian proxy (false for heavy tails: stored)",
        source="derived",
        check=_efficiency_check, property=Property("real_n", _efficiency_slack),
        counterexample=Counterexample(
            "Student t3 proxy: a vanishing share of the far tail gains more than best-of-1000 for a vanishing KL",
            {"degrees": 3.0}, _heavy_efficiency,
        ),
    ),
    Claim(
        id="K08", title="The proxy gain is at most sigma sqrt(2 KL)", verdict="conditional",
        statement=r"\mathrm{E}_\pi[u] - \mathrm{E}_0[u] \le \sigma \sqrt{2\, \mathrm{KL}(\pi \| \pi_0)}",
        assumptions="sub-Gaussian proxy with constant sigma, not the standard deviation; equality: the Gaussian tilt",
        source="Mroueh 2406.05883",
        proof=_gaussian_bound_proof, check=_bound_check, property=Property("tables_with_n", _bound_slack),
        counterexample=Counterexample(
            "exponential proxy with unit variance: best-of-1000 gains 6.49 where the bound says 3.44",
            {"n": 1000}, _exponential_breaks,
        ),
    ),
    Claim(
        id="K09", title="Best-of-Poisson is within 8e-4 nats of the exponential tilt", verdict="true",
        statement=r"f(x) = (\mu x + 1) e^{\mu (x - 1)}, \quad"
        r" 0 \le \mathrm{KL}(f) - \mathrm{KL}(\text{tilt of equal mean}) \le 8 \cdot 10^{-4}",
        assumptions="rank x of the proxy uniform: continuous proxy, objective = rank",
        source="Khalaf et al. 2506.19248",
        proof=_poisson_proof, check=_poisson_check, property=Property("log_pressures", _poisson_slack),
    ),
    Claim(
        id="K46", title="Quantilizer 1/q and best-of-n cost at most n times the base cost", verdict="true",
        statement=r"\mathrm{E}_{\pi_n}[c] \le n\, \mathrm{E}_0[c], \quad \mathrm{E}_{q}[c] \le \mathrm{E}_0[c] / q",
        assumptions="cost c >= 0; the exponential tilt has no such bound (stored)",
        source="Taylor 2016",
        proof=_cost_proof, check=_cost_check, property=Property("tables_with_n", _cost_slack),
        counterexample=Counterexample(
            "an output of probability 1e-6 with proxy 30: the tilt multiplies its cost by 1e6",
            {"rare": 1e-6, "proxy": 30.0}, _tilt_has_no_bound,
        ),
    ),
)  # fmt: skip
