"""Sampling the tilt and decoding by reward, against laws that are enumerated."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="the lm extra is not installed")

import torch
from scipy.stats import chi2
from tabular_policy import EOS, LONGEST, PAD, PROMPT, TabularPolicy, all_completions, reward_table, sequence_logprob

from overopt.bridges.lm.guided_decoding import GuidedDecodingConfig, guided_decoding
from overopt.bridges.lm.tilt_mcmc import TiltMCMCConfig, log_acceptance, thermodynamic_kl, tilt_mcmc
from overopt.bridges.lm.world import Policy
from overopt.theory.errors import InputError

pytestmark = pytest.mark.lm

PROMPTS = [[PROMPT], [3, PROMPT]]
COMPLETIONS = all_completions()
REWARDS = np.array([reward_table(row) for row in COMPLETIONS])
SAMPLES = 1_800


class Ids:
    eos_token_id, pad_token_id = EOS, PAD


POLICY = Policy(TabularPolicy(3), Ids())


def scorer(prompts, completions):
    return np.array([reward_table(list(row)) for row in completions])


@torch.no_grad()
def base_law(prompt) -> np.ndarray:
    return np.exp([float(sequence_logprob(POLICY.model, prompt, row)) for row in COMPLETIONS])


def tilt_law(prompt, beta: float) -> np.ndarray:
    weight = base_law(prompt) * np.exp(beta * REWARDS)
    return weight / weight.sum()


def kl_of(law: np.ndarray, base: np.ndarray) -> float:
    return float((law * np.log(law / base)).sum())


def chi_square_p(rows, law: np.ndarray) -> float:
    """P(chi-square >= observed) of completions against a law; cells expecting fewer than 5 are pooled."""
    index = {tuple(row): i for i, row in enumerate(COMPLETIONS)}
    count = np.bincount([index[tuple(row)] for row in rows], minlength=len(COMPLETIONS))
    expected = law * len(rows)
    small = expected < 5
    count, expected = (np.append(x[~small], x[small].sum()) for x in (count, expected))
    keep = expected > 0
    return float(chi2.sf(((count - expected)[keep] ** 2 / expected[keep]).sum(), keep.sum() - 1))


LADDER = TiltMCMCConfig(strengths=(0.5, 1.0, 1.5), burn_in=10, sweeps=4, max_new_tokens=LONGEST)


@pytest.fixture(scope="module")
def rungs():
    """One prompt twelve times: the standard error over "prompts" is then that of independent repetitions."""
    return list(tilt_mcmc(0, POLICY, [PROMPTS[1]] * 12, SAMPLES // 12, scorer, LADDER))


def test_chains_end_in_the_exact_tilt(rungs):
    assert [rung.strength for rung in rungs] == [0.0, 0.5, 1.0, 1.5]
    for rung in rungs:
        assert chi_square_p(rung.completions, tilt_law(PROMPTS[1], rung.metrics["beta"])) > 1e-4
        assert 0.3 < rung.metrics["acceptance"] < 1
    last = rungs[-1]
    assert chi_square_p(last.completions, tilt_law(PROMPTS[1], 0.5 * last.metrics["beta"])) < 1e-6, (
        "the test must see a beta that is half of what it says"
    )


def step_matrix(base: np.ndarray, beta: float, log_ratio) -> np.ndarray:
    """The chain's transition matrix between all completions, from the words that define it."""
    chance = np.zeros((len(COMPLETIONS), len(COMPLETIONS)))
    for i, old in enumerate(COMPLETIONS):
        for cut in range(len(old)):
            follows = np.array([row[:cut] == old[:cut] for row in COMPLETIONS])
            redrawn = np.where(follows, base, 0.0) / base[follows].sum()
            length = np.array([len(row) for row in COMPLETIONS])
            accept = np.exp(np.minimum(0.0, log_ratio(beta * (REWARDS - REWARDS[i]), np.full(40, len(old)), length)))
            chance[i] += redrawn * accept / len(old)
        chance[i, i] += 1 - chance[i].sum()
    return chance


def test_the_tilt_is_stationary_and_is_not_without_the_length_factor():
    base, law = base_law(PROMPTS[0]), tilt_law(PROMPTS[0], 0.7)
    base /= base.sum()  # float32 tables
    assert np.abs(law @ step_matrix(base, 0.7, log_acceptance) - law).max() < 1e-7
    wrong = step_matrix(base, 0.7, lambda change, length, new: change)
    assert np.abs(law @ wrong - law).max() > 1e-3


def test_thermodynamic_integration_finds_the_exact_kl(rungs):
    assert rungs[0].kl.value == 0
    for rung in rungs[1:]:
        truth = kl_of(tilt_law(PROMPTS[1], rung.metrics["beta"]), base_law(PROMPTS[1]))
        assert abs(rung.kl.value - truth) < 5 * rung.kl.standard_error
        assert rung.kl.estimator == "thermodynamic-integration"
    assert 5 * rungs[-1].kl.standard_error < 0.3 * rungs[-1].kl.value, "too loose to mean anything"


def test_integration_is_exact_to_fourth_order():
    """A Gaussian reward has E_b = b, Var_b = 1 and KL(b) = b^2 / 2; a Poisson one E_b = Var_b = e^b."""
    betas = np.array([0.0, 0.5, 2.0])
    gaussian = thermodynamic_kl(betas, betas[:, None], np.ones((3, 1)))
    assert gaussian[0] == pytest.approx(2.0)
    errors = []
    for n in (4, 8, 16):
        grid = np.linspace(0, 2, n + 1)
        rate = np.exp(grid)[:, None]
        errors.append(abs(thermodynamic_kl(grid, rate, rate)[0] - (2 * np.exp(2) - (np.exp(2) - 1))))
    order = np.log2(np.array(errors[:-1]) / errors[1:])
    assert order == pytest.approx(4, abs=0.15)


def test_chains_are_reproducible():
    short = TiltMCMCConfig(strengths=(1.0,), burn_in=1, sweeps=2, max_new_tokens=LONGEST)
    first, again, other = (list(tilt_mcmc(seed, POLICY, PROMPTS, 4, scorer, short))[-1] for seed in (1, 1, 2))
    assert first.completions == again.completions
    assert first.kl == again.kl
    assert first.completions != other.completions


@torch.no_grad()
def guided_law(prompt, beta: float, candidates: int) -> np.ndarray:
    """q of every completion by brute force over prefixes, one token at a time in plain floats."""
    next_law: dict[tuple[int, ...], np.ndarray] = {}

    def q(prefix: tuple[int, ...]) -> np.ndarray:
        if prefix not in next_law:
            row = [*prompt, *prefix]
            before = row[-2] if len(row) > 1 else PAD
            p = POLICY.model.table[before, row[-1], len(row) - 1].double().softmax(-1).numpy()
            best = sorted(range(4), key=lambda v: -p[v])[:candidates]
            reward = {v: reward_table([*prefix, v]) for v in best}
            average = sum(p[v] * reward[v] for v in best) / sum(p[v] for v in best)
            weight = [p[v] * np.exp(beta * (reward[v] - average) if v in reward else 0.0) for v in range(4)]
            next_law[prefix] = np.array(weight) / sum(weight)
        return next_law[prefix]

    return np.array([np.prod([q(tuple(row[:t]))[row[t]] for t in range(len(row))]) for row in COMPLETIONS])


@pytest.mark.parametrize("candidates", [2, 4])
def test_guided_decoding_draws_its_law_and_reports_its_kl(candidates):
    config = GuidedDecodingConfig(strengths=(1.0, 3.0), candidates=candidates, max_new_tokens=LONGEST)
    base, *guided = guided_decoding(0, POLICY, PROMPTS, SAMPLES, scorer, config)
    assert base.kl.value == 0
    for result in guided:
        laws = [guided_law(prompt, result.metrics["beta"], candidates) for prompt in PROMPTS]
        truth = np.mean([kl_of(law, base_law(prompt)) for law, prompt in zip(laws, PROMPTS, strict=True)])
        assert result.logratio is not None
        error = np.sqrt(np.mean([part.var() for part in np.split(result.logratio, 2)]) / (2 * SAMPLES))
        assert abs(result.kl.value - truth) < 5 * error  # the full-vocabulary sum is steadier than the log ratio
        assert abs(result.logratio.mean() - truth) < 5 * error
        assert 5 * error < 0.6 * truth, "too loose to mean anything"
        for k, law in enumerate(laws):
            rows = result.completions[k * SAMPLES : (k + 1) * SAMPLES]
            assert law.sum() == pytest.approx(1)
            assert chi_square_p(rows, law) > 1e-4
            assert chi_square_p(rows, tilt_law(PROMPTS[k], result.metrics["beta"])) < 1e-6, "not the sequence tilt"
            logratio = {tuple(r): np.log(q / p) for r, q, p in zip(COMPLETIONS, law, base_law(PROMPTS[k]), strict=True)}
            mine = result.logratio[k * SAMPLES : (k + 1) * SAMPLES]
            assert mine == pytest.approx([logratio[tuple(row)] for row in rows], abs=1e-4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TiltMCMCConfig(strengths=(1.0, 0.5)), r"`strengths` must be positive and ascending, got \(1.0, 0.5\)"),
        (lambda: TiltMCMCConfig(sweeps=1), "`sweeps` must be >= 2, got 1"),
        (lambda: GuidedDecodingConfig(candidates=1), "`candidates` must be >= 2, got 1"),
        (lambda: GuidedDecodingConfig(temperature=0), "`temperature` must be > 0, got 0"),
        (
            lambda: next(tilt_mcmc(0, POLICY, PROMPTS, 4, lambda _, rows: np.zeros(len(rows)), LADDER)),
            "the reward gives equal scores",
        ),
        (lambda: next(tilt_mcmc(0, POLICY, PROMPTS, 1, scorer, LADDER)), "`samples` must be >= 2, got 1"),
    ],
)
def test_wrong_input_is_named(make, message):
    with pytest.raises(InputError, match=message):
        make()
