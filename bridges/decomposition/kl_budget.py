"""How the KL was spent.

``KL = KL(law of the proxy) + E_pi KL(the rest given the proxy)`` (chain rule), and only the first part can raise the
proxy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from overopt.bridges.decomposition.blocks import Block
from overopt.bridges.decomposition.flat import FlatSamples
from overopt.bridges.reweighting import MIN_EFFECTIVE_SAMPLES

__all__ = ["KLBudget", "kl_budget", "proxy_law_kl", "tilt_kl"]

Array = NDArray[np.float64]

BINS = 32


@dataclass(frozen=True)
class KLBudget:
    """KL in nats per completion.

    Attributes
    ----------
    spent
        KL(policy || base policy); None if it was not measured.
    on_proxy, on_proxy_is_bound
        KL of the proxy's law against the base policy's. A bank of R records sees about ``log R - 3`` nats; beyond that
        (or for few records in the tail) it is a lower bound.
    tilt, tilt_is_bound
        KL that the exponential tilt ``pi0 exp(lambda proxy)``, the cheapest policy, needs for the same proxy gain. A
        lower bound once the gain lies beyond what the bank's samples can be reweighted to.
    """

    spent: float | None
    on_proxy: float
    on_proxy_is_bound: bool
    tilt: float
    tilt_is_bound: bool

    @property
    def efficiency(self) -> float | None:
        """Tilt KL over KL spent, at most 1 in expectation; None where either is unknown or only a bound."""
        if self.spent is None or self.spent <= 0.0 or self.tilt_is_bound:
            return None
        return self.tilt / self.spent


def kl_budget(blocks: list[Block], base: FlatSamples, policy: FlatSamples, spent: float | None) -> KLBudget:
    """The budget of one checkpoint."""
    on_proxy, on_proxy_bound = proxy_law_kl(base, policy)
    gain = float((policy.weight * policy.proxy).sum())
    tilt, tilt_bound = tilt_kl(blocks, gain)
    return KLBudget(spent, on_proxy, on_proxy_bound, tilt, tilt_bound)


def proxy_law_kl(base: FlatSamples, policy: FlatSamples) -> tuple[float, bool]:
    """KL of the proxy's gain under the policy against the base policy, pooled over prompts, and whether it is a bound.

    Plug-in over bins that hold equal shares of the policy's samples, less the bias ``(B - 1) / 2 (1/M + 1/R)``. Pooling
    prompts and binning both can only lower a KL.
    """
    edges = np.unique(np.quantile(policy.proxy, np.linspace(0.0, 1.0, BINS + 1)[1:-1]))
    cells = edges.size + 1
    share = np.bincount(np.searchsorted(edges, policy.proxy, "right"), weights=policy.weight, minlength=cells)
    count = np.bincount(np.searchsorted(edges, base.proxy, "right"), minlength=cells)
    base_share = (count + 0.5) / (base.proxy.size + 0.5 * cells)
    used = share > 0
    divergence = float((share[used] * np.log(share[used] / base_share[used])).sum())
    bias = (used.sum() - 1) / 2 * (1 / policy.proxy.size + 1 / base.proxy.size)
    thin = float(share[count < 5].sum())
    return max(float(divergence - bias), 0.0), thin > 0.05


def tilt_kl(blocks: list[Block], gain: float) -> tuple[float, bool]:
    """KL of the exponential tilt whose mean proxy gain is ``gain``, and whether it is only a lower bound.

    ``KL = lambda E_lambda[p] - log E_0[exp(lambda p)]``, averaged over prompts that share ``lambda``, by
    self-normalised weights. They are trusted while a prompt's weights are worth at least ten samples.
    """
    n_prompts = sum(block.prompts.size for block in blocks)
    scale = math.sqrt(sum(float((block.proxy**2).mean(axis=1).sum()) for block in blocks) / n_prompts)
    if scale == 0.0:
        return 0.0, gain != 0.0
    if abs(gain) < 1e-12 * scale:
        return 0.0, False
    sign = math.copysign(1.0, gain)

    def at(inverse_temperature: float) -> tuple[float, float, float]:
        total_gain = total_kl = total_size = 0.0
        for block in blocks:
            exponent = sign * inverse_temperature * block.proxy / scale
            normaliser = special.logsumexp(exponent, axis=1, keepdims=True)
            weight = np.exp(exponent - normaliser)
            total_gain += float((weight * block.proxy).sum())
            total_kl += float((weight * (exponent - normaliser)).sum()) + block.prompts.size * math.log(weight.shape[1])
            total_size += float((1.0 / (weight**2).sum(axis=1)).sum())
        return sign * total_gain / n_prompts, total_kl / n_prompts, total_size / n_prompts

    smallest = min(block.proxy.shape[1] for block in blocks)
    trusted = min(MIN_EFFECTIVE_SAMPLES, smallest / 2)
    limit, size = 0.5, at(0.5)[2]
    while size > trusted and limit < 1e6:
        limit *= 2.0
        size = at(limit)[2]
    if size < trusted:
        limit = float(optimize.brentq(lambda x: at(x)[2] - trusted, 0.0, limit, rtol=1e-9))
    reachable, kl, _ = at(limit)
    if reachable < abs(gain):
        return kl, True
    root = float(optimize.brentq(lambda x: at(x)[0] - abs(gain), 0.0, limit))
    return at(root)[1], False
