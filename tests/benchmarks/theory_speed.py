"""Exact best-of-n curves at 200 values of n: CPU milliseconds per world, from a known law and from an additive sum.

    python tests/benchmarks/theory_speed.py [--repeats 5]

Each world is built anew for every run; the fastest run counts. Exits with 1 where a curve takes more than 50 ms.
"""

from __future__ import annotations

import argparse
import sys
from time import process_time
from typing import Any

import numpy as np
from scipy import stats

from overopt.theory.additive import additive_world
from overopt.theory.best_of_n import best_of_n
from overopt.theory.world import World

N = np.exp(np.linspace(0, 30, 200))
LIMIT = 0.05
LAWS = {
    "gaussian": stats.norm(),
    "uniform": stats.uniform(),
    "laplace": stats.laplace(),
    "logistic": stats.logistic(),
    "exponential": stats.expon(),
    "student_t": stats.t(3),
    "pareto": stats.pareto(2.5),
    "lognormal": stats.lognorm(1.0),
}


def fastest(build: Any, repeats: int) -> float:
    """Least processor time of several runs."""
    spent = []
    for _ in range(repeats):
        start = process_time()
        best_of_n(build(), N)
        spent.append(process_time() - start)
    return min(spent)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    slowest = 0.0
    print(f"{'law':<12}{'known law':>12}{'gold + law':>12}   (ms)")
    for name, law in LAWS.items():
        known = fastest(lambda law=law: World(law, np.tanh), repeats)
        additive = fastest(lambda law=law: additive_world(stats.norm(), law), repeats)
        slowest = max(slowest, known, additive)
        print(f"{name:<12}{1e3 * known:>12.1f}{1e3 * additive:>12.1f}")
    return int(slowest > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
