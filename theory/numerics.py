"""Settings of the arithmetic: where panels are cut, brackets, tolerances, sizes, where one expression takes over.

None of them is part of a formula: values near these give the same digits. They stand apart from the formulas so that
the mutation study can count the two apart.
"""

from __future__ import annotations

import numpy as np

# scipy.stats inverts tails down to about 1e-200 reliably; log-odds of 350 are ranks of 1 - 1e-152.
MAX_LOGIT = 350.0
LARGEST_VALUE = 1e100
"""Values beyond it, far in a power tail, are left to the continuation beyond the last panel."""
LARGEST_EXPONENT = 700.0

# Winners of best-of-e^40 sit at log-odds 40 +- a few; beyond 46 every integrand is a slowly varying exponential.
MAX_LOG_N = 46.0
_TAIL_EDGES = np.array([46, 50, 56, 64, 76, 92, 116, 148, 196, 260, MAX_LOGIT])
RANK_EDGES = np.concatenate([-_TAIL_EDGES[:0:-1], np.arange(-MAX_LOG_N, MAX_LOG_N + 1, 2.0), _TAIL_EDGES[1:]])
BULK_LOGITS = np.linspace(-10.0, 10.0, 21)
VALUE_FLOOR = 1e-2
"""Share of the largest value in the bulk below which a value need not be resolved relative to itself."""
SLOWEST_DECAY = 1e-6
"""A tail integrand that decays more slowly than this per unit of log-odds is said to diverge."""

# Adaptive panels: 16 Legendre nodes integrate polynomials of degree 31 exactly.
ORDER = 16
PANEL_TOLERANCE = 1e-13
TAIL_COEFFICIENTS = 2
"""So many last Legendre coefficients measure what a panel leaves unresolved."""
MAX_DEPTH = 48
MAX_PANELS = 1000
NARROWEST_PANEL = 8
"""Half-width of the narrowest panel that is still halved, in units of the spacing of numbers there."""

# A sum's own panels are smooth and few, on both sides alike: a mixture's far left end needs them too.
SUM_EDGES = np.concatenate(
    [[-MAX_LOGIT, -196, -116, -76, -56], np.arange(-46.0, 47.0, 4.0), [56, 76, 116, 196, MAX_LOGIT]]
)
# Widths of laws are read between these log-odds of rank.
WIDTH_LOGITS = np.array([-1.0, 1.0])
# Convolution: cuts at quantiles of both parts, far ones too, so that each part can sit at its own extremes.
_FAR_LOGITS = np.array([60.0, 80, 120, 200, MAX_LOGIT])
DENSITY_LOGITS = np.concatenate([-_FAR_LOGITS[::-1], np.arange(-44.0, 45.0, 4.0), _FAR_LOGITS])
SAME_EDGE = 1e-13
SAME_Y = 1e-12
PANEL_PROBES = np.array([0.02, 0.5, 0.98])
NEGLIGIBLE_LOG = 42.0
"""A panel e^-42 below the largest one adds nothing to a double."""
QUANTILE_NEWTON_STEPS = 12
QUANTILE_STEP = 1e-9
"""Newton's steps are squared: the one after a step this small, in half panels, is exact."""
STEEPEST_LOG_DENSITY = 6.0
CONVOLUTION_NODES = 18
CONVOLUTION_BATCH = 128
SUM_DISTANCE = 1e-12
"""Mixture weights sum to 1 this closely."""
ROOT_TOLERANCES = {"xrtol": 1e-15, "xatol": 0.0, "fatol": 0.0, "frtol": 0.0}

# A probability vector that somebody typed or computed sums to 1 this closely.
SUM_TOLERANCE = 1e-9
BUDGET_TOLERANCE = 1e-12

# Series that are free of cancellation, and where they take over.
KL_SERIES_BELOW = 0.02
KL_SERIES_POWERS = np.arange(2, 12)
NEAR_BRANCH_KL = 1e-4
LAMBERT_POLISH = 3
POISSON_SMALL = 1.0
POISSON_NODES = 32
EXPONENTIAL_INTEGRAL_SERIES_FROM = 60.0
EXPONENTIAL_INTEGRAL_TERMS = 30

# The integrand falls by many orders across a wide panel: pieces that widen to the right keep its left end exact.
QUANTILIZER_PIECES = (0.0, 0.03, 0.1, 0.25, 0.5, 1.0)

LARGEST_PRESSURE = 1e8
TILT_BISECTIONS = 60
ROOT_XTOL = 1e-14

FLOW_RTOL = 1e-10
FLOW_ATOL = 1e-12

CHEBYSHEV_POINTS = 24

# Where tail rates are read: tail probabilities e^-87, e^-175 and e^-350.
TAIL_LOGITS = np.array([0.25, 0.5, 1.0]) * MAX_LOGIT
FLAT_TAIL = 0.02
BOUNDED_TOLERANCE = 1e-9
CONCAVITY_LOGITS = np.linspace(-20.0, 20.0, 41)
CONCAVITY_TOLERANCE = 1e-6

SHAPE_GRID = 61
SHAPE_STEPS = 40
MAX_DOUBLINGS = 200
GOLD_BISECTIONS = 200
GOLD_TOLERANCE = 1e-9
