"""Policy gradients on a table: softmax policies over A actions for each of K prompts, with exact expected gradients.

- ``vanilla``: ``d E[r] / d logit_a = pi_a (r_a - E[r])``. It starves actions that are rare already, and pays for it
  in KL.
- ``natural``: the same, premultiplied by the inverse Fisher matrix, is ``r_a - E[r]`` (up to a constant): without a
  penalty it walks exactly
  along the exponential tilt, lambda = learning rate x steps (Kakade 2001; ledger K38 to K41).
- ``ppo``: gradient of the clipped surrogate ``SUM_a pi_old,a min(rho_a A_a, clip(rho_a, 1 - eps, 1 + eps) A_a)``
  with exact advantages,
  several epochs on each old policy (Schulman et al. 2017, eq. 7). Deviations: full batch, no value function, no
  sampling.

All three also take a KL penalty, a chi^2 penalty, a KL limit, a cap on the reward, and a KL at which to stop.
Every step is written once for NumPy and torch arrays (float64); torch is imported only where it is asked for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

from overopt.theory.errors import InputError

__all__ = ["Gradient", "Info", "PolicyGradient", "Problem", "State"]

Gradient = Literal["vanilla", "natural", "ppo"]

_PROJECTION_STEPS = 60
_PROJECTION_TOLERANCE = 1e-9


@dataclass(frozen=True)
class PolicyGradient:
    """What the optimizer does in one step."""

    learning_rate: float = 0.01
    """Step size, > 0; times the number of actions for vanilla and ppo, so that all three start alike on a uniform base.
    """
    kl_penalty: float = 0.0
    """beta of the objective ``E[r] - beta KL(policy || base)``, >= 0."""
    chi2_penalty: float = 0.0
    """Coefficient of chi^2(policy || base) in the objective, >= 0."""
    kl_limit: float = math.inf
    """Constraint: after each step the policy is drawn back along the geometric path to the base until its KL is within
    it.
    """
    stop_kl: float = math.inf
    """Early stopping: no further step once the KL has reached it."""
    reward_cap: float = math.inf
    """Reward clipping: the optimizer sees ``min(proxy, reward_cap)``, gold SD."""
    clip: float = 0.2
    """PPO's eps, in (0, 1)."""
    epochs: int = 4
    """PPO's gradient steps on each old policy, >= 1."""
    backend: Literal["numpy", "torch"] = "numpy"
    """Array library."""
    device: str = "cpu"
    """Torch device, for example ``cuda``."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise InputError(f"`learning_rate` must be a finite number > 0, got {self.learning_rate:g}.")
        for name in ("kl_penalty", "chi2_penalty"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise InputError(f"`{name}` must be a finite number >= 0, got {value:g}.")
        for name in ("kl_limit", "stop_kl"):
            if not getattr(self, name) > 0:
                raise InputError(f"`{name}` must be > 0, got {getattr(self, name):g}.")
        if math.isnan(self.reward_cap):
            raise InputError("`reward_cap` must be a number, got nan.")
        if not 0 < self.clip < 1:
            raise InputError(f"`clip` must lie in (0, 1), got {self.clip:g}.")
        if self.epochs < 1:
            raise InputError(f"`epochs` must be >= 1, got {self.epochs}.")
        if self.backend not in ("numpy", "torch"):
            raise InputError(f"`backend` must be numpy or torch, got '{self.backend}'.")


@dataclass(frozen=True, eq=False)
class Problem:
    """A table to optimize, arrays of shape (K, A) in the backend's library: ``log_base`` and ``reward``."""

    log_base: Any
    reward: Any
    gradient: Gradient
    settings: PolicyGradient
    xp: Any


@dataclass(frozen=True, eq=False)
class State:
    """What the next step needs: ``theta = logits - log_base``, (K, A), and whether training has stopped."""

    theta: Any
    steps: int = 0
    stopped: bool = False


@dataclass(frozen=True)
class Info:
    """What a reader wants: KL to the base policy (nats, mean over prompts) and the mean reward the optimizer sees."""

    kl: float
    reward: float


def problem(base: Any, proxy: Any, gradient: Gradient, settings: PolicyGradient) -> Problem:
    """The table in the backend's arrays.

    Parameters
    ----------
    base, proxy
        (K, A) NumPy arrays: base probabilities > 0 with rows that sum to 1, and rewards.
    """
    import numpy as np

    if gradient not in get_args(Gradient):
        raise InputError(f"`gradient` must be one of {', '.join(get_args(Gradient))}, got '{gradient}'.")
    if not (base > 0).all():
        raise InputError(f"`base` must be > 0 everywhere, got {base.min():g}.")
    log_base, reward = np.log(base), np.minimum(proxy, settings.reward_cap)
    if settings.backend == "numpy":
        return Problem(log_base, reward, gradient, settings, np)
    torch = _torch(settings.device)
    return Problem(
        torch.as_tensor(log_base, dtype=torch.float64, device=settings.device),
        torch.as_tensor(reward, dtype=torch.float64, device=settings.device),
        gradient, settings, torch,
    )  # fmt: skip


def _torch(device: str) -> Any:
    try:
        import torch
    except ImportError:
        raise InputError("`backend` torch needs PyTorch: pip install 'overopt[lm]'.") from None
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(f"`device` must be available on this machine, got '{device}'.")
    return torch


def init(problem: Problem) -> State:
    """The base policy."""
    return State(0.0 * problem.log_base)


def _normalise(problem: Problem, theta: Any) -> tuple[Any, Any]:
    """Policy and its log ratio to the base policy, both (K, A)."""
    xp = problem.xp
    logits = problem.log_base + theta
    logits = logits - xp.amax(logits, axis=-1, keepdims=True)
    weight = xp.exp(logits)
    total = weight.sum(axis=-1, keepdims=True)
    return weight / total, (logits - xp.log(total)) - problem.log_base


def policy(problem: Problem, state: State) -> Any:
    """(K, A) probabilities in the backend's arrays."""
    return _normalise(problem, state.theta)[0]


def info(problem: Problem, state: State) -> Info:
    """KL and reward of a state."""
    probability, log_ratio = _normalise(problem, state.theta)
    prompts = probability.shape[0]
    return Info(
        kl=max(float((probability * log_ratio).sum()) / prompts, 0.0),
        reward=float((probability * problem.reward).sum()) / prompts,
    )


def _advantage(problem: Problem, probability: Any, theta: Any, log_ratio: Any | None) -> Any:
    """Centred reward with the penalties' derivatives in it, (K, A)."""
    settings, reward = problem.settings, problem.reward
    if settings.kl_penalty:
        # The normaliser of log(pi / pi_0) is constant in each prompt: theta does as well.
        reward = reward - settings.kl_penalty * theta
    if settings.chi2_penalty:
        if log_ratio is None:
            _, log_ratio = _normalise(problem, theta)
        reward = reward - 2 * settings.chi2_penalty * problem.xp.exp(log_ratio)
    return reward - (probability * reward).sum(axis=-1, keepdims=True)


def step(problem: Problem, state: State) -> State:
    """One step of the optimizer; deterministic, because the gradients are exact expectations."""
    settings = problem.settings
    if state.stopped:
        return State(state.theta, state.steps + 1, True)
    probability, log_ratio = _normalise(problem, state.theta)
    advantage = _advantage(problem, probability, state.theta, log_ratio)
    rate = settings.learning_rate
    if problem.gradient == "natural":
        theta = state.theta + rate * advantage
    elif problem.gradient == "vanilla":
        theta = state.theta + (rate * probability.shape[-1]) * (probability * advantage)
    else:
        theta = _ppo_update(problem, state.theta, probability, advantage)
    if math.isfinite(settings.kl_limit):
        theta = _within(problem, theta, settings.kl_limit)
    moved = State(theta, state.steps + 1)
    if math.isfinite(settings.stop_kl) and info(problem, moved).kl >= settings.stop_kl:
        return State(theta, moved.steps, True)
    return moved


def _ppo_update(problem: Problem, theta: Any, old: Any, advantage: Any) -> Any:
    """Gradient steps on the clipped surrogate; an action whose ratio has left the trust region on the good side has no
    gradient.
    """
    settings = problem.settings
    rate = settings.learning_rate * old.shape[-1]
    for _ in range(settings.epochs):
        new, _ = _normalise(problem, theta)
        ratio = new / old
        clipped = ((advantage > 0) & (ratio > 1 + settings.clip)) | ((advantage < 0) & (ratio < 1 - settings.clip))
        push = problem.xp.where(clipped, 0.0 * advantage, new * advantage)
        theta = theta + rate * (push - new * push.sum(axis=-1, keepdims=True))
    return theta


def _within(problem: Problem, theta: Any, limit: float) -> Any:
    """``t theta`` with the largest t <= 1 whose KL is within the limit: the geometric path to the base policy.

    sqrt(KL) is close to linear in t, so scaling t by sqrt(limit / KL) converges in a few steps.
    """
    found = info(problem, State(theta)).kl
    if found <= limit:
        return theta
    low, high, t = 0.0, 1.0, 1.0
    for _ in range(_PROJECTION_STEPS):
        t *= math.sqrt(limit / found)
        if not low < t < high:
            t = 0.5 * (low + high)
        found = info(problem, State(t * theta)).kl
        if found <= limit:
            low = t
            if found > limit * (1 - _PROJECTION_TOLERANCE):
                break
        else:
            high = t
    return low * theta


def to_numpy(array: Any) -> Any:
    """A backend array as a NumPy array on this machine."""
    return array if not hasattr(array, "detach") else array.detach().cpu().numpy()
