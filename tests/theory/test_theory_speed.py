"""Cost of an exact curve, counted in evaluations of densities, and a light import; `tests/benchmarks` has the times."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from overopt.theory.additive import additive_world
from overopt.theory.best_of_n import best_of_n
from overopt.theory.proxy_law import FrozenLaw

N = np.exp(np.linspace(0, 30, 200))
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
MOST_DENSITIES = 1_200_000


@pytest.mark.parametrize("name", LAWS)
def test_an_additive_curve_evaluates_few_densities(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = 0
    plain = FrozenLaw.log_density

    def counting(self, value):
        nonlocal counted
        counted += np.size(value)
        return plain(self, value)

    monkeypatch.setattr(FrozenLaw, "log_density", counting)
    best_of_n(additive_world(stats.norm(), LAWS[name]), N)
    assert 0 < counted < MOST_DENSITIES


def test_import_brings_neither_sympy_nor_scipy_stats() -> None:
    modules = [
        "best_of_n",
        "exponential_tilt",
        "additive",
        "mechanisms",
        "scaling_laws",
        "structural",
        "gradient_paths",
    ]
    script = (
        "import sys\n"
        + "".join(f"import overopt.theory.{module}\n" for module in modules)
        + "print([m for m in ('sympy', 'mpmath', 'scipy.stats', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
