"""A fit as plain rows, with the keys that ``--json`` prints."""

from __future__ import annotations

from typing import Any

import numpy as np

from overopt.bridges.curve import Curve
from overopt.bridges.fits import Fit, RivalLaw

__all__ = ["curve_rows", "fit_record", "law_rows"]


def fit_record(fit: Fit | None, law: str) -> dict[str, Any]:
    """The stable keys of one fit; every value is null where no law can be fitted."""
    if fit is None:
        empty = ("alpha", "alpha_ci", "beta", "beta_ci", "peak_d", "peak_gold", "r2")
        return {"law": law, **dict.fromkeys(empty), "laws": []}
    line = np.linspace(0.0, fit.d_max, 65)
    return {
        "law": fit.law,
        "formula": fit.best.formula,
        "quantity": fit.quantity,
        "alpha": fit.alpha,
        "alpha_ci": fit.intervals["alpha"],
        "beta": fit.beta,
        "beta_ci": fit.intervals.get("beta"),
        "parameters": dict(fit.best.parameters),
        "intervals": dict(fit.intervals),
        "peak_d": fit.peak.d,
        "peak_d_ci": fit.peak.d_interval,
        "peak_gold": fit.peak.gain,
        "peak_gold_ci": fit.peak.gain_interval,
        "peak": str(fit.peak),
        "r2": fit.best.r2,
        "heldout_d": fit.heldout_d,
        "points": fit.points,
        "line": [[d, gain] for d, gain in zip(line, fit.gain(line), strict=True)],
        "note": fit.note,
        "laws": [_law(rival) for rival in fit.laws],
    }


def _law(rival: RivalLaw) -> dict[str, Any]:
    return {
        "law": rival.law,
        "formula": rival.formula,
        "parameters": dict(rival.parameters),
        "weighted": None if rival.weighted is None else dict(rival.weighted),
        "r2": rival.r2,
        "heldout_rmse": rival.heldout_rmse,
    }


def law_rows(fit: Fit) -> list[list[object]]:
    """Rows for a table: law, parameters, the same weighted, R2, held-out error."""

    def written(parameters: dict[str, float] | None) -> str:
        return "–" if parameters is None else ", ".join(f"{name} {value:.3g}" for name, value in parameters.items())

    return [
        [
            rival.law,
            rival.formula,
            written(dict(rival.parameters)),
            written(None if rival.weighted is None else dict(rival.weighted)),
            rival.r2,
            rival.heldout_rmse,
        ]
        for rival in fit.laws
    ]


def curve_rows(curve: Curve) -> list[dict[str, Any]]:
    """One record per point, with the stable keys; own units of gold and proxy."""
    whole = curve.axis == "n"
    return [
        {
            "method": curve.method,
            curve.axis: int(pressure) if whole and float(pressure).is_integer() else float(pressure),
            "kl": curve.kl[index],
            "kl_kind": curve.kl_kind,
            "kl_se": curve.kl_standard_error[index],
            "kl_analytic": None if curve.kl_analytic is None else curve.kl_analytic[index],
            "d": curve.d[index],
            "proxy": curve.proxy[index],
            "proxy_se": curve.proxy_se[index],
            "gold": curve.gold[index],
            "gold_se": curve.gold_se[index],
            "gold_gain": curve.gold_gain[index],
            "gold_gain_se": curve.gain_se[index],
        }
        for index, pressure in enumerate(curve.pressure)
    ]
