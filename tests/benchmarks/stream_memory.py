"""A large Parquet bank, read by row group: time and peak memory of its best-of-n curve and of a whole diagnosis.

    python tests/benchmarks/stream_memory.py [--rows 100000000] [--samples 1000] [--folder DIR]

Writes the bank (about 17 bytes a row) and a run of three checkpoints on its prompts, then measures in fresh processes;
exits with 1 above 1 GB.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

LIMIT_MB = 1000.0


def write(path: Path, rows: int, samples: int) -> None:
    """One row group of whole prompts after the other, so that writing needs little memory too."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    schema = pa.schema({"prompt": pa.int64(), "gold": pa.float64(), "proxy": pa.float64()})
    per_group = max(1, 1_000_000 // samples)
    options = {"compression": "zstd", "use_dictionary": ["prompt"]}
    with pq.ParquetWriter(path, schema, column_encoding={"gold": "BYTE_STREAM_SPLIT"}, **options) as file:
        for first in range(0, rows // samples, per_group):
            prompts = np.arange(first, min(first + per_group, rows // samples))
            gold = rng.normal(size=prompts.size * samples).astype(np.float32).astype(np.float64)
            columns = [np.repeat(prompts, samples), gold, gold + rng.normal(size=gold.size).astype(np.float32)]
            file.write_table(pa.Table.from_arrays([pa.array(column) for column in columns], schema=schema))


def write_run(path: Path, prompts: int) -> None:
    """Eight samples of every prompt at three checkpoints."""
    rng = np.random.default_rng(1)
    with path.open("w") as file:
        file.write("checkpoint,prompt,gold,proxy,kl\n")
        for step in (1, 2, 3):
            gold = rng.normal(size=(prompts, 8)) + 0.2 * step
            proxy = gold + rng.normal(size=gold.shape) + 0.3 * step
            file.writelines(
                f"{step},{k},{gold[k, j]:.4f},{proxy[k, j]:.4f},{step}\n" for k in range(prompts) for j in range(8)
            )


def measure(bank: str, run: str | None) -> None:
    """Print seconds and peak MB of the curve, or with ``run`` of what ``overopt diagnose`` computes of both."""
    from overopt.bridges.best_of_n import best_of_n_curve
    from overopt.bridges.diagnosis import diagnose
    from overopt.bridges.read_tables import read_tables

    start = time.perf_counter()
    tables = read_tables([bank, *([run] if run else [])])
    if run is None:
        gold = best_of_n_curve(tables.bank, "proxy").gold[-1]
    else:
        found = diagnose(tables.bank, tables.checkpoints).proxies["proxy"].checkpoints
        assert found is not None
        gold = found.curve.gold[-1]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"rows": tables.bank.n_rows, "s": time.perf_counter() - start, "MB": peak, "gold": gold}))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000_000)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure[0], next(iter(options.measure[1:]), None))
        return 0
    peaks = []
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        bank, run = Path(folder) / "bank.parquet", Path(folder) / "run.csv"
        write(bank, options.rows, options.samples)
        write_run(run, options.rows // options.samples)
        for name, files in (("curve", [bank]), ("diagnosis with a run", [bank, run])):
            command = [sys.executable, __file__, "--measure", *map(str, files)]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            peaks.append(found["MB"])
            print(
                f"{name}, {found['rows']:,} rows: {found['s']:.0f} s, peak {found['MB']:.0f} MB; "
                f"gold at the last point {found['gold']:.3f}"
            )
    return int(max(peaks) > LIMIT_MB)


if __name__ == "__main__":
    sys.exit(main())
