"""The paper's reading of a toy curve: alpha and beta of both laws and their rivals, fitted to the *exact* gold."""

from __future__ import annotations

from typing import Any

import numpy as np

from overopt.theory.scaling_laws import LAWS, fit_law
from overopt.toys.curve import ToyCurve

__all__ = ["fit_toy_curve"]


def fit_toy_curve(curve: ToyCurve, law: str | None = None) -> dict[str, Any] | None:
    """Least squares of every law through (0, 0) on the points with KL > 0, or None with fewer than three of them.

    Parameters
    ----------
    law
        The law reported first; default ``bon`` for selection by rank, ``rl`` for everything else.

    Returns
    -------
    ``law, alpha, beta, peak_d, peak_gold, peak, r2`` of that law, and ``laws``: every law's parameters, peak, r2 and
    rmse, best first. ``peak`` says in words where the law is highest, or that it has no peak inside the data: then
    ``peak_d`` and ``peak_gold`` are None.
    """
    d, gold = curve.column("d"), curve.column("delivered")
    order = np.argsort(d)
    kept = order[d[order] > 1e-9]
    if kept.size < 3 or not np.isfinite(gold[kept]).all():
        return None
    chosen = law or ("bon" if curve.optimizer in ("best-of-n", "best-of-poisson", "quantilizer") else "rl")
    rows: list[dict[str, Any]] = []
    for form in LAWS.values():
        if kept.size < len(form.parameters) + 1:
            continue
        found = fit_law(form, d[kept], gold[kept])
        rows.append({
            "law": form.name, "parameters": dict(zip(form.parameters, found.coefficients.tolist(), strict=True)),
            "r2": float(found.r2), "rmse": float(found.rmse),
            **_peak(float(found.peak.d), float(found.peak.gold), float(d[kept[-1]])),
        })  # fmt: skip
    rows.sort(key=lambda row: row["rmse"])
    first = next(row for row in rows if row["law"] == chosen)
    return {
        "law": chosen, "alpha": first["parameters"]["alpha"], "beta": first["parameters"]["beta"],
        "peak_d": first["peak_d"], "peak_gold": first["peak_gold"], "peak": first["peak"],
        "r2": first["r2"], "laws": rows,
    }  # fmt: skip


def _peak(d: float, gold: float, d_max: float) -> dict[str, Any]:
    """The law's maximum where the data reach it; beyond them it is the law's invention."""
    if not 0 < d < d_max or gold <= 0:
        return {"peak_d": None, "peak_gold": None, "peak": f"no peak inside the data (d up to {d_max:.4g})"}
    return {"peak_d": d, "peak_gold": gold, "peak": f"peak {gold:.4g} at d = {d:.4g} (KL {d**2:.4g} nats)"}
