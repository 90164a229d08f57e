"""Mutation study of the formula files: break one operator or constant, and see whether the ledger or a test notices.

Every mutant runs in a forked process that imports the broken file in place of the true one, recomputes the ledger
entries that execute the broken function (fastest first) and then, in a source checkout, the tests that do. The first
disagreement ends it. A mutant that runs out of its time counts as caught: somebody would notice.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import resource
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from time import monotonic, process_time
from types import FrameType, ModuleType
from typing import Any

import numpy as np

from overopt.bridges.validation.mutants import (
    KINDS,
    Kind,
    Mutant,
    compiled,
    formula_modules,
    mutants,
    stratified,
    theory_folder,
    unmatched,
)
from overopt.theory.errors import InputError

__all__ = ["MutationStudy", "Outcome", "Share", "mutation_study", "study_from_record", "study_record"]

# Libraries that every mutant needs: imported once, before the forks.
_SHARED = (
    "scipy.stats",
    "scipy.optimize",
    "scipy.integrate",
    "scipy.signal",
    "scipy.spatial.distance",
    "sympy",
    "mpmath",
)
_PYTEST = ("-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning")


@dataclass(frozen=True)
class Outcome:
    """How a mutant ended: ``by`` names the entry or test that noticed it."""

    mutant: Mutant
    result: str
    """"ledger", "test", "import", "time", "survived", or "equivalent" for one that was not judged."""
    by: str = ""

    @property
    def caught(self) -> bool:
        """Whether anything noticed."""
        return self.result not in ("survived", "equivalent")


@dataclass(frozen=True)
class Share:
    """Mutants of one kind: how many there are, how many were sampled, how many of those were caught."""

    mutants: int
    sampled: int
    caught: int

    @property
    def caught_share(self) -> float:
        """``caught / sampled``."""
        return self.caught / self.sampled if self.sampled else float("nan")


@dataclass(frozen=True)
class MutationStudy:
    """Outcomes of a random sample of all mutants, stratified by file."""

    mutants: dict[Kind, int]
    """How many there are of each kind."""
    outcomes: tuple[Outcome, ...]

    def share(self, kind: Kind) -> Share:
        """Sampled and caught mutants of one kind."""
        judged = [outcome for outcome in self.outcomes if outcome.mutant.kind == kind]
        return Share(self.mutants[kind], len(judged), sum(outcome.caught for outcome in judged))

    def survivors(self, kind: Kind) -> list[Outcome]:
        """Mutants of one kind that nothing noticed, in order of file and line."""
        found = [o for o in self.outcomes if not o.caught and o.mutant.kind == kind]
        return sorted(found, key=lambda o: (o.mutant.module, o.mutant.line, o.mutant.node))


class _Broken:
    """Import hook and loader that put the mutant in the place of the true file."""

    def __init__(self, mutant: Mutant) -> None:
        self.name = f"overopt.theory.{mutant.module}"
        self.code = compiled(mutant)

    def find_spec(self, name: str, path: object = None, target: object = None) -> Any:
        return importlib.util.spec_from_loader(name, self) if name == self.name else None  # type: ignore[arg-type]

    def create_module(self, spec: object) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        exec(self.code, module.__dict__)


def _fresh(mutant: Mutant | None) -> None:
    """Forget what was imported of the package, so that it comes back broken (or, for None, as it is)."""
    for name in [name for name in sys.modules if name.startswith("overopt.")]:
        del sys.modules[name]
    if mutant is not None:
        sys.meta_path.insert(0, _Broken(mutant))


def _forked(work: Callable[[], Any], seconds: float) -> Any:
    """The JSON value that ``work`` returns in a forked process, or None if it dies or needs more than ``seconds``."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        code = 1
        with suppress(BaseException):
            os.close(reading)
            limit = int(process_time() + seconds) + 1
            resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 1))
            for stream in (1, 2):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
            with os.fdopen(writing, "w") as pipe:
                json.dump(work(), pipe)
            code = 0
        os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    _, status = os.waitpid(process, 0)
    return json.loads(text) if status == 0 and text else None


class _Calls:
    """Which functions of the formula files a piece of code calls: first line of every code object, by module."""

    def __init__(self) -> None:
        self.folder = str(theory_folder())
        self.seen: dict[str, set[int]] = {}

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        code = frame.f_code
        if event == "call" and os.path.dirname(code.co_filename) == self.folder:
            self.seen.setdefault(Path(code.co_filename).stem, set()).add(code.co_firstlineno)

    def of(self, work: Callable[[], object]) -> tuple[dict[str, list[int]], float]:
        """The functions that ``work`` calls, and its processor time."""
        self.seen, start = {}, process_time()
        sys.setprofile(self)
        try:
            work()
        finally:
            sys.setprofile(None)
        return {module: sorted(lines) for module, lines in self.seen.items()}, process_time() - start


def _ledger_calls() -> dict[str, Any]:
    _fresh(None)
    from overopt.theory.claims import evaluate, ledger

    return {entry.id: _Calls().of(partial(evaluate, entry)) for entry in ledger()}


def _test_calls(tests: Path) -> dict[str, Any]:
    import pytest

    _fresh(None)
    found: dict[str, Any] = {}

    class Recorder:
        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
            recorder, start = _Calls(), process_time()
            sys.setprofile(recorder)
            try:
                yield
            finally:
                sys.setprofile(None)
                found[item.nodeid] = ({m: sorted(s) for m, s in recorder.seen.items()}, process_time() - start)

    os.chdir(tests.parents[1])
    pytest.main([*_PYTEST, *_files(tests)], plugins=[Recorder()])
    return found


def _files(tests: Path) -> list[str]:
    """The tests of the formulas; those of the ledger itself recompute all of it and would be run twice."""
    return [str(path) for path in sorted(tests.glob("test_*.py")) if "claims" not in path.stem]


def _relevant(calls: dict[str, Any], mutant: Mutant) -> list[str]:
    """Names whose code calls the mutant's function, fastest first."""
    first, last = mutant.function
    names = [name for name, (seen, _) in calls.items() if any(first <= x <= last for x in seen.get(mutant.module, ()))]
    return sorted(names, key=lambda name: float(calls[name][1]))


def _judge(mutant: Mutant, entries: Sequence[str], tests: Sequence[str], root: Path) -> list[str]:
    _fresh(mutant)
    try:
        from overopt.theory.claims import evaluate, find

        chosen = find(tuple(entries)) if entries else ()
    except BaseException as error:
        return ["import", type(error).__name__]
    for entry in chosen:
        if not evaluate(entry).ok:
            return ["ledger", entry.id]
    if tests:
        import pytest

        os.chdir(root)
        if pytest.main([*_PYTEST, "-x", *tests]) != 0:
            return ["test", f"one of {len(tests)} tests"]
    return ["survived", ""]


def mutation_study(
    rng: np.random.Generator,
    sample: int | None = None,
    *,
    modules: Sequence[str] = (),
    seconds: float = 420.0,
    test_seconds: float = 300.0,
    minutes: float | None = None,
    earlier: Sequence[Outcome] = (),
    again: bool = False,
    on_outcome: Callable[[MutationStudy], object] | None = None,
) -> MutationStudy:
    """Judge a random sample of the mutants of the formula files, every file in proportion to its mutants.

    Parameters
    ----------
    sample
        How many mutants to draw without replacement; all of them by default.
    modules
        Formula files by name (default: all).
    seconds
        Processor time of one mutant.
    test_seconds
        Of the tests that call the function, the fastest that together take so much processor time are run on a mutant
        that the ledger missed.
    minutes
        No mutant is begun after so many minutes; the sample is then as far as it came.
    earlier
        Outcomes of an interrupted study from the same generator and the same files, which it continues.
    again
        First judge the survivors among them again: tests may have been written since.
    on_outcome
        Called with the study so far after each mutant: a progress display, a store.
    """
    if gone := unmatched():
        raise InputError(f"explained_mutants: {gone[0].module}.py has no line '{gone[0].line}' ({gone[0].change}).")
    order = stratified(rng, [mutants(module) for module in (modules or formula_modules())])
    count = len(order) if sample is None else min(sample, len(order))
    if count < 1:
        raise InputError(f"`sample` must be >= 1, got {sample}.")
    kinds = {kind: sum(mutant.kind == kind for mutant in order) for kind in KINDS}
    outcomes = list(earlier)
    if [outcome.mutant for outcome in outcomes] != order[: len(outcomes)]:
        raise InputError("the stored study judged other files or used another seed; give another `--out`.")
    stop = float("inf") if minutes is None else monotonic() + 60 * minutes
    survivors = [index for index, outcome in enumerate(outcomes) if again and outcome.result == "survived"]
    waiting = [*survivors, *range(len(outcomes), count)]
    judge = _Judge(seconds, test_seconds) if waiting and monotonic() < stop else None
    for index in waiting:
        if judge is None or monotonic() >= stop:
            break
        outcomes[index:] = [judge(order[index]), *outcomes[index + 1 :]]
        if on_outcome is not None:
            on_outcome(MutationStudy(kinds, tuple(outcomes)))
    return MutationStudy(kinds, tuple(outcomes))


class _Judge:
    """Knows which entries and tests call which function, and runs them on a mutant."""

    def __init__(self, seconds: float, test_seconds: float) -> None:
        self.seconds, self.test_seconds = seconds, test_seconds
        for library in _SHARED:
            importlib.import_module(library)
        self.root = theory_folder().resolve().parent
        tests = self.root / "tests" / "theory"
        self.entries = _forked(_ledger_calls, 300.0)
        self.tests = _forked(lambda: _test_calls(tests), 600.0) if tests.is_dir() else {}
        if self.entries is None or self.tests is None:
            raise InputError("the unbroken ledger or its tests did not finish; run `overopt claims` first.")

    def __call__(self, mutant: Mutant) -> Outcome:
        if mutant.kind == "equivalent":
            return Outcome(mutant, "equivalent")
        tests = _relevant(self.tests, mutant)
        spent = np.cumsum([float(self.tests[name][1]) for name in tests])
        chosen = _relevant(self.entries, mutant), tests[: int((spent <= self.test_seconds).sum())]
        answer = _forked(partial(_judge, mutant, *chosen, self.root), self.seconds)
        result, by = answer or ("time", "")
        return Outcome(mutant, result, by)


def study_record(study: MutationStudy) -> dict[str, Any]:
    """The study as plain data: shares by kind, survivors, and every outcome, which :func:`study_from_record` reads."""
    return {
        "kinds": {
            kind: {**asdict(share), "caught_share": share.caught_share if share.sampled else None}
            for kind in KINDS
            for share in (study.share(kind),)
        },
        "survivors": {kind: [_described(outcome.mutant) for outcome in study.survivors(kind)] for kind in KINDS},
        "outcomes": [[o.mutant.module, o.mutant.line, o.mutant.node, o.result, o.by] for o in study.outcomes],
    }


def _described(mutant: Mutant) -> dict[str, Any]:
    return {
        "file": f"{mutant.module}.py", "line": mutant.line, "text": mutant.text, "change": mutant.change,
        "reason": mutant.reason,
    }  # fmt: skip


def study_from_record(record: dict[str, Any]) -> tuple[Outcome, ...]:
    """Outcomes of a stored study, for ``earlier``.

    Raises
    ------
    InputError
        If a mutant of the record is not a mutant of the formula files as they are.
    """
    known = {module: {mutant.node: mutant for mutant in mutants(module)} for module in formula_modules()}
    outcomes = []
    for module, line, node, result, by in record["outcomes"]:
        mutant = known.get(module, {}).get(node)
        if mutant is None or mutant.line != line:
            raise InputError(f"the stored study judged another {module}.py (line {line}); give another `--out`.")
        outcomes.append(Outcome(mutant, result, by))
    return tuple(outcomes)
