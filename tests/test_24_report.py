"""report/: one self-contained page, safe against hostile names, whole on degenerate scenes."""

from __future__ import annotations

import base64
import dataclasses
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import OutputError
from pipeline.report import (
    Detail,
    Features,
    Noise,
    ReportData,
    Source,
    Stage,
    Storage,
    picture_step,
    pictures,
    render,
    write_report,
)

SECTIONS = ("pictures", "noise", "storage", "spectra", "features", "stages", "repeat")
VOID = {"meta", "link", "img", "input", "br", "hr"}
S2 = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")


class Page(HTMLParser):
    """Every tag with its attributes; fails on a tag that closes none, or is left open."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] not in (["style"], ["script"]):
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def decoded(uri: str) -> Image.Image:
    kind, _, content = uri.partition(",")
    assert kind == "data:image/png;base64"
    image = Image.open(io.BytesIO(base64.b64decode(content, validate=True)))
    assert image.format == "PNG"
    image.load()
    return image


def scene(bands: int = 10, height: int = 40, width: int = 30, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Before and after, (band, y, x) float32."""
    rng = np.random.default_rng([seed, bands, height])
    after = rng.gamma(4, 200, (bands, height, width)).astype(np.float32)
    return after + rng.normal(0, 10, after.shape).astype(np.float32), after


def example(names: tuple[str, ...] = S2, **changes: object) -> ReportData:
    before, after = scene(len(names))
    ones = np.ones(len(names))
    data = ReportData(
        title="coast",
        command="terrasketch run workflows/scene.yaml coast.tif",
        source=Source("coast.tif", before.shape, "uint16", "EPSG:32618", (20.0, 20.0), 0.0),
        band_names=names,
        before=before,
        after=after,
        detail=Detail(before[:, :8, :8], after[:, :8, :8], 100, 200),
        noise=Noise(10 * ones, 800 * ones, 400 * ones, 2 * ones),
        storage=Storage(9000, 3000, 5.0, 41.5, "SNR of at least 40 dB", np.array([[3, 4], [-1, 5]])),
        features=Features(after[:4], "rcf-mixed", 278),
        stages=(Stage("denoise", 2.0, 4, 4000, 8000, 6e5), Stage("compress", 1.0, 4, 8000, 1000)),
        wall_seconds=75.2,
        tiles=4,
        tile=256,
        options={"denoise": {"quality": "fast"}, "tile": 256},
        versions={"numpy": "2", "gdal": "3"},
    )
    return dataclasses.replace(data, **changes)


def test_page_is_whole_and_needs_no_network() -> None:
    html = render(example(failures=("rows 0:9 of coast.tif: truncated",)))
    page = Page(html)
    ids = [attributes.get("id") for attributes in page.all("section")]
    assert [name for name in ids if name != "failures"] == list(SECTIONS)
    assert "rows 0:9 of coast.tif: truncated" in page.text
    for tag, attributes in page.tags:
        for name in ("src", "href", "action", "xlink:href"):
            assert attributes.get(name, "data:").startswith(("data:", "#")), (tag, name)
    style = re.search(r"<style>(.*?)</style>", html, re.S)
    assert style is not None
    assert "url(" not in style[1]
    assert "@import" not in style[1]
    assert not page.all("link")
    assert not any("src" in attributes for attributes in page.all("script"))


def test_key_figures_come_from_the_data() -> None:
    text = Page(render(example(resumed=3))).text
    noise = f"{20 * np.log10(10 / 2):.1f} dB"
    for figure in ("3.0×", "41.5 dB", noise, "1 min 15 s", "3 done before", "SNR of at least 40 dB", "278 features"):
        assert figure in text
    assert "0.0003 GFLOP/s" in text  # 600000 FLOP in 2 s
    assert " 50 FLOP/B" in text  # 600000 FLOP over 12000 bytes
    assert "denoise.quality" in text
    assert "Failures" not in text
    assert "compiled" not in text
    assert "stages; kernels were compiled first" in Page(render(example(compiled=True))).text


def test_same_data_same_bytes() -> None:
    assert render(example()) == render(example())
    assert render(example(versions={"gdal": "3", "numpy": "2"})) == render(example())


def test_text_from_files_is_escaped() -> None:
    evil = "<script>alert('x')</script>\"'&"
    data = example(
        names=(evil, *(f"{evil}{index}" for index in range(4))),
        title=evil,
        command=evil,
        source=Source(evil, (5, 40, 30), evil, evil),
        failures=(evil,),
        options={evil: {evil: [evil]}},
        versions={evil: evil},
        stages=(Stage(evil, 1.0, 1),),
        features=Features(scene(2)[0], evil),
    )
    html = render(data)
    page = Page(html)
    assert len(page.all("script")) == 1
    assert "<script>alert" not in html
    assert page.text.count("<script>alert('x')</script>\"'&") >= 10
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")], tag


def test_names_that_are_no_utf8_do_not_break_the_file(tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", example(title="gr\udcfcn", source=Source("\udcff.tif", (10, 40, 30), "u1")))
    assert "gr?n" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_pictures_are_pngs_of_the_right_size_with_alt_text() -> None:
    before, after = scene(10, 50, 70)
    page = Page(render(example(before=before, after=after)))
    images = page.all("img")
    assert len(images) == 2 * 2 + 2 + 1 + 1 + 1  # two composites, detail, residual, locator, features
    for attributes in images:
        picture = decoded(attributes["src"])
        assert picture.size == (int(attributes["width"]), int(attributes["height"]))
        assert attributes["alt"]
    shapes = [decoded(attributes["src"]).size for attributes in images]
    assert shapes.count((70, 50)) == 6
    assert shapes.count((8, 8)) == 2
    sliders = page.all("input")
    assert len(sliders) == 3
    assert all(slider["type"] == "range" and slider["aria-label"] for slider in sliders)


def test_every_table_has_headers_with_scope() -> None:
    page = Page(render(example()))
    assert all(header.get("scope") in ("row", "col") for header in page.all("th"))
    assert len(page.all("table")) == 6


def test_large_pictures_are_sampled_again() -> None:
    before, after = scene(3, 1200, 700)
    data = example(("red", "green", "blue"), before=before, after=after, detail=None, features=Features(after, "x"))
    html = render(data)
    step = picture_step(1200, 700)
    assert step == 2
    sizes = {decoded(attributes["src"]).size for attributes in Page(html).all("img")}
    assert (350, 600) in sizes
    assert len(html) < 3_000_000


@pytest.mark.parametrize("bands", [1, 2, 3, 200])
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (30, 20)])
def test_odd_scenes_give_whole_pages(bands: int, shape: tuple[int, int]) -> None:
    before, after = scene(bands, *shape)
    names = tuple(f"band {index + 1}" for index in range(bands))
    ones = np.ones(bands)
    noise = Noise(ones, ones, 0 * ones)
    detail, feats = Detail(before, after, 0, 0), Features(after, "classic")
    source = Source("x.tif", (bands, *shape), "float32")
    page = Page(
        render(example(names, before=before, after=after, noise=noise, detail=detail, features=feats, source=source))
    )
    assert "no CRS" in page.text
    assert f"Figures of {bands} band" in page.text
    rows = [row for row in page.words if row.strip() in names]
    assert len(rows) >= bands


def test_bare_run_says_what_is_missing() -> None:
    before, _ = scene(1)
    data = ReportData("x", "cmd", Source("x.tif", (1, 40, 30), "uint8"), ("one",), before, before)
    page = Page(render(data))
    assert [attributes["id"] for attributes in page.all("section")] == list(SECTIONS)
    for missing in ("did not denoise", "stored nothing", "made no features", "No stage ran", "after, one: nothing"):
        assert missing in page.text


def test_scene_without_a_valid_pixel() -> None:
    nothing = np.full((10, 20, 20), np.nan, np.float32)
    nan = np.full(10, np.nan)
    data = example(
        before=nothing,
        after=nothing,
        detail=None,
        noise=Noise(nan, nan, nan, nan),
        features=Features(nothing, "x"),
        storage=Storage(0, 0, float("nan"), float("nan"), "", np.full((2, 2), -1)),
    )
    page = Page(render(data))
    assert "no valid pixel" in page.text
    assert "nan" not in page.text.lower()
    for attributes in page.all("img"):
        assert np.array(decoded(attributes["src"]).convert("RGBA"))[..., 3].max() == 0


def test_features_that_are_nowhere_are_called_that() -> None:
    page = Page(render(example(features=Features(np.full((3, 9, 9), np.nan, np.float32), "classic"))))
    assert "No cell in the middle of the scene has features" in page.text
    assert "Share of the variance" not in page.text
    assert "places of like colour" not in page.text
    sample = np.random.default_rng(1).normal(size=(3, 10, 10)).astype(np.float32)
    sample[1, :2] = np.nan
    text = Page(render(example(features=Features(sample, "classic")))).text
    assert "20.0 % of the cells shown have no features" in text
    assert "Share of the variance" in text


def test_rows_are_told_with_their_ends_and_nan_by_its_name() -> None:
    text = Page(render(example(source=Source("a.tif", (10, 40, 30), "float32", nodata=float("nan"))))).text
    assert "rows 100–107, columns 200–207" in text
    assert "Nodata value NaN" in text


def test_infinite_snr_and_huge_tile_map() -> None:
    ranks = np.arange(10_000).reshape(100, 100) % 7
    page = Page(render(example(storage=Storage(100, 50, 0.0, float("inf"), "lossless", ranks))))
    assert "∞ dB" in page.text
    [image] = page.all("image")
    assert decoded(image["href"]).size == (100, 100)


def test_stretch_is_shared_and_percentile() -> None:
    before, _ = scene(3, 60, 60)
    limits = pictures.stretch_limits(before)
    assert limits == [tuple(np.percentile(plane, (2, 98)).tolist()) for plane in before]
    html = render(example(("r", "g", "b"), before=before, after=2 * before, detail=None, features=None))
    images = [decoded(attributes["src"]) for attributes in Page(html).all("img")]
    old, new = (np.asarray(image, np.float64) / 255 for image in images[:2])
    low, high = (np.array(side) for side in zip(*limits, strict=True))
    for shown, block in ((old, before), (new, 2 * before)):
        wanted = np.clip((np.moveaxis(block, 0, -1) - low) / (high - low), 0, 1)
        assert np.abs(shown - wanted).max() <= 0.5 / 63 + 1 / 255


def test_invalid_pixels_are_transparent() -> None:
    before, after = scene(10)
    hole = np.zeros(before.shape[1:], bool)
    hole[3:9, 5:12] = True
    before[4, hole], before[:3, hole], after[:, hole] = np.nan, np.nan, np.nan
    html = render(example(before=before, after=after, detail=None, features=Features(after[:4], "x")))
    images = [decoded(a["src"]) for a in Page(html).all("img") if int(a["width"]) == before.shape[2]]
    assert len(images) >= 5
    for image in images:
        np.testing.assert_array_equal(np.array(image.convert("RGBA"))[..., 3] == 0, hole)


def test_report_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "report.html"
    target.write_text("old", encoding="utf-8")

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full_disk)
        with pytest.raises(OutputError, match="No space left"):
            write_report(target, example())
    assert target.read_text(encoding="utf-8") == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
    write_report(target, example())
    assert target.read_text(encoding="utf-8") == render(example())
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
    with pytest.raises(OutputError, match=r"no.such"):
        write_report(tmp_path / "no.such" / "report.html", example())
