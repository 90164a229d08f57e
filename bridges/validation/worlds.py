"""Worlds of base samples with known truth: the noise shapes, the traps and the dependent errors of the studies."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

__all__ = ["BANK_WORLDS", "BankWorld"]

Array = NDArray[np.float64]
Draw = Callable[[np.random.Generator, Array, int], tuple[Array, Array]]


@dataclass(frozen=True)
class BankWorld:
    """A law of (gold, proxy) within prompts and of the prompts themselves.

    Attributes
    ----------
    description
        What it stands for.
    draw
        ``draw(rng, prompt, n)``: gold and proxy, two (K, n) arrays, for prompts given by (K, 1) numbers in (0, 1),
        which are uniform over the population of prompts.
    kind
        ``"independent"``: the error is independent of gold. ``"coarse"``: such a proxy, rounded; ``"monotone"``: such a
        proxy, bent; of neither must dependence be claimed. ``"dependent"``: the error depends on gold.
    """

    description: str
    draw: Draw
    kind: str


def _noise(rng: np.random.Generator, shape: tuple[int, ...], law: str) -> Array:
    """Noise of mean 0 and variance 1."""
    match law:
        case "gaussian":
            return rng.standard_normal(shape)
        case "uniform":
            return rng.uniform(-math.sqrt(3.0), math.sqrt(3.0), shape)
        case "laplace":
            return rng.laplace(scale=math.sqrt(0.5), size=shape)
        case "student-t3":
            return np.asarray(rng.standard_t(3, shape) / math.sqrt(3.0))
        case "skewed":
            return rng.standard_exponential(shape) - 1.0
        case _:
            raise ValueError(f"no noise law '{law}'")


def _additive(law: str, slope: float = 1.0, noise: float = 1.0) -> Draw:
    def draw(rng: np.random.Generator, prompt: Array, n: int) -> tuple[Array, Array]:
        gold = rng.standard_normal((prompt.shape[0], n))
        return gold, slope * gold + noise * _noise(rng, gold.shape, law)

    return draw


def _through(function: Callable[[Array], Array], noise: float = 1.0) -> Draw:
    def draw(rng: np.random.Generator, prompt: Array, n: int) -> tuple[Array, Array]:
        gold = rng.standard_normal((prompt.shape[0], n))
        return gold, function(gold + noise * rng.standard_normal(gold.shape))

    return draw


def _binary_gold(rng: np.random.Generator, prompt: Array, n: int) -> tuple[Array, Array]:
    gold = (rng.random((prompt.shape[0], n)) < 0.15 + 0.7 * prompt).astype(np.float64)
    return gold, gold + 0.5 * rng.standard_normal(gold.shape)


def _gold_scale_varies(rng: np.random.Generator, prompt: Array, n: int) -> tuple[Array, Array]:
    gold = np.exp(0.5 * special.ndtri(prompt)) * rng.standard_normal((prompt.shape[0], n))
    return gold, gold + rng.standard_normal(gold.shape)


def _noise_scale_varies(rng: np.random.Generator, prompt: Array, n: int) -> tuple[Array, Array]:
    gold = rng.standard_normal((prompt.shape[0], n))
    return gold, gold + np.exp(0.5 * special.ndtri(prompt)) * rng.standard_normal(gold.shape)


def _slope_varies(rng: np.random.Generator, prompt: Array, n: int) -> tuple[Array, Array]:
    gold = rng.standard_normal((prompt.shape[0], n))
    return gold, (0.4 + 1.2 * prompt) * gold + rng.standard_normal(gold.shape)


def _noisy_gold(rng: np.random.Generator, prompt: Array, n: int) -> tuple[Array, Array]:
    truth = rng.standard_normal((prompt.shape[0], n))
    return truth + 0.5 * rng.standard_normal(truth.shape), truth + rng.standard_normal(truth.shape)


def _kink(rng: np.random.Generator, prompt: Array, n: int) -> tuple[Array, Array]:
    proxy = rng.standard_normal((prompt.shape[0], n))
    gold = proxy - 1.5 * np.maximum(proxy - 1.2, 0.0) + 0.7 * rng.standard_normal(proxy.shape)
    return gold, proxy


def _scale_dependence(rng: np.random.Generator, prompt: Array, n: int) -> tuple[Array, Array]:
    gold = rng.standard_normal((prompt.shape[0], n))
    return gold, gold + np.exp(-0.25 * gold) * rng.standard_normal(gold.shape)


def _length_hack(rng: np.random.Generator, prompt: Array, n: int) -> tuple[Array, Array]:
    """Length raises the proxy for ever and gold up to a point: a common cause whose two effects part."""
    quality = rng.standard_normal((prompt.shape[0], n))
    length = rng.standard_normal(quality.shape)
    gold = quality + 0.2 * length - 0.6 * np.maximum(length - 0.5, 0.0) ** 2
    return gold, quality + 1.5 * length + 0.3 * rng.standard_normal(quality.shape)


def _rare_mode(rng: np.random.Generator, prompt: Array, n: int) -> tuple[Array, Array]:
    gold = rng.standard_normal((prompt.shape[0], n))
    proxy = gold + rng.standard_normal(gold.shape)
    hacked = rng.random(gold.shape) < 2e-3
    return np.where(hacked, gold - 3.0, gold), np.where(hacked, proxy + 7.0, proxy)


def _five_levels(score: Array) -> Array:
    return np.digitize(score, [-1.5, -0.5, 0.5, 1.5]).astype(np.float64)


BANK_WORLDS: dict[str, BankWorld] = {
    "gaussian": BankWorld("independent Gaussian noise", _additive("gaussian"), "independent"),
    "uniform": BankWorld("independent uniform noise", _additive("uniform"), "independent"),
    "laplace": BankWorld("independent Laplace noise", _additive("laplace"), "independent"),
    "student-t3": BankWorld("independent Student t3 noise", _additive("student-t3"), "independent"),
    "skewed": BankWorld("independent exponential noise", _additive("skewed"), "independent"),
    "weak": BankWorld("reliability .1", _additive("gaussian", noise=3.0), "independent"),
    "negative-slope": BankWorld("the proxy runs against gold", _additive("gaussian", slope=-0.5), "independent"),
    "binary-gold": BankWorld("gold is 0 or 1, its rate varies by prompt", _binary_gold, "independent"),
    "gold-scale-varies": BankWorld("gold's SD varies by prompt (lognormal .5)", _gold_scale_varies, "independent"),
    "noise-scale-varies": BankWorld(
        "the error's SD varies by prompt (lognormal .5)", _noise_scale_varies, "independent"
    ),
    "slope-varies": BankWorld("the proxy's slope varies by prompt (.4 to 1.6)", _slope_varies, "independent"),
    "noisy-gold": BankWorld("Gaussian gold measured with reliability .8", _noisy_gold, "independent"),
    "integer-judge": BankWorld("score rounded to steps of .5", _through(lambda s: np.round(2 * s)), "coarse"),
    "five-level-judge": BankWorld("score cut into five levels", _through(_five_levels), "coarse"),
    "rounded": BankWorld("score rounded to steps of .1", _through(lambda s: np.round(10 * s) / 10), "coarse"),
    "exp": BankWorld("exp of the score", _through(lambda s: np.exp(s)), "monotone"),
    "sigmoid": BankWorld("sigmoid of twice the score", _through(lambda s: special.expit(2 * s)), "monotone"),
    "kink": BankWorld("gold falls with slope -.5 beyond a proxy of 1.2 SD", _kink, "dependent"),
    "scale-dependence": BankWorld("the error's size falls with gold", _scale_dependence, "dependent"),
    "length-hack": BankWorld("length raises the proxy, gold only up to a point", _length_hack, "dependent"),
    "rare-mode": BankWorld("two in a thousand samples cheat: proxy + 7, gold - 3", _rare_mode, "dependent"),
}
