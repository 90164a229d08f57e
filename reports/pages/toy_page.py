"""The page of ``overopt toy``: gold of every optimizer, its decomposition, the numbers. It takes the command's JSON
object.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from overopt.reports.charts.toy_chart import toy_gold, toy_terms
from overopt.reports.numbers import plain, signed
from overopt.reports.pages.blocks import Block, Facts, Figure, Page, Section, Table

__all__ = ["toy_page"]

Json = Mapping[str, Any]


def toy_page(record: Json) -> Page:
    """The page for one world under one or several optimizers."""
    curves = {name: found["curve"] for name, found in record["optimizers"].items()}
    best = {name: max(points, key=lambda point: point["gold_exact"]) for name, points in curves.items()}
    leader = max(best, key=lambda name: best[name]["gold_exact"])
    last = curves[leader][-1]
    scale = "slope scale" if record["scale"] == "slope" else "pooled-SD scale"
    return Page(
        title=f"overopt toy {record['world']}",
        kicker=f"overopt toy · {record['world']}",
        headline=(
            f"{leader} reaches {signed(best[leader]['gold_exact'])} gold SD at KL {plain(best[leader]['kl'])} nats; "
            f"its last point, KL {plain(last['kl'])}, has {signed(last['gold_exact'])}."
        ),
        hero=(
            Figure(
                chart=toy_gold(curves),
                title="Gold against optimization",
                subtitle="lines: exact; points: simulated, with 95% intervals",
                alt="; ".join(f"{name} peaks at {signed(point['gold_exact'])}" for name, point in best.items()),
                name="toy-gold",
            ),
        ),
        sections=(
            *(Section(name, tuple(_optimizer(name, found))) for name, found in record["optimizers"].items()),
            Section("World", (Facts(tuple((key, _text(value)) for key, value in record["parameters"].items())),)),
        ),
        footer=(f"Gains over the base policy in gold SD, on the {scale}; KL(policy || base) in nats, exact.",),
    )


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _optimizer(name: str, found: Json) -> list[Block]:
    points = found["curve"]
    terms = ("promise", "regressional", "extremal", "causal", "unattributed", "delivered")
    blocks: list[Block] = [
        Figure(
            chart=toy_terms(points),
            title="Where the promise went",
            subtitle="exact loss terms and delivered gold; symmetric log axis",
            alt=(
                f"At the last point {name} promises {signed(points[-1]['promise'])} "
                f"and delivers {signed(points[-1]['delivered'])}."
            ),
            name=f"toy-terms-{name}",
        ),
        Table(
            ("pressure", "KL", *terms, "simulated gold", "z"),
            tuple(
                (f"{point['pressure']:g}", point["kl"], *(point[term] for term in terms), point["gold"], point["z"])
                for point in points
            ),
        ),
    ]
    if found["fit"] is not None:
        blocks.append(
            Table(
                ("law", "α", "β", "R²", "peak"),
                tuple(
                    (row["law"], row["parameters"]["alpha"], row["parameters"].get("beta"), row["r2"], row["peak"])
                    for row in found["fit"]["laws"]
                ),
                caption="Laws fitted to the exact gold, best first",
            )
        )  # fmt: skip
    return blocks
