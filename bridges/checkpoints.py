"""Scored samples of optimized policies, one bank per checkpoint, with the KL of each from the base policy."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overopt.bridges.curve import ClusterValues, Curve
from overopt.bridges.kl import KL
from overopt.bridges.parquet import proxy_column, read_metadata, write_rows
from overopt.bridges.score_bank import ScoreBank
from overopt.theory.errors import InputError

__all__ = ["Checkpoints", "checkpoint_curve"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Checkpoints:
    """Samples of optimized policies on the prompts of the base bank.

    Attributes
    ----------
    banks
        Checkpoint (a step, an inverse temperature, a KL coefficient) -> its samples, in the order of optimization:
        ascending checkpoints, or another order in which KL does not fall.
    kl
        Checkpoint -> KL(policy || base policy), all of one kind; empty where it was not measured.
    logratio
        Checkpoint -> (R,) ``log pi(y|x) - log pi0(y|x)`` in nats per sequence, rows as in that bank; or None.
    kl_source
        Where a KL from elsewhere was found, for a label that claims no more than is known; None: measured here.
    """

    banks: Mapping[float, ScoreBank]
    kl: Mapping[float, KL]
    logratio: Mapping[float, Array] | None = None
    kl_source: str | None = None

    def __post_init__(self) -> None:
        values = list(self.banks)
        if not values:
            raise InputError("`banks` must hold at least one checkpoint, got none.")
        first = self.banks[values[0]]
        for value, bank in self.banks.items():
            if tuple(bank.proxies) != tuple(first.proxies):
                raise InputError(
                    f"checkpoint {value:g}: proxies must be {', '.join(first.proxies)}, got {', '.join(bank.proxies)}."
                )
            if bank.prompts != first.prompts:
                name = sorted(set(bank.prompts) ^ set(first.prompts))[0]
                where, other = (value, values[0]) if name in bank.prompts else (values[0], value)
                raise InputError(
                    f"every checkpoint must hold the same prompts, got prompt '{name}' at checkpoint {where:g} only, "
                    f"not at {other:g}."
                )
        if self.kl and list(self.kl) != values:
            raise InputError(f"`kl` must name the checkpoints {values}, got {list(self.kl)}.")
        nats = [kl.value for kl in self.kl.values()]
        if any(a > b for a, b in pairwise(values)) and (not nats or any(a > b for a, b in pairwise(nats))):
            raise InputError(f"`banks` must be in ascending order of checkpoint or of KL, got {values}.")
        kinds = sorted({kl.kind for kl in self.kl.values() if kl.standard_error != 0.0 or kl.value != 0.0})
        if len(kinds) > 1:
            raise InputError(f"KL must be of one kind at all checkpoints, got '{kinds[0]}' and '{kinds[1]}'.")
        if self.logratio is not None:
            for value, bank in self.banks.items():
                if value not in self.logratio or self.logratio[value].shape != bank.gold.shape:
                    raise InputError(f"`logratio` must have one value per row at checkpoint {value:g}.")

    @property
    def values(self) -> tuple[float, ...]:
        """The checkpoints in the order of optimization."""
        return tuple(self.banks)

    @property
    def proxies(self) -> tuple[str, ...]:
        """Names of the proxies."""
        return tuple(self.banks[self.values[0]].proxies)

    @property
    def prompts(self) -> tuple[str, ...]:
        """Names of the prompts, the same at every checkpoint."""
        return self.banks[self.values[0]].prompts

    @cached_property
    def kl_kind(self) -> str:
        """What the KL is, or ``"unknown"``."""
        if not self.kl:
            return "unknown"
        measured = [kl for kl in self.kl.values() if kl.standard_error != 0.0 or kl.value != 0.0]
        first = (measured or list(self.kl.values()))[0]
        return first.kind if self.kl_source is None else f"{first.estimator}, {self.kl_source}"

    def at(self, checkpoint: float) -> ScoreBank:
        """The samples of one checkpoint.

        Raises
        ------
        InputError
            If there is no such checkpoint.
        """
        if checkpoint not in self.banks:
            raise InputError(
                f"`checkpoint` must be one of {', '.join(f'{v:g}' for v in self.values)}, got {checkpoint}."
            )
        return self.banks[checkpoint]

    def take(self, prompts: NDArray[np.intp]) -> Checkpoints:
        """The prompts at these positions, with the KL of all of them."""
        chosen = np.unique(prompts)
        logratio = None
        if self.logratio is not None:
            logratio = {v: self.logratio[v][np.isin(bank.prompt, chosen)] for v, bank in self.banks.items()}
        return replace(self, banks={v: bank.take(chosen) for v, bank in self.banks.items()}, logratio=logratio)

    def without(self, checkpoint: float) -> Checkpoints | None:
        """All checkpoints but one, or None where nothing is left."""
        keep = [value for value in self.values if value != checkpoint]
        if not keep:
            return None
        return replace(
            self,
            banks={value: self.banks[value] for value in keep},
            kl={value: self.kl[value] for value in keep} if self.kl else {},
            logratio=None if self.logratio is None else {value: self.logratio[value] for value in keep},
        )

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write one Parquet table with the columns checkpoint, prompt, sample, gold, proxies, kl, logratio, length."""
        banks = list(self.banks.values())
        first = banks[0]
        columns: dict[str, NDArray[Any]] = {
            "checkpoint": np.concatenate([np.full(bank.n_rows, value) for value, bank in self.banks.items()]),
            "sample": np.concatenate([bank.sample for bank in banks]),
            "gold": np.concatenate([bank.gold for bank in banks]),
        }
        for name in self.proxies:
            columns[proxy_column(name)] = np.concatenate([bank.proxies[name] for bank in banks])
        if self.kl:
            columns["kl"] = np.concatenate([np.full(bank.n_rows, self.kl[v].value) for v, bank in self.banks.items()])
        if self.logratio is not None:
            columns["logratio"] = np.concatenate([self.logratio[value] for value in self.values])
        lengths = [bank.length for bank in banks if bank.length is not None]
        if len(lengths) == len(banks):
            columns["length"] = np.concatenate(lengths)
        metadata = {
            "kind": "Checkpoints",
            "proxies": list(self.proxies),
            "kl": [[value, dataclasses.asdict(kl)] for value, kl in self.kl.items()],
            "kl_source": self.kl_source,
        }
        starts = np.cumsum([0, *[bank.n_rows for bank in banks]])
        boundaries = np.concatenate(
            [*(s + bank.offsets[:-1] for s, bank in zip(starts, banks, strict=False)), starts[-1:]]
        )
        write_rows(path, first.prompts, np.concatenate([bank.prompt for bank in banks]), columns, boundaries, metadata)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Checkpoints:
        """Read what :meth:`write` wrote.

        Raises
        ------
        InputError
            If the file is missing, unreadable or holds no Checkpoints.
        """
        import pyarrow.parquet as pq

        metadata = read_metadata(path)
        if metadata is None or metadata.get("kind") != "Checkpoints":
            raise InputError(
                f"{path}: must be a Parquet file written by Checkpoints.write; use read_tables for others."
            )
        table = pq.read_table(path, read_dictionary=["prompt"]).unify_dictionaries().combine_chunks()
        prompt = table["prompt"].chunk(0)
        codes = prompt.indices.to_numpy(zero_copy_only=False).astype(np.intp)
        present = set(table.column_names)

        def column(name: str, rows: NDArray[np.bool_]) -> NDArray[Any]:
            values: NDArray[Any] = table[name].to_numpy()[rows]
            return values

        checkpoint = table["checkpoint"].to_numpy()
        banks: dict[float, ScoreBank] = {}
        logratio: dict[float, Array] = {}
        values, first = np.unique(checkpoint, return_index=True)
        for value in values[np.argsort(first)].tolist():
            rows = checkpoint == value
            banks[value] = ScoreBank.from_codes(
                codes=codes[rows],
                prompts=tuple(prompt.dictionary.to_pylist()),
                sample=column("sample", rows),
                gold=column("gold", rows),
                proxies={name: column(proxy_column(name), rows) for name in metadata["proxies"]},
                length=column("length", rows) if "length" in present else None,
            )
            if "logratio" in present:
                logratio[value] = column("logratio", rows)
        kl = {float(value): KL(**record) for value, record in metadata["kl"]}
        return cls(banks, kl, logratio or None, metadata.get("kl_source"))


def checkpoint_curve(checkpoints: Checkpoints, proxy: str, base: ScoreBank | None = None) -> Curve:
    """Mean gold and proxy at every checkpoint, prompts weighted equally.

    Parameters
    ----------
    base
        Samples of the base policy on the same prompts, which define the gains; default: the first checkpoint.

    Raises
    ------
    InputError
        If the base bank and the checkpoints hold different prompts, or the proxy is unknown.
    """
    start = checkpoints.at(checkpoints.values[0]) if base is None else base
    if start.prompts != checkpoints.prompts:
        name = sorted(set(start.prompts) ^ set(checkpoints.prompts))[0]
        where = "the base bank" if name in start.prompts else "the checkpoints"
        raise InputError(f"checkpoints must share the base bank's prompts, got prompt '{name}' in {where} only.")
    banks = [checkpoints.at(value) for value in checkpoints.values]
    unknown = np.full(len(banks), np.nan)
    kl, kl_error = unknown, unknown
    if checkpoints.kl:
        records = [checkpoints.kl[value] for value in checkpoints.values]
        kl = np.array([record.value for record in records])
        kl_error = np.array([np.nan if record.standard_error is None else record.standard_error for record in records])
    return Curve.from_clusters(
        ClusterValues(
            gold=np.stack([bank.prompt_means(bank.gold) for bank in banks], axis=1),
            proxy=np.stack([bank.prompt_means(bank.proxy(proxy)) for bank in banks], axis=1),
            base_gold=start.prompt_means(start.gold),
            base_proxy=start.prompt_means(start.proxy(proxy)),
        ),
        method="checkpoints",
        axis="checkpoint",
        pressure=np.array(checkpoints.values, dtype=np.float64),
        kl=kl,
        kl_kind=checkpoints.kl_kind,
        kl_standard_error=kl_error,
    )
