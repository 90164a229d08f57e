"""The studies: each runs, and its verdict follows from numbers that other tests hold."""

import importlib

import pytest

from overopt.toys.studies import NAMES
from overopt.toys.studies.study import verdict

EXPECTED = {
    "submodules": "pass", "early_stopping": "pass", "mechanisms": "pass", "ensembles": "pass",
    "iterated_proxies": "pass",
    "data_threshold": "pass", "beta_source": "pass", "range_of_d": "fail", "measures": "cannot tell",
}  # fmt: skip


@pytest.mark.smoke
@pytest.mark.parametrize("name", NAMES)
def test_study(name):
    study = importlib.import_module(f"overopt.toys.studies.{name}").study()
    assert study.verdict == EXPECTED[name], study.finding
    assert study.finding.endswith(".")
    assert all(line.points for line in study.lines)


def test_verdicts_can_fail():
    assert (verdict(False), verdict(True), verdict(True, decidable=False)) == ("fail", "pass", "cannot tell")
