"""`overopt run` and wrong input: one line, exit code 2, no run folder begun."""

import errno
import os
import subprocess
import sys

import pytest

pytest.importorskip("torch", reason="the lm extra is not installed")

from tiny_hub import chatml, write_policy

from overopt.reports.cli import main

pytestmark = pytest.mark.lm


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    return write_policy(tmp_path_factory.mktemp("hub") / "policy", chatml(), layers=4)


def refused(argv, capsys, tmp_path, recipe="smoke"):
    """The one line that ``overopt run`` says; nothing may have been written."""
    out = tmp_path / "run"
    assert main(["run", recipe, "--out", str(out), *argv]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1, error
    assert not out.exists() or not any(out.iterdir())
    return error[0]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--ppo-steps", "-1"], "`steps` must be >= 1, got -1."),
        (["--ppo-steps", "0"], "`steps` must be >= 1, got 0."),
        (["--ppo-seeds", "0"], "`--ppo-seeds` must be in 1..1000, got 0."),
        (["--ppo-seeds", "1000000000"], "`--ppo-seeds` must be in 1..1000, got 1000000000."),
        (["--workers", "-2"], "`--workers` must be in 0..1024, got -2."),
        (["--workers", "100000"], "`--workers` must be in 0..1024, got 100000."),
        (["--seed", "-1"], "`--seed` must be >= 0, got -1."),
        (["--learning-rate", "nan"], "`learning_rate` must be > 0, got nan."),
        (["--learning-rate", "inf"], "`--learning-rate` must be finite, got inf."),
        (["--kl-coefficient", "-0.5"], "`kl_coefficient` must be >= 0, got -0.5."),
        (["--kl-coefficient", "inf"], "`--kl-coefficient` must be finite, got inf."),
        (["--from-scratch", "--proxy-base", "somewhere"], "`--from-scratch` trains the embedded policy"),
        (["--chat", "on"], "`--chat on` needs chat templates, and the policy"),
        (["--chat", "perhaps"], "--chat"),
    ],
)
def test_options_out_of_range_are_named(argv, message, capsys, tmp_path):
    assert message in refused(argv, capsys, tmp_path)


def test_a_prompt_longer_than_the_context_is_named(policy, capsys, tmp_path):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("\n".join(f"word {k}" for k in range(30)) + "\n" + "rain " * 200 + "\n")
    said = refused(["--policy", policy, "--prompts", str(prompts)], capsys, tmp_path)
    assert f"line 31 of '{prompts}' must have <= 100 tokens" in said


def test_a_folder_that_is_no_model_is_named(capsys, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{")
    said = refused(["--policy", str(tmp_path / "model")], capsys, tmp_path)
    assert "cannot be read" in said


def test_a_full_disk_is_one_line(capsys, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path))

    monkeypatch.setattr("overopt.bridges.run_directory.write_json_atomically", full)
    assert main(["run", "smoke", "--out", str(tmp_path / "run")]) == 2
    (said,) = capsys.readouterr().err.strip().splitlines()
    assert "no space left on the disk" in said
    assert not list((tmp_path / "run").glob("*/"))


@pytest.mark.parametrize("package", ["torch", "transformers", "trl", "datasets", "accelerate"])
def test_a_missing_package_is_one_line(package, tmp_path):
    # Every finder of modules is asked through one that does not know the package.
    code = f"""
import sys

class Without:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, *rest):
        return None if name.split(".")[0] == {package!r} else self.finder.find_spec(name, *rest)

sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
from overopt.reports.cli import main
sys.exit(main(["run", "smoke", "--out", {str(tmp_path / "run")!r}]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    expected = f"overopt: `overopt run` needs {package}, which is not installed: pip install 'overopt[lm]'."
    assert done.stderr.strip() == expected
    assert not (tmp_path / "run").exists()


def test_more_seeds_than_the_recipe_has_proxies_are_named(capsys, tmp_path):
    for argv, most, got in ((["--size", "smoke"], "1..1", 2), ([], "1..3", 4)):
        said = refused(["--ppo-seeds", str(got), *argv], capsys, tmp_path, recipe="rm-size")
        assert f"`--ppo-seeds` must be in {most}, the replicates of each proxy of 'rm-size'" in said
        assert said.endswith(f"got {got}.")


def test_a_recipe_that_has_no_use_for_a_model_says_so(policy, capsys, tmp_path):
    said = refused(["--policy", policy], capsys, tmp_path, recipe="policy-67k")
    assert "recipe 'policy-67k' optimizes the embedded backbone 67k in place of the policy; it excludes `--poli" in said
    said = refused(["--proxy-base", policy], capsys, tmp_path, recipe="planted")
    assert "recipe 'planted' trains no proxies; it excludes `--proxy-base`" in said
