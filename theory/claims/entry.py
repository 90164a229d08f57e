"""A claim about overoptimization as data: what it says, under which assumptions, and how it is tested."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from overopt.theory.claims.comparison import Comparison
from overopt.theory.errors import InputError

__all__ = ["Claim", "Counterexample", "Property", "Step", "Verdict", "claim"]

Verdict = Literal["true", "false", "conditional"]


@dataclass(frozen=True)
class Step:
    """One line of a symbolic proof: sympy must bring ``left - right`` to zero."""

    label: str
    left: Any
    """A sympy expression."""
    right: Any
    """A sympy expression."""


@dataclass(frozen=True)
class Property:
    """A statement about every world of a kind, searched for counterexamples.

    ``slack(world)`` is a number that is >= 0 (up to ``tolerance``) where the statement holds, or a bool; an
    ``AssertionError`` counts as a violation. It is ``inf`` where the world does not meet the statement's premise: such
    a world tests nothing, so a property makes its worlds meet it.
    """

    worlds: Any
    """A Hypothesis strategy, or the name of one in ``overopt.toys.strategies`` (theory itself draws nothing)."""
    slack: Callable[[Any], float | bool | None]
    tolerance: float = 1e-9


@dataclass(frozen=True)
class Counterexample:
    """A stored world in which the claim, as it is usually quoted, fails."""

    description: str
    data: Mapping[str, Any]
    reproduce: Callable[..., Iterable[Comparison]]
    """Called with ``**data``; the comparisons it yields must all hold, and together they show the failure."""


@dataclass(frozen=True)
class Claim:
    """One entry of the ledger.

    ``verdict`` is "true" (holds under ``assumptions``, usually quoted with them), "conditional" (usually quoted without
    them: holds with, fails without) or "false" (fails under ``assumptions``). The ``property`` of a false claim is
    the claim itself, and the search must refute it; of any other claim it must survive.
    """

    id: str
    title: str
    statement: str
    """LaTeX mathematics, without delimiters; ``\\text{}`` for words."""
    assumptions: str
    source: str
    verdict: Verdict
    proof: Callable[[], Iterable[Step]] | None = None
    check: Callable[[], Iterable[Comparison]] | None = None
    property: Property | None = None
    counterexample: Counterexample | None = None
    note: str = ""
    """What was found beyond, or against, the claim as quoted."""

    def __post_init__(self) -> None:
        """Check the verdict: it decides what the evidence must show."""
        if self.verdict not in ("true", "false", "conditional"):
            raise InputError(f"`verdict` must be 'true', 'false' or 'conditional', got {self.verdict!r}.")


def claim(
    title: str,
    worlds: Any,
    *,
    verdict: Verdict = "true",
    statement: str = "",
    assumptions: str = "",
    source: str = "yours",
    tolerance: float = 1e-9,
) -> Callable[[Callable[[Any], float | bool | None]], Claim]:
    """Make a claim of a function of a world: ``overopt claims --file`` then searches for a world that breaks it.

    Parameters
    ----------
    title
        The claim in one sentence.
    worlds
        A strategy of ``overopt.toys.strategies``, or any Hypothesis strategy.
    verdict
        What you hold it to be; "false" asks the search to find a counterexample.
    statement, assumptions, source
        LaTeX, words, words: shown by the report.
    tolerance
        A slack above ``-tolerance`` counts as holding.

    Examples
    --------
    >>> from overopt.theory import claim
    >>> from overopt.toys.strategies import finite_tables
    >>> @claim("best-of-n never lowers the proxy", finite_tables())
    ... def proxy_rises(world):
    ...     return world.best_of_n(4).proxy - world.base().proxy
    """
    if not isinstance(title, str) or not title:
        raise InputError(f'`claim` needs a title first, as in @claim("gold never falls", worlds); got {title!r}.')

    def wrap(function: Callable[[Any], float | bool | None]) -> Claim:
        return Claim(
            id=function.__name__, title=title, statement=statement, assumptions=assumptions, source=source,
            verdict=verdict, property=Property(worlds, function, tolerance), note=(function.__doc__ or "").strip(),
        )  # fmt: skip

    return wrap
