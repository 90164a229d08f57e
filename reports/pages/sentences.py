"""The plain-language summary of a run: every number is read from the summary's rows, none is typed."""

from __future__ import annotations

from collections.abc import Sequence

from overopt.bridges.run_summary import GoldPeak, ProxyModel, RunSummary, SplitRow
from overopt.reports.charts.theme import TERMS
from overopt.reports.numbers import count, interval, plain, short, signed

__all__ = [
    "FALL_SE",
    "RISE_SE",
    "best_of_n_sentence",
    "headline",
    "headline_peaks",
    "opening",
    "span",
    "split_sentence",
    "where_it_went",
]

RISE_SE, FALL_SE = 5.0, 3.0
"""A rise or fall is called one when it exceeds this many of its standard errors."""


def span(values: Sequence[float], decimals: int = 2) -> str:
    """``0.58``, or ``0.45 to 0.58`` where runs differ after rounding."""
    low, high = plain(min(values), decimals), plain(max(values), decimals)
    return low if low == high else f"{low} to {high}"


def headline_peaks(run: RunSummary) -> list[GoldPeak]:
    """Rise and fall of the PPO runs on the headline proxy."""
    return [peak for peak in run.peaks if peak.method == "ppo" and peak.proxy_name == run.headline_proxy]


def _rose(peak: GoldPeak) -> bool:
    return peak.rise > RISE_SE * peak.rise_se


def _fell(peak: GoldPeak) -> bool:
    return peak.fall > FALL_SE * peak.fall_se


def _proxy_kept_rising(peak: GoldPeak) -> bool:
    return peak.proxy_after > FALL_SE * peak.proxy_after_se


def headline(run: RunSummary) -> str:
    """The run's answer as one sentence."""
    peaks = headline_peaks(run)
    both = [peak for peak in peaks if _rose(peak) and _fell(peak)]
    if both:
        which = "" if len(both) == len(peaks) else f" in {len(both)} of {len(peaks)} runs"
        rise, fall = span([peak.rise for peak in both]), span([peak.fall for peak in both])
        proxy = ", while the proxy kept rising" if all(map(_proxy_kept_rising, both)) else ""
        return f"Gold rose by {rise} SD, then fell by {fall}{which}{proxy}"
    if any(map(_rose, peaks)):
        return f"Gold rose by {span([peak.rise for peak in peaks])} SD under PPO and did not measurably fall"
    if peaks:
        return "PPO raised its proxy; gold did not measurably rise"
    last = _last_split(run, "best-of-n")
    if last is None:
        return "No optimizer has been run against this proxy"
    bounds = interval(last.ci.get("delivered"))
    return (
        f"Best-of-{count(last.pressure)} promised {signed(last.promise)} SD of gold "
        f"and delivered {signed(last.delivered)} {bounds}".rstrip()
    )


def opening(run: RunSummary) -> str:
    """What was optimized, where gold peaked and what the proxy promised at the end."""
    peaks = headline_peaks(run)
    proxy = next((proxy for proxy in run.proxies if proxy.name == run.headline_proxy), None)
    if proxy is None or not peaks:
        return best_of_n_sentence(run)
    runs = f"{len(peaks)} PPO runs" if len(peaks) > 1 else "One PPO run"
    end_kl = span([peak.end_kl for peak in peaks], 1)
    risen = [peak.peak_kl for peak in peaks if _rose(peak)]
    highest = f"Gold was highest at KL **{span(risen, 1)}** nats. " if risen else ""
    return (
        f"{runs} against {_described(proxy)} (held-out accuracy {plain(proxy.heldout_accuracy)}). "
        f"{highest}At the end, KL {end_kl} nats, the proxy promised a gain of "
        f"**{span([peak.proxy_end for peak in peaks])} SD**."
    )


def _described(proxy: ProxyModel) -> str:
    if proxy.kind == "planted":
        return f"gold with a planted fault, {proxy.name.removeprefix('planted-')}"
    if proxy.kind == "ensemble":
        return f"{proxy.name}, several proxy reward models as one"
    return (
        f"a proxy reward model of {short(proxy.parameters)} parameters, trained on {count(proxy.labels)} "
        "preference labels"
    )


def best_of_n_sentence(run: RunSummary) -> str:
    """What best-of-n promised and delivered at the largest n, or nothing where it was not run."""
    last = _last_split(run, "best-of-n")
    if last is None:
        return ""
    bounds = interval(last.ci.get("delivered"))
    delivered = f"**{signed(last.delivered)}** {bounds}".rstrip()
    return (
        f"Best-of-{count(last.pressure)} (KL {plain(last.kl, 1)} nats) promised {signed(last.promise)} SD "
        f"and delivered {delivered}."
    )


def where_it_went(run: RunSummary) -> str:
    """The decomposition at the last checkpoint of the first PPO run, or nothing where PPO was not run."""
    last = _last_split(run, "ppo")
    return "" if last is None else f"At the end of PPO (seed {last.seed}), {split_sentence(last)}"


def split_sentence(split: SplitRow) -> str:
    """The decomposition at one pressure in words; terms without a value are called unknown."""
    if split.promise is None or split.delivered is None:
        return "the data cannot tell what was promised and what was delivered."
    known = [(term, getattr(split, term)) for term in TERMS if getattr(split, term) is not None]
    parts = ", ".join(f"{term} **{plain(loss)}**" for term, loss in known)
    sentence = f"{signed(split.promise)} SD was promised and {signed(split.delivered)} delivered; lost: {parts}."
    unknown = [term for term in TERMS if getattr(split, term) is None]
    return sentence + (f" The data cannot tell the {' and '.join(unknown)} part." if unknown else "")


def _last_split(run: RunSummary, method: str) -> SplitRow | None:
    """The split at the largest pressure of the headline proxy's first curve of this method."""
    rows = [row for row in run.splits if row.method == method and row.proxy_name == run.headline_proxy]
    return max((row for row in rows if row.seed == rows[0].seed), key=lambda row: row.pressure, default=None)
