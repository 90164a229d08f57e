"""The README says what the kept run found, and its two commands exist."""

from pathlib import Path

import pytest

from overopt.bridges.run_summary import RunSummary
from overopt.reports.readme import BEGIN, END, replaced, results_block
from overopt.theory.errors import InputError

pytestmark = pytest.mark.docs

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_numbers_are_those_of_the_kept_run():
    block = README.split(BEGIN, 1)[1].split(END, 1)[0]
    assert block == "\n" + results_block(RunSummary.read(ROOT / "reports" / "gallery" / "tiny"))


def test_commands_and_links_exist():
    targets = (ROOT / "Makefile").read_text()
    for name in ("demo", "test"):
        assert f"make {name}" in README
        assert f"\n{name}:" in targets
    for link in [part.split(")")[0] for part in README.split("](")[1:]]:
        assert link.startswith("#") or (ROOT / link).exists(), f"README links to {link}, which is not there"


def test_a_readme_without_markers_is_refused():
    with pytest.raises(InputError, match="must hold the markers"):
        replaced("no markers", "block")
