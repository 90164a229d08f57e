"""The section of the run page about scaling: alpha and beta against the proxy's size, or its labels."""

from __future__ import annotations

from overopt.bridges.run_summary import RunSummary
from overopt.reports.charts.coefficients import coefficients_by_size
from overopt.reports.numbers import count, signed
from overopt.reports.pages.blocks import Figure, Section
from overopt.reports.pages.split_blocks import law_formula, method_name, side_by_side

__all__ = ["coefficients_section"]

ENOUGH = 3
"""Different sizes, or numbers of labels, that a picture needs."""


def coefficients_section(run: RunSummary) -> Section | None:
    """alpha and beta of best-of-n and PPO by size or by labels; None where too few of them differ."""
    trained = {proxy.name: proxy for proxy in run.proxies if proxy.kind == "trained" and not proxy.variant}
    sizes = {proxy.parameters for proxy in trained.values()}
    labels = {proxy.labels for proxy in trained.values()}
    if len(sizes) >= ENOUGH and len(labels) == 1:
        axis, size_of = "parameters of the proxy", {name: p.parameters for name, p in trained.items()}
    elif len(labels) >= ENOUGH and len(sizes) == 1:
        axis, size_of = "preference labels", {name: p.labels for name, p in trained.items()}
    else:
        return None
    rows = []
    for method, law in (("best-of-n", "bon"), ("ppo", "rl")):
        fits = [fit for fit in run.laws if (fit.method, fit.law) == (method, law) and fit.proxy_name in size_of]
        if len({size_of[fit.proxy_name] for fit in fits}) < ENOUGH:
            continue
        figures = []
        for letter, name, hue in (("α", "alpha", "gold"), ("β", "beta", "extremal")):
            points = [(float(size_of[fit.proxy_name]), getattr(fit, name), getattr(fit, f"{name}_ci")) for fit in fits]
            ends = ", ".join(f"{count(size)}: {signed(value)}" for size, value, _ in sorted(points, key=lambda p: p[0]))
            figures.append(
                Figure(
                    chart=coefficients_by_size(points, x_title=axis, y_title=letter, hue=hue),
                    title=f"{letter} of {method_name(method)}",
                    subtitle=f"{law_formula(law)}; a point per run, its interval over prompts, the line joins means",
                    alt=f"{name} of {method_name(method)} by {axis}: {ends}.",
                    name=f"{name}-{method}",
                )
            )
        rows.append(side_by_side(tuple(figures)))
    if not rows:
        return None
    return Section(
        "How the coefficients scale",
        tuple(rows),
        lead="Gao, Schulman and Hilton find α of best-of-n rising, β falling, α of RL constant as the proxy grows.",
    )
