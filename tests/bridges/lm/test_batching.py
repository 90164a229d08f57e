"""Out of memory: batches and parts are halved, a warning says so, and the results are those of enough memory."""

import gc
import weakref

import numpy as np
import pytest

pytest.importorskip("torch", reason="the lm extra is not installed")

import torch
from tabular_policy import EOS, LONGEST, PAD, PROMPT, TabularPolicy
from transformers import LlamaConfig, LlamaForSequenceClassification

from overopt.bridges.lm.batching import in_batches, in_parts
from overopt.bridges.lm.reward_model import RewardModel
from overopt.bridges.lm.sampler import sample_completions
from overopt.theory.errors import InputError

pytestmark = pytest.mark.lm


def small_memory(module, rows):
    """Make ``module`` run out of memory above ``rows`` rows; the list returned collects the batch sizes that it saw."""
    seen, forward = [], module.forward

    def limited(input_ids, **options):
        seen.append(len(input_ids))
        if len(input_ids) > rows:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(input_ids, **options)

    module.forward = limited
    return seen


def test_every_row_is_done_once_in_order():
    done = []

    def work(batch):
        if batch.stop - batch.start > 3:
            raise torch.OutOfMemoryError
        done.extend(range(batch.start, batch.stop))

    with pytest.warns(RuntimeWarning, match="out of memory") as said:
        assert in_batches(work, 23, 10, "work") == 3
    assert [str(warning.message) for warning in said] == [
        "work: out of memory with a batch of 10, going on with 5",
        "work: out of memory with a batch of 5, going on with 3",
    ]
    assert done == list(range(23))


def test_what_a_cycle_holds_is_gone_before_the_next_try():
    """The collector is off: a device's memory fills without that many objects, and it would not run by itself."""

    class Holder:
        def __init__(self):
            self.itself = self

    held, alive = [], []

    def work(batch):
        alive.extend(holder() is not None for holder in held)
        if not held:
            held.append(weakref.ref(Holder()))
            raise torch.OutOfMemoryError

    gc.disable()
    try:
        with pytest.warns(RuntimeWarning):
            in_batches(work, 2, 2, "work")
    finally:
        gc.enable()
    assert alive == [False, False]


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported at another call."),
    ],
)
def test_every_library_says_it_its_own_way(error):
    done = []

    def work(batch):
        if not done and batch.stop == 4:
            raise error
        done.append(batch)

    with pytest.warns(RuntimeWarning, match="out of memory with a batch of 4, going on with 2"):
        assert in_batches(work, 4, 4, "work") == 2
    assert done == [slice(0, 2), slice(2, 4)]


def test_what_fitted_is_remembered_for_a_model_and_its_work():
    class Model:
        pass

    model, seen = Model(), []

    def work(batch):
        seen.append(batch.stop - batch.start)
        if seen[-1] > 4:
            raise torch.OutOfMemoryError

    with pytest.warns(RuntimeWarning):
        in_batches(work, 8, 8, "work", model)
    seen.clear()
    assert in_batches(work, 8, 8, "work", model) == 4
    assert in_batches(work, 8, 2, "work", model) == 2, "a smaller batch that is asked for is taken"
    assert seen == [4, 4, 2, 2, 2, 2]
    with pytest.warns(RuntimeWarning, match="other work: out of memory with a batch of 8"):
        in_batches(work, 8, 8, "other work", model)


def test_work_in_parts_begins_again_with_smaller_ones():
    tried = []

    def work(part):
        tried.append(part)
        if part > 3:
            raise torch.OutOfMemoryError
        return f"in parts of {part}"

    with pytest.warns(RuntimeWarning) as said:
        assert in_parts(work, 10, 100, "work") == ("in parts of 3", 3)
    assert tried == [100, 5, 3], "more than all rows is no part"
    assert [str(warning.message) for warning in said] == [
        "work: out of memory with a batch of 10, going on with 5",
        "work: out of memory with a batch of 5, going on with 3",
    ]
    assert in_parts(work, 10, 2, "work") == ("in parts of 2", 2)
    with (
        pytest.warns(RuntimeWarning),
        pytest.raises(InputError, match="work: the device is out of memory with a batch of 1"),
    ):
        in_parts(lambda part: work(100), 4, 4, "work")


def test_other_errors_pass_and_a_single_row_that_does_not_fit_is_named():
    def broken(batch):
        raise ValueError("something else")

    def hopeless(batch):
        raise torch.OutOfMemoryError

    def asserted(batch):
        raise RuntimeError("CUDA error: device-side assert triggered")

    with pytest.raises(ValueError, match="something else"):
        in_batches(broken, 2, 2, "work")
    with pytest.raises(RuntimeError, match="device-side assert"):
        in_batches(asserted, 2, 2, "work")
    with (
        pytest.warns(RuntimeWarning),
        pytest.raises(InputError, match="work: the device is out of memory with a batch of 1"),
    ):
        in_batches(hopeless, 4, 2, "work")


def test_scores_are_those_of_a_device_with_enough_memory():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=50, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=32, pad_token_id=0, num_labels=1,
    )  # fmt: skip
    model = LlamaForSequenceClassification(config)
    rng = np.random.default_rng(0)
    rows = [rng.integers(1, 50, size=n).tolist() for n in rng.integers(2, 20, size=40)]
    expected = RewardModel(model, batch_size=1).score(rows)
    seen = small_memory(model, 5)
    reward = RewardModel(model, batch_size=16)
    with pytest.warns(RuntimeWarning, match="scoring: out of memory with a batch of"):
        np.testing.assert_allclose(reward.score(rows), expected, atol=1e-5)
    assert seen[:3] == [16, 8, 4]
    reward.score(rows)
    assert max(seen[-10:]) == 4, "what fitted is remembered"


def test_samples_are_those_of_a_device_with_enough_memory():
    prompts = [[PROMPT]] * 40
    options = {"max_new_tokens": LONGEST, "eos": EOS, "pad": PAD}
    expected = sample_completions(np.random.default_rng(1), TabularPolicy(0), prompts, **options)
    tight = TabularPolicy(0)
    small_memory(tight, 12)
    with pytest.warns(RuntimeWarning, match="sampling: out of memory"):
        drawn = sample_completions(np.random.default_rng(1), tight, prompts, **options)
    np.testing.assert_array_equal(drawn.tokens, expected.tokens)
    np.testing.assert_array_equal(drawn.mask, expected.mask)
    np.testing.assert_allclose(drawn.logprob, expected.logprob, atol=1e-6)
