"""Search the worlds of a property for a counterexample and shrink it to the smallest (extra ``property``)."""

from __future__ import annotations

import dis
import math
from collections.abc import Callable
from types import CodeType
from typing import Any

from overopt.theory.claims import Property, Searched
from overopt.theory.claims.evaluation import Search
from overopt.theory.errors import InputError

__all__ = ["searcher"]


def searcher(examples: int, seed: int | None = None, on_example: Callable[[], object] | None = None) -> Search:
    """A search over ``examples`` worlds, for :func:`overopt.theory.claims.evaluate`.

    Parameters
    ----------
    examples
        How many worlds to draw at most; a strategy with fewer distinct worlds stops earlier.
    seed
        Without one the worlds are the same in every run.
    on_example
        Called before each world: a progress bar.

    Raises
    ------
    InputError
        If Hypothesis is not installed, or if the property has no world to hold on, or answers with NaN, or with None
        though it asserts nothing.
    """
    if examples < 1:
        raise InputError(f"`examples` must be >= 1, got {examples}.")
    try:
        import hypothesis
    except ImportError:
        raise InputError("searching worlds needs Hypothesis: pip install 'overopt[property]'.") from None

    settings = hypothesis.settings(
        max_examples=examples, database=None, deadline=None, derandomize=seed is None, print_blob=False,
        phases=(hypothesis.Phase.generate, hypothesis.Phase.shrink),
        suppress_health_check=list(hypothesis.HealthCheck), report_multiple_bugs=False,
    )  # fmt: skip

    def search(wanted: Property) -> Searched:
        state = _Search(wanted, on_example)

        @settings
        @hypothesis.given(_strategy(wanted.worlds))
        def test(world: Any) -> None:
            state.visit(world)

        if seed is not None:
            hypothesis.seed(seed)(test)
        try:
            test()
        except _Violated as violated:
            return Searched(state.examples, violated.world, violated.slack)
        except hypothesis.errors.Unsatisfiable:
            raise InputError("the property's assumptions left no world to hold on.") from None
        return Searched(state.examples, None, state.smallest)

    return search


class _Violated(AssertionError):
    def __init__(self, world: Any, slack: float) -> None:
        super().__init__("violated")
        self.world = world
        self.slack = slack


class _Search:
    """The test that Hypothesis runs; it counts worlds until the first violation, after which Hypothesis shrinks."""

    def __init__(self, wanted: Property, on_example: Callable[[], object] | None) -> None:
        self.wanted = wanted
        self.on_example = on_example
        self.examples = 0
        self.smallest = math.inf
        self.shrinking = False

    def visit(self, world: Any) -> None:
        slack = _slack(self.wanted, world)
        if not self.shrinking:
            self.examples += 1
            self.smallest = min(self.smallest, slack)
            if self.on_example is not None:
                self.on_example()
        if slack < -self.wanted.tolerance:
            self.shrinking = True
            raise _Violated(world, slack)


def _slack(wanted: Property, world: Any) -> float:
    try:
        answer: Any = wanted.slack(world)
    except AssertionError:
        return -math.inf
    if getattr(answer, "shape", None) == () and answer.dtype == bool:
        answer = bool(answer)  # what numpy's comparisons return: float() would make a False the slack 0, which holds
    if answer is True or (answer is None and _asserts(wanted.slack)):
        return math.inf
    if answer is None:
        raise InputError(f"the property must return a number or a bool, or use `assert`; it returned None for {world}.")
    if answer is False:
        return -math.inf
    slack = float(answer)
    if math.isnan(slack):
        raise InputError(f"the property must answer with a number or a bool, got NaN for {world}.")
    return slack


def _asserts(function: Any, seen: frozenset[Any] = frozenset()) -> bool:
    """Whether the function, or one of its module that it names, asserts something: then None means that it held."""
    code, names = getattr(function, "__code__", None), getattr(function, "__globals__", {})
    if code is None or code in seen:
        return False
    inner = [code]
    while inner:
        part = inner.pop()
        inner += [constant for constant in part.co_consts if isinstance(constant, CodeType)]
        if any("assert" in f"{step.opname} {step.argrepr}".lower() for step in dis.get_instructions(part)):
            return True
        if any(_asserts(names.get(name), seen | {code}) for name in part.co_names):
            return True
    return False


def _strategy(worlds: Any) -> Any:
    if isinstance(worlds, str):
        from overopt.toys import strategies

        return getattr(strategies, worlds)()
    return worlds
