"""The logit rescale against a brute-force search, and on the cases where it has no finite answer."""

import numpy as np
import pytest
from scipy.special import expit

from overopt.bridges.recalibration import logit_rescale
from overopt.theory.errors import InputError


def cross_entropy(factor: float, margin: np.ndarray, gold_margin: np.ndarray) -> float:
    label, p = expit(gold_margin), expit(factor * margin)
    return float(-(label * np.log(p) + (1 - label) * np.log1p(-p)).mean())


@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_minimum_on_a_fine_grid(seed):
    rng = np.random.default_rng(seed)
    gold_margin = np.abs(rng.normal(size=400))
    margin = 3.0 * gold_margin + rng.normal(size=400) * 5
    found = logit_rescale(margin, gold_margin)
    grid = found * np.linspace(0.5, 1.5, 2001)
    best = grid[np.argmin([cross_entropy(factor, margin, gold_margin) for factor in grid])]
    assert found == pytest.approx(best, abs=abs(found) * 1e-3)


def test_true_logits_need_no_rescaling_and_scaling_is_undone():
    gold_margin = np.random.default_rng(0).normal(size=1000)
    assert logit_rescale(gold_margin, gold_margin) == pytest.approx(1.0, abs=1e-9)
    assert logit_rescale(-7.0 * gold_margin, gold_margin) == pytest.approx(-1 / 7, abs=1e-9)


def test_a_constant_proxy_has_no_scale():
    assert logit_rescale(np.zeros(5), np.ones(5)) == 0.0


def test_shapes_must_agree():
    with pytest.raises(InputError, match=r"got \(2,\) and \(3,\)"):
        logit_rescale(np.zeros(2), np.zeros(3))
