"""K44, K49: ensembles of proxies, and how many hard labels a linear proxy needs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import sympy
from numpy.typing import NDArray
from scipy import integrate, signal, special, stats

from overopt.theory.claims.comparison import Comparison, at_least, at_most, equal
from overopt.theory.claims.entry import Claim, Property, Step
from overopt.theory.claims.worlds import IndependentNoise

__all__ = ["CLAIMS"]

Array = NDArray[np.float64]
STEP = 0.05


def _lattice(law: Any, reach: float) -> tuple[NDArray[np.intp], Array]:
    """The law rounded to multiples of STEP within ``reach``."""
    index = np.arange(-int(reach / STEP), int(reach / STEP) + 1)
    mass = law.cdf((index + 0.5) * STEP) - law.cdf((index - 0.5) * STEP)
    return index, mass / mass.sum()


def _pair_error(law: Any, reach: float, caution: float) -> Array:
    """Law of ``mean(z1, z2) - caution |z1 - z2| / 2``: the mean at caution 0, the minimum at 1."""
    index, mass = _lattice(law, reach)
    total, gap = index[:, None] + index, np.abs(index[:, None] - index)
    score = np.round((total - caution * gap) / 2).astype(int)
    return np.bincount((score - score.min()).ravel(), weights=np.outer(mass, mass).ravel()).astype(float)


def _gold(error: Array, n: float) -> float:
    """Best-of-n gold for normal gold under a lattice error, exactly, by convolution."""
    index, mass = _lattice(stats.norm(), 7.0)
    score = np.maximum(signal.fftconvolve(mass, error), 0.0)
    gold = signal.fftconvolve(mass * index * STEP, error)
    upto = np.concatenate([[0.0], np.cumsum(score) / score.sum()])
    seen = score > 1e-17
    return float(np.diff(upto**n)[seen] @ (gold[seen] / score[seen]))


def _ensemble_check() -> Iterator[Comparison]:
    for name, law, reach in (("Gaussian", stats.norm(), 9.0), ("uniform", stats.uniform(-1.7, 3.4), 2.0)):
        mean, weighted, least = (_gold(_pair_error(law, reach, caution), 256) for caution in (0.0, 0.5, 1.0))
        yield at_most(f"{name} private error: minimum over mean", least / mean, 0.99)
        yield at_most(f"{name} private error: uncertainty-weighted over mean", weighted / mean, 0.999)
    heavy = stats.t(3, scale=1 / np.sqrt(3))
    mean, weighted, least = (_gold(_pair_error(heavy, 60.0, caution), 256) for caution in (0.0, 0.5, 1.0))
    yield at_least("t3 private error: minimum over mean", least / mean, 1.3)
    yield at_least("t3 private error: uncertainty-weighted over mean", weighted / mean, 1.2)
    laplace = stats.laplace(0, np.sqrt(0.5))
    mean, least = (_gold(_pair_error(laplace, 20.0, caution), 256) for caution in (0.0, 1.0))
    yield at_least("Laplace private error is heavy enough: minimum over mean", least / mean, 1.05)
    shared = _lattice(heavy, 60.0)[1]
    alone = _gold(shared, 4096)
    for caution in (0.0, 1.0):
        private = _pair_error(stats.norm(0, 0.5), 5.0, caution)
        both = _gold(signal.fftconvolve(shared, private), 4096)
        yield at_most(
            f"a shared t3 error survives, caution {caution:g}: gold over that without private error", both / alone, 1.02
        )
    single = _gold(_lattice(stats.norm(), 9.0)[1], 256)
    exact = integrate.quad(lambda u: u * 256 * stats.norm.cdf(u) ** 255 * stats.norm.pdf(u), -2, 9)[0] / np.sqrt(2)
    yield equal("control: one member, Gaussian error, against the closed form", single, exact, 1e-3)


SCORE = np.linspace(-8.0, 8.0, 4001)
"""Edges of the cells into which private error is cut, in its own SD."""


def _caution_slack(world: IndependentNoise) -> float:
    """Under a shared log-concave and a private normal error: no private error >= mean >= minimum, at any n.

    The mean is sufficient for gold plus shared error, the conditional mean rises in both, and no rule that chooses
    among n samples beats the largest conditional mean. Exact but for the cells.
    """
    if len(world.gold) == 1:
        world = replace(world, gold=(0.0, 1.0), gold_probability=(0.5, 0.5))
    levels, means = world.conditional_mean()
    mass = np.array([np.asarray(world.table.probability)[np.asarray(world.table.proxy) == s].sum() for s in levels])
    members, sd = 2 + len(levels) % 4, 0.6 * (1 + len(world.gold) % 3)
    average = stats.norm.cdf(SCORE * np.sqrt(members))
    least = 1 - stats.norm.sf(SCORE) ** members
    slacks = []
    for n in (2, 16, 256):
        alone = world.best_of_n(n).gold
        cautious, pooled = (_chosen(levels, mass, means, sd, cdf, n) for cdf in (least, average))
        slacks += [alone - pooled, pooled - cautious]
    return float(min(slacks))


def _chosen(levels: Array, mass: Array, means: Array, sd: float, cdf: Array, n: int) -> float:
    """Best-of-n gold by ``level + private error``, whose distribution function over the cells is ``cdf``."""
    edges = np.linspace(levels[0] - 8 * sd, levels[-1] + 8 * sd, 3001)
    upto = np.stack([np.interp(edges, level + sd * SCORE, cdf, left=0.0, right=1.0) for level in levels])
    inside = mass[:, None] * np.diff(upto)
    cell = inside.sum(axis=0)
    seen = cell > 1e-17
    best = np.diff(np.concatenate([[0.0], np.cumsum(cell)]) ** n)
    return float(best[seen] @ ((means @ inside)[seen] / cell[seen]))


def _effective_dimension(labels: int, dimension: float) -> float:
    """``E cos^2`` of the row: ``(2N/pi)/(2N/pi + D)``."""
    signal_strength = 2 * labels / np.pi
    return signal_strength / (signal_strength + dimension)


def _hebbian_cosine(rng: np.random.Generator, labels: int, dimension: int, repeats: int) -> Array:
    """cos^2 between gold's direction and the mean of ``sign(x_1) x`` over ``labels`` normal x, ``repeats`` times."""
    along = np.abs(rng.standard_normal((repeats, labels))).sum(axis=1)
    # Off the direction the signed sum is normal with variance N in each of D - 1 dimensions.
    across = labels * rng.chisquare(dimension - 1, size=repeats)
    result: Array = along**2 / (along**2 + across)
    return result


def _expected_cosine(labels: int, along: float, others: Array, count: Array) -> float:
    """``E cos^2`` of ``SUM sign(x_1) x`` over the labels with gold's direction, for independent normal components.

    ``cos^2 = A/(A + B)`` with A the squared sum of N half-normals and B quadratic in normals, independent of it:
    ``1 - E cos^2 = INT E[e^(-sA)] E[B e^(-sB)] ds``, and ``E[e^(-sA)]`` is the sum's characteristic function averaged
    over a normal argument; a half-normal's is Faddeeva's w. Trapezoids in log s and in the normal.
    """
    step, g = 0.25, np.linspace(0.0, 8.5, 160)
    normal = np.exp(-(g**2) / 2)
    normal[0] /= 2
    s = np.exp(np.arange(-36.0, 40.0, step)) / (labels * float(others @ count))
    stretch = 1 + 2 * labels * s[:, None] * others
    across = s * np.exp(-np.log(stretch) @ count / 2) * ((labels * others / stretch) @ count)
    s, across = s[across > 1e-13], across[across > 1e-13]
    signs = special.wofz(np.sqrt(s * along)[:, None] * g) ** labels
    return 1 - step * float(across @ (signs.real @ normal)) / float(normal.sum())


def _dimension_slack(world: tuple[int, tuple[tuple[int, int], ...], int]) -> float:
    """The formula errs by less than 0.4 (1/D + spread), for any spectrum with D = total variance over gold's.

    Two leading terms: with one label it misses ``(1 - 2/pi)/D``, .36 of 1/D; and the noise across varies, its variance
    is 2 spread of its squared mean, which by the ratio's second derivative shifts ``E cos^2`` by up to 8/27 spread.
    """
    along, spectrum, labels = world
    others, count = np.array(spectrum, dtype=float).T
    total = along + float(others @ count)
    spread = (along**2 + float(others**2 @ count)) / total**2
    exact = _expected_cosine(labels, along, others, count)
    return 0.4 - abs(_effective_dimension(labels, total / along) - exact) / (along / total + spread)


def _dimension_check() -> Iterator[Comparison]:
    rng = np.random.default_rng(2209)
    for labels, dimension in ((50, 400), (400, 400), (2000, 400)):
        cosine = _hebbian_cosine(rng, labels, dimension, 4000)
        error = 5 * cosine.std() / np.sqrt(len(cosine))
        # The row is the ratio of expectations: exact up to order 1/D.
        yield equal(
            f"E cos^2, N = {labels}, D = {dimension}",
            _effective_dimension(labels, dimension),
            cosine.mean(),
            error + 1 / dimension,
        )
    x = rng.standard_normal((300, 60, 40))
    explicit = np.einsum("rn,rnd->rd", np.sign(x[..., 0]), x)
    cosine = explicit[:, 0] ** 2 / np.sum(explicit**2, axis=1)
    error = 5 * cosine.std() / np.sqrt(len(cosine))
    yield equal(
        "the same from explicit comparisons, N = 60, D = 40",
        _effective_dimension(60, 40),
        cosine.mean(),
        error + 1 / 40,
    )
    yield equal("one label: cos^2 is 1/D on average", _expected_cosine(1, 1.0, np.ones(1), np.array([39])), 1 / 40)
    yield equal("half-way at N = pi D / 2", _effective_dimension(628, 400), 0.5, 1e-3)


def _dimension_proof() -> Iterator[Step]:
    x = sympy.Symbol("x", positive=True)
    n, dimension = sympy.symbols("N D", positive=True)
    density = sympy.sqrt(2 / sympy.pi) * sympy.exp(-(x**2) / 2)
    along = n * sympy.integrate(x * density, (x, 0, sympy.oo))
    across = n * dimension
    share = along**2 / (along**2 + across)
    yield Step("signal over signal plus noise", share, (2 * n / sympy.pi) / (2 * n / sympy.pi + dimension))


CLAIMS = (
    Claim(
        id="K44", title="Cautious ensembles beat the mean only under heavy-tailed private error; shared error survives",
        verdict="true",
        statement=r"\text{private error Gaussian or lighter: } \bar u \succ \min_i u_i; \quad"
        r" \text{heavier: } \min_i u_i \succ \bar u; \quad \text{shared error: unchanged}",
        assumptions="iid members; numerical evidence for two members, best-of-256, normal gold",
        source="Coste 2310.02743; Eisenstein 2312.09244",
        check=_ensemble_check, property=Property("log_concave_noise", _caution_slack, 1e-5),
        note="Heavy-tailed means heavier than Gaussian: Laplace private error is already enough for the minimum.",
    ),
    Claim(
        id="K49", title="The near-chance data threshold is an effective dimension", verdict="true",
        statement=r"\mathrm{E} \cos^2 = \frac{2N/\pi}{2N/\pi + D} + O(1/D)",
        assumptions="linear Hebbian reward model on N hard labels in D dimensions, or D = total variance over gold's "
        "where gold is a principal direction of unequal variances, none of which dominates",
        source="derived, against Gao et al.'s threshold of about 2,000 comparisons",
        proof=_dimension_proof, check=_dimension_check, property=Property("spectra_with_labels", _dimension_slack),
        note="Not to relative order 1/D: with one label E cos^2 is 1/D exactly, and the formula gives .64/D.",
    ),
)  # fmt: skip
