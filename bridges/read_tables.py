"""Somebody's score tables -> a base bank and checkpoints, validated; messages name file, row, column and value."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from overopt.bridges.checkpoints import Checkpoints
from overopt.bridges.kl import BASE_KL, KL, KLEstimator
from overopt.bridges.score_bank import ScoreBank
from overopt.bridges.stored_bank import StoredBank
from overopt.bridges.table_files import TableFile, is_parquet, open_table
from overopt.bridges.table_rows import (
    STEP_NAMES,
    TableColumns,
    TableRows,
    append_rows,
    column_of,
    optional_column,
    proxy_names,
    refuse_gold_as_proxy,
)
from overopt.theory.errors import InputError

__all__ = ["STREAM_ROWS", "TableColumns", "Tables", "read_tables"]

Array = NDArray[np.float64]
STREAM_ROWS = 20_000_000
"""A Parquet bank with more rows than this stays on disk and is read by row group."""


@dataclass(frozen=True)
class Tables:
    """What the files hold.

    Attributes
    ----------
    bank
        Samples of the base policy: a file without a checkpoint column, else checkpoint 0 where its KL is 0 or unknown.
    checkpoints
        Samples of optimized policies, the least optimized first, or None.
    warnings
        What the reader decided on the user's behalf.
    """

    bank: ScoreBank | StoredBank
    checkpoints: Checkpoints | None
    warnings: tuple[str, ...]


def read_tables(
    paths: Sequence[str], columns: TableColumns | None = None, *, kl_kind: KLEstimator = "imported"
) -> Tables:
    """Read one or several tables: a file with a checkpoint column holds checkpoints, any other base samples.

    Parameters
    ----------
    paths
        CSV, JSONL, JSON or Parquet, plain or gzipped; several files of one kind are joined.
    columns
        The user's column names.
    kl_kind
        What estimator the ``kl`` column is; a column ``kl_kind`` in the file overrides it.

    Raises
    ------
    InputError
        One line naming file, row, column, constraint and value.
    """
    wanted = columns or TableColumns()
    if not paths:
        raise InputError("at least one table is needed, got none.")
    if len(set(paths)) < len(paths):
        raise InputError(f"every file must be given once, got {', '.join(paths)}.")
    tables = [open_table(path) for path in paths]
    proxies = proxy_names(tables, wanted)
    stored = _stored(tables, wanted, proxies)
    warnings: list[str] = []
    base, tuned = TableRows(), TableRows()
    kinds: dict[str, str] = {}
    for table in tables:
        if stored is None or table.path != stored.path:
            append_rows(table, wanted, proxies, base, tuned, kinds)
    estimator = _estimator(kinds, kl_kind)
    bank: ScoreBank | StoredBank | None = stored
    if stored is None and base.files:
        bank = _score_bank(base, {name: f"proxy:{name}" for name in proxies}, None, base.locate)
    checkpoints = _checkpoints(tuned, proxies, wanted, estimator, warnings) if tuned.files else None
    given = bank is not None
    if checkpoints is not None:
        bank, checkpoints = _with_base(bank, checkpoints, warnings)
    assert bank is not None  # there is at least one file, and checkpoints come back with a bank
    _check_bank(bank, ", ".join(base.files or tuned.files) if stored is None else stored.path, given, warnings)
    return Tables(bank, checkpoints, tuple(warnings))


def _estimator(kinds: Mapping[str, str], given: KLEstimator) -> KLEstimator:
    if not kinds:
        return given
    if len(kinds) > 1:
        (first, path), (second, other), *_ = kinds.items()
        raise InputError(
            f"{other}, column 'kl_kind': KL must be of one kind, got '{first}'"
            + (f" in {path}" if path != other else "")
            + f" and '{second}'."
        )
    ((name, path),) = kinds.items()
    for known in get_args(KLEstimator):
        if name == known:
            return known  # type: ignore[no-any-return]
    raise InputError(f"{path}, column 'kl_kind': must be one of {', '.join(get_args(KLEstimator))}, got '{name}'.")


def _score_bank(
    rows: TableRows, roles: Mapping[str, str], mask: NDArray[np.bool_] | None, locate: Callable[[int], str]
) -> ScoreBank:
    """The rows (of one checkpoint, with ``mask``) as a bank whose proxies are these columns: name -> role."""
    unique, codes = np.unique(np.concatenate(rows.prompts), return_inverse=True)

    def pick(role: str) -> Array:
        values = rows.joined(role)
        assert values is not None
        return values if mask is None else values[mask]

    sample = rows.numbered_samples()
    return ScoreBank.from_codes(
        codes=codes if mask is None else codes[mask],
        prompts=tuple(unique.tolist()),
        gold=pick("gold"),
        proxies={name: pick(role) for name, role in roles.items()},
        sample=sample if mask is None or sample is None else sample[mask],
        length=pick("length") if rows.joined("length") is not None else None,
        locate=locate,
    )


def _check_bank(bank: ScoreBank | StoredBank, where: str, given: bool, warnings: list[str]) -> None:
    """Refuse a base table that allows no best-of-n; where checkpoint 0 stands in for one, the run can still be told."""
    smallest, largest = bank.samples_per_prompt, int(bank.counts.max())
    name = bank.prompts[int(np.argmin(bank.counts))]
    if smallest < 2 and given:
        single = int((bank.counts == 1).sum())
        raise InputError(
            f"{where}, column 'prompt': every prompt needs at least 2 base samples, got 1 for {single} of "
            f"{bank.n_prompts} prompts, first '{name}'; drop them, or leave out the prompt column to pool all rows."
        )
    if smallest >= 2 and not _gold_varies(bank):
        chunk = next(bank.chunks())
        found = f"got one value per prompt ({chunk.gold[0]:g} for '{chunk.prompts[0]}')"
        if given:
            raise InputError(
                f"{where}, column 'gold': must vary within prompts, {found}: no choice among a prompt's samples can "
                "change it."
            )
        warnings.append(f"gold does not vary within prompts at checkpoint 0, {found}: best-of-n cannot change it.")
    if smallest < largest:
        warnings.append(
            f"prompts have {smallest} to {largest} samples; n stops at {smallest}, the number of prompt '{name}'."
        )


def _gold_varies(bank: ScoreBank | StoredBank) -> bool:
    if isinstance(bank, StoredBank):
        return bank.gold_varies()
    return not np.array_equal(bank.gold, np.repeat(bank.gold[bank.offsets[:-1]], bank.counts))


def _checkpoints(
    rows: TableRows, proxies: tuple[str, ...], wanted: TableColumns, estimator: KLEstimator, warnings: list[str]
) -> Checkpoints:
    column = rows.joined("checkpoint")
    assert column is not None
    # Columns beside the proxies ride along, so that the bank's sort by prompt and sample holds for them too.
    riders = {f"\0{name}": name for name in ("kl", "logratio") if rows.joined(name) is not None}
    roles = {name: f"proxy:{name}" for name in proxies} | riders
    banks: dict[float, ScoreBank] = {}
    kl: dict[float, KL] = {}
    ratios: dict[float, Array] = {}
    ratio_kl: dict[float, KL] = {}
    for value in np.unique(column).tolist():
        positions = np.flatnonzero(column == value)
        wide = _score_bank(rows, roles, column == value, lambda row, at=positions: rows.locate(int(at[row])))  # type: ignore[misc]
        banks[value] = replace(wide, proxies={name: wide.proxies[name] for name in proxies})
        if "\0kl" in riders:
            kl[value] = _mean_kl(wide, wide.proxies["\0kl"], estimator)
        if "\0logratio" in riders:
            ratios[value] = wide.proxies["\0logratio"]
            ratio_kl[value] = _mean_kl(wide, ratios[value], "k1")
    if kl and ratio_kl:
        _compare_kl(kl, ratio_kl, warnings)
    if not kl and not ratio_kl:
        warnings.append(
            f"{', '.join(rows.files)}: no kl and no logratio column: no curve against KL, no fit and no KL budget."
        )
    known = kl or ratio_kl
    order = _order(known, wanted.checkpoint or "checkpoint", warnings) if known else list(banks)
    if kl:
        source = f"as given in column {wanted.kl or 'kl'}"
    else:
        source = f"mean of column {wanted.logratio or 'logratio'}"
    try:
        return Checkpoints(
            banks={value: banks[value] for value in order},
            kl={value: known[value] for value in order} if known else {},
            logratio=ratios or None,
            kl_source=source,
        )
    except InputError as error:
        raise InputError(f"{', '.join(rows.files)}: {error}") from None


def _order(kl: Mapping[float, KL], column: str, warnings: list[str]) -> list[float]:
    """The checkpoints, least optimized first: ascending, or by KL where KL falls as the checkpoint rises."""
    values = list(kl)
    rest = [value for value in values if value != 0 or not _is_base(kl[value])]
    # The KL of one run may dip between two of its steps; a fractional checkpoint is no step.
    # A run does not begin with a checkpoint 0 far from the base policy: that is a coefficient.
    steps = all(value.is_integer() for value in rest) and 0 not in rest
    enough = 3 if steps else 2
    if column.strip().lower() in STEP_NAMES or len(rest) < enough:
        return values
    if any(kl[a].value <= kl[b].value for a, b in pairwise(rest)):
        return values
    warnings.append(
        f"KL falls as column '{column}' rises, from {kl[rest[0]].value:.3g} nats at {rest[0]:g} to "
        f"{kl[rest[-1]].value:.3g} at {rest[-1]:g}, as in a sweep of a KL penalty: the checkpoints are taken in the "
        f"order of KL, {rest[0]:g} as the most optimized."
    )
    return sorted(values, key=lambda value: kl[value].value)


def _is_base(kl: KL) -> bool:
    return abs(kl.value) <= max(BASE_KL, 2 * (kl.standard_error or 0.0))


def _mean_kl(bank: ScoreBank, values: Array, estimator: KLEstimator) -> KL:
    """One KL per checkpoint: as given where it is one number, else the mean over prompts with its clustered error."""
    if np.ptp(values) == 0:
        exact = values[0] == 0
        return KL(float(values[0]), estimator, n=bank.n_rows, standard_error=0.0 if exact else None)
    means = bank.prompt_means(values)
    error = float(means.std(ddof=1) / np.sqrt(means.size)) if means.size > 1 else None
    return KL(float(means.mean()), estimator, n=bank.n_rows, standard_error=error)


def _compare_kl(given: Mapping[float, KL], ratio: Mapping[float, KL], warnings: list[str]) -> None:
    """Warn where the kl column and the mean log-ratio cannot be the same quantity."""
    for value, kl in given.items():
        other = ratio[value]
        gap = abs(kl.value - other.value)
        if gap > 0.2 * max(kl.value, other.value, 0.05) and gap > 5 * (other.standard_error or 0.0):
            warnings.append(
                f"checkpoint {value:g}: the kl column says {kl.value:.3g} nats, the mean logratio {other.value:.3g}; "
                "they are different quantities (k2? a mean per token? another temperature?). The kl column is used."
            )
            return


def _with_base(
    bank: ScoreBank | StoredBank | None, checkpoints: Checkpoints, warnings: list[str]
) -> tuple[ScoreBank | StoredBank, Checkpoints]:
    """The bank (checkpoint 0 where none is given) restricted to the checkpoints' prompts."""
    if bank is None:
        if 0.0 in checkpoints.banks:
            kl = checkpoints.kl.get(0.0)
            if kl is None or _is_base(kl):
                return checkpoints.at(0.0), checkpoints
            raise InputError(
                f"base samples are needed in a table without a checkpoint column: checkpoint 0 has a KL of "
                f"{kl.value:.3g} nats, so it is not the base policy (if it is, set its KL to 0)."
            )
        raise InputError(
            "base samples are needed: a table without a checkpoint column, or rows with checkpoint 0; got checkpoints "
            f"{', '.join(f'{value:g}' for value in checkpoints.values[:8])}."
        )
    unknown = sorted(set(checkpoints.prompts) - set(bank.prompts))
    if unknown:
        raise InputError(
            f"checkpoints must share the bank's prompts, got prompt '{unknown[0]}' in the checkpoints only "
            f"({len(unknown)} of {len(checkpoints.prompts)})."
        )
    if len(checkpoints.prompts) < bank.n_prompts:
        warnings.append(
            f"the checkpoints hold {len(checkpoints.prompts)} of the bank's {bank.n_prompts} prompts; "
            "everything below uses these."
        )
        wanted = set(checkpoints.prompts)
        bank = bank.take(np.array([k for k, name in enumerate(bank.prompts) if name in wanted], dtype=np.intp))
    return bank, checkpoints


def _stored(tables: Sequence[TableFile], wanted: TableColumns, proxies: tuple[str, ...]) -> StoredBank | None:
    """The only base table, opened and not read, where it is a large Parquet file; checkpoints may lie beside it."""
    import pyarrow.parquet as pq

    banks = [table for table in tables if optional_column(table, wanted.checkpoint, "checkpoint") is None]
    if len(banks) != 1 or not is_parquet(banks[0].path):
        return None
    (table,) = banks
    if pq.read_metadata(table.path).num_rows <= STREAM_ROWS:
        return None
    gold = table.find(wanted.gold or "gold")
    columns = {name: table.find(name) for name in proxies}
    refuse_gold_as_proxy(table.path, gold, columns.values())
    length = column_of(table, wanted.length, "length")
    return StoredBank.open(
        table.path,
        columns,
        gold=gold,
        prompt=column_of(table, wanted.prompt, "prompt"),
        sample=_whole_numbers(table, column_of(table, wanted.sample, "sample")),
        length=length if length not in (gold, *columns.values()) else None,
    )


def _whole_numbers(table: TableFile, column: str | None) -> str | None:
    """The column if it holds integers; samples with other labels are numbered as they come."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if column is None:
        return None
    return column if pa.types.is_integer(pq.read_schema(table.path).field(column).type) else None
