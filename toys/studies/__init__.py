"""Studies: small scripts on the public API; each ends in pass, fail or cannot tell and draws one chart.

``overopt toy --studies [--report page.html]`` runs them all.
"""

from __future__ import annotations

from overopt.toys.studies.study import Line, Study

__all__ = ["NAMES", "Line", "Study"]

NAMES = (
    "submodules", "early_stopping", "range_of_d", "mechanisms", "ensembles", "iterated_proxies", "data_threshold",
    "measures", "beta_source",
)  # fmt: skip
"""Module of each study in this package."""
