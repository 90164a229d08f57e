"""The table across runs: what the reference experiment says, what was measured here, the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from overopt.bridges.experiments.policy_size import policy_size_trends
from overopt.bridges.run_summary import RunSummary

__all__ = ["CLAIMS", "PaperRow", "paper_table"]

CLAIMS: dict[int, str] = {
    1: "Gold rises, then falls with d while the proxy keeps rising (figure 1)",
    2: "The two forms extrapolate from low KL to high KL (figures 2 and 26)",
    3: "alpha and beta move smoothly with reward-model size (figure 3)",
    4: "More reward-model data: higher gold, less overoptimization; more epochs do not help (figures 4, 6, 11, 13)",
    5: "A better reward model (size, held-out loss) reaches higher gold (figures 5, 10, 12, 21)",
    6: "A larger policy gains less and peaks at about the same KL (figures 7, 22 to 24)",
    7: "RL spends far more KL than best-of-n, quadratically in updates; gold against proxy is similar (figures 8, 14)",
    8: "A KL penalty moves along the frontier of early stopping (figures 9 and 14)",
    9: "Best-of-n's proxy is slightly concave in d (figure 20)",
    10: "beta is the extremal loss, proxy slope minus alpha the regressional one (section 4.2)",
    0: "Asked by the paper's readers, or planted by us",
}
"""The reference experiment's trends by number (arXiv 2210.10760)."""


@dataclass(frozen=True)
class PaperRow:
    """One trend of one kept run under the claim that it speaks about."""

    number: int
    claim: str
    recipe: str
    statement: str
    verdict: str
    evidence: str


POLICIES = {"policy-67k": 67_376, "policy-252k": 252_144, "methods": 1_365_120}
"""Recipe -> parameters of the policy that it optimizes against :data:`POLICY_PROXY`."""

POLICY_PROXY = "41k-4000"


def paper_table(runs: Mapping[str, RunSummary]) -> tuple[PaperRow, ...]:
    """Every trend of every run, in the order of the claims; a claim that no run speaks about has a row that says so."""
    rows: list[PaperRow] = []
    policies = {size: runs[recipe] for recipe, size in POLICIES.items() if recipe in runs}
    across = {"policy sizes": policy_size_trends(policies, POLICY_PROXY)}
    spoken = {**{recipe: list(run.trends) for recipe, run in runs.items()}, **across}
    for number, claim in sorted(CLAIMS.items(), key=lambda item: item[0] or len(CLAIMS)):
        found = [
            PaperRow(number, claim, recipe, trend.statement, trend.verdict, trend.evidence)
            for recipe, trends in spoken.items()
            for trend in trends
            if trend.paper == number
        ]
        rows += found or [PaperRow(number, claim, "none", "", "not measured", "no kept run speaks about it")]
    return tuple(rows)
