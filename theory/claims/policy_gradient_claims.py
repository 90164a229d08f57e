"""K39-K41: what a path of gradient steps spends in KL."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import sympy
from numpy.typing import NDArray
from scipy import integrate, optimize, stats

from overopt.theory.best_of_n import best_of_n
from overopt.theory.claims.comparison import Comparison, at_least, at_most, equal
from overopt.theory.claims.entry import Claim, Counterexample, Property, Step
from overopt.theory.claims.worlds import FiniteTable, Policy
from overopt.theory.gradient_paths import early_kl, natural_gradient_path, vanilla_gradient_path
from overopt.theory.world import World

__all__ = ["CLAIMS"]

Array = NDArray[np.float64]


def _vanilla(table: FiniteTable, gain: float) -> Policy:
    """Gradient flow of a softmax policy's expected proxy in its logits, until the proxy has risen by ``gain``."""
    base, proxy = np.asarray(table.probability), np.asarray(table.proxy)

    def softmax(logits: Array) -> Array:
        weight = np.exp(logits - logits.max())
        result: Array = weight / weight.sum()
        return result

    def flow(_: float, logits: Array) -> Array:
        policy = softmax(logits)
        slope: Array = policy * (proxy - policy @ proxy) * len(base)
        return slope

    def short(_: float, logits: Array) -> float:
        return float(softmax(logits) @ proxy - base @ proxy - gain)

    short.terminal = True  # type: ignore[attr-defined]
    path = integrate.solve_ivp(flow, (0.0, 1e4), np.log(base), events=short, rtol=1e-8, atol=1e-10)
    return table.policy(softmax(path.y_events[0][0]), "vanilla gradient", float(path.t_events[0][0]))


def _natural(table: FiniteTable, steps: int, size: float) -> Policy:
    """Natural gradient steps: pi <- pi exp(size (u - E u)), the exponential map of the Fisher metric's direction."""
    policy, proxy = np.asarray(table.probability), np.asarray(table.proxy)
    for _ in range(steps):
        # Solve F w = grad by least squares in the logits; F is singular along constants.
        fisher = np.diag(policy) - np.outer(policy, policy)
        direction = np.linalg.lstsq(fisher, policy * (proxy - policy @ proxy), rcond=1e-12)[0]
        policy = policy * np.exp(size * (direction - policy @ direction))
        policy = policy / policy.sum()
    return table.policy(policy, "natural gradient", steps * size)


def _tilt_with_gain(table: FiniteTable, gain: float) -> Policy:
    base = table.base().proxy
    strength = optimize.brentq(lambda s: table.exponential_tilt(s).proxy - base - gain, 0.0, 60.0, xtol=1e-12)
    return table.exponential_tilt(strength)


def _normal_actions(count: int) -> FiniteTable:
    proxy = stats.norm.ppf((np.arange(count) + 0.5) / count)
    proxy = (proxy / proxy.std()).tolist()
    return FiniteTable((1 / count,) * count, tuple(proxy), tuple(proxy))


def _early_stopping_proof() -> Iterator[Step]:
    strength = sympy.Symbol("lambda", positive=True)
    p, u = sympy.symbols("p1:4", positive=True), sympy.symbols("u1:4", real=True)
    weight = [pi * sympy.exp(strength * ui) for pi, ui in zip(p, u, strict=True)]
    policy = [w / sum(weight) for w in weight]
    mean = sum(q * ui for q, ui in zip(policy, u, strict=True))
    slope = sympy.diff(sympy.log(policy[0]), strength)
    yield Step("d log pi / d lambda along penalised optima is the natural gradient", slope, u[0] - mean)


def _paths_check() -> Iterator[Comparison]:
    table = FiniteTable((0.6, 0.3, 0.1), (0.0, 1.0, 2.0), (0.0, 1.0, 2.0))
    base, reward = table.probability, table.proxy
    stepped = _natural(table, 40, 0.02)
    coded = natural_gradient_path(base, reward, np.array([0.8]))
    yield equal("natural path after time .8: reward", coded.reward[0], stepped.proxy)
    yield equal("natural path after time .8: KL", coded.kl[0], stepped.kl)
    # With a penalty the flow ends at the penalised optimum, which maximises E u - penalty KL over all policies.
    end = natural_gradient_path(base, reward, np.array([60.0]), penalty=0.5)
    found = optimize.minimize(
        lambda x: 0.5 * (q := table.policy(np.exp([0.0, *x]))).kl - q.proxy, np.zeros(2), tol=1e-12
    )
    yield equal("end of the penalised path", end.reward[0] - 0.5 * end.kl[0], -found.fun, 1e-8)
    half = natural_gradient_path(base, reward, np.array([np.log(2.0) / 0.5]), penalty=0.5)
    yield equal("half-way the penalised path is the tilt by half", half.kl[0], table.exponential_tilt(1.0).kl)
    climbed = _vanilla(table, 0.8)
    vanilla = vanilla_gradient_path(base, reward, np.array([3 * climbed.pressure]))
    yield equal("vanilla path: reward", vanilla.reward[0], climbed.proxy, 1e-6)
    yield equal("vanilla path: KL", vanilla.kl[0], climbed.kl, 1e-6)
    settled = vanilla_gradient_path(base, reward, np.array([4000.0]), penalty=0.5)
    yield equal("the penalised vanilla path ends there too", settled.kl[0], end.kl[0], 1e-6)


def _early_stopping_slack(world: tuple[FiniteTable, int]) -> float:
    """Ten natural gradient steps end at the penalised optimum with coefficient 1/(their total size)."""
    table, n = world
    size = n / 5000
    stopped, penalised = _natural(table, 10, size), table.exponential_tilt(10 * size)
    return -float(np.abs(np.subtract(stopped.probability, penalised.probability)).max())


def _vanilla_leaves(probability: tuple[float, ...], proxy: tuple[float, ...], gain: float) -> Iterator[Comparison]:
    table = FiniteTable(probability, proxy, proxy)
    stopped, penalised = _vanilla(table, gain), _tilt_with_gain(table, gain)
    yield equal("proxy gain of both", stopped.proxy, penalised.proxy, 1e-6)
    yield at_least("KL of the stopped vanilla path over the penalised optimum's", stopped.kl / penalised.kl, 1.01)
    apart = float(np.abs(np.subtract(stopped.probability, penalised.probability)).max())
    yield at_least("largest difference of the two policies' probabilities", apart, 0.03)


def _efficiency_check() -> Iterator[Comparison]:
    ratios = []
    for actions in (10, 100, 1000):
        table = _normal_actions(actions)
        ratios.append(_vanilla(table, 1.0).kl / _tilt_with_gain(table, 1.0).kl)
    for (fewer, more), actions in zip(((0, 1), (1, 2)), (100, 1000), strict=True):
        yield at_least(f"KL ratio grows up to {actions} actions", ratios[more] - ratios[fewer], 0.05)
    yield equal("vanilla KL over the tilt's, gain 1 SD, 1,000 actions", ratios[2], 2.0, 0.1)
    small = _normal_actions(100)
    early = _vanilla(small, 0.02).kl / _tilt_with_gain(small, 0.02).kl
    yield equal("the ratio starts at 1 for equally likely actions", early, 1.0, 0.05)
    best = best_of_n(World(stats.norm(), lambda u: u), np.array([2.0, 100.0]))
    for index in range(2):
        natural = best.proxy[index] ** 2 / 2
        yield at_most("natural gradient KL over best-of-n's at equal proxy", natural / best.kl[index], 0.95)


def _vanilla_slack(world: FiniteTable) -> float:
    """No path spends less than the tilt for its proxy gain; a table with a level proxy gets an output above it."""
    if len(set(world.proxy)) == 1:
        gap, share = 1 + abs(world.gold[0]), 1 / (2 + abs(world.proxy[0]))
        world = world.with_output(share, world.proxy[0] + gap, 0.0)
    spread = max(world.proxy) - world.base().proxy
    return _vanilla(world, spread / 2).kl - _tilt_with_gain(world, spread / 2).kl


def _natural_is_cheaper(n: float) -> Iterator[Comparison]:
    best = best_of_n(World(stats.norm(), lambda u: u), np.array([n]))
    table = _normal_actions(1000)
    gain = float(best.proxy[0])
    strength = _tilt_with_gain(table, gain).pressure
    natural = _natural(table, 1, strength)
    yield equal("proxy gain of both", natural.proxy, gain, 1e-6)
    yield at_most(f"natural gradient's KL over best-of-{n:g}'s", natural.kl / best.kl[0], 0.95)


def _quadratic_proof() -> Iterator[Step]:
    step, p = sympy.symbols("t p", positive=True)
    u = sympy.Symbol("u", positive=True)
    cumulant = sympy.log(1 - p + p * sympy.exp(step * u))
    kl = step * sympy.diff(cumulant, step) - cumulant
    leading = sympy.series(kl, step, 0, 3).removeO()
    yield Step("KL of the natural path to second order, two outputs", leading, step**2 / 2 * p * (1 - p) * u**2)


def _quadratic_check() -> Iterator[Comparison]:
    table = FiniteTable((0.2, 0.5, 0.3), (0.0, 1.0, 3.0), (0.0, 0.0, 0.0))
    variance = float(np.array(table.probability) @ (np.array(table.proxy) - table.base().proxy) ** 2)
    short, long = (_natural(table, steps, 1e-3).kl for steps in (10, 20))
    yield equal("KL(20 steps)/KL(10 steps)", long / short, 4.0, 0.02)
    yield equal("KL over t^2 Var/2", short / (1e-4 * variance / 2), 1.0, 0.02)
    coded = early_kl(table.probability, table.proxy, 0.01)
    yield equal("as coded", coded, 1e-4 * variance / 2)
    time = 1e-3
    vanilla = vanilla_gradient_path(table.probability, table.proxy, np.array([time])).kl[0]
    yield equal("vanilla gradient", early_kl(table.probability, table.proxy, time, natural=False) / vanilla, 1.0, 0.02)


def _quadratic_slack(world: FiniteTable) -> float:
    """KL(t) / t^2 is half the variance up to third cumulants: at t = 1e-3 within 1% of the squared range."""
    scale = max(1.0, max(world.proxy) - min(world.proxy))
    t = 1e-3 / scale
    p, u = np.asarray(world.probability), np.asarray(world.proxy)
    variance = float(p @ (u - p @ u) ** 2)
    # Exact small-t KL from the tilt's log-ratio, free of cancellation.
    h = t * (u - p @ u) - np.log1p(float(p @ np.expm1(t * (u - p @ u))))
    kl = float(p @ (np.exp(h) * h - np.expm1(h)))
    return 0.01 * t**2 * scale**2 - abs(kl - t**2 * variance / 2)


CLAIMS = (
    Claim(
        id="K39", title="A KL penalty is early stopping", verdict="conditional",
        statement=r"\frac{d}{d\lambda} \log \pi_\lambda = u - \mathrm{E}_{\pi_\lambda}[u]"
        r" = F^{-1} \nabla \mathrm{E}_\pi[u]",
        assumptions="natural gradient (the tilt's path); coefficient = 1/(learning rate x steps)",
        source="Gao et al. 2210.10760, sec. 3.6; LessWrong",
        proof=_early_stopping_proof, check=_paths_check,
        property=Property("tables_with_n", _early_stopping_slack, 1e-7),
        counterexample=Counterexample(
            "vanilla softmax gradient on three actions: other policies and more KL for the same proxy",
            {"probability": (0.6, 0.3, 0.1), "proxy": (0.0, 1.0, 2.0), "gain": 0.8}, _vanilla_leaves,
        ),
    ),
    Claim(
        id="K40", title="RL spends more KL than best-of-n for the same proxy", verdict="conditional",
        statement=r"\mathrm{KL}_{\text{vanilla}} \ge \mathrm{KL}_{\text{tilt}} \text{ at equal proxy, about } 2"
        r" \text{ times at 1 SD with } 1000 \text{ actions}",
        assumptions="vanilla softmax gradient from equally likely actions",
        source="Gao et al. 2210.10760, sec. 3.5",
        check=_efficiency_check, property=Property("small_tables", _vanilla_slack, 1e-6),
        counterexample=Counterexample(
            "natural gradient follows the tilt and spends less than best-of-n", {"n": 20.0}, _natural_is_cheaper
        ),
    ),
    Claim(
        id="K41", title="Without a penalty KL grows quadratically in the step", verdict="true",
        statement=r"\mathrm{KL}(t) = \frac{t^2}{2} \mathrm{Var}_0(u) + O(t^3)",
        assumptions="natural gradient, early", source="Gao et al. 2210.10760, sec. 3.5",
        proof=_quadratic_proof, check=_quadratic_check, property=Property("finite_tables", _quadratic_slack, 1e-12),
    ),
)  # fmt: skip
