"""Stages are finished or absent; the same inputs are not worked twice; a kill costs a redo, never a wrong byte."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from slow_stages import graph

from overopt.bridges.run_directory import RunDirectory, fingerprint
from overopt.bridges.task_graph import Task, run_tasks
from overopt.bridges.worker_processes import WorkerProcesses
from overopt.theory.errors import InputError

CONFIG = {"recipe": {"steps": 3}, "seed": 0}


def opened(path: Path, config=CONFIG) -> RunDirectory:
    directory = RunDirectory.open(path, config)
    directory.record(config, {}, {})
    return directory


def write(text: str, calls: list[str], folder: Path) -> None:
    calls.append(text)
    (folder / "out.txt").write_text(text)


def test_a_finished_stage_is_not_redone_and_changed_inputs_are(tmp_path):
    run, calls = opened(tmp_path / "run"), []
    for inputs, text in ((1, "a"), (1, "b"), (2, "c")):
        run.run_stage("stage", inputs, partial(write, text, calls))
    assert calls == ["a", "c"]
    assert (run.path / "stage" / "out.txt").read_text() == "c"


def test_a_half_written_stage_is_redone(tmp_path):
    run = opened(tmp_path / "run")

    def fails(folder: Path) -> None:
        (folder / "out.txt").write_text("half")
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        run.run_stage("stage", 1, fails)
    assert not (run.path / "stage").exists()
    assert run.inputs_of("stage") is None
    run.run_stage("stage", 1, partial(write, "whole", []))
    assert (run.path / "stage" / "out.txt").read_text() == "whole"


def test_verify_names_the_damaged_file(tmp_path):
    run = opened(tmp_path / "run")
    run.run_stage("stage", 1, partial(write, "text", []))
    assert run.verify() == []
    (run.path / "stage" / "out.txt").write_text("tampered")
    assert run.verify() == ["stage/out.txt"]


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path):
    run = opened(tmp_path / "run")

    def full(folder: Path) -> None:
        (folder / "out.txt").write_text("part")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(InputError, match=r"no space left on the disk of .*\(stage 'stage'\)"):
        run.run_stage("stage", 1, full)
    assert [p.name for p in run.path.iterdir() if "stage" in p.name] == []


def test_another_configuration_is_refused_by_name(tmp_path):
    opened(tmp_path / "run")
    with pytest.raises(InputError, match=r"`recipe\.steps` is 3 there, 4 here"):
        RunDirectory.open(tmp_path / "run", {"recipe": {"steps": 4}, "seed": 0})
    opened(tmp_path / "run")


def test_a_foreign_folder_is_refused_untouched(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match=r"not empty and holds no config\.json"):
        RunDirectory.open(tmp_path, CONFIG)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_file_in_the_way_is_one_line(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(InputError, match="cannot be used"):
        RunDirectory.open(tmp_path / "run", CONFIG)


def test_two_processes_do_not_share_a_folder(tmp_path):
    run = opened(tmp_path / "run")
    with run.locked(), pytest.raises(InputError, match="another process is writing"), run.locked():
        pass


def test_fingerprint_depends_on_content_not_on_order():
    assert fingerprint({"a": 1, "b": [2]}) == fingerprint({"b": [2], "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})


def tables(run: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(run)): path.read_bytes()
        for path in sorted(run.rglob("*"))
        if path.is_file() and path.name not in ("metrics.jsonl", ".lock", "provenance.json")
    }


def test_tasks_wait_for_what_they_need_and_report_all_their_work(tmp_path):
    run = opened(tmp_path / "run")
    done: dict[str, int] = {}

    def count(group: str, units: int) -> None:
        done[group] = done.get(group, 0) + units

    tasks = graph(pause=0.0)
    seconds = run_tasks(run, tasks, engine=WorkerProcesses(2), on_progress=count)
    assert set(seconds) == {task.stage for task in tasks}
    assert done == {group: sum(t.size for t in tasks if t.group == group) for group in {t.group for t in tasks}}
    assert (run.path / "last" / "out.txt").read_text() == "012|012|012"
    assert run_tasks(run, tasks, engine=WorkerProcesses(2)) == {}, "finished stages must not run again"


def test_only_what_changed_runs_again(tmp_path):
    run = opened(tmp_path / "run")
    run_tasks(run, graph(pause=0.0), engine=WorkerProcesses(1))
    changed = graph(pause=0.0, mark="other text")
    assert set(run_tasks(run, changed, engine=WorkerProcesses(1))) == {"part/1", "last"}
    assert (run.path / "last" / "out.txt").read_text() == "012|012other text|012"
    same_bytes = [replace(changed[0], inputs="other inputs"), *changed[1:]]
    assert set(run_tasks(run, same_bytes, engine=WorkerProcesses(1))) == {"part/0"}, (
        "equal bytes change nothing downstream"
    )


def fail_stage(folder: Path, run: Path, advance) -> None:
    raise ValueError("a stage failed")


def test_a_failing_task_raises_and_keeps_finished_stages(tmp_path):
    run = opened(tmp_path / "run")
    tasks = [*graph(pause=0.0)[:1], Task("bad", fail_stage, 1, ("part/0",), "bad")]
    with pytest.raises(ValueError, match="a stage failed"):
        run_tasks(run, tasks, engine=WorkerProcesses(1))
    assert run.inputs_of("part/0") is not None
    assert run.inputs_of("bad") is None


def test_killed_runs_end_with_the_bytes_of_an_uninterrupted_one(tmp_path):
    whole = opened(tmp_path / "whole")
    run_tasks(whole, graph(pause=0.0), engine=WorkerProcesses(2))
    script = Path(__file__).parents[1] / "helpers" / "slow_stages.py"
    killed = tmp_path / "killed"
    for wait in (0.6, 0.9, 1.2):
        process = subprocess.Popen([sys.executable, str(script), str(killed), "0.15"])
        time.sleep(wait)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    subprocess.run([sys.executable, str(script), str(killed), "0.0"], check=True)
    assert tables(killed) == tables(whole.path)
    assert json.loads((killed / "config.json").read_text())["in_force"] == CONFIG
