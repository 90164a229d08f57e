"""Hypothesis strategies for worlds (extra ``property``): finite tables, noise laws, conditional means, values of n.

All are built from small integers, so that a counterexample shrinks to a world that a reader can check by hand.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from numpy.typing import NDArray

from overopt.theory.claims.finite_mdp_claims import RewardPair
from overopt.theory.claims.noise_worlds import FAMILIES, BoundedNoise, InnerNoise, NoiseLaw, NoisyGold
from overopt.theory.claims.worlds import BentMean, FiniteTable, HeavyTailed, IndependentNoise
from overopt.theory.proxy_law import ContinuousLaw

__all__ = [
    "bent_means",
    "bounded_noise",
    "finite_tables",
    "heavy_tailed",
    "independent_noise",
    "independent_noise_with_n",
    "inner_noise",
    "integer_n",
    "kinked_means",
    "lattice_noise",
    "log_concave_noise",
    "log_pressures",
    "noise_laws",
    "noisy_gold",
    "odd_sentences",
    "proxy_laws_with_n",
    "real_n",
    "reward_pairs",
    "small_tables",
    "spectra_with_labels",
    "submodules",
    "tables_with_n",
    "three_laws",
    "untied_tables",
    "untied_tables_with_n",
]


def integer_n(largest: int = 1000) -> SearchStrategy[int]:
    """An integer n for best-of-n, from 1 to ``largest``."""
    return st.integers(1, largest)


def real_n(largest_log: float = 10.0) -> SearchStrategy[float]:
    """A real n >= 1, uniform in log n up to ``e^largest_log``."""
    return st.floats(0.0, largest_log, allow_nan=False).map(lambda log_n: float(np.exp(log_n)))


def log_pressures(largest: float = 7.0) -> SearchStrategy[float]:
    """The logarithm of a positive pressure (a Poisson mean, a tilt's strength), from -3 to ``largest``."""
    return st.floats(-3.0, largest, allow_nan=False)


def _probabilities(size: int) -> SearchStrategy[tuple[float, ...]]:
    """``size`` positive probabilities with small integer odds."""
    return st.lists(st.integers(1, 20), min_size=size, max_size=size).map(
        lambda weights: tuple(weight / sum(weights) for weight in weights)
    )


@st.composite
def finite_tables(
    draw: st.DrawFn, largest_size: int = 6, smallest_size: int = 1, largest_score: int = 9, ties: bool = True
) -> FiniteTable:
    """A base policy over up to ``largest_size`` outputs with integer scores; ``ties=False`` makes proxies distinct."""
    size = draw(st.integers(smallest_size, largest_size))
    scores = st.integers(-largest_score, largest_score).map(float)
    proxy = draw(st.lists(scores, min_size=size, max_size=size, unique=not ties))
    gold = draw(st.lists(scores, min_size=size, max_size=size))
    return FiniteTable(draw(_probabilities(size)), tuple(proxy), tuple(gold))


@st.composite
def tables_with_n(
    draw: st.DrawFn, largest_size: int = 6, largest_n: int = 1000, ties: bool = True
) -> tuple[FiniteTable, int]:
    """A finite table and an integer n."""
    return draw(finite_tables(largest_size=largest_size, ties=ties)), draw(integer_n(largest_n))


def untied_tables(largest_size: int = 6) -> SearchStrategy[FiniteTable]:
    """Finite tables in which no two outputs share a proxy score."""
    return finite_tables(largest_size=largest_size, ties=False)


def untied_tables_with_n(largest_size: int = 6, largest_n: int = 1000) -> SearchStrategy[tuple[FiniteTable, int]]:
    """A finite table without ties and an integer n."""
    return tables_with_n(largest_size=largest_size, largest_n=largest_n, ties=False)


@st.composite
def _gold(draw: st.DrawFn, largest_size: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    values = draw(st.lists(st.integers(-6, 6), min_size=1, max_size=largest_size, unique=True))
    return tuple(map(float, sorted(values))), draw(_probabilities(len(values)))


@st.composite
def independent_noise(draw: st.DrawFn, largest_size: int = 5, smallest_slope: int = 1) -> IndependentNoise:
    """``proxy = slope * gold + noise``, both finite and independent, slope from ``smallest_slope`` to 3."""
    gold, gold_probability = draw(_gold(largest_size))
    noise, noise_probability = draw(_gold(largest_size))
    slope = draw(st.integers(smallest_slope, 3).filter(bool))
    return IndependentNoise(gold, gold_probability, noise, noise_probability, float(slope))


def independent_noise_with_n(largest_n: int = 1000) -> SearchStrategy[tuple[IndependentNoise, int]]:
    """``proxy = slope * gold + noise`` with slope > 0, and an integer n."""
    return st.tuples(independent_noise(), integer_n(largest_n))


@st.composite
def lattice_noise(draw: st.DrawFn, largest_size: int = 7) -> IndependentNoise:
    """``proxy = gold + noise`` with any noise on consecutive integers, log-concave about as often as not."""
    if draw(st.booleans()):
        return draw(log_concave_noise())
    gold, gold_probability = draw(_gold(4))
    probability = draw(st.integers(1, largest_size).flatmap(_probabilities))
    return IndependentNoise(gold, gold_probability, tuple(map(float, range(len(probability)))), probability)


def _log_concave(steps: list[int]) -> NDArray[np.float64]:
    """A log-concave mass function from the ratios of neighbours: sorted, they fall."""
    ratios = np.exp(-np.sort(np.asarray(steps, dtype=float)) / 4)
    return np.concatenate(([1.0], np.cumprod(ratios)))


@st.composite
def log_concave_noise(draw: st.DrawFn, largest_size: int = 5) -> IndependentNoise:
    """``proxy = gold + noise`` with gold on integers and a log-concave noise on consecutive integers."""
    gold, gold_probability = draw(_gold(largest_size))
    mass = _log_concave(draw(st.lists(st.integers(-8, 8), min_size=1, max_size=8)))
    noise = np.arange(len(mass), dtype=float) - len(mass) // 2
    return IndependentNoise(gold, gold_probability, tuple(noise.tolist()), tuple((mass / mass.sum()).tolist()))


def small_tables() -> SearchStrategy[FiniteTable]:
    """Finite tables of up to four outputs with scores from -3 to 3, for properties that integrate a path."""
    return finite_tables(largest_size=4, largest_score=3)


def submodules() -> SearchStrategy[tuple[int, ...]]:
    """Weights, means and standard deviations of three submodules, as nine small integers (weights before scaling)."""
    positive, mean = st.integers(1, 9), st.integers(-5, 5)
    return st.tuples(*[positive] * 3, *[mean] * 3, *[positive] * 3)


@st.composite
def noise_laws(draw: st.DrawFn, largest_mixture: int = 3, families: Sequence[str] = tuple(FAMILIES)) -> NoiseLaw:
    """A law of ``scipy.stats`` or a mixture of up to ``largest_mixture`` of them, from bounded to heavy-tailed."""
    count = draw(st.integers(1, largest_mixture))
    names, scales = st.sampled_from(tuple(families)), st.sampled_from([1.0, 0.5, 2.0])
    centres = st.integers(-3, 3).map(float) if count > 1 else st.just(0.0)
    weights = draw(_probabilities(count))
    return NoiseLaw(tuple((draw(names), weight, draw(centres), draw(scales)) for weight in weights))


def noisy_gold(largest_mixture: int = 2) -> SearchStrategy[NoisyGold]:
    """Standard normal gold seen through an independent noise of any law."""
    return noise_laws(largest_mixture).map(NoisyGold)


def proxy_laws_with_n(largest_log: float = 10.0) -> SearchStrategy[tuple[ContinuousLaw, float]]:
    """A proxy law on the whole line, normal mixtures and heavy tails included, and a real n up to ``e^largest_log``."""
    single = noise_laws(1, ("normal", "laplace", "logistic", "student_t3"))
    laws = st.one_of(single, noise_laws(3, ("normal",)))
    return st.tuples(laws.map(lambda noise: noise.law), real_n(largest_log))


@st.composite
def three_laws(draw: st.DrawFn, largest_size: int = 5) -> tuple[tuple[float, ...], ...]:
    """Three laws on the same outputs."""
    size = draw(st.integers(1, largest_size))
    return draw(_probabilities(size)), draw(_probabilities(size)), draw(_probabilities(size))


@st.composite
def reward_pairs(draw: st.DrawFn, largest_states: int = 3, largest_actions: int = 3) -> RewardPair:
    """A discounted Markov decision process with two integer rewards; the second is often built from the first."""
    states, actions = draw(st.integers(1, largest_states)), draw(st.integers(1, largest_actions))

    def reward() -> tuple[tuple[float, ...], ...]:
        rows = st.lists(st.integers(-3, 3).map(float), min_size=actions, max_size=actions).map(tuple)
        return tuple(draw(st.lists(rows, min_size=states, max_size=states)))

    transition = tuple(tuple(draw(_probabilities(states)) for _ in range(actions)) for _ in range(states))
    first, second = reward(), reward()
    scale = draw(st.sampled_from([None, 0.0, 2.0]))
    if scale is not None:
        second = tuple(tuple(scale * value + 1.0 for value in row) for row in first)
    return RewardPair(transition, (first, second))


@st.composite
def bent_means(draw: st.DrawFn, largest_bends: int = 4) -> BentMean:
    """A normal proxy with a piecewise linear conditional mean, knots at tenths from -2 to 4."""
    knots = sorted(draw(st.lists(st.integers(-20, 40), min_size=0, max_size=largest_bends, unique=True)))
    bends = draw(st.lists(st.integers(-4, 4), min_size=len(knots), max_size=len(knots)))
    return BentMean(float(draw(st.integers(-3, 3))), tuple(knot / 10 for knot in knots), tuple(map(float, bends)))


def kinked_means() -> SearchStrategy[BentMean]:
    """A normal proxy and a rising conditional mean that loses 1/4 to 3 times its slope at a kink from 0.25 to 2.5."""
    slope, drop = st.integers(1, 3), st.integers(5, 60)
    knots = st.integers(25, 250).map(lambda hundredths: hundredths / 100)
    return st.tuples(slope, knots, drop).map(
        lambda parts: BentMean(float(parts[0]), (parts[1],), (-parts[0] * parts[2] / 20,))
    )


def bounded_noise() -> SearchStrategy[tuple[BoundedNoise, float]]:
    """Normal gold under a bounded noise, and a proxy value from 1 to 100 gold SD."""
    odds = st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple)
    edge = st.integers(1, 20).map(lambda tenths: tenths / 10)
    return st.tuples(st.builds(BoundedNoise, edge, odds), st.integers(1, 100).map(float))


def inner_noise() -> SearchStrategy[tuple[InnerNoise, float]]:
    """Normal gold that has noise of SD 1.5 to 5 up to an edge only, and a proxy value from 20 to 200."""
    edge = st.integers(1, 30).map(lambda tenths: tenths / 10)
    noise_sd = st.integers(3, 10).map(lambda halves: halves / 2)
    return st.tuples(st.builds(InnerNoise, edge, noise_sd), st.integers(20, 200).map(float))


def heavy_tailed() -> SearchStrategy[HeavyTailed]:
    """``proxy = slope * gold + noise``, with a jump of Pareto index 1.25 to 6 in 1 to 100 percent of the samples."""
    index = st.integers(5, 24).map(lambda quarters: quarters / 4)
    probability = st.integers(1, 100).map(lambda percent: percent / 100)
    return st.builds(HeavyTailed, independent_noise(), index, probability)


def odd_sentences() -> SearchStrategy[tuple[int, float]]:
    """A number of ordinary sentences, 100 to 9e9, and the reward of one odd sentence, at least 14,000.

    By the pressure of .0012, which lifts the mean of ordinary rewards on [0, 100] by a point, the odd one is certain.
    """
    count = st.tuples(st.integers(1, 9), st.integers(2, 9)).map(lambda parts: parts[0] * 10 ** parts[1])
    return st.tuples(count, st.integers(1, 40)).map(
        lambda parts: (parts[0], float(np.ceil(50 + 840 * (np.log(parts[0]) + 12) * parts[1])))
    )


@st.composite
def spectra_with_labels(draw: st.DrawFn) -> tuple[int, tuple[tuple[int, int], ...], int]:
    """The variance along gold's direction, (variance, number) of the other directions, and a number of labels.

    The labels are a hundredth to ten times as many as the effective dimension, the total over gold's variance.
    """
    along = draw(st.integers(1, 9))
    others = draw(st.lists(st.tuples(st.integers(1, 9), st.integers(7, 100)), min_size=1, max_size=3).map(tuple))
    dimension = 1 + sum(variance * count for variance, count in others) / along
    return along, others, max(1, round(dimension * draw(st.integers(1, 1000)) / 100))
