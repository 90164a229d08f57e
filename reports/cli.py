"""The ``overopt`` command: finds the command's module, runs it, and turns bad input into one line and exit code 2."""

from __future__ import annotations

import errno
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from difflib import get_close_matches

from overopt.theory.errors import InputError

__all__ = ["COMMANDS", "entry_point", "main"]

COMMANDS: dict[str, str] = {
    "run": "the real pipeline: gold, labels, proxy reward models, best-of-n, PPO, report",
    "diagnose": "score tables of a real run -> curves, fits, decomposition, stopping advice",
    "fit": "alpha, beta and peak of a gold curve, with rivals and held-out error",
    "toy": "a toy world under chosen optimizers: curve, exact decomposition, chart",
    "claims": "the theory ledger: proved, tested or refuted",
    "sweep": "a grid of runs on this machine or on a Ray cluster, resumed after any stop",
    "report": "one self-contained HTML page from run directories",
    "validate": "the statistical validation that is too slow for the test suite",
}


def _help() -> str:
    width = max(map(len, COMMANDS))
    rows = "\n".join(f"  {name:<{width}}  {text}" for name, text in COMMANDS.items())
    return (
        "usage: overopt COMMAND [OPTIONS]\n\n"
        "A testbed for Goodhart's law in reward-model optimization.\n\n"
        f"commands:\n{rows}\n\n"
        "`overopt COMMAND --help` lists a command's options. Exit codes: 0 done, 2 bad input, 1 a bug."
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code (0 done, 2 bad input, 1 a bug, 130 interrupted)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help())
        return 0
    name, *rest = arguments
    if name == "--version":
        from importlib.metadata import version

        print(f"overopt {version('overopt')}")
        return 0
    try:
        if name not in COMMANDS:
            close = get_close_matches(name, COMMANDS, n=1)
            hint = f" Did you mean '{close[0]}'?" if close else ""
            raise InputError(f"unknown command '{name}'; expected one of {', '.join(COMMANDS)}.{hint}")
        module = importlib.import_module(f"overopt.reports.commands.{name}")
        return int(module.main(rest))
    except InputError as error:
        print(f"overopt: {_one_line(str(error))}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader of a pipe left: point stdout at nothing so that the interpreter's final flush stays quiet.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            return _bug()
        print(f"overopt: no space left on the disk ({error.filename}); free some and repeat.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("overopt: interrupted; the same command resumes.", file=sys.stderr)
        return 130
    except Exception:
        return _bug()


def _bug() -> int:
    traceback.print_exc()
    print("overopt: this is a bug; please report it with the lines above.", file=sys.stderr)
    return 1


def _one_line(text: str) -> str:
    return " ".join(text.split())


def entry_point() -> None:
    """Console-script entry: exit with the code of :func:`main`."""
    sys.exit(main())
