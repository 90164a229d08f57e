"""Speed of the toys, the same work side by side: ``python tests/benchmarks/bench_toys.py [--json]``.

1. Best-of-60,000, 10^6 replicates: the winner's quantile against n draws each (the naive way timed on 100 replicates),
the two
   compared by a Kolmogorov-Smirnov test; and against drawing the random numbers alone.
2. Policy gradients: 64 prompts x 1,000 actions x 1,000 steps.

Times are CPU seconds of this process, the best of several runs: on a shared machine the clock on the wall measures its
neighbours.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

import numpy as np
from scipy import stats

from overopt.toys.optimizers.best_of_n import BestOfN
from overopt.toys.selection_curve import simulated_samples
from overopt.toys.worlds.additive import Additive
from overopt.toys.worlds.tabular import Tabular

N, REPLICATES, NAIVE = 60_000, 1_000_000, 100


def seconds(work: Callable[[], object], repeats: int = 5) -> float:
    """CPU seconds of one call, the best of ``repeats``."""
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best


def naive(rng: np.random.Generator, world: Additive, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Gold and proxy of ``size`` winners, each the best of N drawn samples."""
    gold, proxy = np.empty(size), np.empty(size)
    for index in range(size):
        golds = rng.standard_normal(N)
        proxies = golds + world.noise_law.draw(rng, N)
        winner = proxies.argmax()
        gold[index], proxy[index] = golds[winner], proxies[winner]
    return gold, proxy


def best_of_n(noise: str) -> dict[str, float | str]:
    """The comparison for one noise law."""
    world = Additive(noise=noise)  # type: ignore[arg-type]
    joint, rng = world.joint, np.random.default_rng(0)
    joint.quantile_table(np.zeros(1))
    fast = seconds(lambda: simulated_samples(rng, joint, BestOfN(), N, REPLICATES))
    numbers = seconds(lambda: (rng.standard_exponential(REPLICATES), rng.standard_normal(REPLICATES)))
    slow = seconds(lambda: naive(rng, world, NAIVE), repeats=1) / NAIVE * REPLICATES
    gold, proxy = simulated_samples(rng, joint, BestOfN(), N, 20_000)
    slow_gold, slow_proxy = naive(rng, world, NAIVE)
    return {
        "noise": noise,
        "fast_s": fast,
        "naive_s": slow,
        "times_faster": slow / fast,
        "over_random_numbers": fast / numbers,
        "ks_p_gold": float(stats.ks_2samp(gold, slow_gold).pvalue),
        "ks_p_proxy": float(stats.ks_2samp(proxy, slow_proxy).pvalue),
    }


def policy_gradient(gradient: str) -> dict[str, float | str]:
    """One run of 1,000 steps on 64 x 1,000."""
    world = Tabular(prompts=64, actions=1000)
    base = world.draw(np.random.default_rng(0))
    return {"gradient": gradient, "s": seconds(lambda: world.train(base, gradient, (1000,)), repeats=3)}  # type: ignore[arg-type]


def main() -> None:
    """Run all and print them."""
    found = {
        "best_of_60000": [best_of_n(noise) for noise in ("gaussian", "laplace", "student_t")],
        "policy_gradient_64x1000x1000": [policy_gradient(gradient) for gradient in ("natural", "vanilla")],
    }
    if "--json" in sys.argv:
        print(json.dumps(found, indent=2))
        return
    for name, rows in found.items():
        print(name)
        for row in rows:
            print(
                "  "
                + ", ".join(
                    f"{key} {value if isinstance(value, str) else f'{value:.4g}'}" for key, value in row.items()
                )
            )


if __name__ == "__main__":
    main()
