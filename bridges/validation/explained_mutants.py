"""Mutants that nothing notices, with the reason: data of the mutation study, keyed by file and source line.

A test fails when a line, or the change on it, is gone from the file.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["EXPLAINED", "Explained"]


@dataclass(frozen=True)
class Explained:
    """Why one change to one line goes unnoticed."""

    module: str
    line: str
    """The source line without indentation."""
    change: str
    """As :class:`~overopt.bridges.validation.mutants.Mutant` words it."""
    reason: str
    equivalent: bool = True
    """Whether the changed file provably computes the same; if not, the mutant counts as a survivor."""
    ordinal: int | None = None
    """Which of several equal changes on the line, from 0; None for all of them."""


_PARTITION = "where the panels of an integral are cut; finer or coarser ones give the same digits"
_MASKED = "the value stands where a later mask hides it"
_BRACKET = "where a search for the same root begins"
_LAST_AXIS = "the array has two axes: axis 1 is the last one"
_CIRCLE = "the circle on which a derivative is taken: every one without a singularity inside gives the same"
_ANY_NEGATIVE = "numpy takes any negative length for the one it shall work out"

EXPLAINED: tuple[Explained, ...] = (
    Explained(
        "best_of_n",
        "step = np.where(rank > size, np.log1p(-(size - 1) / np.maximum(rank - 1, 1)), 0.0)",
        "0.0 becomes 1.0",
        "ranks up to n are masked on the last line: rank n, the first that is not, subtracts its own step again",
    ),
    Explained(
        "best_of_n",
        "step = np.where(rank > size, np.log1p(-(size - 1) / np.maximum(rank - 1, 1)), 0.0)",
        "1 becomes 2",
        "the floor acts on rank 2 alone, which is above n only for n = 1, where the numerator is 0",
        ordinal=0,
    ),
    Explained("scaling_laws", "return a, b, turns, np.where(turns, b, 1.0)", "1.0 becomes 1.5", _MASKED),
    Explained(
        "scaling_laws",
        "return np.stack([x, -x * np.log(np.where(x > 0, x, 1.0))], axis=-1)",
        "1.0 becomes 1.5",
        "it is used at x = 0 alone and multiplied by x",
    ),
    Explained(
        "scaling_laws",
        "column = np.where(b == 0, x, -np.expm1(-b * x) / np.where(b == 0, 1.0, b))",
        "1.0 becomes 1.5",
        _MASKED,
    ),
    Explained("scaling_laws", "high = np.where(np.isfinite(peak.d), peak.d, 1.0)", "1.0 becomes 1.5", _BRACKET),
    Explained("kl_geometry", "high *= 2", "2 becomes 3", _BRACKET),
    Explained("kl_geometry", "high = 1.0", "1.0 becomes 1.5", _BRACKET),
    Explained(
        "exponential_tilt",
        "trial = np.where(unbracketed, 2 * trial, (low + np.where(unbracketed, low, high)) / 2)",
        "2 becomes 3",
        _BRACKET,
        ordinal=0,
    ),
    Explained(
        "gradient_paths", "p, r = _checked(base, reward, 0.0)", "0.0 becomes 1.0", "a penalty that is checked, not used"
    ),
    Explained(
        "exponential_tilt",
        "trial = np.full_like(flat, 1 / np.ptp(world.law.quantile(WIDTH_LOGITS)))",
        "1 becomes 2",
        _BRACKET,
    ),
    Explained(
        "exponential_tilt",
        "trial = np.full_like(flat, 1 / np.ptp(world.law.quantile(WIDTH_LOGITS)))",
        "/ becomes *",
        _BRACKET,
    ),
    Explained(
        "exponential_tilt",
        "shift = np.max(exponent + np.log(world.grid.mass), axis=-1, keepdims=True)",
        "+ becomes -",
        "any shift is taken off and added again",
    ),
    Explained("gradient_paths", "policy = policy / policy.sum(axis=-1, keepdims=True)", "unary - dropped", _LAST_AXIS),
    Explained("panels", "slope = legendre.legder(self._series, axis=-1)", "unary - dropped", _LAST_AXIS),
    Explained(
        "world", "total = size * (last + slope * (rest + 1 / np.where(exists, decay, 1.0)))", "1.0 becomes 1.5", _MASKED
    ),
    Explained("world", "size = np.exp(log_size) / np.where(exists, decay, 1.0)", "1.0 becomes 1.5", _MASKED),
    *(
        Explained(
            "additive",
            "parts = [self._moments(batch) for batch in "
            "np.array_split(s.ravel(), max(1, -(-s.size // CONVOLUTION_BATCH)))]",
            change,
            "every point is integrated alone, in whichever batch",
        )
        for change in ("unary - dropped", "1 becomes 2")
    ),
    Explained("quantilizer", "panels = values.reshape(-1, ORDER)", "1 becomes 2", _ANY_NEGATIVE),
    # Not provably equal, so counted as survivors.
    *(
        Explained(
            "additive",
            "return np.concatenate([[inner[0] - reach], inner, [inner[-1] + reach]])",
            change,
            _PARTITION,
            equivalent=False,
        )
        for change in ("0 becomes 1", "1 becomes 2")
    ),
    Explained(
        "additive",
        "fine = _split(edges, np.ptp(log_density, axis=1) / STEEPEST_LOG_DENSITY)",
        "/ becomes *",
        _PARTITION,
        equivalent=False,
    ),
    Explained(
        "additive",
        "high = np.minimum(edges_a[-1], s - edges_b[0])",
        "0 becomes 1",
        "the outermost panel of the other part, where its density is below every tolerance",
        equivalent=False,
    ),
    Explained(
        "best_of_n",
        "slope = (result - 1) / result**2",
        "2 becomes 3",
        "the slope of Newton's polish: more or fewer steps to the same root",
        equivalent=False,
    ),
    Explained(
        "best_of_poisson",
        "return (ratio * h - np.expm1(h)) @ _WEIGHT, np.expm1(h) ** 2 @ _WEIGHT, (ratio * _RANK) @ _WEIGHT",
        "- becomes +",
        "the second term integrates to 0; it takes rounding off",
        equivalent=False,
    ),
    Explained(
        "scaling_laws",
        "low, high = np.log(grid[np.maximum(best - 1, 0)]), np.log(grid[np.minimum(best + 1, SHAPE_GRID - 1)])",
        "1 becomes 2",
        "a wider bracket around the same minimum",
        equivalent=False,
    ),
    Explained(
        "regressional",
        "return bool(np.all(np.diff(slopes) <= CONCAVITY_TOLERANCE * (1 + np.abs(slopes[1:]))))",
        "* becomes /",
        "the size of a tolerance",
        equivalent=False,
    ),
    Explained(
        "regressional",
        "return bool(u[2] - u[1] <= BOUNDED_TOLERANCE * max(1.0, abs(u[2])))",
        "1.0 becomes 1.5",
        "the size of a tolerance",
        equivalent=False,
    ),
    Explained(
        "scaling_laws",
        "high = np.where(short, 2 * high, high)",
        "2 becomes 3",
        _BRACKET,
        equivalent=False,
    ),
    Explained(
        "conditional_mean",
        "result: Array = values - noise_mean + noise_sd**2 * _score(log_density, values, radius or noise_sd / 2)",
        "/ becomes *",
        _CIRCLE,
        equivalent=False,
    ),
    Explained(
        "conditional_mean",
        "result: Array = gold_mean - gold_sd**2 * _score(log_density, values, radius or gold_sd / 2)",
        "2 becomes 3",
        _CIRCLE,
        equivalent=False,
        ordinal=1,
    ),
    Explained(
        "panels",
        "done_values.append(function(panel_points(left, right)).reshape(-1, left.size, ORDER))",
        "1 becomes 2",
        _ANY_NEGATIVE,
    ),
)
