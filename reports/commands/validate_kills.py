"""``overopt validate kills``: the smoke sweep under random SIGKILLs, stored with the commit that it judges."""

from __future__ import annotations

import dataclasses
import json
import sys
import tempfile
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from overopt.reports.output import print_json, print_table

if TYPE_CHECKING:
    from overopt.bridges.validation.kills import Kill

__all__ = ["validate_kills"]

SWEEP = ("smoke", "--grid", "kl-coefficient=0,0.1", "--workers", "2")


def validate_kills(kills: int, seed: int, out: Path, as_json: bool) -> int:
    """Kill parents and workers of ``overopt sweep smoke`` on every engine that is installed; 1 if a table differs."""
    import numpy as np

    from overopt.bridges.provenance import provenance
    from overopt.bridges.validation.kills import kill_study

    def command(folder: Path, engine: str) -> list[str]:
        sweep = [*SWEEP, "--engine", engine, "--out", str(folder)]
        return [sys.executable, "-m", "overopt.reports", "sweep", *sweep]

    def show(kill: Kill) -> None:
        stages = ", ".join(kill.stages) or "between stages"
        print(f"{kill.engine} {kill.target} killed after {kill.seconds:.1f} s: {stages}", file=sys.stderr)

    engines = ("local", "ray") if find_spec("ray") is not None else ("local",)
    with tempfile.TemporaryDirectory(prefix="overopt-kills-") as folder:
        study = kill_study(np.random.default_rng(seed), kills, command, Path(folder), engines=engines, on_kill=show)
    origin = provenance()
    record = {"commit": origin["commit"], "seed": seed, "sweep": SWEEP, "passed": study.passed}
    record |= {**dataclasses.asdict(study), "processor": origin["processor"], "cores": origin["cores"]}
    out.mkdir(parents=True, exist_ok=True)
    (out / "kills.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    if as_json:
        print_json(record)
    else:
        counts = Counter((kill.engine, kill.target) for kill in study.kills)
        rows = [(engine, target, count) for (engine, target), count in sorted(counts.items())]
        print_table(("engine", "killed", "times"), rows)
        same = sum(identical for _, identical in study.sweeps)
        print(
            f"{same} of {len(study.sweeps)} interrupted sweeps ended with the table of the uninterrupted one, byte for "
            f"byte; {len(study.damaged)} damaged files."
        )
    return 0 if study.passed else 1
