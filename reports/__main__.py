"""``python -m overopt.reports`` is the ``overopt`` command."""

from overopt.reports.cli import entry_point

if __name__ == "__main__":
    entry_point()
