"""`overopt diagnose` from the outside: the JSON keys, options as users write them, exit codes, the page."""

from __future__ import annotations

import json

import numpy as np
import pytest

from overopt.reports.cli import main
from overopt.reports.commands.diagnose import gather_proxies

TERMS = ("promise", "regressional", "extremal", "causal", "unattributed", "delivered")


@pytest.fixture
def tables(tmp_path, monkeypatch):
    """A bank and a run in the working folder."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)

    def lines(header: str, rows: list[list[object]]) -> str:
        return "\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n"

    bank, run = [], []
    for k in range(24):
        for i in range(32):
            u = rng.normal()
            bank.append([f"p{k}", i, u, u + rng.normal(), rng.normal(), 100])
        for step in (10, 20, 30, 40):
            for i in range(6):
                u = rng.normal() - 0.01 * step
                run.append([step, f"p{k}", i, u, u + rng.normal() + 0.04 * step, rng.normal(), 100 + step, step / 20])
    (tmp_path / "bank.csv").write_text(lines("prompt,sample,gold,proxy_a,proxy_b,length", bank))
    (tmp_path / "run.csv").write_text(lines("checkpoint,prompt,sample,gold,proxy_a,proxy_b,length,kl", run))
    return tmp_path


def result(capsys, *argv: str) -> dict:
    assert main(["diagnose", *argv, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_json_has_the_stable_keys_and_adds_up(tables, capsys) -> None:
    found = result(capsys, "bank.csv", "run.csv", "--proxy", "proxy_a")
    assert (found["scale"], found["n_prompts"], found["samples_per_prompt"]) == ("slope", 24, 32)
    proxy = found["proxies"]["proxy_a"]
    assert [row.get("n", row.get("checkpoint")) for row in proxy["curve"]] == [1, 2, 4, 8, 16, 32, 10, 20, 30, 40]
    for row in proxy["curve"]:
        assert {"method", "kl", "kl_kind", "d", "proxy", "gold", "gold_se"} <= set(row)
        assert row["d"] == pytest.approx(row["kl"] ** 0.5)
    for row in proxy["decomposition"]:
        promise, *losses, delivered = [row[term] for term in TERMS]
        assert promise - sum(losses) == pytest.approx(delivered, abs=1e-9)
        for term, (low, high) in row["ci"].items():
            assert low <= row[term] <= high
        if "checkpoint" in row:
            assert row["path_selection"] + row["path_shift"] == pytest.approx(delivered, abs=1e-9)
            assert "on_policy_slope" in row
    keys = {"law", "alpha", "alpha_ci", "beta", "beta_ci", "peak_d", "peak_gold", "r2", "laws"}
    assert keys <= set(proxy["fit"])
    assert proxy["fit"]["law"] == "rl"
    assert proxy["fits"]["best-of-n"]["law"] == "bon"
    assert {"law", "parameters", "r2", "heldout_rmse"} <= set(proxy["fit"]["laws"][0])
    assert 0 < proxy["independence_p"] <= 1
    assert all(isinstance(text, str) for text in proxy["verdicts"])
    assert isinstance(found["warnings"], list)


def test_gold_of_the_curve_is_in_golds_own_units(tables, capsys) -> None:
    found = result(capsys, "bank.csv", "--proxy", "proxy_a")
    gold = np.genfromtxt(tables / "bank.csv", delimiter=",", skip_header=1, usecols=2)
    first = found["proxies"]["proxy_a"]["curve"][0]
    assert first["gold"] == pytest.approx(gold.mean())
    assert first["kl"] == 0
    assert first["gold_gain"] == pytest.approx(0, abs=1e-12)


def test_two_proxies_in_one_call(tables, capsys) -> None:
    found = result(capsys, "bank.csv")
    assert list(found["proxies"]) == ["proxy_a", "proxy_b"], "every proxy_NAME by default"
    assert "carries no gold signal" in " ".join(found["proxies"]["proxy_b"]["verdicts"])


@pytest.mark.parametrize(
    "argv",
    [
        ["bank.csv", "--proxy", "a", "b"],
        ["--proxy", "a", "b", "bank.csv"],
        ["--proxy", "a", "--proxy", "b", "bank.csv"],
        ["bank.csv", "--proxy=a,b"],
        ["--proxy", "a,b", "bank.csv"],
    ],
)
def test_proxies_can_be_written_as_users_write_them(tables, argv) -> None:
    assert gather_proxies(argv) == ["bank.csv", "--proxy", "a", "b"]


def test_text_page_and_file(tables, capsys) -> None:
    assert main(["diagnose", "bank.csv", "--proxy", "proxy_a", "--report", "page.html", "--out", "d.json"]) == 0
    text = capsys.readouterr().out
    for part in ("24 prompts, 32 samples each", "where the promise went", "rival laws", "where to stop"):
        assert part in text
    assert "<html" in (tables / "page.html").read_text()
    assert json.loads((tables / "d.json").read_text())["n_prompts"] == 24


def test_a_run_that_only_loses_gold_is_sent_back_to_the_base_policy(tables, capsys) -> None:
    found = result(capsys, "bank.csv", "run.csv", "--proxy", "proxy_a")["proxies"]["proxy_a"]
    assert found["stopping"]["checkpoints"]["recommended"] is None
    assert found["turn"]["checkpoints"]["shape"] == "falls"
    assert main(["diagnose", "bank.csv", "run.csv", "--proxy", "proxy_a", "--report", "page.html"]) == 0
    assert "base" in next(line for line in reversed(capsys.readouterr().out.splitlines()) if "gold on other" in line)
    assert "stop at the base policy" in (tables / "page.html").read_text()


def test_a_constant_proxy_is_told_and_not_refused(tables, capsys) -> None:
    rows = (tables / "bank.csv").read_text().splitlines()
    flat = [rows[0], *(",".join([*row.split(",")[:3], "7", *row.split(",")[4:]]) for row in rows[1:])]
    (tables / "flat.csv").write_text("\n".join(flat))
    found = result(capsys, "flat.csv", "--proxy", "proxy_a")
    proxy = found["proxies"]["proxy_a"]
    assert proxy["verdicts"][0].startswith("Cannot tell")
    assert proxy["fit"]["alpha"] is None
    assert any("constant within every prompt" in text for text in found["warnings"])
    for row in proxy["decomposition"]:
        assert row["regressional"] is None
        assert row["reasons"]["regressional"] in " ".join(found["warnings"])


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["missing.csv"], "missing.csv: no such file."),
        (["bank.csv", "--gold", "golden"], "column 'golden' must exist"),
        (["run.csv"], "base samples are needed"),
        ([], "at least one table is needed"),
        (["bank.csv", "--scale", "feet"], "--scale"),
        (["bank.csv", "--nonsense"], "--nonsense"),
        (["bank.csv", "--out", "bank.csv/d.json"], "`--out` must be a file that can be written"),
        (["bank.csv", "--seed", "-1"], "`--seed` must be >= 0, got -1."),
    ],
)
def test_bad_calls_end_in_one_line_and_code_2(tables, capsys, argv, message) -> None:
    assert main(["diagnose", *argv]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
