"""K34-K38: rare modes, manipulated correlates, and optimizing against conditioning."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import sympy
from numpy.typing import NDArray
from scipy import integrate, optimize, stats

from overopt.theory.best_of_n import best_of_n
from overopt.theory.claims.comparison import Comparison, at_least, at_most, equal
from overopt.theory.claims.entry import Claim, Counterexample, Property, Step
from overopt.theory.claims.worlds import FiniteTable
from overopt.theory.exponential_tilt import exponential_tilt
from overopt.theory.gradient_paths import mean_path
from overopt.theory.mechanisms import adversarial_mode
from overopt.theory.quantilizer import quantilizer
from overopt.theory.structural import MeanShift, StructuralModel, common_cause, intermediary, shift_kl
from overopt.theory.world import World

__all__ = ["CLAIMS"]

Array = NDArray[np.float64]


def _rare_mode(rare: float, proxy: float) -> FiniteTable:
    """A normal bulk as 2,000 equally likely quantiles, and a mode of mass ``rare`` above all of them."""
    bulk = stats.norm.ppf((np.arange(2000) + 0.5) / 2000)
    return FiniteTable(
        (*[(1 - rare) / 2000] * 2000, rare), (*bulk.tolist(), proxy), (*bulk.tolist(), -5.0)
    )  # fmt: skip


def _mode_check() -> Iterator[Comparison]:
    for rare in (1e-3, 1e-5):
        table = _rare_mode(rare, 20.0)
        half = float(np.log(0.5) / np.log1p(-rare))
        best = table.best_of_n(half)
        yield equal(f"hacked share of best-of-{half:.0f}", best.probability[-1], 0.5, 1e-9)
        strength = optimize.brentq(lambda s, t=table: t.exponential_tilt(s).probability[-1] - 0.5, 0.0, 5.0, xtol=1e-14)
        tilt = table.exponential_tilt(strength)
        yield at_most("KL of the tilt hacked as often, over best-of-n's", tilt.kl / best.kl, 0.9)
        nearby = [table.exponential_tilt(strength * factor).probability[-1] for factor in (0.7, 1.3)]
        yield at_most("first order: hacked share 30% below the switch", nearby[0], 0.12)
        yield at_least("first order: hacked share 30% above the switch", nearby[1], 0.88)
    for n in (3.0, 500.0):
        coded = best_of_n(adversarial_mode(1e-3), np.array([n])).gold[0]
        yield equal(f"gold of the continuous world at n = {n:g}", coded, _mode_gold(1e-3, n), 1e-8)
    low = _rare_mode(1e-5, 3.6)
    worst = max(low.exponential_tilt(s).probability[-1] for s in np.linspace(0, 6, 61))
    yield at_most("a mode only just above the bulk: largest hacked share of the tilt", worst, 0.1)


def _mode_gold(rare: float, n: float) -> float:
    """Best-of-n gold for a normal bulk with gold = proxy and a mode N(8, .1) with gold -5, from its two parts."""
    mode = stats.norm(8.0, 0.1)

    def part(u: float, density: float, gold: float) -> float:
        upper = (1 - rare) * stats.norm.sf(u) + rare * mode.sf(u)
        return float(n * np.exp((n - 1) * np.log1p(-upper)) * density * gold)

    bulk = integrate.quad(lambda u: part(u, (1 - rare) * stats.norm.pdf(u), u), -7, 12, points=[0, 3, 5], epsabs=1e-12)
    hacked = integrate.quad(lambda u: part(u, rare * mode.pdf(u), -5.0), 7, 9, points=[7.8, 8, 8.2], epsabs=1e-12)
    return float(bulk[0] + hacked[0])


def _mode_slack(world: tuple[FiniteTable, int]) -> float:
    table, n = world
    best = int(np.argmax(table.proxy))
    hacked = -np.expm1(n * np.log1p(-table.probability[best])) if len(table.proxy) > 1 else 1.0
    return -abs(table.best_of_n(n).probability[best] - float(hacked))


def _mode_proof() -> Iterator[Step]:
    rare, n = sympy.symbols("epsilon n", positive=True)
    x = sympy.Symbol("x", positive=True)
    more = sympy.Symbol("m", positive=True)
    hacked = sympy.integrate((more + 1) * x**more, (x, 1 - rare, 1)).subs(more, n - 1)
    yield Step("winner's rank in the top epsilon", sympy.simplify(hacked), 1 - (1 - rare) ** n)


def _submodule_mean(weights: Array, means: Array, sds: Array, p: float) -> float:
    """``E[T | P = p]`` as the row states it; weights and laws in the order a, b, c."""
    alpha, beta, gamma = weights
    share = (alpha * sds[0]) ** 2 / ((alpha * sds[0]) ** 2 + (gamma * sds[2]) ** 2)
    return float(alpha * means[0] + beta * means[1] + share * (p - alpha * means[0] - gamma * means[2]))


def _submodule_moments(weights: Array, means: Array, sds: Array) -> tuple[Array, Array]:
    """Mean and covariance of (truth, persuasiveness) = ((alpha, beta, 0), (alpha, 0, gamma)) . (a, b, c)."""
    alpha, beta, gamma = weights
    mixing = np.array([[alpha, beta, 0.0], [alpha, 0.0, gamma]])
    return mixing @ means, mixing @ np.diag(sds**2) @ mixing.T


MEANS, SDS = np.array([0.5, 0.3, 1.0]), np.array([1.0, 0.7, 1.3])


def _submodule_check() -> Iterator[Comparison]:
    weights = np.array([0.3, 0.3, 0.4])
    mean, covariance = _submodule_moments(weights, MEANS, SDS)
    for p in (0.0, 1.5, 4.0):
        truth = np.linspace(-12, 12, 4801)
        density = stats.multivariate_normal(mean, covariance).pdf(np.stack([truth, np.full_like(truth, p)], axis=-1))
        exact = float(np.sum(truth * density) / np.sum(density))
        yield equal(f"E[T | P = {p:g}] from the joint density", _submodule_mean(weights, MEANS, SDS, p), exact)
    rise = [_submodule_mean(weights, MEANS, SDS, float(mean[1]) + step) for step in (0.0, 2.0)]
    yield at_least("conditioning raises truth", rise[1] - rise[0], 0.1)
    model = StructuralModel(np.zeros((3, 3)), SDS**2, np.array([0.3, 0.0, 0.4]), np.array([0.3, 0.3, 0.0]))
    given = model.condition(2.0)
    yield equal("the structural model agrees about conditioning", given.delivered, rise[1] - rise[0])
    yield equal("shifting c raises no truth", model.intervene(2, 2.0).delivered, 0.0)
    for mean_a, last in ((0.5, 0.0), (1.6, 1.6)):
        # E[P] is linear in the weights: its maximum over the simplex is where RL ends.
        end = optimize.linprog([-mean_a, 0.0, -1.0], A_eq=[[1, 1, 1]], b_eq=[1]).x
        yield equal(f"truth where RL ends, mu_A = {mean_a:g}", float(end @ [mean_a, 0.3, 0.0]), last)


def _submodules(numbers: tuple[int, ...]) -> tuple[Array, Array, Array]:
    """Weights, means and standard deviations."""
    weights, means, sds = np.array(numbers, dtype=float).reshape(3, 3)
    return weights / weights.sum(), means, sds


def _submodule_slack(numbers: tuple[int, ...]) -> float:
    """Truth rises with persuasiveness under conditioning for every weight and law with alpha > 0."""
    weights, means, sds = _submodules(numbers)
    low, high = (_submodule_mean(weights, means, sds, p) for p in (0.0, 1.0))
    mean, covariance = _submodule_moments(weights, means, sds)
    exact = mean[0] + covariance[0, 1] / covariance[1, 1] * (1.0 - mean[1])
    return float(min(high - low, 1e-9 - abs(high - exact)))


def _conditioning_proof() -> Iterator[Step]:
    mean_t, mean_p, cross, strength = sympy.symbols("mu_T mu_P c lambda", real=True)
    variance = sympy.Symbol("v", positive=True)
    # The tilt of a Gaussian by exp(lambda P) adds lambda times the covariances with P to the means.
    tilted_t, tilted_p = mean_t + strength * cross, mean_p + strength * variance
    yield Step("truth under the tilt", tilted_t, mean_t + cross / variance * (tilted_p - mean_p))


def _explicit_shift(model: StructuralModel, displacement: Array) -> tuple[float, float, float]:
    """KL of the shift, KL of the proxy's law, and what the base regression promises, from the joint Gaussian."""
    inverse = np.linalg.inv(np.eye(len(model.variances)) - model.coefficients)
    covariance = inverse @ np.diag(model.variances) @ inverse.T
    variance = float(model.proxy @ covariance @ model.proxy)
    gain = float(model.proxy @ displacement)
    promised = float(model.gold @ covariance @ model.proxy) / variance * gain
    return _gaussian_kl(displacement, covariance, 0 * displacement, covariance), gain**2 / (2 * variance), promised


def _relation_check() -> Iterator[Comparison]:
    cause, chain = common_cause(on_gold=0.8, on_correlate=1.5, correlate_sd=0.7), intermediary(on_mediator=1.2)
    moves: tuple[tuple[str, StructuralModel, MeanShift, Array, float], ...] = (
        ("longer answers", cause, cause.intervene(2, 1.0), np.array([0.0, 0.0, 1.0]), 0.0),
        ("more effort", cause, cause.intervene(0, 1.5), np.array([1.0, 0.8, 1.5]), 0.8),
        ("manipulated mediator", chain, chain.intervene(1, 1.0), np.array([0.0, 1.0, 1.0]), 0.0),
        ("more gold", chain, chain.intervene(0, 1.2), np.array([1.0, 1.2, 1.2]), 1.0),
    )
    for name, model, shift, displacement, gold in moves:
        kl, kl_proxy, promised = _explicit_shift(model, displacement)
        yield equal(f"gold delivered by {name}", shift.delivered, gold)
        yield equal(f"gold promised to {name}", shift.expected_gold, promised)
        yield equal(f"causal term of {name}", shift.causal, promised - gold)
        yield equal(f"KL of {name}", shift.kl, kl)
        yield equal(f"KL of {name} off the proxy", shift.kl_off, kl - kl_proxy)
        yield at_least(f"bound on the causal term of {name}", shift.causal_bound, abs(shift.causal))
    for name, model in (("common cause", cause), ("intermediary", chain)):
        given = model.condition(1.0)
        yield equal(f"conditioning keeps the relation, {name}", given.causal, 0.0)
        yield equal(f"and spends all its KL on the proxy, {name}", given.kl_off, 0.0)


def _penalised_slack(numbers: tuple[int, ...]) -> float:
    """Truth under the coded optimizers is ``E[T | P]`` at their own persuasiveness; the tilt's is known otherwise too.

    The tilt by ``exp(lambda P)`` moves each of the independent submodules by lambda, its weight in P and its variance.
    """
    weights, means, sds = _submodules(numbers)
    mean, covariance = _submodule_moments(weights, means, sds)
    sd = float(np.sqrt(covariance[1, 1]))
    world = World(stats.norm(mean[1], sd), lambda p: mean[0] + covariance[0, 1] / sd**2 * (p - mean[1]))
    strength, in_proxy = 1.5 / sd, weights * [1.0, 0.0, 1.0]
    tilted, best, top = exponential_tilt(world, strength), best_of_n(world, 64.0), quantilizer(world, 0.02)
    truth, persuasion = _submodule_moments(weights, means + strength * in_proxy * sds**2, sds)[0]
    model = StructuralModel(np.zeros((3, 3)), sds**2, in_proxy, weights * [1.0, 1.0, 0.0])
    gaps = [
        float(curve.gold) - _submodule_mean(weights, means, sds, float(curve.proxy)) for curve in (tilted, best, top)
    ]
    gaps += [float(tilted.gold) - truth, float(tilted.proxy) - persuasion]
    gaps.append(model.condition(float(tilted.proxy) - mean[1]).delivered - (truth - mean[0]))
    return 1e-8 - float(np.abs(gaps).max())


def _inside_the_family(means: tuple[float, ...], sds: tuple[float, ...], coefficient: float) -> Iterator[Comparison]:
    """Maximise ``E[P] - coefficient KL`` over weights on a grid of the simplex, from equal weights."""
    mu, sd = np.asarray(means), np.asarray(sds)
    start = np.full(3, 1 / 3)
    base_mean, base_covariance = _submodule_moments(start, mu, sd)
    best = (-np.inf, 0.0, 0.0)
    for alpha in np.linspace(0.02, 0.96, 48):
        for beta in np.linspace(0.02, 0.98 - alpha, 48):
            mean, covariance = _submodule_moments(np.array([alpha, beta, 1 - alpha - beta]), mu, sd)
            best = max(
                best, (mean[1] - coefficient * _gaussian_kl(mean, covariance, base_mean, base_covariance), *mean)
            )
    conditioned = _submodule_mean(start, mu, sd, best[2])
    yield at_least("persuasiveness of the penalised optimum over the start", best[2] - base_mean[1], 0.02)
    yield at_most("its truth over the start", best[1] - base_mean[0], -0.01)
    yield at_least("truth when conditioning on that persuasiveness, over the start", conditioned - base_mean[0], 0.005)


def _gaussian_kl(mean: Array, covariance: Array, base_mean: Array, base_covariance: Array) -> float:
    gap = mean - base_mean
    inverse = np.linalg.inv(base_covariance)
    log_ratio = np.linalg.slogdet(base_covariance)[1] - np.linalg.slogdet(covariance)[1]
    return float(np.trace(inverse @ covariance) + gap @ inverse @ gap - len(gap) + log_ratio) / 2


class _Sentences:
    """A million sentences with reward uniform on [0, 100] and one with a reward far above."""

    count = 10**6
    odd = 1e5

    @classmethod
    def tilt(cls, strength: float, odd: float = odd) -> tuple[float, float]:
        """Probability of the odd sentence, and the mean reward of the others, by summing over all of them."""
        reward = (np.arange(cls.count) + 0.5) / cls.count * 100
        top = max(strength * odd, strength * 100)
        weight = np.exp(strength * reward - top)
        adversarial = float(np.exp(strength * odd - top))
        return adversarial / (adversarial + weight.sum()), float(weight @ reward / max(weight.sum(), 1e-300))


def _switch(count: float, odd: float) -> float:
    """The row's ``lambda* = log N / (R - 50)``, where the tilt emits the odd sentence half the time."""
    return float(np.log(count) / (odd - 50))


def _given_top(count: float, share: float) -> float:
    """Probability of the odd sentence when conditioning on the best ``share`` of the ordinary ones, as in the row."""
    return 1 / (1 + count * share)


LEVELS = tuple(((np.arange(400) + 0.5) / 4).tolist())


def _sentence_slack(world: tuple[int, float]) -> float:
    """N ordinary sentences on 400 levels of reward and an odd one, as an exact table under every policy of the row."""
    count, odd = world
    kept = (count / 400 / (count + 1),) * 400
    ordinary = FiniteTable((1 / 400,) * 400, LEVELS, LEVELS)
    table, clipped = (
        FiniteTable((*kept, 1 / (count + 1)), (*LEVELS, reward), (*LEVELS, 0.0)) for reward in (odd, 100.0)
    )
    slacks = []
    for percent in (1, 7, 40):
        emitted = table.condition(100.0 - percent).probability[-1]
        slacks.append(1e-9 - abs(emitted / _given_top(count, percent / 100) - 1))
    switch = _switch(count, odd)
    share = table.exponential_tilt(switch).probability[-1]
    # A cumulant of rewards within 100 points exceeds its linear term by at most lambda^2 100^2 / 8.
    log_odds = float(np.log(share / (1 - share)))
    slacks += [1e-9 - log_odds, log_odds + 1250 * switch**2 + 1e-9]
    for strength in (*np.geomspace(1e-4, 1e-2, 9).tolist(), 0.00121):
        emitted = table.exponential_tilt(strength).probability[-1]
        # Either the ordinary reward stays below 51, or the odd sentence is all there is.
        slacks.append(max(51 - ordinary.exponential_tilt(strength).proxy, emitted - (1 - 1e-5)))
    # Clipped, the odd sentence is one of the best: x/(1 - e^-x) <= 1 + x times as likely as an ordinary one.
    rare = clipped.exponential_tilt(0.05).probability[-1]
    slacks += [1.001 * (1 + 5) - rare * count, ordinary.exponential_tilt(0.05).proxy - 79]
    return float(min(slacks))


def _sentence_check() -> Iterator[Comparison]:
    rewards = (np.arange(10**6) + 0.5) / 10**4
    above = np.count_nonzero(rewards > 99) + 1
    yield equal("probability of the odd sentence given reward > 99", 1 / above, 1 / 10001, 1e-12)
    yield equal("as stated for any share of the ordinary ones", _given_top(10**6, 0.01), 1 / above, 1e-12)
    best = -np.expm1(100 * np.log1p(-1 / (10**6 + 1)))
    yield equal("best-of-100 emits it, times 1e4", 1e4 * best, 1.0, 1e-3)
    switch = _switch(_Sentences.count, _Sentences.odd)
    yield equal("share at the switch lambda* = log N/(R - 50)", _Sentences.tilt(switch)[0], 0.5, 1e-3)
    yield at_most("share at 0.9 lambda*", _Sentences.tilt(0.9 * switch)[0], 0.21)
    yield at_least("share at 1.2 lambda*", _Sentences.tilt(1.2 * switch)[0], 0.9)
    needed = optimize.brentq(lambda s: 100 / -np.expm1(-100 * s) - 1 / s - 51, 1e-4, 1e-2)
    yield equal("the others reach reward 51 at", _Sentences.tilt(needed, odd=100.0)[1], 51.0, 1e-6)
    yield at_least("pressure that this needs, over lambda*", needed / switch, 8.0)
    yield equal("share of the odd sentence there", _Sentences.tilt(needed)[0], 1.0, 1e-12)
    clipped = _Sentences.tilt(0.05, odd=100.0)
    yield at_most("clipped at 100: its share", clipped[0], 1e-4)
    yield at_least("clipped at 100: reward of the others", clipped[1], 79.0)
    rare = 2e-5
    yield at_least("mean over all sentences at a share of 2e-5", 50 * (1 - rare) + rare * _Sentences.odd, 51.0)


def _shift_proof() -> Iterator[Step]:
    m, v = sympy.symbols("m v", real=True)
    rho = sympy.Symbol("rho", real=True)
    inverse = sympy.Matrix([[1, rho], [rho, 1]]).inv()
    shift = sympy.Matrix([m, v])
    kl = (shift.T * inverse * shift)[0] / 2
    stated = m**2 / 2 + (v - rho * m) ** 2 / (2 * (1 - rho**2))
    yield Step("KL of the shift (m, v)", kl, stated)
    yield Step(
        "X alone against both along the covariance", stated.subs(v, 0) / stated.subs(v, rho * m), 1 / (1 - rho**2)
    )
    natural = sympy.Matrix([[1, rho], [rho, 1]]) * sympy.Matrix([1, 0])
    yield Step("natural gradient of E[X]: its Y part over its X part", natural[1] / natural[0], rho)


def _shift_slack(numbers: tuple[int, ...]) -> float:
    """The coded KL is the Gaussians' own: least along the covariance, ``1/(1 - rho^2)`` times that for X alone.

    The coded gradient paths end at those two shifts.
    """
    rho, m, v = (numbers[0] - numbers[1]) / (numbers[0] + numbers[1]), float(numbers[3]), float(numbers[4])
    covariance = np.array([[1.0, rho], [rho, 1.0]])
    natural, vanilla = (mean_path([1.0, 0.0], covariance, m, natural=followed) for followed in (True, False))

    def kl(shift: Array) -> float:
        return _gaussian_kl(np.asarray(shift), covariance, np.zeros(2), covariance)

    exact = kl(np.array([m, v]))
    gaps = [float(shift_kl(m, v, rho)) - exact, kl(vanilla) * (1 - rho**2) - kl(natural), vanilla[1], vanilla[0] - m]
    return float(min(exact - kl(natural) + 1e-9, 1e-8 - np.abs(gaps).max()))


def _shift_check() -> Iterator[Comparison]:
    for rho, m, v in ((0.8, 1.2, 0.0), (-0.5, 0.7, 1.0)):
        x = np.stack(np.meshgrid(*[np.linspace(-10, 10, 401)] * 2, indexing="ij"), axis=-1)
        covariance = np.array([[1.0, rho], [rho, 1.0]])
        moved, base = stats.multivariate_normal([m, v], covariance), stats.multivariate_normal([0, 0], covariance)
        exact = float(np.sum(moved.pdf(x) * (moved.logpdf(x) - base.logpdf(x)))) * (20 / 400) ** 2
        stated = m**2 / 2 + (v - rho * m) ** 2 / (2 * (1 - rho**2))
        yield equal(f"KL by quadrature, rho = {rho:g}", stated, exact, 1e-9)
        yield equal(f"KL as coded, rho = {rho:g}", shift_kl(m, v, rho), exact, 1e-9)
    # Gradient ascent on E[X] in the mean: vanilla moves X alone, natural moves along the covariance.
    rho, covariance = 0.6, np.array([[1.0, 0.6], [0.6, 1.0]])
    vanilla, natural = np.zeros(2), np.zeros(2)
    for _ in range(100):
        vanilla, natural = vanilla + 0.01 * np.array([1.0, 0.0]), natural + 0.01 * covariance @ np.array([1.0, 0.0])
    cost = [float(shift @ np.linalg.solve(covariance, shift)) / 2 for shift in (vanilla, natural)]
    yield equal("KL of the vanilla path over the natural path's at equal X", cost[0] / cost[1], 1 / (1 - rho**2))
    yield equal("Y gained by the vanilla path", vanilla[1], 0.0)
    yield equal("Y gained by the natural path", natural[1], rho)
    for name, steps, followed in (("natural", natural, True), ("vanilla", vanilla, False)):
        path = mean_path([1.0, 0.0], covariance, np.array([1.0]), natural=followed)[0]
        yield equal(f"{name} path as coded", float(np.abs(path - steps).max()), 0.0)


CLAIMS = (
    Claim(
        id="K34", title="A rare adversarial mode: best-of-n is hacked gradually, the tilt at once and at a lower KL",
        verdict="true",
        statement=r"P(\text{hacked}) = 1 - (1 - \epsilon)^n \ \text{(best-of-n)}, \quad"
        r" \frac{\epsilon e^{\lambda R}}{\epsilon e^{\lambda R} + (1 - \epsilon) e^{\lambda^2 / 2}} \ \text{(tilt)}",
        assumptions="mode above the bulk by more than sqrt(2 log 1/epsilon) SD", source="seed discussion; derived",
        proof=_mode_proof, check=_mode_check, property=Property("untied_tables_with_n", _mode_slack),
        note="A mode only just above a normal bulk never takes over the tilt at all: the bulk's own tail outbids it.",
    ),
    Claim(
        id="K35", title="Three submodules: RL on the weights drives truth to 0, conditioning raises it", verdict="true",
        statement=r"\mathrm{E}[T \mid P = p] = \alpha \mu_A + \beta \mu_B + \frac{\alpha^2 \sigma_A^2}"
        r"{\alpha^2 \sigma_A^2 + \gamma^2 \sigma_C^2} (p - \alpha \mu_A - \gamma \mu_C)",
        assumptions="mu_C > mu_A and no KL term; else RL ends at weight 1 on a",
        source="Marks, Neyman, Thomas (LessWrong)",
        check=_submodule_check, property=Property("submodules", _submodule_slack),
    ),
    Claim(
        id="K36", title="RL with a KL penalty behaves like conditioning", verdict="conditional",
        statement=r"\mathrm{E}_\lambda[T] = \mathrm{E}[T \mid P = \mathrm{E}_\lambda[P]]",
        assumptions="policy class contains the tilt; equality of means for Gaussian outputs",
        source="same thread; Korbak 2205.11275",
        proof=_conditioning_proof, check=_relation_check, property=Property("submodules", _penalised_slack),
        counterexample=Counterexample(
            "inside the weight family the penalised optimum buys persuasiveness with truth; conditioning raises both",
            {"means": (0.5, 0.3, 1.0), "sds": (1.0, 0.7, 1.3), "coefficient": 0.5}, _inside_the_family,
        ),
    ),
    Claim(
        id="K37", title="One adversarial sentence in a million: conditioning barely emits it, no KL coefficient helps",
        verdict="true",
        statement=r"P(\text{odd} \mid u > 99) = \frac{1}{10001}, \quad \lambda^* = \frac{\log N}{R - 50},"
        r" \quad P_{\lambda}(\text{odd}) = 1 \text{ wherever } \mathrm{E}_\lambda[u \mid \text{ordinary}] > 51",
        assumptions="unclipped linear penalty; the reward that must exceed 51 is that of the ordinary sentences, and R "
        "is so large that lambda* lies well below .0012, where they reach it",
        source="same thread (Chan)",
        check=_sentence_check, property=Property("odd_sentences", _sentence_slack),
        note="Read over all sentences the row is wrong: a share of 2e-5 is rare and alone lifts the mean reward to 52.",
    ),
    Claim(
        id="K38", title="Shifting X alone costs 1/(1-rho^2) times the KL and gains no Y", verdict="true",
        statement=r"\mathrm{KL}(m, v) = \frac{m^2}{2} + \frac{(v - \rho m)^2}{2 (1 - \rho^2)}",
        assumptions="mean-parametrised Gaussian with correlation rho; vanilla gradient shifts, natural conditions",
        source="same thread (Jenner); derived",
        proof=_shift_proof, check=_shift_check, property=Property("submodules", _shift_slack),
    ),
)  # fmt: skip
