"""The commit that results are stored with: changed code is called changed, stored results are not code."""

from __future__ import annotations

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
