"""What one run found, as plain rows: what the report shows, and nothing that it would have to compute.

``overopt run`` writes it last, as ``summary.json`` in the run directory. Gains are over the base policy, in gold SD
(pooled within-prompt SD of gold under the base policy), KL in nats.
"""

from __future__ import annotations

import dataclasses
import json
import os
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from overopt.theory.errors import InputError

__all__ = [
    "SUMMARY_FILE", "CurvePoint", "FittedLaw", "GoldPeak", "MeasuredCurve", "OptimizerArm", "ProxyModel", "RunSummary",
    "SplitRow", "TextSample", "Trend",
]  # fmt: skip

SUMMARY_FILE = "summary.json"

Interval = tuple[float, float]


@dataclass(frozen=True)
class ProxyModel:
    """A proxy reward model and how good it is before anything is optimized against it.

    ``logit_scale`` makes its logits a probability of gold's preference (:func:`logit_rescale`); ``gold_peak`` is the
    highest gold gain of its best-of-n curve and ``gold_peak_n`` where; ``ppo_peak`` that of its
    PPO run, where there was one. ``size``, ``variant`` and ``replicate`` say what sets a trained one apart.
    """

    name: str
    parameters: int
    labels: int
    heldout_accuracy: float
    heldout_accuracy_ci: Interval | None
    heldout_loss: float
    logit_scale: float | None = None
    gold_peak: float | None = None
    gold_peak_ci: Interval | None = None
    gold_peak_n: float | None = None
    ppo_peak: float | None = None
    ppo_peak_ci: Interval | None = None
    kind: Literal["trained", "planted", "ensemble"] = "trained"
    size: str = ""
    variant: str = ""
    replicate: int = 0


@dataclass(frozen=True)
class OptimizerArm:
    """An optimizer as the recipe set it: ``name`` is the ``method`` of its curves, ``settings`` what it changed."""

    name: str
    kind: str
    settings: Mapping[str, float] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class CurvePoint:
    """Mean gains at one optimization pressure (n of best-of-n, or the step); ``kl`` is None where none was measured.

    ``proxy_ci`` and ``gold_ci`` are 95% intervals; where there are none, standard errors are shown instead.
    """

    pressure: float
    kl: float | None
    d: float | None
    proxy: float
    gold: float
    kl_se: float | None = None
    proxy_se: float | None = None
    gold_se: float | None = None
    proxy_ci: Interval | None = None
    gold_ci: Interval | None = None


@dataclass(frozen=True)
class MeasuredCurve:
    """Proxy and gold gain along one optimizer's path; ``seed`` is None where the optimizer draws no random numbers."""

    method: str
    proxy_name: str
    seed: int | None
    kl_kind: str
    points: tuple[CurvePoint, ...]


@dataclass(frozen=True)
class FittedLaw:
    """A law fitted to the gold gain of one curve.

    ``fitted_to_d`` is the largest d that the fit saw; ``heldout_rmse`` (gold SD) its error beyond that. ``line`` is the
    law as (d, gold) pairs, for drawing. ``peak_d`` and ``peak_gold`` are None where the data show no peak.
    """

    method: str
    proxy_name: str
    seed: int | None
    law: str
    alpha: float
    beta: float
    line: tuple[tuple[float, float], ...]
    alpha_ci: Interval | None = None
    beta_ci: Interval | None = None
    peak_d: float | None = None
    peak_gold: float | None = None
    r2: float | None = None
    fitted_to_d: float | None = None
    heldout_rmse: float | None = None


@dataclass(frozen=True)
class SplitRow:
    """The decomposition at one pressure: ``delivered = promise - regressional - extremal - causal - unattributed``.

    Promise and delivered are gains, the four terms losses (a negative loss is gold won). ``path_selection`` and
    ``path_shift`` are cumulative gold gains along the checkpoints and add up to ``delivered``. ``ci`` maps a term to
    its 95% interval. A term is None where the data cannot tell.
    """

    method: str
    proxy_name: str
    seed: int | None
    pressure: float
    kl: float | None
    d: float | None
    promise: float | None
    regressional: float | None
    extremal: float | None
    causal: float | None
    unattributed: float | None
    delivered: float | None
    ci: Mapping[str, Interval] = dataclasses.field(default_factory=dict)
    path_selection: float | None = None
    path_shift: float | None = None
    on_policy_slope: float | None = None


@dataclass(frozen=True)
class GoldPeak:
    """Rise to the peak of gold and fall from it to the end, paired by prompt.

    The peak is chosen on half of the prompts; ``rise`` and ``fall`` (both positive when gold rises, then falls) are
    measured on the other half. ``proxy_end`` is the proxy's gain at the end, ``proxy_after`` its gain from gold's peak
    to the end, on the judging half.
    """

    method: str
    proxy_name: str
    seed: int | None
    peak_pressure: float
    peak_kl: float
    rise: float
    rise_se: float
    fall: float
    fall_se: float
    end_pressure: float
    end_kl: float
    proxy_end: float
    proxy_after: float
    proxy_after_se: float


@dataclass(frozen=True)
class TextSample:
    """One completion, its leading space included; scores in gold SD. The page groups samples by ``stage``."""

    stage: Literal["base", "peak", "end"]
    pressure: float
    kl: float
    prompt: str
    completion: str
    gold: float
    proxy: float


@dataclass(frozen=True)
class Trend:
    """One trend, judged: ``evidence`` holds the numbers, ``paper`` its number in the reference experiment (0: none)."""

    statement: str
    verdict: Literal["reproduced", "not reproduced", "cannot tell"]
    evidence: str
    paper: int = 0


@dataclass(frozen=True)
class RunSummary:
    """Everything that the report of one run shows.

    Attributes
    ----------
    recipe, seeds
        Name of the recipe; seeds of the PPO runs.
    world
        One or two sentences: which policy, which gold, which text.
    scale
        The measurement scale in words, for example ``"slope: proxy divided by its within-prompt slope on gold"``.
    headline_proxy
        Name of the proxy whose curves open the page.
    verdicts
        Plain sentences of the decomposition: what was lost to what, what would help.
    limits
        What this run cannot show.
    provenance
        Name -> value: versions, commit, hardware.
    timings
        Stage -> seconds.
    """

    recipe: str
    seeds: tuple[int, ...]
    world: str
    scale: str
    headline_proxy: str
    proxies: tuple[ProxyModel, ...]
    curves: tuple[MeasuredCurve, ...]
    arms: tuple[OptimizerArm, ...] = ()
    laws: tuple[FittedLaw, ...] = ()
    splits: tuple[SplitRow, ...] = ()
    peaks: tuple[GoldPeak, ...] = ()
    samples: tuple[TextSample, ...] = ()
    trends: tuple[Trend, ...] = ()
    verdicts: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    provenance: Mapping[str, str] = dataclasses.field(default_factory=dict)
    timings: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def write(self, run_directory: str | os.PathLike[str]) -> Path:
        """Write ``summary.json`` into the run directory in one step and return its path."""
        target = Path(run_directory) / SUMMARY_FILE
        text = json.dumps(dataclasses.asdict(self), allow_nan=False, indent=1, ensure_ascii=False)
        temporary = target.with_name(f".{SUMMARY_FILE}.{os.getpid()}.tmp")
        temporary.write_text(text + "\n", encoding="utf-8")
        temporary.replace(target)
        return target

    @classmethod
    def read(cls, run_directory: str | os.PathLike[str]) -> RunSummary:
        """Read the summary of a finished run.

        Raises
        ------
        InputError
            Naming the directory or the file and key: no directory, an unfinished run, a summary of another version.
        """
        directory = Path(run_directory)
        path = directory / SUMMARY_FILE
        if not directory.is_dir():
            raise InputError(f"run directory '{directory}' must be a folder, found none.")
        if not path.is_file():
            raise InputError(
                f"'{directory}' must hold {SUMMARY_FILE}, which a finished `overopt run` writes; found none."
            )
        try:
            plain = json.loads(path.read_text(encoding="utf-8"))
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise InputError(f"{path} must be JSON: {error}.") from None
        summary: RunSummary = _typed(cls, plain, str(path))
        return summary

    @classmethod
    def overlay(cls, runs: Sequence[RunSummary]) -> RunSummary:
        """Several runs of one recipe as one: their rows side by side, texts and provenance of the first.

        Raises
        ------
        InputError
            No run, runs of different recipes or scales, or two runs with the same seed.
        """
        if not runs:
            raise InputError("`runs` must hold at least one run, got none.")
        first = runs[0]
        seeds = [seed for run in runs for seed in run.seeds]
        for run in runs:
            for field in ("recipe", "scale"):
                if getattr(run, field) != getattr(first, field):
                    raise InputError(
                        f"runs overlaid on one page must share `{field}`, "
                        f"got '{getattr(first, field)}' and '{getattr(run, field)}'."
                    )
        if len(set(seeds)) < len(seeds):
            raise InputError(f"runs overlaid on one page must have different seeds, got {seeds}.")
        return replace(
            first,
            seeds=tuple(seeds),
            curves=tuple(curve for run in runs for curve in run.curves),
            laws=tuple(law for run in runs for law in run.laws),
            splits=tuple(split for run in runs for split in run.splits),
            peaks=tuple(peak for run in runs for peak in run.peaks),
        )


def _typed(kind: Any, value: Any, where: str) -> Any:
    """``value`` (plain JSON) as an instance of the annotation ``kind``; `where` names the place in error messages."""
    origin = typing.get_origin(kind)
    arguments = typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _record(kind, value, where)
    if origin in (typing.Union, types.UnionType):
        return None if value is None else _typed(next(a for a in arguments if a is not type(None)), value, where)
    if origin is Literal:
        if value not in arguments:
            raise InputError(f"{where} must be one of {', '.join(map(repr, arguments))}, got {value!r}.")
        return value
    if origin is tuple:
        size = "" if arguments[-1] is Ellipsis else f" of {len(arguments)}"
        if not isinstance(value, list) or (size and len(value) != len(arguments)):
            raise InputError(f"{where} must be a list{size}, got {value!r}.")
        kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else arguments
        return tuple(
            _typed(part, item, f"{where}[{i}]") for i, (part, item) in enumerate(zip(kinds, value, strict=True))
        )
    if origin is not None:
        if not isinstance(value, dict):
            raise InputError(f"{where} must be an object, got {value!r}.")
        return {str(key): _typed(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, bool) or not isinstance(value, (int, float) if kind is float else kind):
        raise InputError(f"{where} must be of type {kind.__name__}, got {value!r}.")
    return float(value) if kind is float else value


def _record(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise InputError(f"{where} must be an object, got {value!r}.")
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    unknown = sorted(value.keys() - fields.keys())
    if unknown:
        raise InputError(f"{where} has the unknown key '{unknown[0]}'; was it written by another version of overopt?")
    required = [
        name
        for name, field in fields.items()
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    missing = [name for name in required if name not in value]
    if missing:
        raise InputError(f"{where} must have the key '{missing[0]}'; was it written by another version of overopt?")
    return kind(**{name: _typed(hints[name], item, f"{where}: {name}") for name, item in value.items()})
