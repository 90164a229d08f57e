"""K50: which reward pairs are unhackable over all policies of a finite Markov decision process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray

from overopt.theory.claims.comparison import Comparison, at_least, equal
from overopt.theory.claims.entry import Claim, Counterexample, Property

__all__ = ["CLAIMS", "RewardPair"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class RewardPair:
    """A discounted Markov decision process with two rewards.

    ``transition[s][a]`` are the next state's probabilities, ``rewards[i][s][a]`` the two rewards, start uniform.
    """

    transition: tuple[tuple[tuple[float, ...], ...], ...]
    rewards: tuple[tuple[tuple[float, ...], ...], tuple[tuple[float, ...], ...]]
    discount: float = 0.5

    def returns(self, policy: Array) -> Array:
        """Both expected returns of ``policy[s, a]``, by solving the Bellman equation."""
        transition, rewards = np.asarray(self.transition), np.asarray(self.rewards)
        moves = np.einsum("sa,sat->st", policy, transition)
        values = np.linalg.solve(np.eye(len(moves)) - self.discount * moves, np.einsum("sa,isa->si", policy, rewards))
        result: Array = values.mean(axis=0)
        return result

    def occupancy(self, policy: Array) -> Array:
        """Discounted visits of each state and action; returns are linear in it."""
        transition = np.asarray(self.transition)
        moves = np.einsum("sa,sat->st", policy, transition)
        start = np.full(len(moves), 1 / len(moves))
        visits = np.linalg.solve((np.eye(len(moves)) - self.discount * moves).T, start)
        return visits[:, None] * policy

    def tangents(self) -> tuple[Array, Array]:
        """The rewards as linear functionals on the directions in which occupancies can move."""
        transition = np.asarray(self.transition)
        states, actions = transition.shape[:2]
        # Occupancies are cut out by the flow equations: visits out minus discounted visits in = start.
        flow = np.repeat(np.eye(states), actions, axis=0) - self.discount * transition.reshape(states * actions, states)
        _, singular, rows = np.linalg.svd(flow.T)
        free = rows[np.count_nonzero(singular > 1e-12) :]
        first, second = (free.T @ (free @ np.ravel(reward)) for reward in self.rewards)
        return first, second

    def hacked(self) -> tuple[Array, Array] | None:
        """Two policies of which the second is better on reward 0 and worse on reward 1, if the theorem says so."""
        first, second = self.tangents()
        a, b = np.linalg.norm(first), np.linalg.norm(second)
        if a < 1e-9 or b < 1e-9 or first @ second > (1 - 1e-9) * a * b:
            return None
        direction = first / a - second / b
        shape = np.asarray(self.rewards[0]).shape
        centre = self.occupancy(np.full(shape, 1 / shape[1]))
        step = 0.5 * centre.min() / np.abs(direction).max() * direction.reshape(shape)
        before, after = centre - step, centre + step
        return before / before.sum(axis=1, keepdims=True), after / after.sum(axis=1, keepdims=True)


def _slack(world: RewardPair) -> float:
    """Where the theorem names a hacking pair, policy evaluation confirms it; elsewhere no pair of policies hacks."""
    pair = world.hacked()
    if pair is not None:
        gain = world.returns(pair[1]) - world.returns(pair[0])
        return float(min(gain[0], -gain[1]))
    return -_worst_hack(world, _policies(world))


def _policies(world: RewardPair) -> list[Array]:
    """All deterministic policies and their mixtures with the uniform one."""
    states, actions = np.asarray(world.rewards[0]).shape
    corners = [np.eye(actions)[list(choice)] for choice in product(range(actions), repeat=states)]
    return corners + [0.7 * corner + 0.3 / actions for corner in corners]


def _worst_hack(world: RewardPair, policies: list[Array]) -> float:
    """The largest h such that some pair gains h on one reward and loses h on the other."""
    returns = [world.returns(policy) for policy in policies]
    return max(
        (float(min(d[0], -d[1])) for a, b in product(returns, repeat=2) if (d := b - a) is not None), default=0.0
    )


_STAY = (((1.0, 0.0), (0.0, 1.0)), ((0.0, 1.0), (1.0, 0.0)))


def _check() -> Iterator[Comparison]:
    world = RewardPair(_STAY, (((1.0, 0.0), (0.0, 2.0)), ((3.0, 1.0), (4.0, 5.0))))
    policy = np.array([[0.3, 0.7], [0.9, 0.1]])
    linear = [float(np.sum(world.occupancy(policy) * np.asarray(reward))) for reward in world.rewards]
    for index, value in enumerate(world.returns(policy)):
        yield equal(f"return {index} is linear in the occupancy", linear[index], value, 1e-12)
    # Adding a potential's difference and scaling leaves every comparison of policies as it was.
    potential = np.array([0.4, -1.0])
    base = np.asarray(world.rewards[0])
    shaped = 2.0 * (base + world.discount * np.asarray(_STAY) @ potential - potential[:, None])
    equivalent = RewardPair(_STAY, (world.rewards[0], tuple(map(tuple, shaped.tolist()))))
    yield equal(
        "equivalent rewards: does the theorem call them hackable", float(equivalent.hacked() is not None), 0.0, 0.0
    )
    yield equal("equivalent rewards: worst hack", _worst_hack(equivalent, _policies(equivalent)), 0.0, 1e-9)
    trivial = RewardPair(_STAY, (world.rewards[0], ((1.0, 1.0), (1.0, 1.0))))
    yield equal("a constant reward: worst hack", _worst_hack(trivial, _policies(trivial)), 0.0, 1e-9)
    yield at_least("the unrelated pair: worst hack of the named policies", _slack(world), 1e-6)


def _finite_set(rewards: tuple[tuple[tuple[float, ...], ...], ...]) -> Iterator[Comparison]:
    world = RewardPair((((1.0,), (1.0,), (1.0,)),), (rewards[0], rewards[1]))
    deterministic = [np.eye(3)[[choice]] for choice in range(3)]
    yield equal("hack among the deterministic policies", _worst_hack(world, deterministic), 0.0, 1e-12)
    gaps = [np.subtract(*np.asarray(rewards)[:, 0, list(pair)].T) for pair in combinations(range(3), 2)]
    yield at_least("neither reward is constant", float(min(np.abs(gap).max() for gap in gaps)), 0.5)
    yield at_least("hack once all policies are allowed", _slack(world), 0.01)


CLAIMS = (
    Claim(
        id="K50", title="Unhackable over all policies means trivial or equivalent rewards", verdict="true",
        statement=r"\left(\nexists\, \pi, \pi':\ J_1(\pi) < J_1(\pi'),\ J_2(\pi) > J_2(\pi')\right)"
        r" \iff J_2 = a J_1 + b,\ a > 0 \ \text{ or one is constant}",
        assumptions="finite discounted MDP, all stationary policies (on a finite set of policies it fails: stored)",
        source="Skalse et al. 2209.13085, Theorem 1",
        check=_check, property=Property("reward_pairs", _slack),
        counterexample=Counterexample(
            "three deterministic policies of one state, ordered alike by two inequivalent rewards",
            {"rewards": (((0.0, 1.0, 4.0),), ((0.0, 3.0, 4.0),))}, _finite_set,
        ),
    ),
)  # fmt: skip
