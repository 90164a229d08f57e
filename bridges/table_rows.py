"""The rows of somebody's score tables: which column holds what, every cell checked where it is read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase

import numpy as np
from numpy.typing import NDArray

from overopt.bridges.table_files import TableFile, labels, numbers
from overopt.theory.errors import InputError

__all__ = [
    "STEP_NAMES",
    "TableColumns",
    "TableRows",
    "append_rows",
    "column_of",
    "optional_column",
    "proxy_names",
    "refuse_gold_as_proxy",
]

Array = NDArray[np.float64]
STEP_NAMES = ("step", "global_step", "iteration", "update", "epoch")
"""Names of columns that count the progress of one run."""


@dataclass(frozen=True)
class TableColumns:
    """Which columns hold what; None means the column of the field's own name, where there is one.

    ``proxy`` names one or several columns; by default ``proxy`` and every column whose name starts with ``proxy_``.
    """

    prompt: str | None = None
    sample: str | None = None
    gold: str | None = None
    proxy: tuple[str, ...] = ()
    checkpoint: str | None = None
    kl: str | None = None
    logratio: str | None = None
    length: str | None = None


@dataclass
class TableRows:
    """The rows of all files of one kind, concatenated; knows where each row came from."""

    files: list[str] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    prompts: list[NDArray[np.object_]] = field(default_factory=list)
    samples: list[NDArray[np.int64] | NDArray[np.object_] | None] = field(default_factory=list)
    columns: list[dict[str, Array]] = field(default_factory=list)

    def locate(self, row: int) -> str:
        """``"scores.csv, row 17"`` of a row of the concatenation."""
        index = int(np.searchsorted(np.cumsum(self.counts), row, side="right"))
        return f"{self.files[index]}, row {row - sum(self.counts[:index]) + 1}"

    def numbered_samples(self) -> NDArray[np.int64] | None:
        """The sample's number in every row, labels by their sorted position among those of all files; None without."""
        given = [samples for samples in self.samples if samples is not None]
        if given and len(given) < len(self.samples):
            lack = self.files[[samples is None for samples in self.samples].index(True)]
            raise InputError(f"{lack}: a sample column must exist in every file or in none.")
        if not given:
            return None
        if all(samples.dtype == np.int64 for samples in given):
            return np.concatenate(given).astype(np.int64)
        text = np.concatenate([samples.astype(str).astype(np.object_) for samples in given])
        return np.asarray(np.unique(text, return_inverse=True)[1], dtype=np.int64)

    def joined(self, name: str) -> Array | None:
        """A column over all files; None where no file has it."""
        present = [name in columns for columns in self.columns]
        if not any(present):
            return None
        if not all(present):
            have, lack = self.files[present.index(True)], self.files[present.index(False)]
            raise InputError(f"{lack}: column '{name}' must exist as in {have}.")
        return np.concatenate([columns[name] for columns in self.columns])


def proxy_names(tables: Sequence[TableFile], wanted: TableColumns) -> tuple[str, ...]:
    """The proxies asked for, else ``proxy`` and every column of the first file whose name starts with it.

    A name with ``*``, ``?`` or ``[`` that is no column stands for every column of the first file that it matches and
    that holds nothing else.
    """
    first = tables[0]
    if wanted.proxy:
        asked = [name for wish in wanted.proxy for name in _matches(first, wish, wanted)]
        if len(set(asked)) < len(asked):
            raise InputError(f"every proxy must be named once, got {', '.join(asked)}.")
        return tuple(asked)
    found = tuple(n for n in first.names if re.fullmatch(r"proxy([ _.:-].*|\d*)", n.strip().lower()))
    if not found:
        first.find("proxy")
    return found


def _matches(table: TableFile, wish: str, wanted: TableColumns) -> list[str]:
    if table.has(wish) or not any(sign in wish for sign in "*?["):
        return [wish]
    others = (field.name for field in fields(TableColumns) if field.name != "proxy")
    taken = {getattr(wanted, name) or name for name in others}
    found = [name for name in table.names if fnmatchcase(name, wish) and name not in taken]
    if not found:
        raise InputError(f"{table.path}: `--proxy` must match a column, got '{wish}'.")
    return found


def column_of(table: TableFile, given: str | None, default: str) -> str | None:
    """The file's column for one role, or None where it has none and the user named none."""
    if given is not None:
        return table.find(given)
    return table.find(default) if table.has(default) else None


def append_rows(
    table: TableFile,
    wanted: TableColumns,
    proxies: tuple[str, ...],
    base: TableRows,
    tuned: TableRows,
    kinds: dict[str, str],
) -> None:
    """Read one file and add its rows to the bank's or to the checkpoints'."""
    prompt = column_of(table, wanted.prompt, "prompt")
    sample = column_of(table, wanted.sample, "sample")
    # A bank beside a run has no checkpoint, kl or logratio column: there a named column may be missing.
    checkpoint = optional_column(table, wanted.checkpoint, "checkpoint")
    roles = {"gold": table.find(wanted.gold or "gold")}
    roles |= {f"proxy:{name}": table.find(name) for name in proxies}
    length = column_of(table, wanted.length, "length")
    if length is not None and length not in roles.values():
        roles["length"] = length
    if checkpoint is not None:
        roles |= {
            role: name
            for role, given in (("kl", wanted.kl), ("logratio", wanted.logratio))
            if (name := column_of(table, given, role)) is not None
        }
    refuse_gold_as_proxy(table.path, roles["gold"], [roles[f"proxy:{name}"] for name in proxies])
    kind = "kl_kind" if checkpoint is not None and table.has("kl_kind") else None
    extra = [name for name in (prompt, sample, checkpoint, kind and table.find(kind)) if name is not None]
    read = table.read([*roles.values(), *extra])
    rows = tuned if checkpoint is not None else base
    values = {role: numbers(read[name], table.path, name) for role, name in roles.items()}
    if checkpoint is not None:
        values["checkpoint"] = _checkpoint_values(read[checkpoint], table.path, checkpoint)
    if "kl" in values and (values["kl"] < 0).any():
        row = int(np.flatnonzero(values["kl"] < 0)[0])
        raise InputError(
            f"{table.path}, row {row + 1}, column '{roles['kl']}': a KL must be >= 0, got {values['kl'][row]:g}; "
            "a log-ratio per sample belongs in --logratio."
        )
    count = values["gold"].size
    if prompt is None:
        names = np.full(count, "pool", dtype=np.object_)
    else:
        codes, unique = labels(read[prompt], table.path, prompt)
        names = np.array(unique, dtype=np.object_)[codes]
    rows.files.append(table.path)
    rows.counts.append(count)
    rows.prompts.append(names)
    rows.samples.append(None if sample is None else _sample_numbers(read[sample], table.path, sample))
    rows.columns.append(values)
    if kind is not None:
        for found in labels(read[table.find(kind)], table.path, kind)[1]:
            kinds.setdefault(found, table.path)


def refuse_gold_as_proxy(path: str, gold: str, proxies: Iterable[str]) -> None:
    """Raise where one column is both."""
    if gold in proxies:
        raise InputError(f"{path}: a proxy must differ from gold, got column '{gold}' for both.")


def optional_column(table: TableFile, given: str | None, default: str) -> str | None:
    """The file's column for one role, or None where it has none, named by the user or not."""
    name = given or default
    return table.find(name) if table.has(name) else None


def _checkpoint_values(column: object, path: str, name: str) -> Array:
    """Checkpoints as numbers; ``checkpoint-500``, ``lr1e-5``, ``beta=-1`` count by their trailing number."""
    codes, names = labels(column, path, name)
    try:
        values = np.array([float(text) for text in names])
    except ValueError:
        # A minus is a sign after "=" or ":", elsewhere a dash.
        number = r"((?:(?<=[=:])[+-])?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)"
        matches = [re.fullmatch(f"(.*?){number}", text.strip()) for text in names]
        prefixes = {match[1] for match in matches if match}
        if len(prefixes) > 1 or not all(matches):
            bad = next((text for text, match in zip(names, matches, strict=True) if match is None), names[-1])
            row = int(np.flatnonzero(codes == names.index(bad))[0]) + 1
            raise InputError(
                f"{path}, row {row}, column '{name}': a checkpoint must be a number (a step or a beta), got '{bad}'."
            ) from None
        values = np.array([float(match[2]) for match in matches if match])
        ordered = np.argsort(values, kind="stable")
        if (twice := np.flatnonzero(np.diff(values[ordered]) == 0)).size:
            one, other = (names[ordered[twice[0] + step]] for step in (0, 1))
            raise InputError(f"{path}, column '{name}': checkpoints must differ, got '{one}' and '{other}'.") from None
    if not np.isfinite(values).all():
        bad_code = int(np.flatnonzero(~np.isfinite(values))[0])
        row = int(np.flatnonzero(codes == bad_code)[0]) + 1
        raise InputError(f"{path}, row {row}, column '{name}': must be finite, got {values[bad_code]}.")
    return np.asarray(values[codes])


def _sample_numbers(column: object, path: str, name: str) -> NDArray[np.int64] | NDArray[np.object_]:
    """Whole numbers as they are, any other labels as text."""
    codes, names = labels(column, path, name)
    try:
        values = np.array([int(text) if re.fullmatch(r"\s*[+-]?\d{1,18}\s*", text) else _whole(text) for text in names])
    except ValueError:
        return np.array(names, dtype=np.object_)[codes]
    return np.asarray(values, dtype=np.int64)[codes]


def _whole(text: str) -> int:
    value = float(text)
    if not value.is_integer() or abs(value) >= 2**53:
        raise ValueError(text)
    return int(value)
