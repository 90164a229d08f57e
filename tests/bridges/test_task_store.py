"""What one run has computed, another takes over byte for byte; a kill or a damaged file costs work, never a result."""

import errno
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from slow_stages import die, fail, graph, join_parts, write_part

from overopt.bridges.run_directory import RunDirectory
from overopt.bridges.task_graph import Failure, Task, _Job, run_graphs, run_tasks
from overopt.bridges.task_store import TaskStore, code_fingerprint, code_of
from overopt.bridges.worker_processes import MAX_RETRIES, Done, Failed, WorkerProcesses
from overopt.theory.errors import InputError

STAGES = {"part/0", "part/1", "part/2", "last"}
TEXT = "012|012|012"


def opened(path: Path) -> RunDirectory:
    directory = RunDirectory.open(path, {})
    directory.record({}, {}, {})
    return directory


def text_of(run: RunDirectory) -> str:
    return (run.path / "last" / "out.txt").read_text()


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> tuple[TaskStore, RunDirectory]:
    """A run whose stages are in the store beside it."""
    run = opened(tmp_path_factory.mktemp("runs") / "first")
    store = TaskStore.beside(run.path)
    assert set(run_tasks(run, graph(pause=0.0), engine=WorkerProcesses(1), store=store)) == STAGES
    return store, run


@pytest.fixture
def copied(kept, tmp_path) -> TaskStore:
    """A store of one's own to damage."""
    return TaskStore(Path(shutil.copytree(kept[0].path, tmp_path / ".store")))


def test_a_second_run_takes_every_stage_over(kept):
    store, first = kept
    second = opened(first.path.with_name("second"))
    done: list[int] = []
    taken = run_tasks(
        second,
        graph(pause=0.0),
        engine=WorkerProcesses(1),
        store=store,
        on_progress=lambda group, units: done.append(units),
    )
    assert taken == {}
    assert sum(done) == sum(task.size for task in graph(pause=0.0))
    assert text_of(second) == TEXT
    assert second.verify() == []
    assert second.timings() == first.timings(), "the cost of a stage is that of computing it"
    here, there = (run.path / "last" / "out.txt" for run in (first, second))
    assert here.stat().st_ino == there.stat().st_ino
    assert here.stat().st_mode & 0o222 == 0, "a file with two names must not be written to"


def test_deleting_the_store_or_a_run_harms_no_other(copied, tmp_path):
    run = opened(tmp_path / "run")
    run_tasks(run, graph(pause=0.0), engine=WorkerProcesses(1), store=copied)
    shutil.rmtree(copied.path)
    assert run.verify() == []
    assert text_of(run) == TEXT


def test_only_what_other_inputs_decide_is_worked(kept):
    store, first = kept
    run = opened(first.path.with_name("other"))
    assert set(run_tasks(run, graph(pause=0.0, mark="x"), engine=WorkerProcesses(1), store=store)) == {"part/1", "last"}
    assert text_of(run) == "012|012x|012"


def test_the_address_depends_on_everything_that_decides_the_bytes(tmp_path):
    run, store = opened(tmp_path / "run"), TaskStore(tmp_path, {"overopt": "1"})

    dies_once = partial(die, 1)

    def address(stage="a", work=dies_once, inputs=1, store=store):
        return _Job.ready(run, Task(stage, work, inputs), store).address

    assert address() == address(work=partial(die, 2)), "bound arguments count only as `inputs`"
    newer = TaskStore(tmp_path, {"overopt": "2"})
    others = [address(stage="b"), address(work=fail), address(inputs=2), address(store=newer)]
    assert len({address(), *others}) == 5


def test_a_damaged_entry_is_computed_again_and_replaced(copied, tmp_path):
    for file in copied.path.rglob("out.txt"):
        file.chmod(0o644)
        file.write_text("tampered")
    run = opened(tmp_path / "run")
    assert set(run_tasks(run, graph(pause=0.0), engine=WorkerProcesses(1), store=copied)) == STAGES
    assert text_of(run) == TEXT
    assert run_tasks(opened(tmp_path / "again"), graph(pause=0.0), engine=WorkerProcesses(1), store=copied) == {}


def test_an_entry_that_names_other_inputs_is_not_believed(copied, tmp_path):
    for file in copied.path.rglob("manifest.json"):
        manifest = json.loads(file.read_text())
        file.chmod(0o644)
        file.write_text(json.dumps({**manifest, "inputs": "0" * 64}))
    run = opened(tmp_path / "run")
    assert set(run_tasks(run, graph(pause=0.0), engine=WorkerProcesses(1), store=copied)) == STAGES


def test_another_file_system_means_copies(copied, tmp_path, monkeypatch):
    def no_link(source, target):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", no_link)
    run = opened(tmp_path / "run")
    assert run_tasks(run, graph(pause=0.0), engine=WorkerProcesses(1), store=copied) == {}
    assert run.verify() == []
    assert (run.path / "last" / "out.txt").stat().st_nlink == 1


def test_of_two_who_put_the_same_the_first_ones_files_stay(kept, tmp_path):
    _, first = kept
    store = TaskStore(tmp_path / "store")
    for _ in range(2):
        store.put("ab" * 32, first.path / "last", 1.0)
    assert [p.name for p in store.path.iterdir()] == ["ab"], "no temporary folder is left"


def test_a_store_that_cannot_be_written_is_one_line(kept, tmp_path):
    (tmp_path / "store").write_text("")
    with pytest.raises(InputError, match=r"the store of shared results .* cannot be written"):
        TaskStore(tmp_path / "store").put("ab" * 32, kept[1].path / "last", 1.0)


def test_two_programs_at_once_share_one_store(tmp_path):
    script = Path(__file__).parents[1] / "helpers" / "slow_stages.py"
    command = [sys.executable, str(script)]
    both = [subprocess.Popen([*command, str(tmp_path / name), "0.02", "store"]) for name in ("one", "two")]
    assert [process.wait() for process in both] == [0, 0]
    for name in ("one", "two"):
        assert RunDirectory(tmp_path / name).verify() == []
        assert text_of(RunDirectory(tmp_path / name)) == TEXT
    assert list((tmp_path / ".store").glob(".*")) == []


STAGE = '''"""Stages."""


def work(folder, run, advance):
    """Write a number."""
    (folder / "out.txt").write_text("1")  # one
'''


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ('"1"', '"2"', False),
        ("# one", "# a comment", True),
        ("Write a number.", "Write it.", True),
        ("\n\n\ndef", "\n\ndef", True),
    ],
)
def test_other_code_has_another_address(tmp_path, before, after, same):
    path, store = tmp_path / "stages_that_change.py", TaskStore(tmp_path / ".store")

    def address(text: str) -> str:
        path.write_text(text)
        code_fingerprint.cache_clear()
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return store.address("a", {"n": 1, "code": code_of(module.work)})

    assert (address(STAGE) == address(STAGE.replace(before, after))) is same


class ShrinkingEngine:
    """Runs a call when it is asked for events, and has room for one call after the first two began."""

    def __init__(self) -> None:
        self.calls: dict[object, object] = {}
        self.slots, self.most = 2, 0

    def submit(self, key, call) -> None:
        self.calls[key] = call
        self.most = max(self.most, len(self.calls))
        if len(self.calls) == 2:
            self.slots = 1

    def events(self, timeout):
        key = next(iter(self.calls))
        return [Done(key, self.calls.pop(key)(lambda units: None))]

    def close(self) -> None:
        self.calls.clear()


def test_a_cluster_that_shrinks_is_given_no_more_than_it_has_room_for(tmp_path):
    engine, run = ShrinkingEngine(), opened(tmp_path / "run")
    tasks = [Task(f"{number}", partial(write_part, 0.0, str(number)), number) for number in range(6)]
    assert len(run_tasks(run, tasks, engine=engine)) == 6
    assert engine.most == 2


class OddError(Exception):
    def __init__(self, first, second) -> None:
        super().__init__(f"{first} and {second}")


def raise_odd(advance):
    raise OddError(1, 2)


def raise_known(advance):
    raise InputError("one line")


def test_an_error_that_another_process_could_not_rebuild_travels_as_text():
    engine = WorkerProcesses(1)
    try:
        for call, kind, text in ((raise_odd, RuntimeError, "OddError: 1 and 2"), (raise_known, InputError, "one line")):
            engine.submit("key", call)
            events = []
            while not events:
                events = engine.events(1.0)
            assert type(events[0].error) is kind
            assert str(events[0].error) == text
    finally:
        engine.close()


def fail_with_process(advance):
    raise ValueError(process(advance))


def process(advance):
    return f"{os.getpid()} {os.environ['PLACE']}"


def end_once(marker, advance):
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


def next_event(engine):
    while True:
        for event in engine.events(1.0):
            return event


def test_a_process_whose_call_failed_is_replaced_in_its_place():
    """An error on a GPU may leave its process unable to use it; a kept one would fail every later call."""
    engine, seen = WorkerProcesses(1, None, [{"PLACE": "a"}]), []
    try:
        for call in (fail_with_process, fail_with_process, process, process):
            engine.submit("key", call)
            event = next_event(engine)
            seen.append(str(event.error) if isinstance(event, Failed) else event.value)
    finally:
        engine.close()
    assert len(set(seen[:3])) == 3
    assert {place.split()[1] for place in seen} == {"a"}
    assert seen[3] == seen[2], "one whose call was done is kept"


def test_a_failed_call_is_no_death_of_its_process(tmp_path):
    """Else the death that follows would be one too many."""
    engine = WorkerProcesses(1, None, [{"PLACE": "a"}])
    try:
        for _ in range(MAX_RETRIES):
            engine.submit("key", fail_with_process)
            assert isinstance(next_event(engine), Failed)
        engine.submit("key", partial(end_once, tmp_path / "marker"))
        assert next_event(engine) == Done("key", "done")
    finally:
        engine.close()


def test_equal_tasks_of_several_runs_are_worked_once(tmp_path):
    runs = [opened(tmp_path / name) for name in ("one", "two", "three")]
    graphs = [(run, graph(pause=0.0, mark=mark)) for run, mark in zip(runs, ("", "", "x"), strict=True)]
    engine = WorkerProcesses(2)
    try:
        outcome = run_graphs(graphs, engine, store=TaskStore(tmp_path / ".store"))
    finally:
        engine.close()
    assert len(outcome.seconds) == len(STAGES) + 2
    assert len(outcome.shared) == 3 * len(STAGES) - len(outcome.seconds)
    assert [text_of(run) for run in runs] == [TEXT, TEXT, "012|012x|012"]


def test_a_killed_worker_costs_a_repetition_of_its_task(tmp_path):
    (tmp_path / "marks").mkdir()
    run = opened(tmp_path / "run")
    done: dict[str, int] = {}

    def count(group: str, units: int) -> None:
        done[group] = done.get(group, 0) + units

    dying = Task("dying", partial(die, 3, tmp_path / "marks"), 0, (), "dying", 2)
    assert set(run_tasks(run, [dying, *graph(pause=0.0)], engine=WorkerProcesses(2), on_progress=count)) == {
        "dying",
        *STAGES,
    }
    assert (run.path / "dying" / "out.txt").read_text() == "whole"
    assert done["dying"] == 2, "repeated work is not counted twice"
    assert list(run.path.glob(".dying*")) == []


def test_a_task_that_kills_its_worker_every_time_is_given_up(tmp_path):
    (tmp_path / "marks").mkdir()
    run = opened(tmp_path / "run")
    tasks = [Task("dying", partial(die, 99, tmp_path / "marks"), 0)]
    with pytest.raises(RuntimeError, match=r"its worker process died 4 times .*exit code -9"):
        run_tasks(run, tasks, engine=WorkerProcesses(1))
    assert not (run.path / "dying").exists()


def test_a_failing_task_stops_only_what_needs_it(tmp_path):
    runs = [opened(tmp_path / name) for name in ("one", "two")]
    needing = [Task("bad", fail, 0), Task("after", join_parts, 0, ("bad",)), Task("last of all", fail, 1, ("after",))]
    failures: list[Failure] = []
    engine = WorkerProcesses(1)
    try:
        outcome = run_graphs(
            [(run, [*needing, *graph(pause=0.0)]) for run in runs],
            engine,
            store=TaskStore(tmp_path / ".store"),
            on_failure=failures.append,
        )
    finally:
        engine.close()
    assert outcome.failures == failures
    assert [(failure.run.name, failure.stage) for failure in failures] == [("one", "bad"), ("two", "bad")]
    assert failures[0].error is failures[1].error, "the same task is not tried twice"
    assert "in fail" in failures[0].traceback
    assert [text_of(run) for run in runs] == [TEXT, TEXT]
    assert not (runs[0].path / "after").exists()


def test_a_process_ends_with_the_one_that_started_it(tmp_path):
    """A pool's worker after a SIGKILL of its parent; without the watch it would wait for ever."""
    script = tmp_path / "parent.py"
    script.write_text(
        "import os, time\n"
        "from concurrent.futures import ProcessPoolExecutor\n"
        "from multiprocessing import get_context\n"
        "from overopt.bridges.worker_processes import end_with_parent\n"
        "if __name__ == '__main__':\n"
        "    watch = {'initializer': end_with_parent, 'initargs': (os.getpid(),)}\n"
        "    pool = ProcessPoolExecutor(1, get_context('spawn'), **watch)\n"
        "    print(pool.submit(os.getpid).result(), flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as parent:
        worker = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 20
    while _runs(worker) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _runs(worker)


def _runs(process: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return "State:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
