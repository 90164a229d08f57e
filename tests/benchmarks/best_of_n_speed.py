"""Best-of-n at 14 values of n, ties averaged, against one numpy sort of the same keys with payload.

    python tests/benchmarks/best_of_n_speed.py [--prompts 1000] [--samples 10000] [--repeats 3]

Prints the ratio of the two times within one run, for a continuous and for a coarse proxy, and exits with 1 above 8.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

import numpy as np

from overopt.bridges.best_of_n import best_of_n_curve
from overopt.bridges.score_bank import ScoreBank

LIMIT = 8.0


def fastest(work: Callable[[], object], repeats: int) -> float:
    """Seconds of the fastest of several runs."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    gold = rng.normal(size=(options.prompts, options.samples))
    noisy = gold + rng.normal(size=gold.shape)
    sizes = [1 << k for k in range(14) if 1 << k <= options.samples]
    worst = 0.0
    for name, keys in (("continuous proxy", noisy), ("integer proxy", np.round(2 * noisy))):
        bank = ScoreBank.from_rectangle(gold, {"p": keys})

        def sort(keys: np.ndarray = keys) -> object:
            return np.take_along_axis(gold, np.argsort(keys, axis=1), axis=1)

        def curve(bank: ScoreBank = bank) -> object:
            return best_of_n_curve(bank, "p", sizes)

        floor, ours = fastest(sort, options.repeats), fastest(curve, options.repeats)
        worst = max(worst, ours / floor)
        print(f"{name}: sort {floor:.2f} s, {len(sizes)} values of n {ours:.2f} s, ratio {ours / floor:.2f}")
    return int(worst > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
