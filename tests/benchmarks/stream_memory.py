"""Best-of-n of a large Parquet bank, read by row group: time and peak memory.

    python tests/benchmarks/stream_memory.py [--rows 100000000] [--samples 1000] [--folder DIR]

Writes the bank (about 17 bytes a row), then measures in a fresh process; exits with 1 above 1 GB.
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


def measure(path: str) -> None:
    """Print seconds, peak MB and the curve's end."""
    from overopt.bridges.best_of_n import best_of_n_curve
    from overopt.bridges.stored_bank import StoredBank

    start = time.perf_counter()
    bank = StoredBank.open(path, {"proxy": "proxy"}, sample=None)
    curve = best_of_n_curve(bank, "proxy")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"rows": bank.n_rows, "s": time.perf_counter() - start, "MB": peak, "gold": curve.gold[-1]}))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000_000)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure)
        return 0
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "bank.parquet"
        write(path, options.rows, options.samples)
        command = [sys.executable, __file__, "--measure", str(path)]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    print(
        f"{found['rows']:,} rows: {found['s']:.0f} s, peak {found['MB']:.0f} MB; gold at the last n {found['gold']:.3f}"
    )
    return int(found["MB"] > LIMIT_MB)


if __name__ == "__main__":
    sys.exit(main())
