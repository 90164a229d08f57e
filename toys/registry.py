"""The toy worlds by name."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from overopt.theory.errors import InputError
from overopt.toys.worlds.additive import Additive
from overopt.toys.worlds.adversarial_mode import AdversarialMode
from overopt.toys.worlds.bounded import Bounded
from overopt.toys.worlds.break_points import BreakPoints
from overopt.toys.worlds.common_cause_length import CommonCauseLength
from overopt.toys.worlds.ensemble import Ensemble
from overopt.toys.worlds.feasible_region import FeasibleRegion
from overopt.toys.worlds.joint_gaussian import JointGaussian
from overopt.toys.worlds.kink import Kink
from overopt.toys.worlds.linear_reward_model import LinearRewardModel
from overopt.toys.worlds.missing_features import MissingFeatures
from overopt.toys.worlds.quadratic import Quadratic
from overopt.toys.worlds.saturation import Saturation
from overopt.toys.worlds.sentences import Sentences
from overopt.toys.worlds.tabular import Tabular
from overopt.toys.worlds.three_submodules import ThreeSubmodules

__all__ = ["WORLDS", "world_named"]

WORLDS: Mapping[str, type[Any]] = {
    "additive": Additive,
    "bounded": Bounded,
    "quadratic": Quadratic,
    "break-points": BreakPoints,
    "kink": Kink,
    "saturation": Saturation,
    "common-cause-length": CommonCauseLength,
    "missing-features": MissingFeatures,
    "feasible-region": FeasibleRegion,
    "adversarial-mode": AdversarialMode,
    "sentences": Sentences,
    "three-submodules": ThreeSubmodules,
    "joint-gaussian": JointGaussian,
    "tabular": Tabular,
    "linear-rm": LinearRewardModel,
    "ensemble": Ensemble,
}


def world_named(name: str) -> type[Any]:
    """The dataclass of a world; InputError with the closest name where there is none."""
    key = name.replace("_", "-").lower()
    if key not in WORLDS:
        close = get_close_matches(key, WORLDS, n=1)
        hint = f" Did you mean '{close[0]}'?" if close else ""
        raise InputError(f"unknown world '{name}'; expected one of {', '.join(WORLDS)}.{hint}")
    return WORLDS[key]
