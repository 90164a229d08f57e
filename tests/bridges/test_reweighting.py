"""Other optimizers from a bank: against closed forms and simulation; ties; where support runs out. Win rate."""

from __future__ import annotations

import numpy as np
import pytest

from overopt.bridges.reweighting import best_of_poisson_curve, exponential_tilt_curve, quantilizer_curve
from overopt.bridges.score_bank import ScoreBank
from overopt.bridges.win_rate import gold_win_rate
from overopt.theory.best_of_poisson import best_of_poisson_kl
from overopt.theory.errors import InputError


@pytest.fixture(scope="module")
def bank() -> ScoreBank:
    rng = np.random.default_rng(0)
    proxy = rng.normal(size=(50, 2000))
    gold = 0.6 * proxy + 0.8 * rng.normal(size=proxy.shape)
    return ScoreBank.from_rectangle(gold, {"p": proxy, "levels": np.round(proxy)})


def test_exponential_tilt_of_a_gaussian_shifts_it(bank) -> None:
    tilts = [0.0, 0.5, 1.0, 1.5]
    found = exponential_tilt_curve(bank, "p", tilts)
    curve, t = found.curve, np.array(tilts)
    bias = np.exp(t**2) / 2000 * (1 + t)  # of a ratio of sums, first order
    assert (np.abs(curve.proxy - t) < 5 * curve.proxy_se + bias).all()
    assert (np.abs(curve.gold - 0.6 * t) < 5 * curve.gold_se + bias).all()
    assert (np.abs(curve.kl - t**2 / 2) < 5 * curve.kl_standard_error + bias * (1 + t)).all()
    assert found.support_kl is None


def test_quantilizer_takes_the_top_share(bank) -> None:
    shares = [1.0, 0.5, 0.1, 0.01]
    curve = quantilizer_curve(bank, "p", shares).curve
    np.testing.assert_allclose(curve.kl, -np.log(shares), atol=1e-9)
    for column, share in enumerate(shares):
        top = np.sort(bank.proxies["p"].reshape(50, 2000), axis=1)[:, -int(2000 * share) :]
        assert curve.proxy[column] == pytest.approx(top.mean(), abs=1e-9)


def test_best_of_poisson_is_its_closed_kl_and_the_simulated_draw(bank) -> None:
    means = [1.0, 2.0, 5.0, 20.0]
    curve = best_of_poisson_curve(bank, "p", means).curve
    np.testing.assert_allclose(curve.kl, best_of_poisson_kl(np.array(means) - 1), rtol=0.02, atol=1e-9)
    rng = np.random.default_rng(1)
    for column, mean in enumerate(means):
        n = 1 + rng.poisson(mean - 1, size=100_000)
        maxima = rng.random(n.size) ** (1 / n)  # rank of the best of n
        from scipy.special import ndtri

        draws = ndtri(maxima)
        error = np.hypot(draws.std() / np.sqrt(draws.size), curve.proxy_se[column])
        assert abs(draws.mean() - curve.proxy[column]) < 5 * error + 0.005


def test_ties_share_their_mass(bank) -> None:
    """With ties the order of tied rows must not matter, and the KL is that of the levels."""
    curve = best_of_poisson_curve(bank, "levels", [4.0]).curve
    flipped = ScoreBank.from_rectangle(
        bank.gold.reshape(50, 2000)[:, ::-1], {"levels": bank.proxies["levels"].reshape(50, 2000)[:, ::-1]}
    )
    again = best_of_poisson_curve(flipped, "levels", [4.0]).curve
    assert again.gold[0] == pytest.approx(curve.gold[0], abs=1e-12)
    assert curve.kl[0] < best_of_poisson_curve(bank, "p", [4.0]).curve.kl[0]


def test_support_runs_out_and_is_said(bank) -> None:
    found = exponential_tilt_curve(bank, "p", [0.0, 1.0, 2.0, 3.0, 5.0, 20.0])
    assert found.support_kl is not None
    assert (np.diff(found.effective_samples) < 0).all()
    assert found.curve.kl[-1] <= np.log(2000) + 1e-9
    first = int(np.flatnonzero(found.effective_samples < 10)[0])
    assert found.supported.pressure.tolist() == found.curve.pressure[:first].tolist()
    assert found.support_kl == found.curve.kl[first]
    truth = np.array([0.0, 1.0, 2.0, 3.0, 5.0, 20.0])
    assert found.curve.proxy[-1] < truth[-1] / 4, "beyond the support the estimate is biased low"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda b: quantilizer_curve(b, "p", [0.5, 1.0]), "descending values in"),
        (lambda b: quantilizer_curve(b, "p", [0.0]), "descending values in"),
        (lambda b: best_of_poisson_curve(b, "p", [0.5]), "`mean_n` must be >= 1"),
        (lambda b: exponential_tilt_curve(b, "p", [1.0, 1.0]), "ascending"),
        (lambda b: exponential_tilt_curve(b, "x", [1.0]), "`proxy` must be one of"),
        (lambda b: gold_win_rate(b, "p", [1001]), "half of the 2000 samples"),
    ],
)
def test_bad_input(bank, call, message) -> None:
    with pytest.raises(InputError, match=message):
        call(bank)


def test_win_rate_of_gold_itself_is_n_over_n_plus_1() -> None:
    rng = np.random.default_rng(2)
    gold = rng.normal(size=(400, 64))
    rates = gold_win_rate(ScoreBank.from_rectangle(gold, {"p": gold}), "p", [1, 2, 8, 32])
    error = rates.std(axis=0, ddof=1) / np.sqrt(400)
    expected = np.array([1 / 2, 2 / 3, 8 / 9, 32 / 33])
    assert (np.abs(rates.mean(axis=0) - expected) < 5 * error + 1e-12).all()


def test_win_rate_of_a_useless_proxy_and_of_tied_gold_is_one_half() -> None:
    rng = np.random.default_rng(3)
    gold, noise = rng.normal(size=(2, 300, 32))
    rates = gold_win_rate(ScoreBank.from_rectangle(gold, {"p": noise}), "p", [4, 16])
    assert (np.abs(rates.mean(axis=0) - 0.5) < 5 * rates.std(axis=0) / np.sqrt(300)).all()
    tied = gold_win_rate(ScoreBank.from_rectangle(np.ones((2, 8)), {"p": noise[:2, :8]}), "p", [2])
    np.testing.assert_array_equal(tied, 0.5)
