"""The one exception that means "the caller's input is wrong"."""

from __future__ import annotations

__all__ = ["InputError"]


class InputError(ValueError):
    """Input that breaks a stated constraint.

    The message is one line that names the thing (file, row, column, option or parameter), the constraint and the value
    received, for example ``"`n` must be >= 1, got 0."``. The command line prints it and exits with code 2; every other
    exception is a bug and exits with code 1.
    """
