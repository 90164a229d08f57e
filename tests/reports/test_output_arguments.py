"""Where the commands write: what is refused, that nothing was computed by then, and that nothing is left behind."""

from __future__ import annotations

import os

import pytest

from overopt.reports.arguments import check_folder, check_outputs
from overopt.reports.cli import main
from overopt.reports.output import write_text
from overopt.theory.errors import InputError

CURVE = "n,kl,gold\n1,0,0\n2,.193,.30\n4,.636,.50\n8,1.204,.60\n16,1.835,.61\n32,2.497,.58\n"
CALLS = {
    "diagnose": ["diagnose", "table.csv"],
    "fit": ["fit", "table.csv"],
    "toy": ["toy", "additive"],
    "studies": ["toy", "--studies"],
    "claims": ["claims", "K13"],
    "report": ["report", "run"],
}


@pytest.fixture
def folder(tmp_path, monkeypatch, run_summary):
    """A working folder with a table, a run, a folder and links to the table."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "table.csv").write_text(CURVE)
    for name in ("run", "folder"):
        (tmp_path / name).mkdir()
    run_summary.write(tmp_path / "run")
    (tmp_path / "link.csv").symlink_to("table.csv")
    (tmp_path / "hard.csv").hardlink_to("table.csv")
    return tmp_path


def tree(folder):
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def refused(folder, capsys, argv):
    """The one line of a refused call, which leaves every file as it was."""
    before = tree(folder)
    assert main(argv) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert tree(folder) == before
    return captured.err


@pytest.mark.parametrize("option", ["--out", "--report"])
@pytest.mark.parametrize("spelling", ["table.csv", "./folder/../table.csv", "link.csv", "hard.csv"])
@pytest.mark.parametrize("command", ["diagnose", "fit"])
def test_the_input_is_never_overwritten(folder, capsys, command, spelling, option):
    line = refused(folder, capsys, [*CALLS[command], option, spelling])
    assert f"`{option}` must not be a file that the command reads, got '{spelling}'." in line


def test_a_runs_own_files_are_inputs_and_its_pages_are_not(folder, capsys):
    line = refused(folder, capsys, ["report", "run", "--out", "run/summary.json"])
    assert "must not be a file that the command reads" in line
    for _ in range(2):
        assert main(["report", "run"]) == 0


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("folder", "must be a file, got the folder 'folder'."),
        ("table.csv/page.html", "must be a file that can be written, got 'table.csv/page.html' (Not a directory)."),
        ("/proc/no/page.html", "must be a file that can be written, got '/proc/no/page.html' ("),
    ],
)
def test_what_cannot_be_written_is_refused_before_anything_is_computed(
    folder, capsys, monkeypatch, call, name, message
):
    for module in ("bridges.read_tables.read_tables", "bridges.read_curve.read_curve", "toys.run.simulate"):
        monkeypatch.setattr(f"overopt.{module}", None)
    monkeypatch.setattr("overopt.theory.claims.evaluate", None)
    monkeypatch.setattr("overopt.reports.commands.report.write_report", None)
    option = "--out" if call == "report" else "--report"
    assert f"`{option}` {message}" in refused(folder, capsys, [*CALLS[call], option, name])


def test_figures_go_into_a_folder(folder, capsys):
    line = refused(folder, capsys, ["report", "run", "--figures", "table.csv"])
    assert "`--figures` must be a folder that can be written, got 'table.csv'" in line


def test_one_file_for_two_options(folder, capsys):
    line = refused(folder, capsys, ["fit", "table.csv", "--out", "a", "--report", "./a"])
    assert "`--report` and `--out` must be different files, got './a' for both." in line


@pytest.mark.parametrize("call", ["diagnose", "fit", "toy"])
def test_a_negative_seed(folder, capsys, call):
    assert "`--seed` must be >= 0, got -1." in refused(folder, capsys, [*CALLS[call], "--seed", "-1"])


def test_out_and_report_make_their_folders(folder, capsys):
    assert main(["fit", "table.csv", "--out", "new/a/fit.json", "--report", "new/b/fit.html"]) == 0
    assert sorted(path.name for path in (folder / "new").rglob("*.*")) == ["fit.html", "fit.json"]


def test_the_check_itself_leaves_nothing_behind(folder):
    before = tree(folder)
    check_outputs({"--out": "new/a/b.json", "--report": None}, inputs=["table.csv", "missing.csv"])
    check_folder("--figures", "new/figures")
    assert tree(folder) == before


def test_a_link_keeps_pointing_and_a_device_stays_one(folder):
    (folder / "old.html").write_text("old")
    (folder / "page.html").symlink_to("old.html")
    write_text("page.html", "new")
    assert (folder / "page.html").is_symlink()
    assert (folder / "old.html").read_text() == "new"
    os.mkfifo("pipe")
    reader = os.open("pipe", os.O_RDONLY | os.O_NONBLOCK)
    check_outputs({"--out": "pipe", "--report": "pipe"})
    write_text("pipe", "through")
    assert os.read(reader, 100) == b"through"
    os.close(reader)


def test_a_failed_write_is_one_line_and_leaves_nothing(folder):
    with pytest.raises(InputError, match="must be a file that can be written"):
        write_text("folder", "text")
    with pytest.raises(InputError, match="File name too long"):
        write_text("x" * 300, "text")
    assert not [name for name in os.listdir(folder) if name.endswith(".tmp")]
