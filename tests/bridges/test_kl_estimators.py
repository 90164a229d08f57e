"""KL estimators against an enumerated two-token policy; what public code gets wrong must not be possible here."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from overopt.bridges.kl_estimators import full_vocabulary_kl, k1, k2, k3, log_ratio
from overopt.theory.errors import InputError

VOCABULARY, LENGTH = 4, 3


def log_softmax(x: np.ndarray) -> np.ndarray:
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


@pytest.fixture(scope="module")
def world():
    """A policy and a base policy over sequences of 3 tokens, the next token depending on the one before."""
    rng = np.random.default_rng(0)
    policy, base = (log_softmax(1.5 * rng.normal(size=(VOCABULARY + 1, VOCABULARY))) for _ in range(2))
    sequences = np.array(list(product(range(VOCABULARY), repeat=LENGTH)))
    context = np.column_stack([np.full(len(sequences), VOCABULARY), sequences[:, :-1]])
    log_p, log_q = policy[context, sequences], base[context, sequences]
    probability = np.exp(log_p.sum(axis=1))
    true = float((probability * (log_p - log_q).sum(axis=1)).sum())
    return {
        "sequences": sequences, "context": context, "p": log_p, "q": log_q, "probability": probability, "kl": true,
        "policy": policy, "base": base,
    }  # fmt: skip


def draw(world, count: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).choice(len(world["sequences"]), p=world["probability"], size=count)


@pytest.mark.parametrize("estimator", [k1, k3])
def test_k1_and_k3_are_unbiased(world, estimator) -> None:
    rows = draw(world, 20_000)
    mask = np.ones((rows.size, LENGTH))
    found = estimator(world["p"][rows], world["q"][rows], completion_mask=mask)
    assert abs(found.value - world["kl"]) < 5 * found.standard_error
    assert found.n == 20_000
    assert found.estimator == estimator.__name__


def test_k2_is_its_own_expectation_and_not_the_kl(world) -> None:
    rows = draw(world, 20_000)
    found = k2(world["p"][rows], world["q"][rows], completion_mask=np.ones((rows.size, LENGTH)))
    expected = float(world["probability"] @ ((world["p"] - world["q"]) ** 2 / 2).sum(axis=1))
    assert abs(found.value - expected) < 5 * found.standard_error
    assert abs(found.value - world["kl"]) > 5 * found.standard_error


def test_full_vocabulary_is_unbiased_and_quieter_than_k1(world) -> None:
    rows = draw(world, 5_000)
    mask = np.ones((rows.size, LENGTH), dtype=bool)
    context = world["context"][rows]
    full = full_vocabulary_kl(world["policy"][context], world["base"][context], completion_mask=mask)
    assert abs(full.value - world["kl"]) < 5 * full.standard_error
    noisy = k1(world["p"][rows], world["q"][rows], completion_mask=mask)
    assert full.standard_error < noisy.standard_error / 2


def test_standard_errors_are_those_of_repeated_samples(world) -> None:
    mask = np.ones((50, LENGTH))
    runs = [k1(world["p"][r], world["q"][r], completion_mask=mask) for r in draw(world, 50 * 2000).reshape(2000, 50)]
    spread = np.std([run.value for run in runs])
    assert np.sqrt(np.mean([run.standard_error**2 for run in runs])) == pytest.approx(spread, rel=5 / np.sqrt(4000))


def test_errors_cluster_by_prompt(world) -> None:
    rows = np.repeat(draw(world, 40), 8)
    mask = np.ones((rows.size, LENGTH))
    single = k1(world["p"][rows[::8]], world["q"][rows[::8]], completion_mask=mask[::8])
    clustered = k1(world["p"][rows], world["q"][rows], completion_mask=mask, prompt=[k // 8 for k in range(rows.size)])
    assert clustered.value == pytest.approx(single.value)
    assert clustered.standard_error == pytest.approx(single.standard_error)


def test_only_completion_tokens_count(world) -> None:
    """Prompt and padding tokens differ between the two models and must change nothing."""
    rows = draw(world, 200)
    rng = np.random.default_rng(2)
    p, q = (np.column_stack([-rng.random((200, 2)), world[k][rows], np.full((200, 4), np.nan)]) for k in ("p", "q"))
    mask = np.zeros((200, 9), dtype=bool)
    mask[:, 2:5] = True
    for estimator in (k1, k2, k3):
        plain = estimator(world["p"][rows], world["q"][rows], completion_mask=np.ones((200, LENGTH)))
        assert estimator(p, q, completion_mask=mask).value == pytest.approx(plain.value)
        wrong = mask.copy()
        wrong[:, :2] = True
        assert estimator(p, q, completion_mask=wrong).value != pytest.approx(plain.value), "control: the mask matters"


def test_reductions(world) -> None:
    rows = draw(world, 300)
    lengths = np.random.default_rng(3).integers(1, LENGTH + 1, size=300)
    mask = np.arange(LENGTH) < lengths[:, None]
    total = k1(world["p"][rows], world["q"][rows], completion_mask=mask)
    mean = k1(world["p"][rows], world["q"][rows], completion_mask=mask, reduction="per-token mean")
    assert mean.value == pytest.approx(total.value / lengths.mean())
    assert mean.kind != total.kind
    ratio = log_ratio(world["p"][rows], world["q"][rows], completion_mask=mask)
    assert ratio.mean() == pytest.approx(total.value)


def test_no_clamp_a_noisy_k1_may_be_negative() -> None:
    found = k1([[-1.0], [-2.0]], [[-0.5], [-1.0]], completion_mask=[[1], [1]])
    assert found.value == -0.75
    assert found.d == 0


def test_k3_is_never_negative(world) -> None:
    rows = draw(world, 500)
    for row in rows[:50]:
        assert k3(world["p"][[row]], world["q"][[row]], completion_mask=np.ones((1, LENGTH))).value >= 0


def test_the_mask_is_required() -> None:
    with pytest.raises(TypeError, match="completion_mask"):
        k1([[-1.0]], [[-1.0]])  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("p", "q", "mask", "message"),
    [
        ([[-1.0]], [[-1.0, -1.0]], [[1]], "must have one shape"),
        ([[-1.0]], [[-1.0]], [[1, 1]], r"`completion_mask` must have shape \(1, 1\)"),
        ([[-1.0]], [[-1.0]], [[0]], "at least one token of every completion, got completion 0"),
        ([[-1.0]], [[-1.0]], [[0.5]], "must be true or false"),
        ([[np.nan]], [[-1.0]], [[1]], "`log_prob` must be finite and <= 0 .* completion 0, token 0"),
        ([[-1.0]], [[0.7]], [[1]], "`base_log_prob` must be finite and <= 0 .* got 0.7"),
    ],
)
def test_bad_input(p, q, mask, message) -> None:
    with pytest.raises(InputError, match=message):
        k1(p, q, completion_mask=mask)


def test_full_vocabulary_checks_its_input() -> None:
    with pytest.raises(InputError, match=r"normalised .* sum of 2"):
        full_vocabulary_kl(np.zeros((1, 1, 2)), np.zeros((1, 1, 2)), completion_mask=[[1]])
    half = np.log([[[0.5, 0.5]]])
    with np.errstate(divide="ignore"):
        sure = np.log(np.array([[[1.0, 0.0]]]))
    assert full_vocabulary_kl(sure, half, completion_mask=[[1]]).value == pytest.approx(np.log(2))
    with pytest.raises(InputError, match="finite wherever the policy's probability is above 0"):
        full_vocabulary_kl(half, sure, completion_mask=[[1]])
