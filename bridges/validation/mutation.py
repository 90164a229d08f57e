"""Mutation study of the formula files: break one operator or constant, and see whether the ledger or a test notices.

Every mutant runs in a forked process that imports the broken file in place of the true one, recomputes the ledger
entries that execute the broken function (fastest first) and then, in a source checkout, the tests that do. The first
disagreement ends it. A mutant that runs out of its time counts as caught: somebody would notice.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import os
import resource
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from time import process_time
from types import CodeType, FrameType, ModuleType
from typing import Any

import numpy as np

from overopt.theory.errors import InputError

__all__ = ["Mutant", "MutationStudy", "Outcome", "formula_modules", "mutants", "mutation_study"]

_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult,
    ast.MatMult: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
}  # fmt: skip
_SIGNS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "**", ast.MatMult: "@", ast.FloorDiv: "//",
          ast.Mod: "%"}  # fmt: skip
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
_NOT_FORMULAS = {"__init__", "errors"}


@dataclass(frozen=True)
class Mutant:
    """One change to one formula file."""

    module: str
    line: int
    change: str
    node: int
    """Position of the changed node in ``ast.walk`` order."""
    function: tuple[int, int]
    """First and last line of the innermost function around it; the whole file for a constant outside of any."""


@dataclass(frozen=True)
class Outcome:
    """How a mutant ended: ``by`` names the entry or test that noticed it."""

    mutant: Mutant
    result: str
    """"ledger", "test", "import", "time" or "survived"."""
    by: str = ""

    @property
    def caught(self) -> bool:
        """Whether anything noticed."""
        return self.result != "survived"


@dataclass(frozen=True)
class MutationStudy:
    """Outcomes of a random sample of all mutants."""

    mutants: int
    """How many there are."""
    outcomes: tuple[Outcome, ...]

    @property
    def share_caught(self) -> float:
        """Share of the sampled mutants that something noticed."""
        return float(np.mean([outcome.caught for outcome in self.outcomes]))

    def survivors(self) -> list[Outcome]:
        """Mutants that nothing noticed, in order of file and line."""
        return sorted((o for o in self.outcomes if not o.caught), key=lambda o: (o.mutant.module, o.mutant.line))


def formula_modules() -> tuple[str, ...]:
    """Names of the formula files of ``overopt.theory``."""
    return tuple(sorted(path.stem for path in _theory().glob("*.py") if path.stem not in _NOT_FORMULAS))


def _theory() -> Path:
    spec = importlib.util.find_spec("overopt.theory")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


@cache
def _source(module: str) -> str:
    """The file as the study first saw it: an edit in the middle would otherwise move the nodes."""
    return (_theory() / f"{module}.py").read_text(encoding="utf-8")


def mutants(module: str) -> list[Mutant]:
    """Every arithmetic operator and every number of a formula file, changed once.

    Left alone: annotations, strings, and what stands in a ``raise``.
    """
    if not (_theory() / f"{module}.py").is_file():
        raise InputError(f"`module` must be one of {', '.join(formula_modules())}, got '{module}'.")
    tree = ast.parse(_source(module))
    spared = {id(inner) for node in ast.walk(tree) for part in _spared(node) for inner in ast.walk(part)}
    functions = [
        (min([node.lineno, *(d.lineno for d in node.decorator_list)]), node.end_lineno or node.lineno)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
    ]
    last = len(_source(module).splitlines())
    found = []
    for position, node in enumerate(ast.walk(tree)):
        change = _change(node)
        if change is None or id(node) in spared:
            continue
        line = int(getattr(node, "lineno", 0))
        around = [span for span in functions if span[0] <= line <= span[1]]
        function = min(around, key=lambda span: span[1] - span[0]) if around else (1, last)
        found.append(Mutant(module, line, change, position, function))
    return found


def _spared(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Raise():
            yield node
        case ast.AnnAssign():
            yield node.annotation
        case ast.arg() if node.annotation is not None:
            yield node.annotation
        case ast.FunctionDef() if node.returns is not None:
            yield node.returns


def _change(node: ast.AST) -> str | None:
    match node:
        case ast.BinOp() | ast.AugAssign() if type(node.op) in _OPERATORS:
            return f"{_SIGNS[type(node.op)]} becomes {_SIGNS[_OPERATORS[type(node.op)]]}"
        case ast.UnaryOp(op=ast.USub()):
            return "unary - dropped"
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return f"{value} becomes {_other(value)}"
    return None


def _other(value: float) -> float:
    return value + 1 if isinstance(value, int) or value == 0 else 1.5 * value


def _compiled(mutant: Mutant) -> CodeType:
    tree = ast.parse(_source(mutant.module))
    for position, node in enumerate(ast.walk(tree)):
        if position != mutant.node:
            continue
        match node:
            case ast.BinOp() | ast.AugAssign():
                node.op = _OPERATORS[type(node.op)]()
            case ast.UnaryOp():
                node.op = ast.UAdd()
            case ast.Constant(value=int() | float() as value):
                node.value = _other(value)
    return compile(tree, str(_theory() / f"{mutant.module}.py"), "exec")


class _Broken:
    """Import hook and loader that put the mutant in the place of the true file."""

    def __init__(self, mutant: Mutant) -> None:
        self.name = f"overopt.theory.{mutant.module}"
        self.code = _compiled(mutant)

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
        self.folder = str(_theory())
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
    seconds: float = 60.0,
    most_tests: int = 25,
    on_outcome: Callable[[Outcome], object] | None = None,
) -> MutationStudy:
    """Judge a random sample of the mutants of the formula files.

    Parameters
    ----------
    sample
        How many mutants to draw without replacement; all of them by default.
    modules
        Formula files by name (default: all).
    seconds
        Processor time of one mutant.
    most_tests
        At most so many tests, the fastest that call the function, are run on a mutant that the ledger missed.
    on_outcome
        Called after each mutant: a progress display.
    """
    everything = [mutant for module in (modules or formula_modules()) for mutant in mutants(module)]
    count = len(everything) if sample is None else min(sample, len(everything))
    if count < 1:
        raise InputError(f"`sample` must be >= 1, got {sample}.")
    for library in _SHARED:
        importlib.import_module(library)
    root = _theory().parent
    tests = root / "tests" / "theory"
    calls = _forked(_ledger_calls, 300.0)
    test_calls = _forked(lambda: _test_calls(tests), 600.0) if tests.is_dir() else {}
    if calls is None or test_calls is None:
        raise InputError("the unbroken ledger or its tests did not finish; run `overopt claims` first.")
    outcomes = []
    for index in sorted(rng.choice(len(everything), size=count, replace=False)):
        mutant = everything[int(index)]
        chosen = _relevant(calls, mutant), _relevant(test_calls, mutant)[:most_tests]
        answer = _forked(partial(_judge, mutant, *chosen, root), seconds)
        result, by = answer or ("time", "")
        outcomes.append(Outcome(mutant, result, by))
        if on_outcome is not None:
            on_outcome(outcomes[-1])
    return MutationStudy(len(everything), tuple(outcomes))


def study_record(study: MutationStudy) -> dict[str, Any]:
    """The study as plain data: counts by outcome, share caught, survivors."""
    results = [outcome.result for outcome in study.outcomes]
    return {
        "mutants": study.mutants,
        "sampled": len(results),
        "share_caught": study.share_caught,
        "outcomes": {name: results.count(name) for name in sorted(set(results))},
        "survivors": [asdict(outcome.mutant) for outcome in study.survivors()],
    }
