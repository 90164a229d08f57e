"""K11-K19, K24, K26: `proxy = gold + noise`, what selection on the noise costs and what it can never do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import numpy as np
import sympy
from numpy.typing import NDArray
from scipy import integrate, stats

from overopt.theory import best_of_n as bon
from overopt.theory import conditional_mean as closed
from overopt.theory import regressional as reg
from overopt.theory.additive import Convolution, additive_world
from overopt.theory.claims.comparison import Comparison, at_least, at_most, equal, printed
from overopt.theory.claims.entry import Claim, Counterexample, Property, Step
from overopt.theory.claims.noise_worlds import BoundedNoise, NoisyGold
from overopt.theory.claims.oracles import additive_best_of_n, posterior_mean
from overopt.theory.claims.worlds import FiniteTable, IndependentNoise
from overopt.theory.proxy_law import Mixture
from overopt.theory.quantilizer import quantilizer
from overopt.theory.world import World

__all__ = ["CLAIMS"]

Array = NDArray[np.float64]
X, S, C = sympy.symbols("x s c", real=True)
SIGMA, TAU = sympy.symbols("sigma tau", positive=True)
NORMAL = stats.norm()


def _case_a_proof() -> Iterator[Step]:
    mu, nu = sympy.symbols("mu nu", real=True)
    exponent = -((X - mu) ** 2) / (2 * SIGMA**2) - (C - X - nu) ** 2 / (2 * TAU**2)
    # The posterior is Gaussian, so its mean is where the exponent is flat.
    mean = sympy.solve(sympy.diff(exponent, X), X)[0]
    yield Step("posterior mean", mean, mu + (C - mu - nu) * SIGMA**2 / (SIGMA**2 + TAU**2))


def _case_a_check() -> Iterator[Comparison]:
    for mean, sd, noise_mean, noise_sd, c in ((0.0, 1.0, 0.0, 1.0, 2.0), (1.0, 2.0, -0.5, 0.7, 9.0)):
        exact = mean + (c - mean - noise_mean) * sd**2 / (sd**2 + noise_sd**2)
        found = Convolution(stats.norm(mean, sd), stats.norm(noise_mean, noise_sd)).conditional_mean_exact(c)
        yield equal(f"E[X | X + Z = {c:g}] by convolution", found, exact)
        stated = closed.given_normal_noise(c, noise_sd=noise_sd, gold_mean=mean, gold_sd=sd, noise_mean=noise_mean)
        yield equal("the closed form against an integral", stated, mean + _shrunk(mean, sd, noise_mean, noise_sd, c))


def _shrunk(mean: float, sd: float, noise_mean: float, noise_sd: float, c: float) -> float:
    """``E[X - E X | X + Z = c]`` for two normals by quadrature."""
    return posterior_mean(stats.norm(0, noise_sd), c - mean - noise_mean, sd)


def _case_a_slack(numbers: tuple[int, ...]) -> float:
    """The closed form against an integral, for any two normals and any c."""
    mean, noise_mean, distance, sd, noise_sd = (float(number) for number in numbers[3:8])
    c = mean + noise_mean + distance
    stated = closed.given_normal_noise(c, noise_sd=noise_sd, gold_mean=mean, gold_sd=sd, noise_mean=noise_mean)
    return 1e-8 - abs(float(stated) - mean - _shrunk(mean, sd, noise_mean, noise_sd, c))


def _finite_posterior(noise: Array, probability: Array, c: float, sd: float) -> float:
    """``E[X | X + Z = c]`` for normal X and a noise with finitely many values, exactly."""
    log_weight = np.log(probability) - (c - noise) ** 2 / (2 * sd**2)
    weight = np.exp(log_weight - log_weight.max())
    return float(weight @ (c - noise) / weight.sum())


def _case_b_error(noise: Array, probability: Array, c: float, sd: float) -> float:
    """Exact conditional mean minus the linear formula; the noise has mean 0."""
    variance = float(probability @ noise**2)
    # 1 - s^2/(s^2+v) = v/(s^2+v): the difference without cancellation.
    log_weight = -((c - noise) ** 2 - c**2) / (2 * sd**2)
    weight = probability * np.exp(log_weight)
    return c * variance / (sd**2 + variance) - float(weight @ noise / weight.sum())


def _case_b_proof() -> Iterator[Step]:
    scale = sympy.Symbol("delta", positive=True)
    m2, m3, m4 = sympy.symbols("mu2 mu3 mu4", real=True)
    moments = {1: 0, 2: m2, 3: m3, 4: m4}
    z = sympy.Symbol("z", real=True)
    ratio = sympy.series(sympy.exp((2 * C * scale * z - scale**2 * z**2) / (2 * SIGMA**2)), scale, 0, 4).removeO()

    def mean(expression: sympy.Expr) -> sympy.Expr:
        polynomial = sympy.Poly(sympy.expand(expression), z)
        return sum(
            coefficient * moments.get(power, 1 if power == 0 else 0) for (power,), coefficient in polynomial.terms()
        )

    noise = sympy.series(mean(scale * z * ratio) / mean(ratio), scale, 0, 4).removeO()
    linear = sympy.series(C - C * SIGMA**2 / (SIGMA**2 + scale**2 * m2), scale, 0, 4).removeO()
    leading = -(C**2 / SIGMA**4 - 1 / SIGMA**2) * scale**3 * m3 / 2
    yield Step("error to third order in the noise's size", sympy.expand(linear - noise), sympy.expand(leading))


SKEWED = (np.array([2.0, -1.0]), np.array([1 / 3, 2 / 3]))
SYMMETRIC = (np.array([1.0, -1.0]), np.array([0.5, 0.5]))


def _case_b_check() -> Iterator[Comparison]:
    c, sd = 2.0, 1.5
    for name, (noise, p), order in (("skewed", SKEWED, 3.0), ("symmetric", SYMMETRIC, 4.0)):
        error = [abs(_case_b_error(size * noise, p, c, sd)) for size in (0.02, 0.01)]
        yield equal(f"measured order in the noise's size, {name}", np.log2(error[0] / error[1]), order, 0.02)
        yield at_most(f"error over Var Z, {name}", error[1] / float(p @ (0.01 * noise) ** 2), 0.02)
    noise, p = 0.01 * SKEWED[0], SKEWED[1]
    predicted = -(c**2 / sd**4 - 1 / sd**2) * float(p @ noise**3) / 2
    yield equal("skewed error over -(c^2/s^4 - 1/s^2) mu3/2", _case_b_error(noise, p, c, sd) / predicted, 1.0, 0.03)
    for name, (values, q) in (("skewed", (noise, p)), ("symmetric", (0.01 * SYMMETRIC[0], SYMMETRIC[1]))):
        k2, k3 = float(q @ values**2), float(q @ values**3)
        k4 = float(q @ values**4) - 3 * k2**2
        stated = reg.case_b_remainder(c, gold_sd=sd, third_cumulant=k3, fourth_cumulant=k4)
        found = _case_b_error(values, q, c, sd)
        series = c - reg.cumulant_expansion(c, gold_sd=sd, noise_cumulants=[0.0, k2, k3, k4])
        exact = c * k2 / (sd**2 + k2) - found
        yield equal(f"remainder over the exact error, {name}", found / float(stated), 1.0, 0.05)
        yield equal(f"cumulant expansion over E[Z | c], {name}", float(series) / exact, 1.0, 1e-4)
    width = 0.05
    mean = Convolution(NORMAL, stats.uniform(-width, 2 * width)).conditional_mean_exact(c)
    yield equal("uniform noise by convolution", mean, c / (1 + width**2 / 3), width**4)


def _case_b_slack(world: IndependentNoise) -> float:
    """At size 1e-3 the error is its third-order term up to fourth order."""
    p, noise = np.asarray(world.noise_probability), np.asarray(world.noise)
    centred = 1e-3 * (noise - p @ noise)
    c, sd = 1.7, 1.0
    predicted = -(c**2 / sd**4 - 1 / sd**2) * float(p @ centred**3) / 2
    size = float(np.abs(centred).max())
    return 60 * size**4 + 1e-15 - abs(_case_b_error(centred, p, c, sd) - predicted)


def _strong_check() -> Iterator[Comparison]:
    for delta, c in ((1.0, 50.0), (0.5, 30.0)):
        noise = stats.uniform(-delta, 2 * delta)
        found = Convolution(NORMAL, noise).conditional_mean_exact(c)
        yield equal(
            f"E[X | c = {c:g}] by an independent integral", found, posterior_mean(noise, c, kinks=(-delta, delta))
        )
        yield equal("c - delta + s^2/c", found, c - delta + 1 / c, 4 / c**2)
        yield equal("closed form", closed.given_uniform_noise(c, half_width=delta), found)


def _strong_fails(delta: float, c: float) -> Iterator[Comparison]:
    exact = posterior_mean(stats.uniform(-delta, 2 * delta), c, kinks=(-delta, delta))
    yield printed("E[X | c]", exact, "49.02")
    yield printed("linear formula", c / (1 + delta**2 / 3), "37.5")


def _strong_slack(world: tuple[BoundedNoise, float]) -> float:
    """The claim: the linear formula errs by less than Var Z (gold SD 1), its order for small noise, at any c."""
    noisy, c = world
    return noisy.variance - abs(noisy.conditional_mean(c) - c / (1 + noisy.variance))


def _rises(world: IndependentNoise) -> float:
    _, mean = world.conditional_mean()
    return float(np.min(np.diff(mean), initial=np.inf))


def _monotone_proof() -> Iterator[Step]:
    delta = sympy.Symbol("delta", positive=True)
    up, down = (sympy.exp(-((S - z) ** 2) / (2 * SIGMA**2)) for z in (delta, -delta))
    mean = S - delta * (up - down) / (up + down)
    slope = sympy.diff(mean, S).subs(S, 0)
    yield Step("noise +-delta: slope of E[X|s] at 0, negative beyond delta = sigma", slope, 1 - delta**2 / SIGMA**2)


def _monotone_check() -> Iterator[Comparison]:
    grid = np.linspace(-20, 20, 81)
    for name, noise, kinks in (("Laplace", stats.laplace(), (0.0,)), ("logistic", stats.logistic(), (0.0,))):
        mean = Convolution(NORMAL, noise).conditional_mean_exact(grid)
        yield at_least(f"smallest rise of E[X|s], {name}", float(np.diff(mean).min()), 0.0)
        yield equal(f"E[X | s = 20], {name}", mean[-1], posterior_mean(noise, 20.0, kinks=kinks))
        yield equal(f"log-concave, {name}", float(reg.is_log_concave(noise)), 1.0, 0.0)
    yield equal("log-concave, t3", float(reg.is_log_concave(stats.t(3))), 0.0, 0.0)
    for s in (-1.0, 4.0):
        laplace, cauchy = stats.laplace(0, 0.6), stats.cauchy(0, 0.4)
        shift = stats.expon(0, 1 / 1.4)
        yield equal(
            f"Laplace closed form at {s:g}", closed.given_laplace_noise(s, scale=0.6), posterior_mean(laplace, s)
        )
        yield equal(f"Cauchy closed form at {s:g}", closed.given_cauchy_noise(s, scale=0.4), posterior_mean(cauchy, s))
        yield equal(
            f"exponential closed form at {s:g}", closed.given_exponential_noise(s, rate=1.4), posterior_mean(shift, s)
        )
        weights, centres, sds = [0.3, 0.7], [1.0, -0.5], [0.2, 1.1]
        pair = Mixture(tuple(weights), tuple(stats.norm(m, v) for m, v in zip(centres, sds, strict=True)))
        stated = closed.given_normal_mixture_noise(s, weights=weights, noise_means=centres, noise_sds=sds)
        yield equal(f"normal mixture closed form at {s:g}", stated, posterior_mean(pair, s, kinks=(1.0, -0.5)))


def _not_monotone(delta: float, degrees: float) -> Iterator[Comparison]:
    half = _finite_posterior(np.array([delta, -delta]), np.array([0.5, 0.5]), 0.3, 1.0)
    yield at_most("noise +-2: E[X | s = .3] although E[X | s = 0] = 0", half, -0.1)
    yield equal("noise +-2: closed form", closed.given_two_point_noise(0.3, delta=delta), half)
    noise = stats.t(degrees)
    values = [posterior_mean(noise, s) for s in (3.0, 30.0)]
    yield at_most("t3 noise: E[X | s = 30] - E[X | s = 3]", values[1] - values[0], -0.5)
    found = Convolution(NORMAL, noise).conditional_mean_exact(np.array([3.0, 30.0]))
    yield equal("t3 by convolution at 3", found[0], values[0])
    yield equal("t3 by convolution at 30", found[1], values[1])


def _iff_proof() -> Iterator[Step]:
    f = sympy.Function("f", positive=True)
    h, p = sympy.symbols("h p", positive=True)
    odds = p * f(S - h) / ((1 - p) * f(S))
    slope = sympy.diff(sympy.log(odds), S)
    score = sympy.diff(sympy.log(f(S)), S)
    # X in {0, h}: the odds of h rise in s for every h iff the score falls, that is iff log f is concave.
    yield Step("slope of the log-odds of X = h", slope, score.subs(S, S - h).doit() - score)


def _iff_slack(world: IndependentNoise) -> bool:
    """Two-point gold at distance 1: monotone exactly where the noise on consecutive integers is log-concave."""
    log_mass = np.log(np.asarray(world.noise_probability))
    log_concave = bool(np.all(np.diff(log_mass, 2) <= 1e-12))
    pair = IndependentNoise((0.0, 1.0), (0.5, 0.5), world.noise, world.noise_probability)
    return (_rises(pair) >= -1e-12) == log_concave


def _dual_proof() -> Iterator[Step]:
    p, a, b = sympy.symbols("p a b", positive=True)
    terms = [(p, a), (1 - p, -b)]
    law = sum(w * sympy.exp(-((S - z) ** 2) / (2 * SIGMA**2)) for w, z in terms)
    mean = sum(w * (S - z) * sympy.exp(-((S - z) ** 2) / (2 * SIGMA**2)) for w, z in terms) / law
    yield Step("E[X|s] for a two-valued noise", mean, -(SIGMA**2) * sympy.diff(sympy.log(law), S))


def _dual_check() -> Iterator[Comparison]:
    sd, noise, step = 1.3, stats.logistic(0, 0.8), 1e-4
    law = Convolution(stats.norm(0, sd), noise)
    for s in (-2.0, 0.7, 9.0):
        density = law.log_density(s + step * np.array([-2.0, -1.0, 1.0, 2.0]))
        slope = (density @ np.array([1.0, -8.0, 8.0, -1.0])) / (12 * step)
        yield equal(f"-s^2 (log f)' at {s:g}", -(sd**2) * slope, posterior_mean(noise, s, sd), 1e-8)
        dual = closed.tweedie_dual(law.log_density, s, gold_sd=sd)
        yield equal(f"Tweedie's dual as coded at {s:g}", dual, posterior_mean(noise, s, sd), 1e-8)
        swapped = Convolution(noise, stats.norm(0, sd))
        primal = closed.tweedie(swapped.log_density, s, noise_sd=sd)
        swap = s - float(primal)
        yield equal(f"Tweedie's formula, roles exchanged, at {s:g}", swap, posterior_mean(noise, s, sd), 1e-8)
        yield equal(f"E[X | s] by convolution at {s:g}", law.conditional_mean_exact(s), posterior_mean(noise, s, sd))
    grid, unit = np.linspace(-25.0, 40.0, 8001), stats.logistic(0, 0.5)
    f = np.exp(Convolution(NORMAL, unit).log_density(grid))
    below = integrate.cumulative_simpson(f, x=grid, initial=0.0)
    for n in (2.0, 50.0):
        by_hand = n * (n - 1) * float(integrate.simpson(below ** (n - 2) * f**2, x=grid))
        gold, proxy = additive_best_of_n(unit, n)
        curve = bon.best_of_n(additive_world(NORMAL, unit), np.array([n]))
        coded = reg.best_of_n_gold_from_density(Convolution(NORMAL, unit), n, gold_sd=1.0)
        yield equal(f"best-of-{n:g} gold from the dual", by_hand, gold, 1e-7)
        yield equal(f"best-of-{n:g} gold from the dual as coded", coded, gold, 1e-8)
        yield equal(f"best-of-{n:g} gold from the world", curve.gold[0], gold, 1e-8)
        yield equal(f"best-of-{n:g} proxy from the world", curve.proxy[0], proxy, 1e-8)


EDGES = {"uniform": (-1.0, 1.0), "exponential": (-1.0,), "gamma2": (-2.0,)}
"""Where a family's density jumps or bends, in scales from its centre; at the centre for the others."""


def _dual_slack(world: NoisyGold) -> float:
    """Tweedie's dual, from the proxy's density alone, against an integral over gold."""
    noise, law = world.noise.law, Convolution(NORMAL, world.noise.law)
    kinks = [
        centre + edge * scale for name, _, centre, scale in world.noise.components for edge in EDGES.get(name, (0.0,))
    ]
    s = np.array([-1.5, 0.5, 4.0])
    found = closed.tweedie_dual(law.log_density, s, gold_sd=1.0)
    exact = np.array([posterior_mean(noise, float(value), kinks=kinks) for value in s])
    return 1e-6 - float(np.abs(found - exact).max())


def _monotone_policies(table: FiniteTable, n: int) -> Iterator[float]:
    """Gold gain of monotone proxy-only policies over the base policy."""
    base = table.base().gold
    for policy in (
        table.best_of_n(n),
        table.exponential_tilt(n / 100),
        table.quantilizer(1 / n),
        table.best_of_poisson(n),
    ):
        yield policy.gold - base


def _never_below(world: tuple[IndependentNoise, int]) -> float:
    noise_world, n = world
    return min(_monotone_policies(noise_world.table, n))


def _never_below_proof() -> Iterator[Step]:
    x1, x2, w1, w2, p = sympy.symbols("x1 x2 w1 w2 p", real=True)
    covariance = p * w1 * x1 + (1 - p) * w2 * x2 - (p * w1 + (1 - p) * w2) * (p * x1 + (1 - p) * x2)
    # Given the noise, weight and gold rise together; Chebyshev's covariance is a sum of such products.
    yield Step("covariance of weight and gold given the noise", covariance, p * (1 - p) * (w1 - w2) * (x1 - x2))


def _never_below_check() -> Iterator[Comparison]:
    n = np.array([1.0, 2.0, 30.0, 1e4])
    for name, noise in (("Laplace", stats.laplace(0, 2.0)), ("uniform", stats.uniform(-4, 8))):
        world = additive_world(NORMAL, noise)
        curve, top = bon.best_of_n(world, n), quantilizer(world, 1 / n)
        yield equal(f"gold of the base policy, {name}", curve.gold[0], 0.0)
        yield at_least(f"best-of-n gold, {name}", float(curve.gold[1:].min()), 0.0)
        yield at_least(f"quantilizer gold, {name}", float(top.gold[1:].min()), 0.0)
    lumpy = IndependentNoise((-2.0, 0.0, 3.0), (0.2, 0.5, 0.3), (-4.0, 0.0, 1.0, 9.0), (0.3, 0.3, 0.3, 0.1))
    yield at_least("a lumpy world, all four optimizers", min(_monotone_policies(lumpy.table, 9)), 0.0)
    negative = replace(lumpy, slope=-1.0)
    yield at_most("control: c < 0 takes gold below", min(_monotone_policies(negative.table, 9)), -0.1)


def _base_slope(table: FiniteTable) -> float:
    """Slope of the proxy on gold under the base policy: the c of ``proxy = a + c gold + e``."""
    p, proxy, gold = (np.asarray(column) for column in (table.probability, table.proxy, table.gold))
    centred = gold - p @ gold
    variance = float(p @ centred**2)
    return float(p @ (centred * proxy)) / variance if variance > 0 else 0.0


def _loses(table: FiniteTable, n: int) -> bool:
    """Whether gold and proxy agree under the base policy, and selection still takes gold below it."""
    return _base_slope(table) > 1e-9 and min(_monotone_policies(table, n)) < -1e-9


def _hacked(table: FiniteTable) -> FiniteTable:
    """The table with gold sorted to rise with the proxy, and a rare last output with the best proxy, the worst gold."""
    order = np.argsort(np.argsort(table.proxy, kind="stable"))
    low, high, worst = min(table.proxy) - 1, max(table.proxy) + 1, min(table.gold) - 1
    aligned = replace(table, gold=tuple(np.sort(table.gold)[order].tolist())).with_output(0.2, low, worst)
    hacked, rare = aligned.with_output(0.1, high, worst), 0.1
    while _base_slope(hacked) < 0.01 * _base_slope(aligned):
        rare /= 2
        hacked = aligned.with_output(rare, high, worst)
    return hacked


def _below_means_dependent(world: tuple[FiniteTable, int]) -> float:
    """Where the base slope c is positive and gold falls, the error ``proxy - c gold`` depends on gold.

    Few tables are like that: any other one is hacked first.
    """
    table, n = world
    if not _loses(table, n):
        table = _hacked(table)
        n = max(n, int(2 / table.probability[-1]))
    if not _loses(table, n):
        return np.inf
    p, proxy, gold = (np.asarray(column) for column in (table.probability, table.proxy, table.gold))
    return _dependence(p, proxy - _base_slope(table) * gold, gold) - 1e-6


def _dependence(p: Array, error: Array, gold: Array) -> float:
    """The largest gap between the joint law of (error, gold) and the product of its margins."""
    _, row = np.unique(np.round(error, 9), return_inverse=True)
    _, column = np.unique(gold, return_inverse=True)
    joint = np.zeros((row.max() + 1, column.max() + 1))
    np.add.at(joint, (row, column), p)
    return float(np.abs(joint - np.outer(joint.sum(1), joint.sum(0))).max())


def _dependent_check() -> Iterator[Comparison]:
    # The best proxy sits on the worst gold; the same margins made independent lose nothing.
    table = FiniteTable((0.45, 0.45, 0.1), (0.0, 1.0, 2.0), (0.0, 3.0, -2.0))
    yield at_most("gold gain of best-of-50", table.best_of_n(50).gold - table.base().gold, -1.0)
    yield at_least("slack of the claim there", _below_means_dependent((table, 50)), 0.01)
    independent = IndependentNoise((0.0, 3.0), (0.5, 0.5), (-1.0, 0.0, 2.0), (0.2, 0.3, 0.5)).table
    columns = (np.asarray(c) for c in (independent.probability, independent.proxy, independent.gold))
    p, proxy, gold = columns
    yield at_most("control: dependence of an independent error", _dependence(p, proxy - gold, gold), 1e-12)
    yield at_least("control: its gold gain", min(_monotone_policies(independent, 50)), 0.0)


def _far_limit_check() -> Iterator[Comparison]:
    cases = (
        ("Laplace", stats.laplace(0, np.sqrt(0.5)), np.sqrt(2.0), "1.414", 60.0),
        ("logistic", stats.logistic(0, np.sqrt(3.0) / np.pi), np.pi / np.sqrt(3.0), "1.814", 60.0),
        ("exponential", stats.expon(-1), 1.0, "1.000", 60.0),
    )
    for name, noise, rate, figure, far in cases:
        limit = float(Convolution(NORMAL, noise).conditional_mean_exact(far))
        yield equal(f"E[X | s = {far:g}], unit-variance {name} noise", limit, rate, 1e-9)
        yield printed(f"far limit, {name}", limit, figure)
        yield equal(f"tail rate, {name}", reg.tail_rate(noise), rate, 1e-6)
        yield equal(f"far limit as coded, {name}", reg.far_limit(NORMAL, noise), rate, 1e-6)
    yield equal("far limit, t3 noise", reg.far_limit(NORMAL, stats.t(3)), 0.0)
    yield equal("far limit, normal noise", reg.far_limit(NORMAL, NORMAL), np.inf)
    yield equal("far limit, normal noise and bounded gold", reg.far_limit(stats.uniform(0, 2), NORMAL), 2.0)
    a, b = 0.5, 2.0
    limit = float(Convolution(stats.laplace(0, a), stats.laplace(0, b)).conditional_mean_exact(300.0))
    yield equal("Laplace gold in wider Laplace noise: kappa'(1/b)", limit, 2 * a**2 / b / (1 - (a / b) ** 2), 1e-9)


def _far_limit_proof() -> Iterator[Step]:
    rate = sympy.Symbol("lambda", positive=True)
    # Where f_Z ~ exp(-rate z), the posterior of X is its law tilted by exp(rate x); for a Gaussian that moves the mean.
    mean = sympy.integrate(X * sympy.exp(rate * X - X**2 / (2 * SIGMA**2)), (X, -sympy.oo, sympy.oo))
    mass = sympy.integrate(sympy.exp(rate * X - X**2 / (2 * SIGMA**2)), (X, -sympy.oo, sympy.oo))
    cumulant = SIGMA**2 * rate**2 / 2
    yield Step("mean of the tilted gold", sympy.simplify(mean / mass), sympy.diff(cumulant, rate))


def _far_limit_slack(numbers: tuple[int, ...]) -> float:
    """The coded limit of gold against E[X | s] 12 SD further out, for noise of any exponential tail rate."""
    sd, scale = 0.5 + numbers[0] / 3, 0.5 + numbers[1] / 3
    noise = (stats.laplace(0, scale), stats.expon(0, scale), stats.logistic(0, scale))[numbers[2] % 3]
    limit = float(reg.far_limit(stats.norm(0, sd), noise))
    far = max(limit, 0.0) + 12 * sd + 30 * scale
    return 1e-6 - abs(limit - posterior_mean(noise, far, sd)) / max(1.0, limit)


def _affine_slack(world: tuple[FiniteTable, int]) -> float:
    """Gold = 2 + proxy/2 plus a spread with mean 0 at every proxy: the gold gain is half the proxy gain."""
    table, n = world
    spread = np.abs(np.asarray(table.gold))
    half = np.asarray(table.probability) / 2
    gold = 2 + np.asarray(table.proxy) / 2
    split = FiniteTable(
        tuple(np.concatenate([half, half]).tolist()), table.proxy * 2,
        tuple(np.concatenate([gold + spread, gold - spread]).tolist()),
    )  # fmt: skip
    base = split.base()
    policies = (split.best_of_n(n), split.exponential_tilt(n / 100), split.quantilizer(1 / n))
    return -max(abs(policy.gold - base.gold - (policy.proxy - base.proxy) / 2) for policy in policies)


def _affine_check() -> Iterator[Comparison]:
    n = np.array([1.5, 40.0, 1e5])
    for name, law in (("t5", stats.t(5)), ("uniform", stats.uniform(-1, 2))):
        curve = bon.best_of_n(World(law, lambda u: 0.3 + 0.8 * u), n)
        for index, value in enumerate(n):
            yield equal(f"gold at n = {value:g}, {name}", curve.gold[index], 0.3 + 0.8 * curve.proxy[index])
    best = bon.best_of_n(World(stats.uniform(-1, 2), lambda u: 0.3 + 0.8 * u), n)
    yield equal("uniform proxy at n = 40", best.proxy[1], (40 - 1) / (40 + 1))


def _reliability_check() -> Iterator[Comparison]:
    for sd in (0.5, 1.0, 2.0):
        curve = bon.best_of_n(additive_world(NORMAL, stats.norm(0, sd)), 2.0 ** np.arange(1, 10))
        slopes = [float(curve.d @ values) / float(curve.d @ curve.d) for values in (curve.gold, curve.proxy)]
        yield equal(f"alpha over the proxy's slope, noise sd {sd:g}", slopes[0] / slopes[1], 1 / (1 + sd**2), 1e-8)
        yield equal("reliability", reg.reliability(1.0, sd**2), 1 / (1 + sd**2))


@cache
def _two_normals(sd: int, noise_sd: int) -> World:
    """Normal gold in normal noise by convolution, which takes 40 ms."""
    return additive_world(stats.norm(0.5, sd), stats.norm(-1, noise_sd))


def _reliability_slack(numbers: tuple[int, ...]) -> float:
    """Gold gain over proxy gain of best-of-n at any n, for normals with SD 1 to 5, against the coded reliability."""
    sd, noise_sd = (numbers[6] + 1) // 2, (numbers[7] + 1) // 2
    curve = bon.best_of_n(_two_normals(sd, noise_sd), np.array([1.0, 1.0 + numbers[0], 100.0 * numbers[1]]))
    ratio = (curve.gold[1:] - curve.gold[0]) / (curve.proxy[1:] - curve.proxy[0])
    return 1e-8 - float(np.abs(ratio - reg.reliability(sd**2, noise_sd**2)).max())


def _reliability_proof() -> Iterator[Step]:
    slope = SIGMA**2 / (SIGMA**2 + TAU**2)
    yield Step("gold gain over proxy gain at every n", sympy.diff(S * slope, S), 1 / (1 + TAU**2 / SIGMA**2))


CLAIMS = (
    Claim(
        id="K11", title="Two independent normals: the conditional mean shrinks by the reliability", verdict="true",
        statement=r"\mathrm{E}[X \mid X + Z = c] = \mathrm{E}X + (c - \mathrm{E}X - \mathrm{E}Z)"
        r"\, \frac{\mathrm{Var} X}{\mathrm{Var} X + \mathrm{Var} Z}",
        assumptions="X, Z normal and independent", source="Gao et al. 2210.10760, App. A case (a)",
        proof=_case_a_proof, check=_case_a_check, property=Property("submodules", _case_a_slack),
    ),
    Claim(
        id="K12", title="The same up to o(Var Z) for small bounded noise, at a known rate", verdict="true",
        statement=r"\mathrm{E}[X \mid X + Z = c] = \frac{c\, s^2}{s^2 + \mathrm{Var} Z}"
        r" - \frac{1}{2}\left(\frac{c^2}{s^4} - \frac{1}{s^2}\right) \mu_3(Z) + O(\delta^4)",
        assumptions="X ~ N(0, s^2), E Z = 0, |Z| < delta, c fixed, delta -> 0; symmetric Z: O(Var Z^2)",
        source="Gao et al. 2210.10760, App. A case (b)",
        proof=_case_b_proof, check=_case_b_check, property=Property("independent_noise", _case_b_slack),
    ),
    Claim(
        id="K13", title="Case (b) may be used under strong optimization", verdict="false",
        statement=r"\mathrm{E}[X \mid X + Z = c] \approx \frac{c\, s^2}{s^2 + \mathrm{Var} Z}"
        r" \text{; in truth } c - \delta + \frac{s^2}{c} + O(c^{-2})",
        assumptions="|Z| <= delta with density at the edge, delta fixed, c large",
        source="a reading of Gao et al. 2210.10760, sec. 4.2",
        check=_strong_check, property=Property("bounded_noise", _strong_slack),
        counterexample=Counterexample(
            "uniform noise on [-1, 1] at c = 50: 49.02 where the formula says 37.5",
            {"delta": 1.0, "c": 50.0}, _strong_fails,
        ),
    ),
    Claim(
        id="K14", title="Regressional Goodhart alone makes gold monotone in the proxy", verdict="conditional",
        statement=r"\frac{d}{ds}\, \mathrm{E}[X \mid X + Z = s] \ge 0",
        assumptions="independent noise with a log-concave law", source="Gao et al. 2210.10760, sec. 4.2.1",
        proof=_monotone_proof, check=_monotone_check, property=Property("log_concave_noise", _rises),
        counterexample=Counterexample(
            "noise +-delta with delta > sigma falls near 0; Student t3 noise falls back to the base value",
            {"delta": 2.0, "degrees": 3.0}, _not_monotone,
        ),
    ),
    Claim(
        id="K15", title="E[X | X + Z] is increasing for every X exactly if Z is log-concave", verdict="true",
        statement=r"\left(\forall X:\ s \mapsto \mathrm{E}[X \mid X + Z = s] \text{ increasing}\right) \iff \log f_Z"
        r" \text{ concave}",
        assumptions="X and Z independent", source="Efron 1965; Karlin 1968",
        proof=_iff_proof, property=Property("lattice_noise", _iff_slack),
    ),
    Claim(
        id="K16", title="Tweedie's dual gives gold from the proxy's law alone", verdict="true",
        statement=r"\mathrm{E}[X \mid s] = -s_X^2\, (\log f_S)'(s), \quad"
        r" \mathrm{E}_{\pi_n}[X] = s_X^2\, n (n-1) \int F_S^{n-2} f_S^2\, ds",
        assumptions="X ~ N(0, s_X^2), any independent Z", source="Tweedie / Eddington dual; derived",
        proof=_dual_proof, check=_dual_check, property=Property("noisy_gold", _dual_slack),
    ),
    Claim(
        id="K17", title="Independent noise never takes gold below the base policy", verdict="true",
        statement=r"p = a + c\, g + e,\ c > 0,\ e \perp g \ \Rightarrow\ \mathrm{E}_\pi[g] \ge \mathrm{E}_0[g]",
        assumptions="proxy-only policy with weights that rise in the proxy", source="derived (Chebyshev's inequality)",
        proof=_never_below_proof, check=_never_below_check, property=Property("independent_noise_with_n", _never_below),
    ),
    Claim(
        id="K18", title="Gold below the base policy means that the error depends on gold", verdict="true",
        statement=r"\mathrm{E}_\pi[g] < \mathrm{E}_0[g] \ \Rightarrow\ e \text{ depends on } g",
        assumptions="as K17", source="derived",
        check=_dependent_check, property=Property("tables_with_n", _below_means_dependent),
    ),
    Claim(
        id="K19", title="Gold's far limit is set by the noise's exponential tail rate", verdict="true",
        statement=r"\lim_{s \to \infty} \mathrm{E}[X \mid s] = \kappa_X'(\lambda_\infty), \quad"
        r" \lambda_\infty = \lim -(\log f_Z)' \quad (\text{Laplace scale } b: s^2 / b)",
        assumptions="X lighter-tailed than Z; rates 0 and infinity are Kwa & Thomas's two cases", source="derived",
        proof=_far_limit_proof, check=_far_limit_check, property=Property("submodules", _far_limit_slack),
    ),
    Claim(
        id="K24", title="With an affine conditional mean no proxy-only optimizer overoptimizes", verdict="true",
        statement=r"m(u) = a + b u \ \Rightarrow\ \mathrm{E}_\pi[g] - \mathrm{E}_0[g]"
        r" = b \left(\mathrm{E}_\pi[u] - \mathrm{E}_0[u]\right)",
        assumptions="policy weights depend on the proxy only", source="derived",
        check=_affine_check, property=Property("tables_with_n", _affine_slack),
    ),
    Claim(
        id="K26", title="alpha over the proxy's slope is the reliability", verdict="true",
        statement=r"\frac{\alpha}{\text{proxy slope}} = \frac{\mathrm{Var} X}{\mathrm{Var} X + \mathrm{Var} Z}",
        assumptions="X and Z normal and independent", source="Gao et al. 2210.10760, sec. 4.2.1",
        proof=_reliability_proof, check=_reliability_check, property=Property("submodules", _reliability_slack),
    ),
)  # fmt: skip
