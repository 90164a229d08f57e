"""Where a result comes from: versions, commit, hardware."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections import Counter
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from urllib.parse import unquote, urlparse

__all__ = ["commit", "gpus", "provenance"]

PACKAGES = ("overopt", "numpy", "scipy", "pyarrow", "torch", "transformers", "trl", "tokenizers", "safetensors")

GPU_SECONDS = 10.0
"""A driver that does not answer by then is taken for none."""

CODE = (":/", ":(top,exclude)reports/docs", ":(top,exclude)reports/gallery", ":(top,exclude)*.md")
"""Not the stored results: a study that writes them must not call its own commit changed."""


def commit() -> str:
    """The commit of the source this package was installed from, ``+dirty`` where its code has changes, or "unknown"."""
    for folder in (Path(__file__).resolve().parent, _installed_from()):
        if folder is None:
            continue
        try:
            head = _git(folder, "rev-parse", "HEAD")
            if "bridges/provenance.py" not in _git(folder, "ls-files", "--full-name", ":/bridges/provenance.py"):
                continue  # some other repository around the installed package
            dirty = "+dirty" if _git(folder, "status", "--porcelain", "--untracked-files=no", "--", *CODE) else ""
        except (OSError, subprocess.CalledProcessError):
            continue
        return head + dirty
    return "unknown"


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _installed_from() -> Path | None:
    """The local folder that pip installed from (PEP 610), if there is one."""
    try:
        record = distribution("overopt").read_text("direct_url.json")
    except PackageNotFoundError:
        return None
    url = urlparse(json.loads(record)["url"]) if record else None
    return Path(unquote(url.path)) if url is not None and url.scheme == "file" else None


def provenance() -> dict[str, str]:
    """Versions of what decides results, the commit, and the machine, as name -> text."""
    versions: dict[str, str] = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        **versions,
        "python": platform.python_version(),
        "commit": commit(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        **_gpu_facts(),
    }


@cache
def gpus() -> tuple[tuple[str, str], ...]:
    """(Name, driver version) of every NVIDIA GPU of this machine.

    Asked of the driver's own command: torch would have to take hold of a GPU to answer.
    """
    command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=GPU_SECONDS).stdout
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return ()
    found = (line.rpartition(",") for line in said.splitlines())
    return tuple((name.strip(), driver.strip()) for name, _, driver in found if name)


def _gpu_facts() -> dict[str, str]:
    if not gpus():
        return {}
    counts = Counter(name for name, _ in gpus())
    names = (name if count == 1 else f"{count} x {name}" for name, count in sorted(counts.items()))
    return {"gpus": ", ".join(names), "gpu driver": ", ".join(sorted({driver for _, driver in gpus()}))}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
