"""The run page in a real browser: every chart drawn, nothing blocked or fetched, no label on another."""

from __future__ import annotations

import functools
import html
import http.server
import json
import re
import shutil
import subprocess
import threading

import altair as alt
import pytest

from overopt.reports.charts.theme import LIGHT
from overopt.reports.pages.page import Figure, Page, Section, Table, page_html, write_page
from overopt.reports.pages.run_page import run_page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not (shutil.which("chromium") or shutil.which("google-chrome")), reason="needs Chromium or Chrome on the path"
    ),
]
DESKTOP, PHONE = 1280, 390

# Opens the page in frames of the given widths and writes down what a visitor would see.
HARNESS = """<!doctype html><meta charset="utf-8"><pre id="result"></pre><script>
const found = {};
const box = (element) => element.getBoundingClientRect();
const shown = (element) => element.textContent.trim() && box(element).width > 0;
const overlap = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
  && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 2;
const look = (frame) => {
  const page = frame.contentDocument;
  const charts = [...page.querySelectorAll("[data-chart]")].map((holder) => {
    const texts = [...holder.querySelectorAll("svg text")].filter(shown);
    const pairs = texts.flatMap((first, i) => texts.slice(i + 1).map((second) => [first, second]));
    const edge = box(holder);
    return {
      marks: [...holder.querySelectorAll("svg .mark-line path, svg .mark-rect path, svg .mark-symbol path")]
        .filter((path) => (path.getAttribute("d") || "").length > 3).length,
      overlaps: pairs.filter(([first, second]) => overlap(box(first), box(second)))
        .map(([first, second]) => `${first.textContent} / ${second.textContent}`),
      cut: texts.filter((text) => box(text).left < edge.left - 1 || box(text).right > edge.right + 1)
        .map((text) => text.textContent),
    };
  });
  const strokes = [...page.querySelectorAll("svg .mark-line path")].map((path) => getComputedStyle(path).stroke);
  return {
    charts, strokes: [...new Set(strokes)], errors: page.documentElement.dataset.errors,
    overflow: page.documentElement.scrollWidth - page.documentElement.clientWidth,
    fetched: frame.contentWindow.performance.getEntriesByType("resource").map((entry) => entry.name),
  };
};
const open = (width) => new Promise((resolve) => {
  const frame = document.createElement("iframe");
  frame.style = `width:${width}px;height:900px;border:0`;
  frame.src = "page.html";
  document.body.append(frame);
  const wait = () => frame.contentDocument?.documentElement?.dataset.charts !== undefined
    ? setTimeout(() => { found[width] = look(frame); frame.remove(); resolve(); }, 50) : setTimeout(wait, 50);
  wait();
});
(async () => {
  for (const width of WIDTHS) await open(width);
  document.getElementById("result").textContent = JSON.stringify(found);
})();
</script>"""


class QuietFiles(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def visit(folder, widths):
    """Serve ``folder`` and return what the harness saw, with Chromium's console lines."""
    (folder / "harness.html").write_text(HARNESS.replace("WIDTHS", json.dumps(widths)), encoding="utf-8")
    handler = functools.partial(QuietFiles, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            done = subprocess.run(
                [
                    shutil.which("chromium") or shutil.which("google-chrome"),
                    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                    "--disable-background-networking", "--disable-component-update", "--disable-sync",
                    "--enable-logging=stderr", "--window-size=1300,1000", "--virtual-time-budget=60000",
                    f"--user-data-dir={folder / 'profile'}", "--dump-dom",
                    f"http://127.0.0.1:{server.server_port}/harness.html",
                ],
                capture_output=True, text=True, timeout=300, check=True,
            )  # fmt: skip
        finally:
            server.shutdown()
    result = re.search(r'<pre id="result">(.*?)</pre>', done.stdout, flags=re.S)[1]
    assert result, f"the page was never drawn: {done.stderr[-2000:]}"
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return {int(width): seen for width, seen in json.loads(html.unescape(result)).items()}, console


@pytest.fixture(scope="module")
def visited(run_summary, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    page = run_page(run_summary)
    write_page(folder / "page.html", page)
    seen, console = visit(folder, [DESKTOP, PHONE])
    return seen, console, len(list(page.figures()))


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_every_chart_is_drawn(visited, width):
    seen, _, figures = visited
    assert len(seen[width]["charts"]) == figures
    assert all(chart["marks"] > 0 for chart in seen[width]["charts"])


def test_nothing_is_blocked_fetched_or_complained_about(visited):
    seen, console, _ = visited
    assert console == []
    for found in seen.values():
        assert found["errors"] == ""
        assert found["fetched"] == []


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_no_label_lies_on_another_or_outside(visited, width):
    for chart in visited[0][width]["charts"]:
        assert chart["overlaps"] == []
        assert chart["cut"] == []


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_the_page_never_scrolls_sideways(visited, width):
    assert visited[0][width]["overflow"] <= 0


def test_colours_come_from_the_palette(visited):
    gold = ", ".join(str(int(LIGHT["gold"][i : i + 2], 16)) for i in (1, 3, 5))
    assert f"rgb({gold})" in visited[0][DESKTOP]["strokes"]


def test_what_the_checks_above_look_for_is_seen_where_it_happens(tmp_path):
    """The negative control: a fetch, a foreign script, a blank chart, labels on each other, a page too wide."""
    rows = [{"x": 1, "word": "first words"}, {"x": 1, "word": "other words"}]
    words = alt.Chart(alt.Data(values=rows)).mark_text().encode(x="x:Q", text="word:N")
    wide = Table(("x" * 400,), ())
    page = page_html(Page("t", "h", (Section("s", (Figure(words, alt="two words in one place"), wide)),)))
    broken = page.replace(' class="scroll"', "")
    broken = broken.replace("</main>", '<img src="pixel.png" alt=""><script>window.foreign = 1</script></main>')
    (tmp_path / "page.html").write_text(broken, encoding="utf-8")
    seen, console = visit(tmp_path, [DESKTOP])
    chart = seen[DESKTOP]["charts"][0]
    assert chart["marks"] == 0
    assert chart["overlaps"] == ["first words / other words"]
    assert seen[DESKTOP]["overflow"] > 0
    assert any("img-src" in line or "pixel.png" in line for line in console)
    assert any("script" in line for line in console)
