"""K27, K28, K42, K43: what a fitted alpha and beta do and do not mean, and what iterating does to them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, partial

import numpy as np
import sympy
from numpy.typing import NDArray
from scipy import integrate, special, stats

from overopt.theory.additive import additive_world
from overopt.theory.best_of_n import best_of_n
from overopt.theory.claims.comparison import Comparison, at_least, equal, printed
from overopt.theory.claims.entry import Claim, Counterexample, Property, Step
from overopt.theory.claims.noise_worlds import NoisyGold
from overopt.theory.claims.oracles import normal_best_of_n, ols
from overopt.theory.conditional_mean import given_normal_noise
from overopt.theory.exponential_tilt import exponential_tilt
from overopt.theory.iterated import composed_slope, iterated_gold, iterated_peak, random_walk_gold
from overopt.theory.regressional import reliability
from overopt.theory.scaling_laws import LAWS, LogLaw, Quadratic, fit_law
from overopt.theory.world import World

__all__ = ["CLAIMS"]

Array = NDArray[np.float64]
NORMAL = stats.norm()
PAPER_N = np.append(2.0 ** np.arange(1, 10), 1000.0)
D, ALPHA, BETA, K = sympy.symbols("d alpha beta k", positive=True)


def _d(n: Array) -> Array:
    result: Array = np.sqrt(np.log(n) - 1 + 1 / n)
    return result


def _laplace_gold(n: Array, scale: float) -> Array:
    """Best-of-n gold for normal gold in Laplace noise, from the closed-form density of the sum by Tweedie's dual."""
    s = np.linspace(-30.0, 45.0, 15001)
    inverse = 1 / scale
    log_left = -s * inverse + special.log_ndtr(s - inverse)
    log_right = s * inverse + special.log_ndtr(-s - inverse)
    f = np.exp(inverse**2 / 2 + np.logaddexp(log_left, log_right)) * inverse / 2
    below = integrate.cumulative_simpson(f, x=s, initial=0.0)
    gold = [size * (size - 1) * integrate.simpson(below ** (size - 2) * f**2, x=s) for size in n]
    return np.array(gold)


def _laplace_is_called_extremal(scale: float) -> Iterator[Comparison]:
    gold, d = _laplace_gold(PAPER_N, scale), _d(PAPER_N)
    (_, beta), r2 = ols([d, -(d**2)], gold)
    yield printed("fitted beta, independent Laplace noise", beta, "0.25")
    yield at_least("R^2 of that fit", r2, 0.99)
    curve = best_of_n(additive_world(NORMAL, stats.laplace(0, scale)), PAPER_N)
    for index in (0, 4, 9):
        yield equal(f"gold at n = {PAPER_N[index]:g}", curve.gold[index], gold[index], 1e-7)
    fit = fit_law(Quadratic(), curve.d, curve.gold)
    yield equal("beta as the library fits it", fit.coefficients[1], beta, 1e-6)
    yield equal("its R^2", fit.r2, r2, 1e-6)


def _fitted_beta_check() -> Iterator[Comparison]:
    """The table of noise laws: curvature of best-of-n gold in d for unit variance noise, independent of gold."""
    cases = (
        ("uniform", stats.uniform(-np.sqrt(3), 2 * np.sqrt(3)), -1.0),
        ("logistic", stats.logistic(0, np.sqrt(3) / np.pi), 1.0),
        ("Laplace", stats.laplace(0, np.sqrt(0.5)), 1.0),
        ("exponential", stats.expon(-1), 1.0),
        ("Student t3", stats.t(3, scale=1 / np.sqrt(3)), 1.0),
    )
    for name, noise, sign in cases:
        curve = best_of_n(additive_world(NORMAL, noise), PAPER_N)
        (_, beta), _ = ols([curve.d, -(curve.d**2)], curve.gold)
        yield at_least(f"sign of beta times its size, {name} (concave +, convex -)", sign * beta, 0.1)
        yield equal(f"the library's fit, {name}", fit_law(Quadratic(), curve.d, curve.gold).coefficients[1], beta, 1e-9)


def _beta_slack(world: NoisyGold) -> float:
    """The claim, for an error that is independent of gold: no beta beyond what a Gaussian error fits."""
    return 0.02 - world.fitted()[1]


@cache
def _normal_fit() -> Array:
    """alpha and beta fitted to the mean of the largest of n standard normals, on the paper's n."""
    exact = [normal_best_of_n(lambda u: u, float(size), 15) for size in PAPER_N]
    return ols([_d(PAPER_N), -(_d(PAPER_N) ** 2)], exact)[0]


def _gaussian_check() -> Iterator[Comparison]:
    n = PAPER_N
    alpha, beta = _normal_fit() / np.sqrt(2.0)
    world = additive_world(NORMAL, stats.norm(0, 1.0))
    fit = fit_law(Quadratic(), best_of_n(world, n).d, best_of_n(world, n).gold)
    yield equal("alpha of the purely regressional best-of-n", fit.coefficients[0], alpha, 1e-8)
    yield equal("beta of the purely regressional best-of-n", fit.coefficients[1], beta, 1e-8)
    yield printed("beta of the purely regressional best-of-n", beta, "-0.02")
    tilt = exponential_tilt(world, np.linspace(0.2, 3.0, 12))
    both = fit_law(Quadratic(), tilt.d, tilt.gold).coefficients
    yield equal("alpha of the tilt", both[0], np.sqrt(2.0) * float(reliability(1.0, 1.0)) * np.sqrt(2.0), 1e-8)
    yield equal("beta of the tilt", both[1], 0.0, 1e-8)


def _gaussian_slack(numbers: tuple[int, ...]) -> float:
    """For any two normals: ``Var X / sqrt V`` times the fit to a standard normal's own maxima, and the tilt's line."""
    mean, noise_mean, sd, noise_sd = float(numbers[3]), float(numbers[4]), numbers[6] / 4, numbers[7] / 4
    total = float(np.hypot(sd, noise_sd))
    m = partial(given_normal_noise, noise_sd=noise_sd, gold_mean=mean, gold_sd=sd, noise_mean=noise_mean)
    world, largest = World(stats.norm(mean + noise_mean, total), m), (1 + numbers[0]) / total
    selected, tilted = best_of_n(world, PAPER_N), exponential_tilt(world, np.linspace(0.1, 1.0, 8) * largest)
    found = [fit_law(Quadratic(), curve.d, curve.gold - mean).coefficients for curve in (selected, tilted)]
    exact = sd**2 / total * np.stack([_normal_fit(), np.array([np.sqrt(2.0), 0.0])])
    return 1e-10 - float(np.abs(found - exact).max())


def _gaussian_proof() -> Iterator[Step]:
    strength, total, share = sympy.symbols("lambda V r", positive=True)
    kl = strength**2 * total / 2
    gold = share * strength * total
    yield Step("tilt gold is linear in d", gold, share * sympy.sqrt(2 * total) * sympy.sqrt(kl))


def _iterated_proof() -> Iterator[Step]:
    law = D * (ALPHA - BETA * sympy.log(D))
    composed = K * law.subs(D, D / K)
    yield Step("k R(d/k)", sympy.expand_log(composed), D * (ALPHA - BETA * sympy.log(D) + BETA * sympy.log(K)))
    peak = sympy.exp(ALPHA / BETA - 1)
    moved = peak.subs(ALPHA, ALPHA + BETA * sympy.log(K))
    yield Step("peak location", sympy.powsimp(sympy.expand(moved)), K * peak)
    yield Step("peak height", law.subs(D, peak), BETA * peak)


def _iterated_check() -> Iterator[Comparison]:
    law, alpha, beta = LogLaw(), 1.3, 0.5
    grid = np.linspace(0.01, 60.0, 600_001)
    for k in (1.0, 2.0, 5.0):
        printed_form = grid * (alpha - beta * np.log(grid) + beta * np.log(k))
        top = int(np.argmax(printed_form))
        yield equal(
            f"k R(d/k) at d = 4, k = {k:g}", iterated_gold(law, 4.0, k, alpha, beta), _printed(4.0, k, alpha, beta)
        )
        peak = iterated_peak(law, k, alpha, beta)
        yield equal(f"peak location by search, k = {k:g}", peak.d, grid[top], 1e-4)
        yield equal(f"peak height by search, k = {k:g}", peak.gold, printed_form[top], 1e-8)
    for name, (a, b) in (("bon", (1.5, 0.3)), ("rl", (1.3, 0.5)), ("log1p", (1.4, 0.6))):
        values = np.asarray(LAWS[name].gold(grid, a, b))
        yield equal(f"peak of {name} by search", LAWS[name].peak(a, b).gold, values.max(), 1e-7)


def _iterated_slack(numbers: tuple[int, ...]) -> float:
    """The printed form at any d and k, and its coded peak: the height there, and nothing higher beside it."""
    k, alpha, beta, d = float(numbers[0]), numbers[3] / 4, numbers[1] / 4, numbers[2] / 2
    gap = float(iterated_gold(LogLaw(), d, k, alpha, beta)) - _printed(d, k, alpha, beta)
    peak = iterated_peak(LogLaw(), k, alpha, beta)
    top = _printed(float(peak.d), k, alpha, beta)
    beside = max(_printed(float(peak.d) * factor, k, alpha, beta) for factor in (0.5, 0.99, 1.01, 2.0))
    scale = max(1.0, float(peak.gold))
    return float(min(top - beside, 1e-9 - abs(gap), 1e-9 - abs(float(peak.gold) - top) / scale))


def _printed(d: float, k: float, alpha: float, beta: float) -> float:
    return float(d * (alpha - beta * np.log(d) + beta * np.log(k)))


def _kl_adds_instead(alpha: float, beta: float, k: int) -> Iterator[Comparison]:
    """If the rounds' KL add up, as for orthogonal Gaussian shifts, the total d grows like sqrt k only."""
    single = 1.0
    shifts = np.sqrt(2.0) * single * np.eye(k)
    total = float(np.sqrt(np.sum(shifts.sum(axis=0) ** 2) / 2))
    gold = k * single * (alpha - beta * np.log(single))
    yield equal("d after k orthogonal rounds", total, np.sqrt(k) * single)
    yield at_least("gold beyond the printed form at that d", gold - _printed(total, k, alpha, beta), 0.5)


def _rounds(k: int, cosine: float, correlation: float) -> tuple[float, float]:
    """Total d and gold after k unit-d rounds along ``cos v + sin e_i``, by adding up vectors."""
    common, own = np.sqrt(correlation), np.sqrt(1 - correlation)
    steps = np.zeros((k, k + 2))
    steps[:, 0] = cosine
    steps[:, 1] = np.sqrt(1 - cosine**2) * common
    steps[np.arange(k), 2 + np.arange(k)] = np.sqrt(1 - cosine**2) * own
    total = np.sqrt(2.0) * steps.sum(axis=0)
    return float(np.sqrt(total @ total / 2)), float(total[0])


def _shared_check() -> Iterator[Comparison]:
    for cosine in (0.5, 0.9):
        alone = _rounds(1, cosine, 0.0)
        d, gold = _rounds(5, cosine, 1.0)
        yield equal(f"slope after 5 rounds over one round, shared errors, cos {cosine:g}", gold / d / alone[1], 1.0)
        yield equal("as coded", composed_slope(5, cosine, errors="shared"), 1.0)
        independent = _rounds(5, cosine, 0.0)
        yield equal("slope in the summed d, independent errors", independent[1] / 5, alone[1])
        for correlation in (0.0, 0.4):
            exact = _rounds(5, cosine, correlation)
            coded = random_walk_gold(1.0, 5, cosine, correlation)
            yield equal(f"total d, error correlation {correlation:g}", coded[0], exact[0])
            yield equal(f"gold, error correlation {correlation:g}", coded[1], exact[1])


def _shared_slack(numbers: tuple[int, ...]) -> float:
    """The coded slopes and walk against the sum of the rounds' vectors, at any cosine and correlation."""
    k, cosine, correlation = numbers[0], numbers[1] / 10, (numbers[2] - 1) / 8
    alone = _rounds(1, cosine, 0.0)[1]
    gaps = [np.subtract(random_walk_gold(1.0, k, cosine, correlation), _rounds(k, cosine, correlation))]
    for errors, shared in (("shared", 1.0), ("independent", 0.0)):
        d, gold = _rounds(k, cosine, shared)
        gaps.append(gold / d / alone - composed_slope(k, cosine, errors=errors))
    return 1e-9 - float(np.abs(np.hstack(gaps)).max())


def _independent_errors(k: int, cosine: float) -> Iterator[Comparison]:
    d, gold = _rounds(k, cosine, 0.0)
    ratio = gold / d / _rounds(1, cosine, 0.0)[1]
    yield equal("slope over one round's", composed_slope(k, cosine, errors="independent"), ratio)
    yield at_least("and it is not 1", ratio, 1.2)


CLAIMS = (
    Claim(
        id="K27", title="A fitted beta > 0 means extremal Goodhart", verdict="false",
        statement=r"\hat\beta > 0 \ \Rightarrow\ e \text{ depends on } g",
        assumptions="d(alpha - beta d) fitted to best-of-n by least squares",
        source="a reading of Gao et al. 2210.10760, sec. 4.2.2",
        check=_fitted_beta_check, property=Property("noisy_gold", _beta_slack),
        counterexample=Counterexample(
            "independent Laplace noise of unit variance: beta = +.25 with R^2 = .993 on n = 2..1000",
            {"scale": float(np.sqrt(0.5))}, _laplace_is_called_extremal,
        ),
    ),
    Claim(
        id="K28", title="Purely Gaussian regressional best-of-n fits beta of about -.02, the tilt 0", verdict="true",
        statement=r"\hat\beta_{\mathrm{bon}} \approx -0.02, \quad \mathrm{E}_\lambda[X] = r \sqrt{2 V}\, d,"
        r"\quad V = \mathrm{Var}(X + Z)",
        assumptions="X and Z normal with unit variance; n = 2..1000", source="derived",
        proof=_gaussian_proof, check=_gaussian_check, property=Property("submodules", _gaussian_slack),
    ),
    Claim(
        id="K42", title="k iterations: R = d (alpha - beta log d + beta log k), peak location and height times k",
        verdict="conditional",
        statement=r"k R(d / k) = d\, (\alpha - \beta \log d + \beta \log k), \ d^*_k = k d^*_1,\ R^*_k = k R^*_1",
        assumptions="d additive over the rounds, coefficients fixed",
        source="Gao et al. 2210.10760, sec. 4.3",
        proof=_iterated_proof, check=_iterated_check, property=Property("submodules", _iterated_slack),
        counterexample=Counterexample(
            "rounds along orthogonal directions: their KL adds up, not their d",
            {"alpha": 1.3, "beta": 0.5, "k": 4}, _kl_adds_instead,
        ),
    ),
    Claim(
        id="K43", title="Iterating leaves the regressional alpha unchanged", verdict="conditional",
        statement=r"\frac{\alpha_k}{\alpha_1} = 1 \text{ (shared errors)}, \quad"
        r" \frac{1}{\sqrt{\cos^2 + \sin^2 / k}} \text{ (independent errors)}",
        assumptions="errors shared between the rounds, or d summed over the rounds",
        source="Gao et al. 2210.10760, sec. 4.3",
        check=_shared_check, property=Property("submodules", _shared_slack),
        counterexample=Counterexample(
            "independent errors average out: after 4 rounds at cos = .6 the slope has grown by 1.39",
            {"k": 4, "cosine": 0.6}, _independent_errors,
        ),
    ),
)  # fmt: skip
