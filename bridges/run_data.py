"""The measured tables of a finished run, read from its stages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from overopt.bridges.bent_gold import GoldBend
from overopt.bridges.checkpoints import Checkpoints
from overopt.bridges.score_bank import ScoreBank

__all__ = ["GOLD", "PolicyRun", "RunData", "read_run"]

GOLD = "gold"


@dataclass(frozen=True)
class PolicyRun:
    """One trained policy: by what, against what ("gold" for the control arm), which repetition, its measurements."""

    optimizer: str
    proxy: str
    index: int
    folder: Path
    checkpoints: Checkpoints
    kind: str = "ppo"
    settings: Mapping[str, float] | None = None


@dataclass(frozen=True)
class RunData:
    """The measured tables of a run."""

    config: Mapping[str, Any]
    bank: ScoreBank
    held_out: Mapping[str, Mapping[str, Any]]
    policies: tuple[PolicyRun, ...]

    def bank_for(self, proxy: str) -> ScoreBank:
        """The base bank with the gold that ``proxy`` is judged by: bent where that is the planted fault."""
        bend = self._bend(proxy)
        return self.bank if bend is None else bend.bank(self.bank)

    def checkpoints_of(self, policy: PolicyRun) -> Checkpoints:
        """The measurements of ``policy`` with the gold that its proxy is judged by."""
        bend = self._bend(policy.proxy)
        return policy.checkpoints if bend is None else bend.checkpoints(policy.checkpoints)

    def _bend(self, proxy: str) -> GoldBend | None:
        fault = self.held_out.get(proxy, {}).get("planted")
        if fault is None or fault["fault"] != "bend":
            return None
        return GoldBend.at_quantile(self.bank, fault["quantile"], fault["strength"])


def read_run(run: Path) -> RunData:
    """Read the tables of a finished run."""
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))["in_force"]
    bank = ScoreBank.read(run / "bank" / "bank.parquet")
    # Gold as a proxy of itself is the control of best-of-n: no gap, no fall.
    bank = replace(bank, proxies={**bank.proxies, GOLD: bank.gold})
    held_out = {
        name: json.loads((run / "proxy" / name / "held_out.json").read_text(encoding="utf-8"))
        for name in bank.proxies
        if name != GOLD
    }
    # Folders with a dot in front are half-written stages.
    arms = [path.parent for path in run.glob("*/*/arm.json") if not path.parent.name.startswith(".")]
    order = list(bank.proxies)
    policies = sorted(map(_policy_run, arms), key=lambda p: (p.optimizer, order.index(p.proxy), p.index))
    return RunData(config, bank, held_out, tuple(policies))


def _policy_run(folder: Path) -> PolicyRun:
    arm = json.loads((folder / "arm.json").read_text(encoding="utf-8"))
    return PolicyRun(
        arm["optimizer"],
        arm["proxy"],
        arm["index"],
        folder,
        Checkpoints.read(folder / "checkpoints.parquet"),
        arm["kind"],
        arm["settings"],
    )
