"""The path decomposition: gold gained by selection along the current relation, and gold moved by its shifts.

A policy leaves the base bank's support early (at KL 10 most of its samples lie outside a bank of 65,000), so the split
against the bank ends there. Neighbouring checkpoints overlap. With ``m_k = E_k[gold | proxy]`` at checkpoint k,

    E_(k+1)[g] - E_k[g] = (E_(k+1) - E_k)[m_k(p)]   selection: what reweighting by the proxy alone would do
                        + (E_(k+1) - E_k)[g - m_k]  shift: the relation itself has moved

is exact and telescopes. The shift is 0 for every policy that only reweights by the proxy, at any KL.

Each step is measured from the prompt means of the checkpoint it starts from. Measured from the base policy's, prompts
that differ in gold's or the error's scale drift apart, and the pooled part of ``m_k`` takes that for a shift: half of a
gold SD at four samples per prompt, where recentring leaves .1. Below four samples the slopes are too noisy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from overopt.bridges.decomposition.flat import FlatSamples
from overopt.bridges.decomposition.local_linear import Support
from overopt.bridges.decomposition.relation import fit_relation

__all__ = ["MIN_SAMPLES", "PathSteps", "on_policy_slope", "path_steps"]

Array = NDArray[np.float64]

MIN_SAMPLES = 4
"""Per prompt, in every sample that a step starts from."""


@dataclass(frozen=True)
class PathSteps:
    """Cumulative contributions along the path, gold's own units.

    Attributes
    ----------
    selection, shift
        (K, T): prompt k's contribution up to checkpoint t; they add up to the gold gain.
    outside
        (T,) share of each checkpoint's samples outside the support of the checkpoint before.
    """

    selection: Array
    shift: Array
    outside: Array


def path_steps(base: FlatSamples, policies: Sequence[FlatSamples]) -> PathSteps | None:
    """Selection and shift from the base policy through ``policies`` in order; None with fewer than four samples."""
    if any(source.samples_per_prompt.min() < MIN_SAMPLES for source in (base, *policies[:-1])):
        return None
    selections, gains, outside = [], [], []
    for source, target in zip([base, *policies[:-1]], policies, strict=True):
        here, there = source.recentred(source), target.recentred(source)
        support = Support(here.proxy)
        relation = fit_relation(here, support)
        both = FlatSamples(
            np.concatenate([here.prompt, there.prompt]), np.concatenate([here.gold, there.gold]),
            np.concatenate([here.proxy, there.proxy]), np.concatenate([-here.weight, there.weight]), here.n_prompts,
        )  # fmt: skip
        selections.append(relation.expectation(both, both.weight))
        gains.append(both.per_prompt(both.gold))
        outside.append(float(there.weight[~support.holds(there.proxy)].sum()))
    selection = np.cumsum(np.column_stack(selections), axis=1)
    return PathSteps(selection, np.cumsum(np.column_stack(gains), axis=1) - selection, np.array(outside))


def on_policy_slope(samples: FlatSamples) -> Array | None:
    """(K,) contributions to ``Cov(g, p) / Var(p)`` within prompts at one policy; None if the proxy does not vary.

    The local exchange rate of proxy for gold under a little more selection; where it reaches 0 the proxy is spent.
    """
    within = samples.recentred(samples)
    covariance = within.per_prompt(within.gold * within.proxy)
    variance = within.per_prompt(within.proxy**2)
    mean_variance = float(variance.mean())
    if mean_variance <= 1e-24 * max(float(np.abs(samples.proxy).max()) ** 2, 1e-300):
        return None
    slope = float(covariance.mean()) / mean_variance
    return np.asarray(slope + (covariance - slope * variance) / mean_variance)
