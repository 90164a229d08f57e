"""Claims that a reader brings in a file of his own."""

from __future__ import annotations

import runpy
import sys
import traceback
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import TypeVar

from overopt.theory.claims import Claim, Searched
from overopt.theory.claims.evaluation import Search
from overopt.theory.errors import InputError

__all__ = ["load_claims", "search_claim"]

Result = TypeVar("Result")


def load_claims(path: Path) -> list[Claim]:
    """The claims that the Python file ``path`` defines, in order.

    Raises
    ------
    InputError
        One line with the file and the line for a file that is missing, does not run, or defines no claim.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file.")
    namespace = _blaming(path, lambda: runpy.run_path(str(path)))
    claims = [value for value in namespace.values() if isinstance(value, Claim)]
    if not claims:
        raise InputError(f'{path}: defines no claim; decorate a function of a world with @claim("title", worlds).')
    return claims


def search_claim(path: Path, claim: Claim, search: Search) -> Searched:
    """Search the worlds of a claim from ``path`` for a counterexample.

    Raises
    ------
    InputError
        One line with the file, the line and the claim if its function fails or answers with neither a number nor a
        bool, or if it has no worlds to search.
    """
    wanted = claim.property
    if wanted is None:
        raise InputError(f"{path}: claim '{claim.id}' has no property to search; make it with @claim.")
    try:
        with redirect_stdout(sys.stderr):  # what the file prints must not stand between the lines of --json
            return search(wanted)
    except (Exception, SystemExit) as error:
        code = getattr(wanted.slack, "__code__", None)
        line = _line(path, error) or (code and code.co_firstlineno)
        where = f"{path}, line {line}" if line else str(path)
        words = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        raise InputError(f"{where}: claim '{claim.id}': {words}") from None


def _blaming(path: Path, run: Callable[[], Result]) -> Result:
    """Run the reader's file; whatever it raises becomes one line that names his file and line."""
    try:
        with redirect_stdout(sys.stderr):
            return run()
    except InputError:
        raise
    except SyntaxError as error:
        raise InputError(f"{path}, line {error.lineno}: {error.msg}.") from None
    except (Exception, SystemExit) as error:
        line = _line(path, error)
        where = f"{path}, line {line}" if line else str(path)
        raise InputError(f"{where}: {type(error).__name__}: {error}") from None


def _line(path: Path, error: BaseException) -> int | None:
    """The last line of the reader's file on the way to the error."""
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame.lineno for frame in reversed(frames) if Path(frame.filename) == path), None)
