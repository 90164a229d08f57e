"""A curve from elsewhere: points without the samples behind them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from overopt.bridges.curve import Axis, Curve
from overopt.bridges.kl import BASE_KL
from overopt.bridges.table_files import TableFile, numbers, open_table
from overopt.bridges.table_rows import STEP_NAMES
from overopt.theory.best_of_n import best_of_n_kl
from overopt.theory.errors import InputError

__all__ = ["CurveColumns", "ImportedCurve", "read_curve"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class CurveColumns:
    """Which columns hold what; None means the column of the field's own name, where there is one.

    A file with neither ``n`` nor ``checkpoint`` may count checkpoints by a column of ``STEP_NAMES``.
    """

    n: str | None = None
    checkpoint: str | None = None
    kl: str | None = None
    gold: str | None = None
    gold_se: str | None = None
    proxy: str | None = None


@dataclass(frozen=True)
class ImportedCurve:
    """A curve and what the reader decided on the user's behalf."""

    curve: Curve
    warnings: tuple[str, ...]


def read_curve(path: str, columns: CurveColumns | None = None) -> ImportedCurve:
    """Read points of a gold curve: ``n`` or ``checkpoint``, ``kl``, ``gold``, optional ``gold_se`` and ``proxy``.

    A point with KL 0, n = 1, or checkpoint 0 with a KL of at most ``BASE_KL`` is the base policy, over which gains
    count; without one, gold is taken to count from the base policy already. Best-of-n points need no KL: it is ``log n
    - (n - 1)/n``.

    Raises
    ------
    InputError
        One line naming file, row, column, constraint and value.
    """
    wanted = columns or CurveColumns()
    table = open_table(path)
    chosen = {
        role: name
        for role in ("n", "checkpoint", "kl", "gold_se", "proxy")
        if (name := _column(table, getattr(wanted, role), role)) is not None
    }
    if "n" in chosen and "checkpoint" in chosen and wanted.checkpoint is None:
        del chosen["checkpoint"]
    warnings: list[str] = []
    if "n" not in chosen and "checkpoint" not in chosen:
        step = next((table.find(name) for name in STEP_NAMES if table.has(name)), None)
        if step is not None:
            chosen["checkpoint"] = step
            warnings.append(f"no n and no checkpoint column: column '{step}' is taken as the checkpoint.")
        elif "kl" in chosen:
            warnings.append("no n and no checkpoint column: checkpoints are the numbers of the rows, from 0.")
        else:
            table.find("n")
    chosen["gold"] = table.find(wanted.gold or "gold")
    read = table.read(list(chosen.values()))
    values = {role: numbers(read[name], path, name) for role, name in chosen.items()}
    axis: Axis = "n" if "n" in chosen else "checkpoint"
    pressure = values.get(axis, np.arange(values["gold"].size, dtype=np.float64))
    _check(values, chosen, path, axis)
    if "kl" in values:
        kl, kind = values["kl"], "imported"
    elif axis == "n":
        kl, kind = best_of_n_kl(values["n"]), "analytic"
        warnings.append("no kl column: KL = log n - (n - 1)/n, which is right for a proxy without ties.")
    else:
        raise InputError(f"{path}: column 'kl' must exist for a curve over checkpoints, got {', '.join(table.names)}.")
    is_base = kl == 0
    if axis in values:
        is_base |= pressure == 1 if axis == "n" else (pressure == 0) & (kl <= BASE_KL)
    if (kl[is_base] > 0).any():
        at = int(np.flatnonzero(is_base & (kl > 0))[0])
        warnings.append(f"{axis} = {pressure[at]:g} is the base policy: its KL of {kl[at]:g} nats is taken as 0.")
        kl = np.where(is_base, 0.0, kl)
    order = np.argsort(kl, kind="stable")
    kl, pressure, is_base = kl[order], pressure[order], is_base[order]
    gold = values["gold"][order]
    proxy = values["proxy"][order] if "proxy" in values else np.full(gold.size, np.nan)
    error = values["gold_se"][order] if "gold_se" in values else np.full(gold.size, np.nan)
    exact = (error == 0) & ~is_base
    if exact.any():
        warnings.append(
            f"column '{chosen['gold_se']}' is 0 for {int(exact.sum())} of {gold.size} points, beyond the base policy: "
            "no measurement is exact, so it is taken as unknown there."
        )
        error = np.where(exact, np.nan, error)
    at_base = np.flatnonzero(is_base)
    base_gold = base_proxy = 0.0
    gains = np.eye(gold.size)
    if at_base.size:
        base_gold, base_proxy = gold[at_base].mean(), proxy[at_base].mean()
        gains[:, at_base] -= 1 / at_base.size
    else:
        warnings.append("no point with KL 0: gold (and proxy) are taken as gains over the base policy.")
    covariance = np.diag(error**2)
    unknown = np.full(covariance.shape, np.nan)
    return ImportedCurve(
        Curve(
            method="best-of-n" if axis == "n" else "checkpoints",
            axis=axis,
            pressure=pressure,
            kl=kl,
            kl_kind=kind,
            kl_standard_error=np.full(gold.size, np.nan) if kind == "imported" else np.zeros(gold.size),
            gold=gold,
            proxy=proxy,
            base_gold=float(base_gold),
            base_proxy=float(base_proxy),
            gold_covariance=covariance,
            proxy_covariance=unknown,
            gain_covariance=gains @ covariance @ gains.T,
        ),
        tuple(warnings),
    )


def _column(table: TableFile, given: str | None, default: str) -> str | None:
    if given is not None:
        return table.find(given)
    return table.find(default) if table.has(default) else None


def _check(values: dict[str, Array], chosen: dict[str, str], path: str, axis: str) -> None:
    """Constraints on each column, naming the first cell that breaks one."""
    for role, lowest in (("n", 1.0), ("kl", 0.0), ("gold_se", 0.0)):
        if role in values and (values[role] < lowest).any():
            row = int(np.flatnonzero(values[role] < lowest)[0])
            raise InputError(
                f"{path}, row {row + 1}, column '{chosen[role]}': must be >= {lowest:g}, got {values[role][row]:g}."
            )
    if axis in values:
        seen, first = np.unique(values[axis], return_index=True)
        if seen.size < values[axis].size:
            row = int(np.setdiff1d(np.arange(values[axis].size), first)[0])
            raise InputError(
                f"{path}, row {row + 1}, column '{chosen[axis]}': every {axis} must occur once, got "
                f"{values[axis][row]:g} again; a table of samples is read by overopt diagnose."
            )
