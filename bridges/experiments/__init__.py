"""What an experiment says about the reference experiment's trends and about questions its readers asked, in verdicts.

Every function reads a finished run's summary and nothing else, so that a kept summary can be judged again.
"""

from overopt.bridges.experiments.coefficients import coefficient_trends, label_trends
from overopt.bridges.experiments.comparisons import comparison_trends
from overopt.bridges.experiments.method_paths import method_trends
from overopt.bridges.experiments.paper_table import PaperRow, paper_table
from overopt.bridges.experiments.penalty import penalty_trends
from overopt.bridges.experiments.planted_faults import planted_trends
from overopt.bridges.run_summary import RunSummary, Trend

__all__ = ["PaperRow", "experiment_trends", "paper_table"]


def experiment_trends(summary: RunSummary) -> tuple[Trend, ...]:
    """Every trend that this run's arms and proxies can speak about."""
    judges = (planted_trends, coefficient_trends, label_trends, penalty_trends, comparison_trends, method_trends)
    return tuple(trend for judge in judges for trend in judge(summary))
