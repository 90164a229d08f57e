"""K20-K23 and K25: what the tail of the proxy's error decides."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import sympy
from numpy.typing import NDArray
from scipy import stats

from overopt.theory.additive import Convolution, additive_world
from overopt.theory.claims.comparison import Comparison, at_least, at_most, equal
from overopt.theory.claims.entry import Claim, Counterexample, Property, Step
from overopt.theory.claims.noise_worlds import InnerNoise
from overopt.theory.claims.oracles import panels, posterior_mean
from overopt.theory.claims.worlds import HeavyTailed, IndependentNoise
from overopt.theory.errors import InputError
from overopt.theory.exponential_tilt import exponential_tilt
from overopt.theory.threshold import threshold

__all__ = ["CLAIMS"]

Array = NDArray[np.float64]
NORMAL = stats.norm()


def _upper_t3(c: Array) -> tuple[Array, Array, Array]:
    """``E[Z^k; Z > c]`` for k = 0, 1, 2 and Student t3 noise, in closed form."""
    law = stats.t(3)
    upper, density = law.sf(c), law.pdf(c)
    arc = np.pi / 2 - np.arctan(c / np.sqrt(3))
    return upper, (3 + c**2) / 2 * density, 3 * np.sqrt(3) * law.pdf(0.0) * arc - 3 * upper


def _upper_laplace(c: Array, scale: float) -> tuple[Array, Array, Array]:
    """The same for Laplace noise."""
    far, half = np.abs(c), np.exp(-np.abs(c) / scale) / 2
    second = half * (far**2 + 2 * far * scale + 2 * scale**2)
    return (
        np.where(c > 0, half, 1 - half),
        half * (far + scale),
        np.where(c > 0, second, 2 * scale**2 - second),
    )


def _upper_normal(c: Array) -> tuple[Array, Array, Array]:
    """The same for standard normal noise."""
    upper, density = NORMAL.sf(c), NORMAL.pdf(c)
    return upper, density, upper + c * density


def _beyond(upper: tuple[Array, Array, Array], t: float) -> dict[str, float]:
    """Probability of ``S = X + Z > t`` with X normal, means of X and S there, and their correlation there."""
    x, weight = _gold_nodes()
    m0, m1, m2 = upper
    weight = weight / (weight @ m0) if (mass := float(weight @ m0)) > 0 else weight
    gold, square = float(weight @ (x * m0)), float(weight @ (x**2 * m0))
    proxy = gold + float(weight @ m1)
    proxy_square = square + float(weight @ (2 * x * m1 + m2))
    cross = square + float(weight @ (x * m1)) - gold * proxy
    return {
        "mass": mass, "gold": gold, "proxy": proxy,
        "correlation": cross / np.sqrt((square - gold**2) * (proxy_square - proxy**2)),
    }  # fmt: skip


def _gold_nodes() -> tuple[Array, Array]:
    x, weight = panels(np.linspace(-9.0, 9.0, 37))
    return x, weight * NORMAL.pdf(x)


def _catastrophe_check() -> Iterator[Comparison]:
    world = additive_world(NORMAL, stats.t(3))
    curve = threshold(world, np.array([5.0, 40.0]))
    for index, t in enumerate((5.0, 40.0)):
        exact = _beyond(_upper_t3(t - _gold_nodes()[0]), t)
        yield equal(f"proxy beyond {t:g}", curve.proxy[index], exact["proxy"], 1e-8)
        yield equal(f"gold beyond {t:g}", curve.gold[index], exact["gold"], 1e-8)
        yield equal(f"KL of conditioning on it, t = {t:g}", curve.kl[index], -np.log(exact["mass"]), 1e-8)
    before = (0.0, np.inf, np.inf)
    for t in (1e2, 1e4, 1e7):
        # Sample from beyond t with a small probability, else from the base policy.
        exact = _beyond(_upper_t3(t - _gold_nodes()[0]), t)
        share = float(-np.log(exact["mass"])) ** -1.5
        now = (share * exact["proxy"], _mixed_kl(share, exact["mass"]), share * exact["gold"])
        yield at_least(f"proxy at t = {t:g}, ten times the one before", now[0], 10 * before[0] if before[0] else 1.0)
        yield at_most(f"KL at t = {t:g}, less than before", now[1], before[1])
        yield at_most(f"gold at t = {t:g}, less than before", now[2], before[2])
        before = now
    yield at_most("KL in the end, nats", before[1], 0.16)
    yield at_most("gold in the end", before[2], 1e-7)


def _mixed_kl(share: float, mass: float) -> float:
    """KL of taking the ``share`` of the samples from an event of base probability ``mass``, the rest from the base."""
    above = (share + (1 - share) * mass) * np.log(1 - share + share / mass)
    return float(above + (1 - share) * (1 - mass) * np.log1p(-share))


def _catastrophe_slack(world: HeavyTailed) -> float:
    """A share ``t^(-1/2)`` from beyond t: for each 100 t proxy grows 5 times, KL falls 5 times, gold's gain is O(1/t).

    Exactly: proxy about sqrt t, KL about ``t^(-1/2) log t``, gold beyond t above its base by ``index slope Var X / t``.
    """
    proxy, gold = world.base()
    # A variance is at most a quarter of the squared range; the tail's slope varies by a third over the light part.
    bound = 1.5 * world.index * world.light.slope * float(np.ptp(world.light.gold)) ** 2 / 4
    slacks, gains, kls = [], [], []
    for t in (1e3, 1e5, 1e7):
        mass, above, gold_above = world.beyond(t)
        slacks.append(1 - t * abs(gold_above - gold) / bound if bound else 1.0)
        gains.append((above - proxy) / np.sqrt(t))
        kls.append(_mixed_kl(t**-0.5, mass))
    slacks += [gains[1] / gains[0] - 5, gains[2] / gains[1] - 5, kls[0] / kls[1] - 5, kls[1] / kls[2] - 5]
    return float(min(slacks))


def _factorised_proof() -> Iterator[Step]:
    strength = sympy.Symbol("lambda", positive=True)
    gold, noise = sympy.Function("kappa_X")(strength), sympy.Function("kappa_Z")(strength)
    shared = sympy.Symbol("mu", real=True)
    # E[X e^(lambda(X+Z))] / E[e^(lambda(X+Z))]: tag X with its own strength, differentiate, set the tag back.
    joint = gold.subs(strength, strength + shared) + noise
    mean = sympy.diff(joint, shared).subs(shared, 0).doit()
    yield Step("gold under the tilt of the sum is kappa_X'", mean, sympy.diff(gold, strength))


def _light_check() -> Iterator[Comparison]:
    world = additive_world(NORMAL, stats.uniform(-2, 4))
    curve = exponential_tilt(world, np.array([0.5, 3.0, 12.0]))
    for index, strength in enumerate((0.5, 3.0, 12.0)):
        yield equal(f"gold under the tilt by {strength:g}, bounded noise", curve.gold[index], strength, 1e-8)


def _light_slack(world: IndependentNoise) -> float:
    """Gold under the tilt does not see the noise, and rises with the tilt."""
    noiseless = IndependentNoise(world.gold, world.gold_probability, (0.0,), (1.0,), world.slope)
    strengths = (0.0, 0.3, 1.0)
    gold = [world.exponential_tilt(strength).gold for strength in strengths]
    clean = [noiseless.exponential_tilt(strength).gold for strength in strengths]
    return float(min(np.diff(gold).min(), -max(abs(a - b) for a, b in zip(gold, clean, strict=True))))


def _laplace_cap(scale: float) -> Iterator[Comparison]:
    world = additive_world(NORMAL, stats.laplace(0, scale))
    curve = exponential_tilt(world, np.array([0.5, 0.9]) / scale)
    for index, fraction in enumerate((0.5, 0.9)):
        yield equal(f"gold at {fraction:g} of the largest pressure", curve.gold[index], fraction / scale, 1e-6)
        # Cumulants of X and Z: lambda^2/2 and -log(1 - lambda^2 scale^2).
        kl = (fraction / scale) ** 2 / 2 + 2 * fraction**2 / (1 - fraction**2) + np.log1p(-(fraction**2))
        yield equal(f"KL at {fraction:g} of the largest pressure, nats", curve.kl[index], kl, 1e-8)
    try:
        exponential_tilt(world, np.array([1.01 / scale]))
        refused = 0.0
    except InputError:
        refused = 1.0
    yield equal("beyond it the tilt does not exist", refused, 1.0, 0.0)


def _limit_is_one(c: tuple[float, ...]) -> Iterator[Comparison]:
    for value in c:
        found = InnerNoise(1.0, 2.0).conditional_mean(value)
        yield equal(f"E[X | X + Z = {value:g}] is 1 - 4/c", found, 1 - 4 / value, 20 / value**2)


def _inner_slack(world: tuple[InnerNoise, float]) -> float:
    """The claim: at a large sum gold is back within half an edge of 0."""
    inner, c = world
    return inner.edge / 2 - abs(inner.conditional_mean(c))


def _heavy_check() -> Iterator[Comparison]:
    noise = stats.t(3)
    for s in (30.0, 100.0):
        found = Convolution(NORMAL, noise).conditional_mean_exact(s)
        yield equal(f"t3 noise, normal gold: E[X | s = {s:g}]", found, posterior_mean(noise, s))
        # Tweedie at the far end: -(log f)' = 4/s.
        yield equal(f"is about 4/s at s = {s:g}", found, 4 / s, 20 / s**2)


def _collapse_slack(world: IndependentNoise) -> float:
    """Finite gold in noise with a t3 part is back at its base value like 4 Var/s, by Bayes' rule on every pair."""
    p, proxy, gold = (np.asarray(column) for column in (world.table.probability, world.table.proxy, world.table.gold))
    base, reach = float(p @ gold), float(np.ptp(gold))
    slacks = []
    for s in (1e4, 1e6):
        posterior = p * stats.t(3).pdf(s - proxy)
        gap = float(posterior @ gold) / float(posterior.sum()) - base
        # A variance is at most a quarter of the squared range.
        slacks.append(1.1 * world.slope * reach**2 / s - abs(gap))
    return min(slacks)


def _no_collapse(degrees: float, correlation: float) -> Iterator[Comparison]:
    x, weight = panels(
        np.concatenate([-np.geomspace(4000, 1, 60), np.linspace(-0.9, 0.9, 19), np.geomspace(1, 4000, 60)])
    )
    joint = stats.multivariate_t([0, 0], [[1, correlation], [correlation, 1]], df=degrees)
    for s in (5.0, 40.0):
        mass = weight * joint.pdf(np.stack([x + s / 2, s / 2 - x], axis=-1))
        yield equal(f"bivariate t: E[X | s = {s:g}] is s/2", float(mass @ (x + s / 2) / mass.sum()), s / 2, 1e-8)
        both = Convolution(stats.t(degrees), stats.t(degrees)).conditional_mean_exact(s)
        yield equal(f"independent gold as heavy as the noise: E[X | s = {s:g}] is s/2", both, s / 2, 1e-8)


def _correlation_check() -> Iterator[Comparison]:
    x = _gold_nodes()[0]
    normal = [_beyond(_upper_normal(t - x), t)["correlation"] for t in (0.0, 4.0, 8.0)]
    student = [_beyond(_upper_t3(t - x), t)["correlation"] for t in (4.0, 30.0, 300.0)]
    yield at_least("Gaussian noise: positive at 8", normal[2], 0.1)
    yield at_most("Gaussian noise: falls from 4 to 8", normal[2], 0.7 * normal[1])
    yield at_most("Gaussian noise: falls from 0 to 4", normal[1], 0.7 * normal[0])
    yield at_most("t3 noise: at 4", student[0], -0.1)
    yield at_most("t3 noise: at 30", student[1], -0.01)
    yield at_least("t3 noise: returns to 0 at 300", student[2], -0.01)
    # Corr(X, S) = Corr(m(S), S) sd(m(S))/sd(X): its sign is that of the slope of m.
    mean = Convolution(NORMAL, stats.t(3)).conditional_mean_exact(np.array([4.0, 30.0]))
    yield at_most("t3 noise: m falls from 4 to 30", mean[1] - mean[0], -0.5)


def _tail_correlation(t: float) -> float:
    """``Corr(X, S | S > t)`` for two standard normals, from the variance of a truncated normal."""
    edge = t / np.sqrt(2.0)
    hazard = float(np.exp(NORMAL.logpdf(edge) - NORMAL.logsf(edge)))
    variance = 1 + edge * hazard - hazard**2
    return float(np.sqrt(variance / (variance + 1)))


def _correlation_slack(t: float) -> float:
    """Gaussian noise: positive, falling, and as a truncated normal has it; t3 noise, from 4 on: negative."""
    x, far = _gold_nodes()[0], 4 * float(np.exp((t + 3) / 3))
    near, further = (_beyond(_upper_normal(edge - x), edge)["correlation"] for edge in (t, t + 0.5))
    student = _beyond(_upper_t3(far - x), far)["correlation"]
    return min(further, near - further, 1e-6 - abs(near - _tail_correlation(t)), -student)


def _heavier_but_positive(scale: float) -> Iterator[Comparison]:
    x = _gold_nodes()[0]
    for t in (2.0, 4.0, 8.0):
        correlation = _beyond(_upper_laplace(t - x, scale), t)["correlation"]
        yield at_least(f"Laplace noise, heavier than Gaussian: correlation beyond {t:g}", correlation, 0.0)
    yield at_least("and it is not 0 at 2", _beyond(_upper_laplace(2.0 - x, scale), 2.0)["correlation"], 0.09)


CLAIMS = (
    Claim(
        id="K20", title="Heavy-tailed error: proxy to infinity, KL to 0, gold at the base value", verdict="true",
        statement=r"\exists\, \pi_t:\ \mathrm{E}_{\pi_t}[u] \to \infty,\ \mathrm{KL}(\pi_t \| \pi_0) \to 0,\ "
        r"\mathrm{E}_{\pi_t}[g] \to \mathrm{E}_0[g]",
        assumptions="independent error without a moment generating function, gold lighter-tailed",
        source="Kwa et al. 2407.14503, Theorem 2",
        check=_catastrophe_check, property=Property("heavy_tailed", _catastrophe_slack),
    ),
    Claim(
        id="K21", title="Light-tailed independent error: gold to infinity as the KL coefficient goes to 0",
        verdict="conditional",
        statement=r"\mathrm{E}_{\pi_\lambda}[X] = \kappa_X'(\lambda) \quad \text{wherever } \kappa_Z(\lambda) < \infty",
        assumptions="moment generating functions finite everywhere, gold unbounded above",
        source="Kwa et al. 2407.14503, Theorem 3",
        proof=_factorised_proof, check=_light_check, property=Property("independent_noise", _light_slack),
        counterexample=Counterexample(
            "Laplace noise of scale b is light-tailed and caps gold at s^2/b: below that coefficient no optimum exists",
            {"scale": 0.7}, _laplace_cap,
        ),
    ),
    Claim(
        id="K22", title="Noise only where |X| <= 1: conditioning on a large sum gives gold 0", verdict="false",
        statement=r"X \sim N(0, 1),\ Z \mid X \sim N(0, 4) \text{ if } |X| \le 1 \text{ else } 0:\ "
        r"\lim_{c \to \infty} \mathrm{E}[X \mid X + Z = c] = 1, \text{ not } 0",
        assumptions="none", source="a comment on the Kwa-Thomas posts",
        property=Property("inner_noise", _inner_slack),
        counterexample=Counterexample(
            "the densest way to a large sum is X at its upper edge 1 with a large Z: the mean is 1 - 4/c",
            {"c": (50.0, 200.0, 1000.0)}, _limit_is_one,
        ),
    ),
    Claim(
        id="K23", title="Heavy tails imply collapse", verdict="conditional",
        statement=r"\lim_{s \to \infty} \mathrm{E}[X \mid X + Z = s] = \mathrm{E}[X]",
        assumptions="X and Z independent, and X lighter-tailed than Z", source="folklore",
        check=_heavy_check, property=Property("independent_noise", _collapse_slack),
        counterexample=Counterexample(
            "a bivariate t (dependent), and independent gold with the noise's own tail: E[X | s] = s/2",
            {"degrees": 3.0, "correlation": 0.0}, _no_collapse,
        ),
        note="Independence alone, the row's assumption, gives no collapse: iid gold and noise have E[X | s] = s/2.",
    ),
    Claim(
        id="K25", title="Tail correlation goes to 0 for Gaussian noise and is negative for heavier noise",
        verdict="conditional",
        statement=r"\mathrm{Corr}(X, S \mid S > t) \to 0^+ \text{ (Gaussian)}, \quad < 0 \text{ (power tails)}",
        assumptions="X normal, Z independent; negative where m falls, that is for tails heavier than exponential",
        source="El-Mhamdi & Hoang 2410.09638",
        check=_correlation_check, property=Property("log_pressures", _correlation_slack),
        counterexample=Counterexample(
            "Laplace noise is heavier than Gaussian, and its tail correlation is positive",
            {"scale": 0.7071}, _heavier_but_positive,
        ),
    ),
)  # fmt: skip
