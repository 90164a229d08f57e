"""K10, K29-K33: from a conditional mean to the law that a fit reports."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import sympy
from numpy.typing import NDArray
from scipy import integrate, special, stats

from overopt.theory import mechanisms as mech
from overopt.theory.best_of_n import best_of_n, best_of_n_kl, n_at_kl
from overopt.theory.claims.comparison import Comparison, at_least, at_most, equal, printed
from overopt.theory.claims.entry import Claim, Counterexample, Property, Step
from overopt.theory.claims.oracles import normal_best_of_n, ols, panels
from overopt.theory.claims.worlds import BentMean
from overopt.theory.exponential_tilt import exponential_tilt, tilt_at_kl
from overopt.theory.scaling_laws import LAWS, fit_law
from overopt.theory.world import World

__all__ = ["CLAIMS"]

Array = NDArray[np.float64]
NORMAL = stats.norm()
# A piece of m a tenth wide can hold off steeper ones beyond it until 16 SD out; at 36 SD a tail is still a number.
STRENGTHS = np.linspace(-30.0, 32.0, 1241)


def _directions(world: BentMean) -> Array:
    """1 where gold rises along the tilt and -1 where it falls, from far below to far above the base policy."""
    slope = world.tilted_slope(STRENGTHS)
    signs: Array = np.sign(slope[slope != 0])
    return signs


def _turns(world: BentMean) -> int:
    """How often gold turns along the tilt."""
    return int(np.count_nonzero(np.diff(_directions(world))))


def _threshold_slack(world: BentMean) -> float:
    """The tilt turns gold at most as often as m turns, and gold sets out and ends in m's own directions.

    Together: a single turn of m becomes exactly one turn of gold.
    """
    m, gold = world.directions(), _directions(world)
    if not (np.array_equal(m[:1], gold[:1]) and np.array_equal(m[-1:], gold[-1:])):
        return -1.0
    return float(world.turning_points() - _turns(world))


def _threshold_check() -> Iterator[Comparison]:
    for bent in (BentMean(1.0, (1.5,), (-2.0,)), BentMean(2.0, (-0.5, 1.0, 3.0), (-1.0, -2.0, 0.5))):
        curve = exponential_tilt(World(NORMAL, bent.mean), np.array([0.0, 0.7, 2.5]))
        for index, strength in enumerate((0.7, 2.5)):
            exact = bent.exponential_tilt(strength)[1]
            yield equal(f"gold gain under the tilt by {strength:g}", curve.gold[index + 1] - curve.gold[0], exact, 1e-8)
        yield equal("turns of gold", _turns(bent), 1.0, 0.0)


def _two_maxima(slope: float, knots: tuple[float, ...], bends: tuple[float, ...]) -> Iterator[Comparison]:
    bumps = BentMean(slope, knots, bends)
    yield equal("turning points of m", bumps.turning_points(), 3.0, 0.0)
    grid = np.linspace(0.0, 8.0, 321)
    gold = np.array([bumps.exponential_tilt(float(strength))[1] for strength in grid])
    maxima = np.count_nonzero((gold[1:-1] > gold[:-2]) & (gold[1:-1] > gold[2:]))
    yield equal("maxima of gold along the tilt", maxima, 2.0, 0.0)


def _quadratic_proof() -> Iterator[Step]:
    strength, d, slope, curve = sympy.symbols("lambda d a q", positive=True)
    u = sympy.Symbol("u", real=True)
    density = sympy.exp(-((u - strength) ** 2) / 2) / sympy.sqrt(2 * sympy.pi)
    gold = sympy.integrate(sympy.expand(slope * u - curve * (u**2 - 1)) * density, (u, -sympy.oo, sympy.oo))
    law = d * (sympy.sqrt(2) * slope - 2 * curve * d)
    yield Step(
        "tilt gold at lambda = sqrt2 d", sympy.simplify(gold).subs(strength, sympy.sqrt(2) * d), sympy.expand(law)
    )


W, V = np.array([3.0, 4.0]), np.array([0.9, -0.2])
Q = np.array([[0.3, 0.1], [0.1, 0.2]])


def _features_gold(strength: float) -> tuple[float, float]:
    """Gold gain and KL of the tilt by ``w.phi`` by summing over a grid of the two normal features."""
    axis = np.linspace(-9.0, 9.0, 361)
    phi = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1)
    proxy = phi @ (W / 5.0)
    gold = phi @ V - np.einsum("...i,ij,...j->...", phi, Q, phi)
    base = np.exp(-np.sum(phi**2, axis=-1) / 2)
    base /= base.sum()
    tilted = base * np.exp(strength * proxy)
    mass = tilted.sum()
    tilted /= mass
    return float(np.sum((tilted - base) * gold)), float(strength * np.sum(tilted * proxy) - np.log(mass))


def _quadratic_slack(numbers: tuple[int, ...]) -> float:
    """The implied law against gold and KL of the tilt, by weighting quadrature nodes over three features one by one."""
    w, v, diagonal = np.array(numbers, dtype=float).reshape(3, 3)
    w, q = w / np.linalg.norm(w), np.diag(diagonal) / 10 + 0.1
    node, weight = np.polynomial.hermite_e.hermegauss(24)
    phi = np.stack(np.meshgrid(node, node, node, indexing="ij"), axis=-1).reshape(-1, 3)
    base = np.prod(np.stack(np.meshgrid(weight, weight, weight, indexing="ij"), axis=-1), axis=-1).ravel()
    base /= base.sum()
    ratio = np.exp(phi @ w)
    mass = float(base @ ratio)
    gold = phi @ v - np.einsum("ki,ij,kj->k", phi, q, phi)
    gain = float((base * (ratio / mass - 1)) @ gold)
    kl = float((base * ratio / mass) @ (phi @ w)) - np.log(mass)
    name, coefficients = mech.QuadraticGold.from_features(w, v, q).implied_law()
    return 1e-8 - abs(float(LAWS[name].gold(np.sqrt(kl), *coefficients)) - gain)


def _quadratic_check() -> Iterator[Comparison]:
    mechanism = mech.QuadraticGold.from_features(W, V, Q)
    name, (alpha, beta) = mechanism.implied_law()
    direction = W / 5.0
    yield equal("alpha = sqrt2 v.w", alpha, np.sqrt(2.0) * float(V @ direction))
    yield equal("beta = 2 w'Qw", beta, 2 * float(direction @ Q @ direction))
    for strength in (0.5, 2.0):
        gold, kl = _features_gold(strength)
        yield equal(f"law at lambda = {strength:g}", LAWS[name].gold(np.sqrt(kl), alpha, beta), gold, 1e-9)
        curve = exponential_tilt(World(NORMAL, mechanism), np.array([0.0, strength]))
        yield equal(f"exact tilt at lambda = {strength:g}", curve.gold[1] - curve.gold[0], gold, 1e-9)


def _gumbel_proof() -> Iterator[Step]:
    n, t = sympy.symbols("n t", positive=True)
    # t = -log F of the winner is exponential with rate n.
    density = n * sympy.exp(-n * t)
    log_mean = sympy.integrate(sympy.log(t) * density, (t, 0, sympy.oo))
    mean = sympy.integrate(t * density, (t, 0, sympy.oo))
    penalty = -log_mean + mean - 1 - sympy.EulerGamma
    yield Step("best-of-n mean of h", sympy.simplify(penalty), sympy.log(n) - (n - 1) / n)


def _gumbel_check() -> Iterator[Comparison]:
    world = World(NORMAL, lambda u: mech.gumbel_penalty(NORMAL.logcdf(u)))
    curve = best_of_n(world, np.array([2.0, 10.0, 1000.0]))
    for index, figure in enumerate(("0.19315", "1.40259", "5.90876")):
        yield printed(f"best-of-n mean of h, n = {curve.pressure[index]:g}", curve.gold[index], figure)
    for f in (0.3, 0.99):
        exact = -np.log(-np.log(f)) - np.log(f) - 1 - float(-integrate.quad(lambda t: np.log(t) * np.exp(-t), 0, 60)[0])
        yield equal(f"h({f:g})", mech.gumbel_penalty(np.log(f)), exact, 1e-7)
    far = 1e-8
    gap = mech.gumbel_penalty(np.log1p(-far)) - mech.surprisal(np.log(far))
    yield equal("h minus the tail surprisal far out is -gamma", gap, -np.euler_gamma, 1e-6)
    (_, beta), r2 = ols([curve.d, -(curve.d**2)], -0.3 * curve.gold)
    yield equal("a gold penalty of .3 h is fitted with beta", beta, 0.3, 1e-8)
    yield equal("exactly", r2, 1.0, 1e-10)


def _gumbel_slack(world: tuple[Any, float]) -> float:
    """For any proxy law the best-of-n mean of h is the KL."""
    law, n = world

    def penalty(u: Array) -> Array:
        # From the smaller tail: scipy's own logcdf has no digits left where F is close to 1.
        upper = np.minimum(law.logsf(u), 0.0)
        return mech.gumbel_penalty(np.where(upper < -0.7, np.log1p(-np.exp(np.minimum(upper, -0.7))), law.logcdf(u)))

    curve = best_of_n(World(law, penalty), np.array([n]))
    kl = float(np.log(n)) - (n - 1) / n
    return 1e-7 - abs(float(curve.gold[0]) - kl) / max(1.0, kl)


def _integrated(mechanism: Any, density: Any, u: float) -> float:
    """``slope u - loss INT (u - tau)_+ rho(tau) dtau`` by adaptive quadrature."""
    low, top = mechanism.low, min(max(u, mechanism.low), mechanism.high)
    return float(mechanism.slope * u - mechanism.loss * integrate.quad(lambda t: (u - t) * density(t), low, top)[0])


def _break_point_check() -> Iterator[Comparison]:
    low, high = 0.2, 8.0
    powered = (high**3 - low**3) / 3
    cases = (
        (mech.UniformBreakPoints(1.0, 1.5, low, high), lambda t: 1 / (high - low)),
        (mech.LogUniformBreakPoints(1.0, 1.5, low, high), lambda t: 1 / (t * np.log(high / low))),
        (mech.PowerBreakPoints(1.0, 1.5, low, high, gamma=3.0), lambda t: t**2 / powered),
    )
    for mechanism, density in cases:
        for u in (-1.0, 3.0, 9.5):
            name = f"{type(mechanism).__name__} at u = {u:g}"
            yield equal(name, mechanism(u), _integrated(mechanism, density, u), 1e-9)


def _break_point_slack(numbers: tuple[int, ...]) -> float:
    """Every density of break-points, anywhere, against adaptive quadrature of it below, inside and above its range."""
    slope, loss, gamma = numbers[0], numbers[1] / 2, numbers[2] / 2
    low, high = numbers[6] / 10, numbers[6] / 10 + numbers[7]
    total = (high**gamma - low**gamma) / gamma
    cases = (
        (mech.UniformBreakPoints(slope, loss, low, high), lambda t: 1 / (high - low)),
        (mech.LogUniformBreakPoints(slope, loss, low, high), lambda t: 1 / (t * np.log(high / low))),
        (mech.PowerBreakPoints(slope, loss, low, high, gamma=gamma), lambda t: t ** (gamma - 1) / total),
    )
    inside = low + numbers[8] / 10 * (high - low)
    return 1e-8 - max(
        abs(float(mechanism(u)) - _integrated(mechanism, density, u)) / max(1.0, abs(float(mechanism(u))))
        for mechanism, density in cases
        for u in (low - numbers[8], inside, high + 1)
    )


def _tilt_fit(mechanism: Any, law: str, d: Array) -> tuple[Array, float]:
    curve = tilt_at_kl(World(NORMAL, mechanism), np.append(0.0, d**2))
    fit = fit_law(LAWS[law], curve.d[1:], curve.gold[1:] - curve.gold[0])
    return fit.coefficients, float(fit.r2)


def _break_point_forms() -> Iterator[Comparison]:
    yield from _break_point_check()
    d = np.linspace(0.8, 4.0, 14)
    uniform, r2 = _tilt_fit(mech.UniformBreakPoints(1.0, 1.5, 0.0, 8.0), "bon", d)
    yield at_least("uniform: R^2 of d(a - b d)", r2, 0.9995)
    yield equal("uniform: b = loss/(high - low)", uniform[1], 1.5 / 8, 0.01)
    logarithmic, r2 = _tilt_fit(mech.LogUniformBreakPoints(1.0, 1.5, 0.1, 200.0), "rl", d)
    yield at_least("log-uniform: R^2 of d(a - b log d)", r2, 0.999)
    yield equal("log-uniform: b = sqrt2 loss/log(high/low)", logarithmic[1], 1.5 * np.sqrt(2.0) / np.log(2000.0), 0.01)
    for gamma in (0.5, 2.0, 3.0):
        powered, r2 = _tilt_fit(mech.PowerBreakPoints(1.0, 1.5, 0.0, 8.0, gamma=gamma), "power", d)
        yield at_least(f"density tau^{gamma - 1:g}: R^2 of d(a - b d^g)", r2, 0.9995)
        yield equal(f"density tau^{gamma - 1:g}: fitted exponent over gamma", powered[2] / gamma, 1.0, 0.13)


def _residuals(d: Array, gold: Array) -> tuple[float, float]:
    """1 - R^2 of the quadratic and of the logarithmic form."""
    return 1 - ols([d, -(d**2)], gold)[1], 1 - ols([d, -d * np.log(d)], gold)[1]


def _range_check() -> Iterator[Comparison]:
    kink = mech.Kink(tau=1.2, slope=1.0, fall=1.0)
    bent = BentMean(1.0, (1.2,), (-2.0,))
    world = World(NORMAL, kink)
    base = normal_best_of_n(lambda u: u if u < 1.2 else 2.4 - u, 1.0)
    for name, n in (("n <= 1000", 2.0 ** np.arange(1, 11)), ("n <= 60,000", 2.0 ** np.arange(1, 17))):
        curve = best_of_n(world, n)
        quadratic, logarithmic = _residuals(curve.d, curve.gold - base)
        short = name == "n <= 1000"
        better, worse = (quadratic, logarithmic) if short else (logarithmic, quadratic)
        yield at_most(f"best-of-n, {name}: residual of the {'quadratic' if short else 'log'} form", better / worse, 0.7)
    for longest, short in ((2.43, True), (4.5, False)):
        strength = np.linspace(0.3, longest * np.sqrt(2.0), 16)
        gold = np.array([bent.exponential_tilt(float(s))[1] for s in strength])
        quadratic, logarithmic = _residuals(strength / np.sqrt(2.0), gold)
        better, worse = (quadratic, logarithmic) if short else (logarithmic, quadratic)
        yield at_most(
            f"tilt, d <= {longest:g}: residual of the {'quadratic' if short else 'log'} form", better / worse, 0.7
        )
    reading = mech.read_law(world, tilt_kl=np.linspace(0.3, 4.5, 16) ** 2)
    yield equal(
        "the library prefers the quadratic for best-of-n", float(reading.preferred("best_of_n") == "bon"), 1.0, 0.0
    )
    yield equal("and the log form for the long tilt", float(reading.preferred("tilt") == "rl"), 1.0, 0.0)


def _range_slack(world: BentMean) -> float:
    """For best-of-n and the tilt, at the same d: the quadratic is closer up to a short d, the log form to a long one.

    Slack: the logarithm of the worse form's residual over the better one's. From n = 2 on, as the paper fits.
    """
    (knot,) = world.knots
    u, weight = _nodes(knot)
    slacks = []
    for longest, short in ((1.0 + 1.2 * knot, True), (1.3 + 1.9 * knot, False)):
        d = np.linspace(np.sqrt(best_of_n_kl(2.0)), longest, 12)
        n = np.append(1.0, n_at_kl(d**2))[:, None]
        winner = n * np.exp((n - 1) * special.log_ndtr(u) - u**2 / 2) / np.sqrt(2 * np.pi)
        best = winner @ (weight * world.mean(u))
        tilt = world.slope * np.sqrt(2.0) * d + world.bends[0] * _hinge_gain(np.array(knot), np.sqrt(2.0) * d)
        for gold in (best[1:] - best[0], tilt):
            quadratic, logarithmic = _residuals(d, gold)
            slacks.append(np.log(logarithmic / quadratic) * (1 if short else -1))
    return float(min(slacks))


def _nodes(bend: float) -> tuple[Array, Array]:
    """Nodes and weights over the proxy, with a panel's edge where m bends."""
    return panels(np.linspace(-9.0, 13.0, 23) + bend % 1.0)


LONG = np.linspace(1.0, 3.0, 12)


def _robustness_check() -> Iterator[Comparison]:
    betas, alphas = [], []
    for high in (12.0, 48.0, 200.0):
        (alpha, beta), _ = _tilt_fit(mech.LogUniformBreakPoints(1.0, 1.5, 1.0, high), "rl", LONG)
        betas.append(beta * np.log(high))
        alphas.append(alpha)
    yield equal("beta log(t1/t0) at t1 = 48 over t1 = 12", betas[1] / betas[0], 1.0, 1e-4)
    yield equal("beta log(t1/t0) at t1 = 200 over t1 = 12", betas[2] / betas[0], 1.0, 1e-4)
    yield equal("alpha at t1 = 200 over t1 = 12", alphas[2] / alphas[0], 1.0, 0.05)


def _hinge_gain(tau: Array, shift: Array) -> Array:
    """``E (U + shift - tau)_+ - E (U - tau)_+`` for a standard normal U."""
    result: Array = _hinge(tau - shift) - _hinge(tau)
    return result


def _hinge(t: Array) -> Array:
    result: Array = np.exp(-(t**2) / 2) / np.sqrt(2 * np.pi) - t * special.ndtr(-t)
    return result


def _tilted_gain(mechanism: Any, d: Array, bend: float) -> Array:
    """Gold gain of the tilt, which shifts a standard normal proxy by ``sqrt2 d``, where m bends at ``bend``."""
    u, weight = _nodes(bend)
    density = np.exp(-((u - np.sqrt(2.0) * np.append(0.0, d)[:, None]) ** 2) / 2) / np.sqrt(2 * np.pi)
    gold = density @ (weight * mechanism(u))
    result: Array = gold[1:] - gold[0]
    return result


def _robustness_slack(numbers: tuple[int, ...]) -> float:
    """For any slope, loss and t0 about 1, and t1 beyond the fit, beta log(t1/t0)/loss is the same number at every t1.

    It is what closed-form hinges, weighted by 1/tau up to 12, are fitted with; alpha moves by less than a tenth.
    """
    slope, low = float(numbers[0]), 0.8 + numbers[2] / 10
    loss = slope * numbers[1] * 2 / 9
    log_tau, weight = panels(np.linspace(np.log(low), np.log(12.0), 9))
    lost = weight @ _hinge_gain(np.exp(log_tau)[:, None], np.sqrt(2.0) * LONG)
    (alpha_lost, beta_lost), _ = ols([LONG, -LONG * np.log(LONG)], lost)
    alphas, gaps = [], []
    for high in (11.0 + numbers[6], 40.0 * numbers[7]):
        mechanism, share = mech.LogUniformBreakPoints(slope, loss, low, high), loss / np.log(high / low)
        alpha, beta = fit_law(LAWS["rl"], LONG, _tilted_gain(mechanism, LONG, low)).coefficients
        gaps += [(beta + share * beta_lost) / share, alpha - np.sqrt(2.0) * slope + share * alpha_lost]
        alphas.append(float(alpha))
    return float(min(1e-10 - np.abs(gaps).max(), 0.1 - abs(alphas[1] / alphas[0] - 1)))


def _alpha_of_best_of_n(low: float, highs: tuple[float, ...]) -> Iterator[Comparison]:
    n = 2.0 ** np.arange(1, 11)
    d = np.sqrt(best_of_n_kl(n))
    alphas = []
    for high in highs:
        mechanism = mech.LogUniformBreakPoints(1.0, 1.5, low, high)
        curve = best_of_n(World(NORMAL, mechanism), np.append(1.0, n))
        alphas.append(ols([d, -(d**2)], curve.gold[1:] - curve.gold[0])[0][0])
    yield at_most("alpha_bon falls instead of rising (last minus first)", alphas[-1] - alphas[0], -0.05)


CLAIMS = (
    Claim(
        id="K10", title="A hacking threshold is inevitable and unique", verdict="conditional",
        statement=r"m \text{ rises, then falls} \ \Rightarrow\ \lambda \mapsto \mathrm{E}_\lambda[m(u)]"
        r" \text{ has exactly one maximum over } \lambda \in \mathbb{R}",
        assumptions="m has exactly one turning point (variation diminishing); the maximum may lie at lambda < 0",
        source="Khalaf et al. 2506.19248, Theorem 1",
        check=_threshold_check, property=Property("bent_means", _threshold_slack),
        counterexample=Counterexample(
            "an m with two bumps: two maxima of gold",
            {"slope": 1.0, "knots": (0.5, 2.5, 5.0), "bends": (-3.0, 6.0, -6.0)}, _two_maxima,
        ),
    ),
    Claim(
        id="K29", title="Linear proxy, quadratic gold: the tilt's gold is exactly d (alpha - beta d)", verdict="true",
        statement=r"g = v \cdot \phi - \phi^\top Q \phi,\ u = w \cdot \phi: \quad"
        r" R(d) = d\,(\sqrt 2\, v \cdot w - 2\, w^\top Q w\, d)",
        assumptions="normal features, |w| = 1, full Gaussian tilt", source="derived",
        proof=_quadratic_proof, check=_quadratic_check, property=Property("submodules", _quadratic_slack),
    ),
    Claim(
        id="K30", title="The beta d^2 term is exactly a gold penalty beta h(F)", verdict="true",
        statement=r"h(F) = -\log(-\log F) - \log F - 1 - \gamma, \quad"
        r" \mathrm{E}_{\pi_n}[h(F)] = \log n - \frac{n-1}{n}",
        assumptions="continuous proxy with distribution function F", source="derived (Gumbel identity)",
        proof=_gumbel_proof, check=_gumbel_check, property=Property("proxy_laws_with_n", _gumbel_slack),
    ),
    Claim(
        id="K31", title="Break-point densities fix the form of the law", verdict="true",
        statement=r"\text{uniform: } d (a - b d), \quad \text{log-uniform: } d (a - b \log d), \quad"
        r" \tau^{g-1}: d (a - b d^g)",
        assumptions="Gaussian proxy, inside the range of the break-points, approximately (R^2 > .999 here)",
        source="derived",
        check=_break_point_forms, property=Property("submodules", _break_point_slack),
    ),
    Claim(
        id="K32", title="The range of d, not best-of-n against RL, sets which form fits best", verdict="true",
        statement=r"m \text{ bends at } \tau: \quad d (\alpha - \beta d) \text{ wins up to } d = 1 + 1.2 \tau,\ "
        r"d (\alpha - \beta \log d) \text{ up to } d = 1.3 + 1.9 \tau, \text{ for best-of-n and the tilt alike}",
        assumptions="one kink, 0.25 to 2.5 SD out, where m loses at least a quarter of its slope; fitted from n = 2 "
        "on; m not exactly quadratic; true in toys, open for PPO",
        source="derived",
        check=_range_check, property=Property("kinked_means", _range_slack),
        note="The range moves with the kink: at 1.2 the form changes at about d = 2.7, for both. A loss of a tenth of "
        "the slope is too small: best-of-n's own proxy is not quite linear in d.",
    ),
    Claim(
        id="K33", title="Longer robustness: alpha_RL constant, beta_RL like 1/log(t1/t0)", verdict="conditional",
        statement=r"\beta_{\mathrm{RL}} \propto \frac{1}{\log(t_1 / t_0)}, \quad \alpha_{\mathrm{RL}} \approx c",
        assumptions="log-uniform break-points on [t0, t1] with t0 about 1 and t1 beyond the range of the fit; alpha "
        "within a tenth for t0 of 0.9 to 1.7 and a loss up to twice the slope",
        source="derived, against Gao et al. 2210.10760, Fig. 3",
        check=_robustness_check, property=Property("submodules", _robustness_slack),
        counterexample=Counterexample(
            "it does not give the paper's rising alpha_bon: with t0 = 1 the fitted alpha_bon falls as t1 grows",
            {"low": 1.0, "highs": (12.0, 48.0, 200.0)}, _alpha_of_best_of_n,
        ),
        note="For t0 = 0.1 alpha_bon does rise with t1, from .96 to 1.10, but then alpha_RL rises by 60 percent.",
    ),
)  # fmt: skip
