"""``overopt toy``: the documented example, the JSON keys, the page, and one clear line for bad input."""

import json

import pytest

import overopt.reports.cli as cli

EXAMPLE_LINE = (
    "toy additive --world.noise student_t --world.df 3 --world.noise-sd 1 --optimizer best-of-n "
    "--pressures 1 42 1000 1e13"
)
EXAMPLE = EXAMPLE_LINE.split()
KEYS = {
    "pressure", "kl", "d", "proxy", "gold", "gold_exact", "gold_se", "promise", "regressional", "extremal", "causal",
    "unattributed", "delivered",
}  # fmt: skip


def run(capsys, *arguments):
    code = cli.main(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_example(capsys):
    code, out, err = run(capsys, *EXAMPLE)
    assert (code, err) == (0, "")
    assert "1.34" in out
    assert "regressional" in out


def test_json_is_one_object_with_the_documented_keys(capsys):
    code, out, _ = run(capsys, *EXAMPLE, "--json", "--replicates", "1000")
    record = json.loads(out)
    assert code == 0
    assert (record["world"], record["parameters"]["noise"]) == ("additive", "student_t")
    found = record["optimizers"]["best-of-n"]
    assert [point["pressure"] for point in found["curve"]] == [1, 42, 1000, 1e13]
    assert all(set(point) >= KEYS for point in found["curve"])
    assert found["curve"][1]["gold_exact"] == pytest.approx(1.3357, abs=1e-3)
    assert {"alpha", "beta", "peak_d", "peak_gold", "r2", "laws"} <= set(found["fit"])


def test_same_seed_same_bytes_and_another_seed_others(capsys):
    arguments = ("toy", "tabular", "--world.prompts", "4", "--world.actions", "20", "--optimizer", "vanilla-gradient",
                 "--pressures", "0", "50", "--seeds", "3", "--json")  # fmt: skip
    first, again = (run(capsys, *arguments)[1] for _ in range(2))
    other = run(capsys, *arguments, "--seed", "1")[1]
    assert first == again
    assert first != other


def test_several_optimizers_page_and_out(capsys, tmp_path):
    page, out = tmp_path / "page.html", tmp_path / "toy.json"
    code, text, _ = run(
        capsys, "toy", "three-submodules", "--optimizer", "best-of-n", "weights-gradient", "--replicates", "200",
        "--pressures", "1", "10", "100", "1000", "--report", str(page), "--out", str(out),
    )  # fmt: skip
    assert code == 0
    assert "weights-gradient" in text
    html = page.read_text()
    assert html.count('class="chart"') == 3
    assert set(json.loads(out.read_text())["optimizers"]) == {"best-of-n", "weights-gradient"}


def test_a_peak_beyond_the_data_is_none_with_the_reason(capsys, tmp_path):
    page = tmp_path / "page.html"
    for world, reach in (("kink", "5.379"), ("additive", "5.379")):
        arguments = ("toy", world, "--optimizer", "best-of-n", "--replicates", "0", "--report", str(page))
        reason = f"no peak inside the data (d up to {reach})"
        laws = json.loads(run(capsys, *arguments, "--json")[1])["optimizers"]["best-of-n"]["fit"]["laws"]
        outside = [law for law in laws if law["peak_d"] is None]
        assert "saturating" in {law["law"] for law in outside}
        assert all((law["peak_gold"], law["peak"]) == (None, reason) for law in outside)
        assert all(0 < law["peak_d"] < float(reach) and law["peak_gold"] > 0 for law in laws if law not in outside)
        assert run(capsys, *arguments)[1].count(reason) == len(outside)
        assert page.read_text().count(reason) == len(outside)


def test_list_needs_no_world(capsys):
    code, out, _ = run(capsys, "toy", "--list", "--json")
    worlds = json.loads(out)["worlds"]
    assert code == 0
    assert len(worlds) >= 16
    assert "vanilla-gradient" in worlds["tabular"]["optimizers"]
    assert run(capsys, "toy", "--list")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ("", "WORLD"),
        ("additiv", "additive"),
        ("additive --world.noise-sd -1", "noise_sd"),
        ("additive --world.noise student_t --world.df 2", "df"),
        ("additive --world.noise cauchy", "cauchy"),
        ("additive --world.nois laplace", "--world.noise"),
        ("additive --optimizer best-of-m", "best-of-n"),
        ("additive --pressures 0.5", "0.5"),
        ("additive --pressures nan", "nan"),
        ("additive --seeds 0", "seeds"),
        ("additive --replicates -3", "replicates"),
        ("additive --world.noise pareto --optimizer exponential-tilt", "infinite"),
        ("three-submodules --world.alpha 0.5", "sum to 1"),
        ("kink --world.hidden 0", "hidden"),
        ("feasible-region --world.best 2", "best"),
        ("sentences --world.reward 5", "reward"),
        ("tabular --optimizer ppo-clip --pressures 1.5", "1.5"),
        ("tabular --world.gradient.learning-rate 0", "learning_rate"),
        ("additive --optimizer best-of-n best-of-n", "once"),
    ],
)
def test_bad_input_is_one_line_and_code_2(capsys, arguments, names):
    code, out, err = run(capsys, "toy", *arguments.split())
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1
    assert names in err
    assert "Traceback" not in err
