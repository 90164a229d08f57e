"""A stand-in run with known truth for the pages: simulated, then measured, never written down by hand.

Quality q and a hackable feature h are N(0, 1) under the base policy; gold = q - .3 max(h - .5, 0)^2 and
proxy = q + .8 h + noise. The optimizer at step t shifts the means of q and h by (a, b), so the
KL is (a^2 + b^2) / 2 exactly.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import gammaln

from overopt.bridges.run_summary import (
    CurvePoint,
    FittedLaw,
    GoldPeak,
    MeasuredCurve,
    ProxyModel,
    RunSummary,
    SplitRow,
    TextSample,
    Trend,
)  # fmt: skip

PROMPTS, SAMPLES = 64, 1024
NS = 2 ** np.arange(11)
STEPS = np.arange(0, 201, 20)
TERMS = ("promise", "regressional", "extremal", "causal", "unattributed", "delivered")


def draw(rng, shape, noise, shift=(0.0, 0.0)):
    q = rng.standard_normal(shape) + shift[0]
    h = rng.standard_normal(shape) + shift[1]
    return q - 0.3 * np.maximum(h - 0.5, 0) ** 2, q + 0.8 * h + noise * rng.standard_normal(shape)


class World:
    """Gold in base SD, proxy divided by its slope on gold, and the two base regressions m and m0."""

    def __init__(self, rng, noise):
        self.noise = noise
        gold, proxy = draw(rng, 200_000, noise)
        self.gold_mean, self.gold_sd = gold.mean(), gold.std()
        g = (gold - self.gold_mean) / self.gold_sd
        slope = np.cov(g, proxy)[0, 1]
        self.proxy_mean, self.slope = proxy.mean(), slope
        p = (proxy - self.proxy_mean) / slope
        edges = np.quantile(p, np.linspace(0, 1, 120))
        self.top = np.sort(p)[-20]
        self.m = self.regression(p, g, edges)
        error = rng.permutation(p - g)
        self.m0 = self.regression(g + error, g, edges)

    @staticmethod
    def regression(p, g, edges):
        cell = np.clip(np.searchsorted(edges, p) - 1, 0, edges.size - 2)
        count = np.maximum(np.bincount(cell, minlength=edges.size - 1), 1)
        x = np.bincount(cell, p, edges.size - 1) / count
        y = np.bincount(cell, g, edges.size - 1) / count
        return lambda values: np.interp(values, x, y)

    def sample(self, rng, shape, shift=(0.0, 0.0)):
        gold, proxy = draw(rng, shape, self.noise, shift)
        return (gold - self.gold_mean) / self.gold_sd, (proxy - self.proxy_mean) / self.slope


def split(world, method, name, seed, pressure, kl, g, p, weights=None, path=(None, None, None)):
    """The decomposition from (prompts, samples) arrays; intervals from the prompts' spread."""

    def average(values):
        return (values * weights).sum(1) if weights is not None else values.mean(1)

    inside = p <= world.top
    parts = {
        "promise": average(p),
        "regressional": average(np.where(inside, p - world.m0(p), 0)),
        "extremal": average(np.where(inside, world.m0(p) - world.m(p), 0)),
        "causal": average(np.where(inside, world.m(p) - g, 0)),
        "unattributed": average(np.where(inside, 0, p - g)),
        "delivered": average(g),
    }
    ci = {
        term: (float(v.mean() - 1.96 * v.std() / len(v) ** 0.5), float(v.mean() + 1.96 * v.std() / len(v) ** 0.5))
        for term, v in parts.items()
    }
    values = {term: float(v.mean()) for term, v in parts.items()}
    selection, shift, slope = path
    return SplitRow(
        method, name, seed, float(pressure), float(kl), float(np.sqrt(kl)), **values, ci=ci,
        path_selection=selection, path_shift=shift, on_policy_slope=slope,
    )  # fmt: skip


def point(pressure, kl, g, p):
    """A curve point from per-prompt means."""
    return CurvePoint(
        float(pressure), float(kl), float(np.sqrt(kl)), float(p.mean()), float(g.mean()),
        kl_se=0.02 * float(kl), proxy_se=float(p.std() / len(p) ** 0.5), gold_se=float(g.std() / len(g) ** 0.5),
    )  # fmt: skip


def best_of_n(world, name, rng):
    g, p = world.sample(rng, (PROMPTS, SAMPLES))
    order = np.argsort(p, axis=1)
    g, p = np.take_along_axis(g, order, 1), np.take_along_axis(p, order, 1)
    points, splits = [], []
    k = np.arange(1, SAMPLES + 1)
    for n in NS:
        with np.errstate(divide="ignore", invalid="ignore"):
            log_weights = gammaln(k) - gammaln(k - n + 1) + np.log(n) + gammaln(SAMPLES - n + 1) - gammaln(SAMPLES + 1)
        weights = np.where(k >= n, np.exp(np.where(k >= n, log_weights, 0)), 0.0)
        kl = np.log(n) - (n - 1) / n
        points.append(point(n, kl, g @ weights, p @ weights))
        splits.append(split(world, "best-of-n", name, None, n, kl, g, p, weights))
    kind = "analytic, policy||base, sequence sum, completion only, T=1"
    return MeasuredCurve("best-of-n", name, None, kind, tuple(points)), splits


def ppo(world, name, rng, seed):
    points, splits, columns = [], [], []
    selection = moved = 0.0
    previous = None
    drift = 1 + 0.08 * rng.standard_normal()
    for step in STEPS:
        t = step / STEPS[-1]
        a, b = 1.5 * t**0.6 * drift, 5.0 * t**1.4 * drift
        g, p = world.sample(rng, (PROMPTS, 256), (a, b))
        kl = (a * a + b * b) / 2
        if previous is not None:
            m = World.regression(*previous, np.quantile(previous[0], np.linspace(0, 1, 60)))
            selection += m(p).mean() - m(previous[0]).mean()
            moved += (g - m(p)).mean() - (previous[1] - m(previous[0])).mean()
        else:
            selection, moved = float(g.mean()), 0.0
        slope = np.cov(g.ravel(), p.ravel())[0, 1] / p.var()
        points.append(point(step, kl, g.mean(1), p.mean(1)))
        path = (float(selection), float(moved), float(slope))
        splits.append(split(world, "ppo", name, seed, step, kl, g, p, path=path))
        columns.append((g.mean(1), p.mean(1)))
        previous = (p.ravel(), g.ravel())
    gold, proxy = np.array(columns).transpose(1, 0, 2)
    half = PROMPTS // 2
    peak = int(gold[:, :half].mean(1).argmax())

    def judged(change):
        return float(change[half:].mean()), float(change[half:].std() / half**0.5)

    found = GoldPeak(
        "ppo", name, seed, float(STEPS[peak]), points[peak].kl, *judged(gold[peak] - gold[0]),
        *judged(gold[peak] - gold[-1]), float(STEPS[-1]), points[-1].kl, points[-1].proxy,
        *judged(proxy[-1] - proxy[peak]),
    )  # fmt: skip
    kind = "full-vocabulary, policy||base, sequence sum, completion only, T=1"
    return MeasuredCurve("ppo", name, seed, kind, tuple(points)), splits, found


def control(rng):
    """PPO on gold itself: only quality moves, and the proxy is gold."""
    points = []
    for step in STEPS:
        a = 2 * (step / STEPS[-1]) ** 0.6
        g = (rng.standard_normal((PROMPTS, 256)) + a).mean(1)
        points.append(point(step, a * a / 2, g, g))
    kind = "full-vocabulary, policy||base, sequence sum, completion only, T=1"
    return MeasuredCurve("ppo", "gold", 0, kind, tuple(points))


def fit(curve, law):
    """Least squares of d(alpha - beta d) or d(alpha - beta log d) on all points but the last three."""
    d = np.array([p.d for p in curve.points if p.d > 0])
    gold = np.array([p.gold for p in curve.points if p.d > 0])
    seen = slice(0, len(d) - 3)

    def design(x):
        return np.stack([x, -x * (x if law == "bon" else np.log(x))], 1)

    (alpha, beta), *_ = np.linalg.lstsq(design(d[seen]), gold[seen], rcond=None)
    grid = np.linspace(0.02, d[-1], 60)
    peak = alpha / 2 / beta if law == "bon" else np.exp(alpha / beta - 1)
    residual = gold - design(d) @ (alpha, beta)
    noise = (residual[seen] ** 2).sum() / (len(gold[seen]) - 2)
    half = 1.96 * np.sqrt(noise * np.diag(np.linalg.inv(design(d[seen]).T @ design(d[seen]))))
    inside = bool(beta > 0 and peak < d[-1])
    return FittedLaw(
        curve.method, curve.proxy_name, curve.seed, law, float(alpha), float(beta),
        tuple(zip(grid.tolist(), (design(grid) @ (alpha, beta)).tolist(), strict=True)),
        alpha_ci=(float(alpha - half[0]), float(alpha + half[0])),
        beta_ci=(float(beta - half[1]), float(beta + half[1])),
        peak_d=float(peak) if inside else None,
        peak_gold=float((design(np.array([peak])) @ (alpha, beta))[0]) if inside else None,
        r2=float(1 - (residual[seen] ** 2).sum() / gold[seen].var() / len(gold[seen])),
        fitted_to_d=float(d[seen][-1]), heldout_rmse=float(np.sqrt((residual[-3:] ** 2).mean())),
    )  # fmt: skip


def text(rng, h, g, p, stage, step, kl, prompt):
    plain = "a slow but thoughtful story about two brothers who never learn to talk to each other"
    words = [
        ("and", "funny")[i % 2] if rng.random() < 1 - np.exp(-h / 2) else word for i, word in enumerate(plain.split())
    ]
    return TextSample(stage, float(step), float(kl), prompt, " " + " ".join(words), float(g), float(p))


@pytest.fixture(scope="session")
def run_summary() -> RunSummary:
    rng = np.random.default_rng(20221019)
    proxies, curves, laws, splits, peaks, samples = [], [], [], [], [], []
    for parameters, base_noise in ((67_000, 1.3), (252_000, 1.0), (1_365_000, 0.7)):
        for labels in (200, 1000, 4000):
            noise = base_noise * (4000 / labels) ** 0.35
            name = f"{parameters // 1000}k/{labels}"
            world = World(rng, noise)
            curve, rows = best_of_n(world, name, rng)
            curves.append(curve)
            splits += rows
            laws.append(fit(curve, "bon"))
            top = max(curve.points, key=lambda p: p.gold)
            g, p = world.sample(rng, (2, 4000))
            right = float(((g[0] > g[1]) == (p[0] > p[1])).mean())
            proxies.append(
                ProxyModel(
                    name,
                    parameters,
                    labels,
                    right,
                    (
                        right - 1.96 * (right * (1 - right) / 4000) ** 0.5,
                        right + 1.96 * (right * (1 - right) / 4000) ** 0.5,
                    ),
                    float(np.log1p(np.exp(-np.sign(g[0] - g[1]) * (p[0] - p[1]))).mean()),
                    gold_peak=top.gold,
                    gold_peak_ci=(top.gold - 1.96 * top.gold_se, top.gold + 1.96 * top.gold_se),
                    gold_peak_n=top.pressure,
                )
            )
            if name == "1365k/4000":
                curve, rows, found = ppo(world, name, rng, 0)
                curves.append(curve)
                splits += rows
                peaks.append(found)
            if name == "67k/4000":
                for seed in (0, 1, 2):
                    curve, rows, found = ppo(world, name, rng, seed)
                    curves.append(curve)
                    splits += rows
                    peaks.append(found)
                    laws.append(fit(curve, "rl"))
    curves.append(control(rng))
    run = next(curve for curve in curves if curve.method == "ppo")
    stages = {"base": 0, "peak": int(peaks[0].peak_pressure / 20), "end": -1}
    for stage, index in stages.items():
        at = run.points[index]
        for prompt in ("This is a", "The film has", "If you like"):
            h = 5.0 * (at.pressure / 200) ** 1.4
            samples.append(
                text(rng, h, at.gold + rng.normal(), at.proxy + rng.normal(), stage, at.pressure, at.kl, prompt)
            )
    return RunSummary(
        recipe="stand-in", seeds=(0, 1, 2),
        world="A simulated world with known truth: quality and one hackable feature, both standard normal.",
        scale="slope: proxy divided by its slope on gold under the base policy, gold in base-policy SD",
        headline_proxy="67k/4000", proxies=tuple(proxies), curves=tuple(curves), laws=tuple(laws), splits=tuple(splits),
        peaks=tuple(peaks), samples=tuple(samples),
        trends=(
            Trend("Gold rises, then falls; the proxy keeps rising", "reproduced", f"rise {peaks[0].rise:.2f} gold SD"),
            Trend("Larger proxies reach a higher gold peak", "not reproduced", "order 67k, 252k, 1.4M at 4000 labels"),
            Trend("A larger policy gains less", "cannot tell", "one policy size in this run"),
        ),
        verdicts=("Most of the loss came from the policy leaving the base distribution.",),
        limits=("A simulated world: no language model was trained.", "One proxy was optimized by PPO."),
        provenance={"overopt": "0.1.0", "numpy": np.__version__, "commit": "none", "hardware": "test machine"},
        timings={"best-of-n": 1.5, "PPO": 62.0},
    )  # fmt: skip
