"""report/'s index of many scenes, and the gallery that gathers it from summaries and receipts."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.flow.gallery import write_gallery
from pipeline.report import IndexRow, is_index, pictures, render, render_index, thumbnail_of
from pipeline.report.index import HEAD, THUMBNAILS_BYTES
from tests.test_24_report import Page, example

EVIL = "<script>alert('x')</script>\"'&"
RUN = {"workflow": "x", "inputs": ["a.tif"], "failure": None}


def _uri(size: int) -> str:
    return "data:image/jpeg;base64," + "A" * (size - 23)


def _order(html: str) -> list[str]:
    return re.findall(r'<th scope="row"[^>]*>(?:<a [^>]*>)?([^<]+)', html)


def test_failures_come_first_and_figures_add_up() -> None:
    done = IndexRow("b", "done", "", "b/report.html", _uri(99), 4e6, 1e6, 40.0, 60.0)
    rows = [done, IndexRow("c", "waiting"), IndexRow("a", "failed", "a.tif: torn"), IndexRow("d", "done", snr=np.inf)]
    html = render_index("out", rows)
    page = Page(html)
    assert _order(html) == ["a", "c", "b", "d"]
    for word in ("a.tif: torn", "4.0×", "40.0 dB", "∞ dB", "1 min 0 s", "1 failed, 1 waiting, 2 done"):
        assert word in page.text
    assert [attributes["href"] for attributes in page.all("a")] == ["b/report.html"]
    assert len(page.all("img")) == 1
    assert render_index("out", rows) == html
    assert is_index(html.encode())
    assert not is_index(render(example()).encode())


@pytest.mark.parametrize(("levels", "median"), [((30.0, 40.0), "35.0 dB"), ((50.0, 30.0, 31.0), "31.0 dB")])
def test_signal_to_noise_is_the_median(levels: tuple[float, ...], median: str) -> None:
    rows = [IndexRow(str(number), "done", snr=level) for number, level in enumerate(levels)]
    head = re.search(r"Signal to noise</dt>.*?<strong>(.*?)</strong>", render_index("out", rows))
    assert head is not None
    assert head[1] == median


def test_index_needs_no_network_and_runs_no_text() -> None:
    html = render_index(EVIL, [IndexRow(EVIL, EVIL, EVIL, "%3Cscript%3E/report.html"), IndexRow("x", "done")])
    page = Page(html)
    assert len(page.all("script")) == 1
    assert page.text.count(EVIL) == 5
    assert "url(" not in html
    assert not page.all("link")
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)


def test_an_empty_index_is_a_page() -> None:
    assert "Scenes 0" in Page(render_index("out", [])).text


def test_a_thousand_scenes_stay_small() -> None:
    largest = _uri(-(-pictures.THUMBNAIL_BYTES // 3) * 4 + 23)
    rows = [IndexRow(f"scene {n}", "done", "", f"{n}/report.html", largest, 1e9, 1e8, 40.0, 1.0) for n in range(1000)]
    html = render_index("out", rows)
    assert html.count("<img") == 1000
    assert len(html) < 25_000_000
    more = render_index("out", rows + rows)
    assert more.count("<img") == THUMBNAILS_BYTES // len(largest)
    assert f"{2000 - more.count('<img')} pictures are left out" in more


@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (500, 499)])
def test_thumbnail_of_the_noisiest_picture_is_small_and_found_in_the_report(shape: tuple[int, int]) -> None:
    values = np.random.default_rng(7).random((*shape, 3))
    values[: shape[0] // 2, 0] = np.nan
    uri = pictures.thumbnail(values)
    assert uri == pictures.thumbnail(values)
    data = base64.b64decode(uri.partition(",")[2], validate=True)
    assert len(data) <= pictures.THUMBNAIL_BYTES
    image = Image.open(io.BytesIO(data))
    assert image.format == "JPEG"
    assert max(image.size) == min(160, max(shape))
    head = render(example()).encode()[:HEAD]
    assert thumbnail_of(head) is not None
    assert thumbnail_of(b'<meta name="thumbnail" content="data:image/jpeg;base64,AA"onload="x">') is None


def _folder(tmp_path: Path, name: str, receipt: dict[str, Any] | str | None, report: bool = False) -> None:
    folder = tmp_path / name
    folder.mkdir()
    if receipt is not None:
        (folder / "receipt.json").write_text(receipt if isinstance(receipt, str) else json.dumps(receipt))
    if report:
        (folder / "report.html").write_text(render(example()), encoding="utf-8")


def _gallery(tmp_path: Path, scenes: list[dict[str, Any]]) -> str:
    (tmp_path / "run.json").write_text(json.dumps({"scenes": [RUN | scene for scene in scenes]}))
    write_gallery(tmp_path, many=True)
    return (tmp_path / "index.html").read_text("utf-8")


DONE = {
    "status": "done",
    "facts": {"raw_bytes": 900, "stored_bytes": 100, "snr": None, "rmse": 0.0},
    "outputs": {"report.html": 1},
    "seconds": 2.0,
}


def test_the_gallery_tells_what_became_of_each_scene(tmp_path: Path) -> None:
    _folder(tmp_path, "s10 #é", DONE, report=True)
    _folder(tmp_path, "s2", DONE, report=True)
    _folder(tmp_path, "torn", {"status": "failed", "failures": ["tile 0: torn", "tile 1: torn"]})
    _folder(tmp_path, "killed", DONE | {"status": "interrupted"})
    scenes = [{"name": name, "status": "complete"} for name in ("s10 #é", "s2", "removed")]
    scenes += [{"name": "torn", "status": "failed", "failure": {"error": "torn"}}]
    scenes += [{"name": "none", "status": "failed", "failure": {"error": "none.tif: not there"}}]
    scenes += [{"name": name, "status": "waiting"} for name in ("killed", "later")]
    html = _gallery(tmp_path, scenes)
    page = Page(html)
    assert _order(html) == ["none", "torn", "killed", "removed", "later", "s2", "s10 #é"]
    assert "torn (and 1 more)" in page.text
    assert "none.tif: not there" in page.text
    assert "2 failed, 1 interrupted, 1 gone, 1 waiting, 2 done" in page.text
    assert "9.0×" in page.text
    assert page.text.count("∞ dB") == 3 + 1  # with the median
    links = [attributes["href"] for attributes in page.all("a")]
    assert links == ["killed/report.html", "s2/report.html", "s10%20%23%C3%A9/report.html"]
    assert len(page.all("img")) == 2


@pytest.mark.parametrize(
    "receipt",
    [
        "",
        "[]",
        "[" * 100_000,
        '{"status": "done", "facts": 3, "outputs": [], "failures": 3, "seconds": "x"}',
        '{"status": "done", "facts": {"raw_bytes": 1' + "0" * 400 + ', "stored_bytes": NaN, "snr": true}}',
        '{"status": {"a": 1}, "facts": {"raw_bytes": 0, "stored_bytes": 0}}',
    ],
)
def test_a_receipt_that_is_none_breaks_no_gallery(tmp_path: Path, receipt: str) -> None:
    _folder(tmp_path, "s", receipt)
    assert _order(_gallery(tmp_path, [{"name": "s", "status": "done"}])) == ["s"]


def test_pictures_of_more_scenes_than_fit_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        _folder(tmp_path, f"s{number}", DONE, report=True)
    monkeypatch.setattr("pipeline.flow.gallery.MOST_PICTURES", 2)
    html = _gallery(tmp_path, [{"name": f"s{number}", "status": "done"} for number in range(3)])
    assert html.count("<img") == 2
    assert "1 picture is left out" in html


def test_a_page_that_is_not_ours_stays_and_one_scene_has_no_index(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"scenes": [RUN | {"name": "s", "status": "done"}]}))
    write_gallery(tmp_path, many=False)
    assert not (tmp_path / "index.html").exists()
    (tmp_path / "index.html").write_text("<html>mine</html>")
    write_gallery(tmp_path, many=True)
    assert (tmp_path / "index.html").read_text() == "<html>mine</html>"
    (tmp_path / "index.html").unlink()
    write_gallery(tmp_path, many=True)
    (tmp_path / "run.json").write_text(json.dumps({"scenes": [RUN | {"name": "t", "status": "done"}]}))
    write_gallery(tmp_path, many=False)  # one scene joins an index that has begun
    assert _order((tmp_path / "index.html").read_text("utf-8")) == ["t"]
