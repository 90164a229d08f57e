"""Pages: self-contained, strict, escaped, and every number in their sentences is the data's."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace

import altair as alt
import pytest

from overopt.reports.charts.theme import LIGHT
from overopt.reports.numbers import count, interval, plain, short, signed, with_interval
from overopt.reports.pages.page import (
    Bullets,
    Columns,
    Figure,
    Mark,
    Measured,
    Page,
    Section,
    Table,
    Text,
    page_html,
    write_figures,
    write_page,
)  # fmt: skip
from overopt.reports.pages.run_page import demo_picture, run_page
from overopt.reports.pages.sentences import headline, opening, split_sentence


def chart(text="x"):
    rows = [{"x": 0, "y": 1, "name": text}, {"x": 1, "y": 2, "name": text}]
    return alt.Chart(alt.Data(values=rows)).mark_line().encode(x="x:Q", y="y:Q", color="name:N")


@pytest.fixture(scope="module")
def html(run_summary):
    return page_html(run_page(run_summary))


def policy(html):
    return re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', html)[1]


def outside_scripts(html):
    """The document without the content of its scripts."""
    return re.sub(r"(<script[^>]*>).*?(</script>)", r"\1\2", html, flags=re.S)


def test_a_page_of_words_is_exactly_this():
    page = Page(
        "t",
        "Gold <fell>",
        (Section("S", (Text("**a** & `b`"), Table(("x", "y"), (("w", 0.5), ("v", None))), Bullets(("one",)))),),
        footer=("end",),
    )
    body = page_html(page).split("<body>")[1]
    assert body == (
        '<header><h1>Gold &lt;fell&gt;</h1><div class="summary"></div></header>\n'
        "<main><section><h2>S</h2><p><strong>a</strong> &amp; <code>b</code></p>"
        '<div class="scroll" tabindex="0" role="region" aria-label="x, y"><table><thead><tr>'
        '<th scope="col">x</th><th scope="col" class="number">y</th></tr></thead><tbody>'
        '<tr><td>w</td><td class="number">0.50</td></tr><tr><td>v</td><td class="number">–</td></tr></tbody>'
        "</table></div>"
        "<ul><li>one</li></ul></section></main>\n<footer><p>end</p></footer>\n</body></html>\n"
    )


def test_the_policy_allows_nothing_but_the_pages_own_style_and_scripts(html):
    rules = dict(rule.strip().split(" ", 1) for rule in policy(html).split(";"))
    assert rules["default-src"] == "'none'"
    scripts = re.findall(r"<script>(.*?)</script>", html, flags=re.S)
    style = re.search(r"<style>(.*?)</style>", html, flags=re.S)[1]
    for name, parts in {"script-src": scripts, "style-src": [style]}.items():
        hashes = {f"'sha256-{base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()}'" for part in parts}
        assert set(rules[name].split()) == hashes


def test_nothing_is_fetched_and_the_bundle_is_there_once(html):
    assert not re.search(r"\b(src|href|srcset|action)\s*=", outside_scripts(html))
    assert not re.search(r"@import|url\(", re.search(r"<style>(.*?)</style>", html, flags=re.S)[1])
    assert html.count("window.vegaEmbed=") == 1
    assert len(html) < 2_500_000


def test_a_page_without_charts_has_no_script():
    html = page_html(Page("t", "h", (Section("s", (Text("x"),)),)))
    assert "<script" not in html
    assert "script-src" not in policy(html)


def test_text_can_neither_open_nor_close_markup():
    evil = "</script><script>alert(1)</script>"
    figure = Figure(chart(evil), alt=evil, title=evil, caption=evil, table=Table((evil,), ((evil,),)))
    html = page_html(Page(evil, evil, (Section(evil, (figure, Text(evil))),), kicker=evil, footer=(evil,)))
    assert evil not in html
    assert html.count("<script>") == 2


def test_every_figure_has_words_behind_it(run_summary, html):
    figures = list(run_page(run_summary).figures())
    assert len(figures) >= 10
    for figure in figures:
        assert len(figure.alt) > 20, f"{figure.title!r} has no text alternative"
    assert html.count('role="img" aria-label=') == len(figures)
    assert len({figure.name for figure in figures}) == len(figures)


def test_marks_and_measured_cells():
    table = Table(("a", "b"), ((Mark("reproduced", "good"), Measured("1.00", "[0.90, 1.10]")),))
    html = page_html(Page("t", "h", (Section("s", (table,)),)))
    assert '<span class="mark good" data-sign="✓">reproduced</span>' in html
    assert "1.00<small>[0.90, 1.10]</small>" in html


def test_numbers_read_well():
    assert [plain(x) for x in (1.234, -0.001, None, float("nan"))] == ["1.23", "0.00", "–", "–"]
    assert [signed(x) for x in (0.5, -0.5, 0.001, None)] == ["+0.50", "−0.50", "0.00", "–"]
    assert with_interval(0.5, (-0.1, 1.1)) == "+0.50 [−0.10, 1.10]"
    assert with_interval(0.5, None) == "+0.50"
    assert interval((None, 1.0)) == ""
    assert count(60000) == "60,000"
    assert [short(x) for x in (200, 67_000, 1_365_000, 6e9)] == ["200", "67k", "1.4M", "6.0B"]


def numbers(sentence):
    return re.findall(r"[+−]?\d[\d.,]*\d|[+−]?\d", sentence.replace("**", ""))


def test_every_number_of_the_summary_is_the_datas(run_summary):
    peaks = [peak for peak in run_summary.peaks if peak.proxy_name == run_summary.headline_proxy]
    proxy = next(p for p in run_summary.proxies if p.name == run_summary.headline_proxy)

    def ends(name, decimals):
        values = [getattr(peak, name) for peak in peaks]
        return [f"{min(values):.{decimals}f}", f"{max(values):.{decimals}f}"]

    assert numbers(headline(run_summary)) == ends("rise", 2) + ends("fall", 2)
    expected = [
        "3", "67", f"{proxy.labels:,}", f"{proxy.heldout_accuracy:.2f}",
        *ends("peak_kl", 1), *ends("end_kl", 1), *ends("proxy_end", 2),
    ]  # fmt: skip
    assert numbers(opening(run_summary)) == expected


def test_the_split_sentence_adds_up(run_summary):
    for split in run_summary.splits[-40::7]:
        promised, delivered, *lost = (
            float(n.replace("−", "-").replace("+", "")) for n in numbers(split_sentence(split))
        )
        assert promised - sum(lost) == pytest.approx(delivered, abs=0.005 * 6)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"fall_se": 1e3}, "did not measurably fall"),
        ({"rise_se": 1e3}, "gold did not measurably rise"),
        ({"fall": -0.1}, "did not measurably fall"),
    ],
)
def test_no_effect_is_not_told_as_one(run_summary, change, expected):
    peaks = tuple(replace(peak, **change) for peak in run_summary.peaks)
    run = replace(run_summary, peaks=peaks)
    assert expected in headline(run)
    assert ("Gold was highest" in opening(run)) == ("rise_se" not in change)


def test_some_runs_are_not_told_as_all(run_summary):
    peaks = (replace(run_summary.peaks[0], fall_se=1e3), *run_summary.peaks[1:])
    assert "in 2 of 3 runs" in headline(replace(run_summary, peaks=peaks))


def test_a_proxy_that_stops_rising_is_not_said_to_rise(run_summary):
    peaks = tuple(replace(peak, proxy_after=0.0) for peak in run_summary.peaks)
    assert "proxy kept rising" in headline(run_summary)
    assert "proxy kept rising" not in headline(replace(run_summary, peaks=peaks))


def test_a_run_without_ppo_speaks_of_best_of_n(run_summary):
    only = replace(
        run_summary,
        peaks=(),
        curves=tuple(c for c in run_summary.curves if c.method == "best-of-n"),
        splits=tuple(s for s in run_summary.splits if s.method == "best-of-n"),
        samples=(),
    )
    last = [s for s in only.splits if s.proxy_name == only.headline_proxy][-1]
    assert numbers(headline(only))[:3] == ["1,024", f"+{last.promise:.2f}", f"+{last.delivered:.2f}"]
    assert "<h2>Step by step along PPO" not in page_html(run_page(only))


def test_a_term_that_the_data_cannot_tell_is_not_a_number(run_summary):
    split = replace(run_summary.splits[-1], extremal=None)
    assert "cannot tell the extremal part" in split_sentence(split)
    assert "cannot tell what was promised" in split_sentence(replace(split, promise=None))


def test_columns_hold_their_figures_in_reading_order():
    first, second = (Figure(chart(), alt=name, name=name) for name in ("first", "second"))
    page = Page("t", "h", (Section("s", (second,)),), hero=(Columns((first, Text("x"))),))
    assert [figure.name for figure in page.figures()] == ["first", "second"]


def test_writing_leaves_no_half_page(tmp_path):
    path = write_page(tmp_path / "deep" / "page.html", Page("t", "h", ()))
    assert path.read_text(encoding="utf-8").endswith("</html>\n")
    assert [file.name for file in path.parent.iterdir()] == ["page.html"]


def test_static_export_has_plain_colours(run_summary, tmp_path):
    paths = list(write_figures(tmp_path, {"a/b c": demo_picture(run_summary)}))
    assert [path.name for path in paths] == ["a-b-c.svg", "a-b-c.png"]
    svg = paths[0].read_text(encoding="utf-8")
    assert "var(--" not in svg
    assert LIGHT["gold"] in svg
    assert LIGHT["proxy"] in svg
    assert paths[1].read_bytes().startswith(b"\x89PNG")
