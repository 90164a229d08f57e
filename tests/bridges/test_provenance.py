"""What results are stored with: changed code is called changed, stored results are not code, GPUs have names."""

from __future__ import annotations

import os
import subprocess

import pytest

from overopt.bridges import provenance


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A repository that looks like this one, and where the package seems to come from."""

    def git(*arguments: str) -> None:
        identity = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True)

    for name in ("bridges/provenance.py", "reports/docs/validation/tally.json", "reports/keep.py", "README.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1\n")
    git("init", "-q")
    git("add", "-A")
    git("commit", "-q", "-m", "all")
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "bridges" / "provenance.py"))
    return tmp_path


@pytest.mark.parametrize(
    ("changed", "dirty"),
    [
        ("bridges/provenance.py", True),
        ("reports/keep.py", True),
        ("reports/docs/validation/tally.json", False),
        ("README.md", False),
    ],
)
def test_only_changed_code_is_dirty(tree, changed, dirty):
    clean = provenance.commit()
    assert len(clean) == 40
    (tree / changed).write_text("2\n")
    assert provenance.commit() == (f"{clean}+dirty" if dirty else clean)


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """Puts an ``nvidia-smi`` of one's own in front of the machine's."""
    monkeypatch.setattr(provenance, "GPU_SECONDS", 2.0)

    def says(script: str) -> None:
        command = tmp_path / "bin" / "nvidia-smi"
        command.parent.mkdir(exist_ok=True)
        command.write_text(f"#!/bin/sh\n{script}\n")
        command.chmod(0o755)
        monkeypatch.setenv("PATH", f"{command.parent}{os.pathsep}/usr/bin{os.pathsep}/bin")
        provenance.gpus.cache_clear()

    yield says
    provenance.gpus.cache_clear()


TWO = """[ "$*" = "--query-gpu=name,driver_version --format=csv,noheader" ] || exit 9
echo 'NVIDIA H100 80GB HBM3, 570.86.10'; echo 'NVIDIA H100 80GB HBM3, 570.86.10'; echo 'NVIDIA T4, 570.86.10'"""


def test_gpus_are_named_without_torch(driver):
    driver(TWO)
    said = provenance.provenance()
    assert said["gpus"] == "2 x NVIDIA H100 80GB HBM3, NVIDIA T4"
    assert said["gpu driver"] == "570.86.10"


@pytest.mark.parametrize("script", ["echo 'No devices were found'", "exit 6", "exec sleep 60"])
def test_no_gpu_or_no_answer_is_nothing(script, driver):
    driver(script)
    assert not {"gpus", "gpu driver"} & set(provenance.provenance())


def test_no_command_is_nothing(driver, monkeypatch, tmp_path):
    driver(TWO)
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    assert provenance.gpus() == ()


def test_what_a_gpu_makes_is_marked_with_its_kind(driver):
    pytest.importorskip("torch", reason="the lm extra is not installed")
    from overopt.bridges.lm.world import WorldSource, source_fingerprint

    here = source_fingerprint(WorldSource())
    driver(TWO)
    assert source_fingerprint(WorldSource()) == here, "a run on the CPU is what it was"
    assert source_fingerprint(WorldSource(device="cuda"))["gpu"] == "NVIDIA H100 80GB HBM3, NVIDIA T4"
    driver("echo 'NVIDIA H200, 570.86.10'")
    assert source_fingerprint(WorldSource(device="cuda"))["gpu"] == "NVIDIA H200"
