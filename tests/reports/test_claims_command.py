"""``overopt claims``: the ledger, one entry, and a reader's own file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from overopt.reports.cli import main
from overopt.reports.user_claims import load_claims
from overopt.theory.errors import InputError

EXAMPLES = Path(__file__).parents[2] / "reports" / "docs" / "examples"
KEYS = {"id", "title", "verdict", "evidence", "max_deviation", "ok"}


def test_json_has_exactly_the_promised_keys(capsys):
    assert main(["claims", "K13", "K22", "--json"]) == 0
    records = json.loads(capsys.readouterr().out)
    assert [record["id"] for record in records] == ["K13", "K22"]
    for record in records:
        assert set(record) == KEYS
        assert record["verdict"] == "false"
        assert record["ok"] is True
        assert "counterexample" in record["evidence"]


def test_one_entry_is_explained_with_its_counterexample(capsys):
    assert main(["claims", "k13"]) == 0
    text = capsys.readouterr().out
    assert "49.02 where the formula says 37.5" in text
    assert "delta = 1.0, c = 50.0" in text


def test_an_unknown_id_gets_the_closest_one(capsys):
    assert main(["claims", "K5O"]) == 2
    assert "Did you mean 'K5" in capsys.readouterr().err


def test_the_exit_code_is_1_when_the_evidence_does_not_agree(capsys, monkeypatch):
    from overopt.theory import conditional_mean

    true = conditional_mean.given_uniform_noise
    monkeypatch.setattr(conditional_mean, "given_uniform_noise", lambda s, **rest: true(s, **rest) + 1e-3)
    assert main(["claims", "K13"]) == 1
    assert "NOT OK" in capsys.readouterr().out


def test_the_page_is_offline_and_typeset(tmp_path, capsys):
    page = tmp_path / "ledger.html"
    assert main(["claims", "K13", "K22", "--report", str(page), "--json"]) == 0
    text = page.read_text(encoding="utf-8")
    assert text.count("<math") == 2
    assert "49.02 where the formula says 37.5" in text
    assert "http" not in text.replace("http-equiv", "")


@pytest.mark.docs
@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("claim_noise_is_harmless", 0, "holds on 50 worlds"),
        ("claim_tilt_is_cheapest", 0, "holds on 50 worlds"),
        ("claim_beta_means_extremal", 1, "NoisyGold(noise=NoiseLaw(components=(('laplace', 1.0, 0.0, 1.0),)))"),
    ],
)
def test_worked_examples(name, code, words, capsys):
    assert main(["claims", "--file", str(EXAMPLES / f"{name}.py"), "--examples", "50"]) == code
    assert words in capsys.readouterr().out


HEAD = "from overopt.theory import claim\nfrom overopt.toys.strategies import finite_tables\n"


def _write(tmp_path: Path, body: str) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(HEAD + body)
    return path


def test_a_counterexample_is_shrunk_and_drawn(tmp_path, capsys):
    path = _write(
        tmp_path,
        '@claim("best-of-4 never lowers gold", finite_tables())\n'
        "def mine(world):\n    return world.best_of_n(4).gold - world.base().gold\n",
    )
    assert main(["claims", "--file", str(path), "--examples", "500"]) == 1
    text = capsys.readouterr().out
    # Two outputs are the fewest that can lose gold.
    assert "FiniteTable(probability=(0.5, 0.5), proxy=(0.0, 1.0), gold=(0.0, -1.0))" in text
    assert "best_of_n" in text
    assert main(["claims", "--file", str(path), "--examples", "500", "--json"]) == 1
    (record,) = json.loads(capsys.readouterr().out)
    assert record["ok"] is False
    assert record["counterexample"].startswith("FiniteTable")


def test_a_claim_declared_false_is_ok_when_refuted(tmp_path, capsys):
    path = _write(
        tmp_path,
        '@claim("gold never falls", finite_tables(), verdict="false")\n'
        "def mine(world):\n    assert world.best_of_n(4).gold >= world.base().gold\n",
    )
    assert main(["claims", "--file", str(path)]) == 0
    assert "refuted" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("def f(:\n", "line 3: "),
        ("import nothing_of_this_name\n", "line 3: ModuleNotFoundError"),
        ("x = 1\n", "defines no claim"),
        (
            '@claim("t", finite_tables())\ndef mine(world):\n    return world.speed\n',
            "line 5: claim 'mine': AttributeError",
        ),
        ('@claim("t", finite_tables())\ndef mine(world):\n    return float("nan")\n', "got NaN"),
        ('@claim("t", 3)\ndef mine(world):\n    return 1\n', "mine.py"),
        ('@claim("t", finite_tables(), verdict="perhaps")\ndef mine(world):\n    return 1\n', "`verdict` must be"),
    ],
)
def test_a_broken_file_is_one_line_and_exit_2(tmp_path, capsys, body, message):
    assert main(["claims", "--file", str(_write(tmp_path, body)), "--examples", "20"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error


BROKEN_AMONG_OTHERS = """
@claim("one", finite_tables())
def first(world):
    return 1

@claim("two", finite_tables())
def not_a_number(world):
    return float("nan")

@claim("three", finite_tables())
def forgets_return(world):
    world.best_of_n(4).gold > 0

@claim("four", finite_tables())
def asserts(world):
    assert world.best_of_n(4).proxy >= world.base().proxy - 1e-9

def holds(world):
    assert world.best_of_n(4).proxy >= world.base().proxy - 1e-9

@claim("five", finite_tables())
def asserts_elsewhere(world):
    holds(world)
"""


def test_a_claim_without_an_answer_is_named_and_the_others_still_run(tmp_path, capsys):
    path = _write(tmp_path, BROKEN_AMONG_OTHERS)
    assert main(["claims", "--file", str(path), "--examples", "20"]) == 2
    captured = capsys.readouterr()
    assert captured.out.count("  holds on 20 worlds") == 3
    assert captured.err.count("\n") == 1
    assert f"{path}, line 8: claim 'not_a_number': the property must answer with a number or a bool" in captured.err
    assert f"{path}, line 12: claim 'forgets_return': the property must return" in captured.err
    assert "it returned None for FiniteTable" in captured.err
    assert main(["claims", "--file", str(path), "--examples", "20", "--json"]) == 2
    records = json.loads(capsys.readouterr().out)
    assert [record["id"] for record in records if record["error"]] == ["not_a_number", "forgets_return"]
    assert [record["ok"] for record in records] == [True, False, False, True, True]


@pytest.mark.parametrize("answer", ["np.bool_(False)", "np.array(False)", "np.all(np.array([1, 0]))"])
def test_numpys_false_is_false(tmp_path, capsys, answer):
    """``float(np.False_)`` is 0, and a slack of 0 holds."""
    path = _write(
        tmp_path, f'import numpy as np\n@claim("t", finite_tables())\ndef mine(world):\n    return {answer}\n'
    )
    assert main(["claims", "--file", str(path), "--examples", "20", "--json"]) == 1
    (record,) = json.loads(capsys.readouterr().out)
    assert record["ok"] is False
    path.write_text(path.read_text().replace(answer, f"np.logical_not({answer})"))
    assert main(["claims", "--file", str(path), "--examples", "20"]) == 0


def test_a_file_that_exits_or_prints_leaves_an_answer(tmp_path, capsys):
    leaves = _write(tmp_path, '@claim("t", finite_tables())\ndef mine(world):\n    exit(0)\n')
    assert main(["claims", "--file", str(leaves), "--examples", "20"]) == 2
    assert "line 5: claim 'mine': SystemExit" in capsys.readouterr().err
    leaves.write_text(leaves.read_text() + "raise SystemExit\n")
    assert main(["claims", "--file", str(leaves), "--examples", "20"]) == 2
    assert "line 6: SystemExit" in capsys.readouterr().err
    prints = _write(
        tmp_path, 'print("a")\n@claim("t", finite_tables())\ndef mine(world):\n    print("b")\n    return 1\n'
    )
    assert main(["claims", "--file", str(prints), "--examples", "20", "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)[0]["ok"] is True
    assert "a\n" in captured.err


def test_a_missing_file_and_a_bad_number(tmp_path, capsys):
    assert main(["claims", "--file", str(tmp_path / "none.py")]) == 2
    assert "no such file" in capsys.readouterr().err
    assert main(["claims", "K13", "--examples", "0"]) == 2
    assert "`examples` must be >= 1, got 0." in capsys.readouterr().err
    with pytest.raises(InputError, match="no such file"):
        load_claims(tmp_path / "none.py")


def test_the_map_shows_every_mechanism_with_its_exact_curve_and_fit():
    from overopt.reports.pages.mechanism_section import mechanism_section
    from overopt.theory.best_of_n import best_of_n
    from overopt.theory.mechanism_table import mechanism_table, standard_worlds

    chosen = ("Gaussian noise", "kink")
    worlds = {name: world for name, world in standard_worlds().items() if name in chosen}
    curves = {name: best_of_n(world, [1.0, 2.0, 1024.0, 1e6]) for name, world in worlds.items()}
    section = mechanism_section(mechanism_table(worlds), curves, 2.4)
    titles = [figure.title for block in section.blocks[:-2] for figure in block.blocks]
    assert titles == list(chosen)
    chart = section.blocks[0].blocks[1].chart.to_dict()
    points = next(
        iter(v for v in (layer.get("data", {}).get("values") for layer in chart["layer"]) if v and "exact" in v[0])
    )
    # Gold of the kink has turned by n = 1e6 and stands below its value at n = 1024.
    assert points[3]["exact"] < points[2]["exact"]
    assert points[0] == {"d": 0.0, "exact": 0.0, "fitted": 0.0}
