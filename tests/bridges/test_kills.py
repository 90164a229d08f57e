"""Random kills of a synthetic sweep change no byte of its table; a table that differs or a damaged file is seen."""

import sys
from pathlib import Path

import numpy as np
import pytest

from overopt.bridges.validation.kills import kill_study
from overopt.theory.errors import InputError

SCRIPT = Path(__file__).parents[1] / "helpers" / "slow_sweep.py"

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")


def test_killed_sweeps_end_with_the_table_of_an_uninterrupted_one(tmp_path):
    study = kill_study(
        np.random.default_rng(5), 3, lambda out, engine: [sys.executable, str(SCRIPT), str(out), "0.1", engine],
        tmp_path, engines=("local",),
    )  # fmt: skip
    assert len(study.kills) == 3
    assert any(kill.stages for kill in study.kills), "a kill that met no work shows nothing"
    assert study.passed


FORGETFUL = """
import sys, time
from pathlib import Path
out = Path(sys.argv[1])
started = out / "started"
first = not started.exists()
(out / ".stage.partial-1").mkdir(parents=True, exist_ok=True)
started.touch()
time.sleep(0.6)
(out / "stage").mkdir(exist_ok=True)
(out / "stage" / "manifest.json").write_text('{"inputs": "", "files": {"gone.txt": "0"}}')
(out / "table.csv").write_text("whole" if first else "resumed")
"""


def test_a_sweep_that_forgets_is_found_out(tmp_path):
    script = tmp_path / "forgetful.py"
    script.write_text(FORGETFUL)
    study = kill_study(
        np.random.default_rng(0), 1, lambda out, engine: [sys.executable, str(script), str(out)], tmp_path / "runs",
        engines=("local",),
    )  # fmt: skip
    assert [kill.target for kill in study.kills] == ["parent"]
    assert ("local", False) in study.sweeps
    assert "killed-0: stage/gone.txt" in study.damaged
    assert not study.passed


def test_no_kills_are_no_study(tmp_path):
    with pytest.raises(InputError, match="`kills` must be >= 1, got 0"):
        kill_study(np.random.default_rng(0), 0, lambda out, engine: [], tmp_path, engines=("local",))
