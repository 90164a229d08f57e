"""The house: what is shipped, what imports what, and how quickly the command line answers."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import overopt.reports.cli as cli

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_every_folder_with_code_is_listed_for_shipping():
    listed = set(PROJECT["tool"]["setuptools"]["packages"])
    found = {
        "overopt." + ".".join(path.parent.relative_to(ROOT).parts)
        for top in ("theory", "toys", "bridges", "reports")
        for path in (ROOT / top).rglob("__init__.py")
    }
    assert listed == found


def test_constraints_lie_within_the_ranges_of_pyproject():
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    pinned = dict(
        line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"
    )
    pinned = {canonicalize_name(name): version for name, version in pinned.items()}
    extras = PROJECT["project"]["optional-dependencies"]
    for line in [*PROJECT["project"]["dependencies"], *extras["lm"], *extras["dev"], *extras["property"]]:
        requirement = Requirement(line)
        if (name := canonicalize_name(requirement.name)) in pinned:
            assert requirement.specifier.contains(pinned[name]), f"{name} {pinned[name]} is outside {requirement}"


def modules_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(' '.join(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in result.stdout.split()}


@pytest.mark.parametrize("package", ["theory", "toys", "bridges", "reports"])
def test_importing_a_package_loads_nothing_heavy(package):
    heavy = {"torch", "transformers", "trl", "pandas", "altair", "sympy"} & modules_after(f"import overopt.{package}")
    assert heavy == set()


def test_help_loads_neither_numpy_nor_any_command():
    loaded = modules_after("from overopt.reports.cli import main; main(['--help'])")
    assert loaded.isdisjoint({"numpy", "scipy", "torch", "altair", "tyro"})


def test_the_floor_of_bridges_that_needs_only_numbers_never_names_torch():
    """Every module outside bridges/lm imports with torch, transformers and trl made unavailable."""
    modules = [
        "overopt." + ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for top in ("theory", "toys", "bridges", "reports")
        for path in sorted((ROOT / top).rglob("*.py"))
        if "lm" not in path.parts and path.name != "__main__.py" and "examples" not in path.parts
    ]
    code = (
        "import sys, importlib\n"
        "class Unavailable:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('torch', 'transformers', 'trl'): raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Unavailable())\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_every_command_has_a_module_and_help(capsys):
    for name in cli.COMMANDS:
        with pytest.raises(SystemExit) as stop:
            cli.main([name, "--help"])
        assert stop.value.code == 0
        assert f"overopt {name}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rnu"], "unknown command 'rnu'.*Did you mean 'run'"),
        (["run", "tinny"], "unknown recipe 'tinny'.*Did you mean 'tiny'"),
        (["run", "--sed", "3"], "--sed.*Did you mean '--seed'"),
        (["run", "--seed", "1", "--seed", "2"], "'--seed' is given twice"),
        (["run", "--policy", "no/such/folder/anywhere"], "the policy.* 'no/such/folder/anywhere' cannot be read"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert re.search(message, err)
    assert list(tmp_path.iterdir()) == []


def test_version_is_the_installed_one(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"overopt {PROJECT['project']['version']}\n"
