"""report/ in headless Chromium: no word on the console, sliders move, columns sort, pages print. Skipped without it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from pipeline.report import IndexRow, Run, Storage, render, render_index
from tests.test_24_report import example
from tests.test_24_report_scatter import _cloud

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--enable-logging=stderr"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--virtual-time-budget=3000"),
)
Browse = Callable[..., str]

ANSWER = "<script>document.documentElement.dataset.answer = JSON.stringify((() => {%s})());</script></body>"


@pytest.fixture
def browse(tmp_path: Path) -> Browse:
    """Open a page, and give what Chromium prints; a word on the console fails the test."""

    def open_page(html: str, *words: str) -> str:
        (tmp_path / "page.html").write_text(html, encoding="utf-8")
        command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", *words]
        done = subprocess.run(
            [*command, (tmp_path / "page.html").as_uri()], capture_output=True, text=True, timeout=120, check=False
        )
        assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []
        return done.stdout

    return open_page


def _asked(browse: Browse, html: str, script: str) -> Any:
    """What a script finds on the page."""
    page = browse(html.replace("</body>", ANSWER % script), "--dump-dom")
    answer = re.search(r'data-answer="([^"]*)"', page)
    assert answer is not None, page[:500]
    return json.loads(unescape(answer[1]))


def _report() -> str:
    run = Run("2026-01-02T03:04:05Z", "terrasketch run a.yaml", "interrupted", 3, 0, 0, 61.0)
    storage = Storage(9000, 3000, 5.0, 41.5, "snr 40 dB", rates=_cloud())
    return render(example(history=(run,), storage=storage))


def test_the_sliders_move_and_cut_the_picture(browse: Browse) -> None:
    script = """
    return [...document.querySelectorAll(".pair")].map((pair) => {
      const range = pair.querySelector("input"), after = pair.querySelector(".after");
      const seen = () => [pair.style.getPropertyValue("--cut"), getComputedStyle(after).clipPath];
      const before = seen();
      range.value = 20;
      range.dispatchEvent(new Event("input"));
      const size = [pair.offsetWidth > 100, Math.abs(range.offsetWidth - pair.offsetWidth) < 2];
      return [before, seen(), size, range.hidden];
    });"""
    cuts = [["50%", "inset(0px 0px 0px 50%)"], ["20%", "inset(0px 0px 0px 20%)"], [True, True], False]
    assert _asked(browse, _report(), script) == [cuts] * 3


@pytest.mark.parametrize("scheme", [0, 1])
def test_light_and_dark_and_nothing_sticks_out_of_a_small_window(browse: Browse, scheme: int) -> None:
    wanted = """
    const inner = document.documentElement;
    return [getComputedStyle(document.body).backgroundColor, inner.scrollWidth <= inner.clientWidth];"""
    for html in (_report(), render_index("out", [IndexRow("x" * 90, "failed", "y " * 90), IndexRow("b", "done")])):
        flags = f"--blink-settings=preferredColorScheme={scheme}"
        page = browse(html.replace("</body>", ANSWER % wanted), "--dump-dom", "--window-size=500,900", flags)
        answer = re.search(r'data-answer="([^"]*)"', page)
        assert answer is not None
        assert json.loads(unescape(answer[1])) == [("rgb(21, 24, 26)", "rgb(251, 250, 246)")[scheme], True]


def test_the_index_sorts_by_its_columns(browse: Browse) -> None:
    rows = [IndexRow(f"s{n}", "done", raw_bytes=100.0, stored_bytes=10.0 + 7 * n % 5, snr=40.0 + n) for n in range(5)]
    rows += [IndexRow("bad", "failed", "torn"), IndexRow("whole", "done", snr=float("inf"))]
    script = """
    const names = () => [...document.querySelectorAll("tbody th")].map((name) => name.firstChild.textContent);
    const press = (key) => { document.querySelector(`[data-key="${key}"] button`).click(); return names(); };
    const sorts = () => [...document.querySelectorAll("[aria-sort]")].map((head) => head.ariaSort);
    return [names(), press(3), press(3), sorts(), press(2), press(0)];"""
    first, up, down, sorts, by_ratio, again = _asked(browse, render_index("out", rows), script)
    scenes = [f"s{n}" for n in range(5)]
    assert first == again == ["bad", *scenes, "whole"]
    assert up == [*scenes, "whole", "bad"]
    assert down == ["whole", *scenes[::-1], "bad"]
    assert sorts == ["descending"]
    assert by_ratio == [*sorted(scenes, key=lambda name: -rows[int(name[1])].stored_bytes), "whole", "bad"]


def test_the_report_prints(browse: Browse, tmp_path: Path) -> None:
    browse(_report(), f"--print-to-pdf={tmp_path / 'page.pdf'}", "--no-pdf-header-footer")
    pdf = (tmp_path / "page.pdf").read_bytes()
    assert pdf.startswith(b"%PDF")
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 8
