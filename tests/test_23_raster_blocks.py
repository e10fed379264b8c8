"""Blocks of files decoded once: what is put together of them, who waits for whom, and what stays in memory."""

from __future__ import annotations

import threading
import zipfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.enums import ColorInterp
from rasterio.transform import from_origin

from pipeline.errors import SourceError
from pipeline.grid import Halo, Window
from pipeline.raster import cache
from pipeline.raster.blocks import PLENTY, DamagedCell, Pixels, cell_shape, read_cells
from pipeline.raster.cache import TURNS, Cache, rows_of
from pipeline.raster.geotiff import RasterSource
from pipeline.raster.open import open_source

HEIGHT, WIDTH = 700, 900
LAYOUTS: dict[str, dict[str, Any]] = {
    "tiles of 16": {"tiled": True, "blockxsize": 16, "blockysize": 16, "interleave": "band"},
    "tiles of 512": {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate"},
    "tall tiles": {"tiled": True, "blockxsize": 48, "blockysize": 320, "compress": "zstd"},
    "rows": {"tiled": False, "blockysize": 1},
    "strips": {"tiled": False, "blockysize": 37, "compress": "lzw", "interleave": "band"},
    "one strip": {"tiled": False, "blockysize": HEIGHT},
}


def write(path: Path, layout: str, validity: str) -> Path:
    """Four bands of noise, with few pixels out, said in one of the ways of GDAL."""
    rng = np.random.default_rng([7, len(layout)])
    block = rng.integers(1, 60000, (4, HEIGHT, WIDTH), "uint16")
    block[:, rng.random((HEIGHT, WIDTH)) < 0.02] = 0
    shape = {
        "height": HEIGHT,
        "width": WIDTH,
        "count": 4,
        "dtype": "uint16",
        "transform": from_origin(500, 900, 10, 10),
    }
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK="YES"),
        rasterio.open(path, "w", driver="GTiff", **shape, **LAYOUTS[layout]) as file,
    ):
        if validity == "nodata":
            file.nodata = 0
        if validity == "alpha":
            file.colorinterp = [ColorInterp.gray, *[ColorInterp.undefined] * 2, ColorInterp.alpha]
            block[3] = np.where(block[0] != 0, 65535, 0)
        file.write(block)
        if validity == "mask":
            file.write_mask(block[0] != 0)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    folder = tmp_path_factory.mktemp("blocks")
    kinds = [(layout, validity) for layout in LAYOUTS for validity in ("none", "nodata", "mask", "alpha")]
    return {kind: write(folder / f"{number}.tif", *kind) for number, kind in enumerate(kinds)}


def by_rasterio(path: Path, window: Window) -> tuple[Any, Any]:
    """The reference: pixels and mask of a window by rasterio, in its default settings."""
    place = ((window.y0, window.y1), (window.x0, window.x1))
    with rasterio.open(path) as file:
        bands = [n for n, colour in enumerate(file.colorinterp, 1) if colour != ColorInterp.alpha]
        return file.read(bands, window=place), (file.read_masks(bands, window=place) > 0).all(axis=0)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_windows_are_those_of_rasterio(files: dict[tuple[str, str], Path], data: st.DataObject) -> None:
    path = files[data.draw(st.sampled_from(sorted(files)))]
    y0, x0 = data.draw(st.integers(0, HEIGHT - 1)), data.draw(st.integers(0, WIDTH - 1))
    window = Window(y0, data.draw(st.integers(y0 + 1, HEIGHT)), x0, data.draw(st.integers(x0 + 1, WIDTH)))
    block, valid = open_source(path).read(window)
    expected, real = by_rasterio(path, window)
    np.testing.assert_array_equal(block, expected)
    np.testing.assert_array_equal(valid, real)
    assert block.flags.c_contiguous
    block[:], valid[:] = 0, False  # the caller's own: the next one finds the file's
    np.testing.assert_array_equal(open_source(path).read(window)[0], expected)


@pytest.mark.parametrize("block", [(512, 512), (256, 512), (128, 900), (1, 900), (16, 16), (700, 900), (320, 48)])
def test_cells_are_whole_blocks_of_the_file(block: tuple[int, int]) -> None:
    high, wide = cell_shape(block, HEIGHT, WIDTH)
    assert high == HEIGHT or high % block[0] == 0
    assert wide == WIDTH or wide % block[1] == 0
    assert high < (64 if wide == WIDTH else 256) + block[0]


def decoded(monkeypatch: pytest.MonkeyPatch) -> Counter[Window]:
    """How often every window was decoded from now on."""
    counts: Counter[Window] = Counter()
    original = RasterSource._decode

    def counting(self: RasterSource, window: Window, **options: Any) -> Any:
        counts[window] += 1
        return original(self, window, **options)

    monkeypatch.setattr(RasterSource, "_decode", counting)
    monkeypatch.setattr(cache, "shared", Cache())
    return counts


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_threads_decode_every_block_once(
    files: dict[tuple[str, str], Path], layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = open_source(files[layout, "nodata"])
    counts = decoded(monkeypatch)
    windows = [tile.window.expand(Halo.even(16), HEIGHT, WIDTH) for tile in source.info.grid(128)]
    with ThreadPoolExecutor(4) as pool:
        for block, _ in pool.map(source.read, windows):
            assert block.size
    assert set(counts.values()) == {1}
    assert sum(window.shape[0] * window.shape[1] for window in counts) == HEIGHT * WIDTH


@pytest.mark.parametrize("damaged", [False, True])
def test_who_would_wait_decodes_what_is_read_next(monkeypatch: pytest.MonkeyPatch, damaged: bool) -> None:
    monkeypatch.setattr(cache, "shared", Cache())
    cache.shared.reserve("file", 1 << 20)
    begun, go_on, loaded = threading.Event(), threading.Event(), list[Window]()

    def load(window: Window) -> Pixels:
        loaded.append(window)
        if window.x0 == 0:
            begun.set()
            assert go_on.wait(20)
        if window.x0 == 10:
            go_on.set()  # not before the other thread has found something else to do
            if damaged:
                raise DamagedCell
        return Pixels(np.full((1, *window.shape), window.x0, "uint8"), np.ones(window.shape, bool))

    def window(_: int) -> Pixels:
        return read_cells("file", (10, 10), (10, 25), Window(2, 5, 3, 8), load)

    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(window, 0)]
        assert begun.wait(20)
        both.append(pool.submit(window, 1))
        assert [future.result().block.max() for future in both] == [0, 0]
    assert loaded == [Window(0, 10, 0, 10), Window(0, 10, 10, 20)]


def test_nothing_is_decoded_ahead_where_few_cells_can_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "shared", Cache())
    cache.shared.reserve("file", PLENTY * 101 - 1)
    begun, go_on, loaded = threading.Event(), threading.Event(), list[Window]()

    def load(window: Window) -> Pixels:
        loaded.append(window)
        begun.set()
        assert go_on.wait(20)
        return Pixels(np.ones((1, *window.shape), "uint8"), np.ones(window.shape, bool))

    def window(_: int) -> Pixels:
        return read_cells("file", (10, 10), (10, 25), Window(2, 5, 3, 8), load, 101)

    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(window, 0)]
        assert begun.wait(20)
        both.append(pool.submit(window, 1))
        threading.Timer(0.2, go_on.set).start()
    assert loaded == [Window(0, 10, 0, 10)]


def test_blocks_too_large_to_keep_are_left_to_gdal(
    files: dict[tuple[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = open_source(files["tiles of 512", "none"])
    counts = decoded(monkeypatch)
    monkeypatch.setattr("pipeline.raster.geotiff.MOST_CELL_BYTES", 512 * 512)
    window = Window(500, 520, 500, 520)
    source.read(window)
    assert counts == {window: 1}


def test_a_damaged_block_takes_only_the_windows_that_touch_it(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", "strips", "none")
    with rasterio.open(path) as file:
        offset = int(file.get_tag_item("BLOCK_OFFSET_0_1", "TIFF", bidx=1))
    with path.open("r+b") as raw:
        raw.seek(offset)
        raw.write(b"\xff" * 4000)
    source = open_source(path)
    with pytest.raises(SourceError, match=r"cannot read rows 30:50, columns 0:900"):
        source.read(Window(30, 50, 0, WIDTH))
    clean = Window(0, 37, 5, 90)  # in the same cell
    np.testing.assert_array_equal(source.read(clean)[0], by_rasterio(path, clean)[0])


def test_a_file_that_is_written_to_is_decoded_again(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", "tiles of 512", "none")
    source, window = open_source(path), Window(0, 600, 0, 600)
    source.read(window)
    with rasterio.open(path, "r+") as file:
        file.write(np.full((4, HEIGHT, WIDTH), 5, "uint16"))
    assert (source.read(window)[0] == 5).all()


def test_what_cannot_be_seen_to_change_is_read_by_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.tif", "tiles of 512", "none")
    rasterio.shutil.copy(path, tmp_path / "a.vrt", driver="VRT")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(path, "a.tif")
    counts, window = decoded(monkeypatch), Window(500, 530, 10, 40)
    for other in (tmp_path / "a.vrt", f"/vsizip/{tmp_path}/a.zip/a.tif"):
        np.testing.assert_array_equal(open_source(other).read(window)[0], by_rasterio(path, window)[0])
    assert counts == {window: 2}


def test_bands_are_kept_apart(files: dict[tuple[str, str], Path]) -> None:
    source, window = open_source(files["tiles of 16", "none"]), Window(3, 300, 9, 400)
    block = source.read(window)[0]
    for bands in ([0, 2], [2, 0], [1, 2]):
        np.testing.assert_array_equal(source.select(bands).read(window)[0], block[bands])


class Held:
    """Some bytes."""

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes


def test_the_cache_holds_what_was_used_last_within_its_limit() -> None:
    kept, loads = Cache(100), Counter[str]()
    kept.reserve("file", 1000)

    def get(name: str, size: int = 40) -> Held:
        def load() -> Held:
            loads[name] += 1
            return Held(size)

        return kept.get(name, load)

    first = get("a")
    get("b")
    assert get("a") is first
    get("c")  # b was used longest ago
    get("a")
    get("b")
    get("large", 101)
    get("large", 101)
    get("b")
    assert loads == {"a": 1, "b": 2, "c": 1, "large": 2}


def test_what_is_dropped_is_loaded_again_and_has_no_room() -> None:
    kept, loads = Cache(100), Counter[str]()

    def load() -> Held:
        loads["a"] += 1
        return Held(40)

    kept.reserve("file", 100)
    kept.get("a", load)
    assert kept.nbytes == 40
    kept.drop()
    assert kept.nbytes == 0
    kept.get("a", load)
    assert (kept.nbytes, loads["a"]) == (0, 2)
    kept.reserve("file", 100)
    kept.get("a", load)
    kept.get("a", load)
    assert (kept.nbytes, loads["a"]) == (40, 3)


def test_a_file_has_room_for_what_it_asked_while_it_is_read() -> None:
    kept, loads = Cache(1000), Counter[str]()

    def get(name: str) -> None:
        def load() -> Held:
            loads[name] += 1
            return Held(40)

        kept.get(name, load)

    kept.reserve("one", 80)
    kept.reserve("one", 40)
    for name in "abab":
        get(name)
    assert loads == {"a": 1, "b": 1}
    kept.reserve("other", 40)
    for name in "cabc":
        get(name)
    assert loads == {"a": 1, "b": 1, "c": 1}
    for _ in range(TURNS):
        kept.reserve("other", 40)
    for name in "dadc":
        get(name)
    assert loads == {"a": 2, "b": 1, "c": 2, "d": 2}


@pytest.mark.parametrize(("tile", "high"), [(256, 512), (256, 256), (288, 256), (300, 64), (17, 1)])
def test_the_rows_of_blocks_that_a_window_touches_have_room(tile: int, high: int) -> None:
    most = max((start + tile - 1) // high - start // high + 1 for start in range(high))
    assert most * high * 10 <= rows_of(tile, high, 10) <= (most + 1) * high * 10


def test_what_one_thread_loads_the_others_wait_for() -> None:
    kept, begun, go = Cache(), threading.Event(), threading.Event()
    kept.reserve("file", 1000)
    loads: list[str] = []

    def slow() -> Held:
        loads.append("slow")
        begun.set()
        assert go.wait(30)
        return Held(1)

    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(kept.get, "a", slow)
        assert begun.wait(30)
        assert kept.take("a", slow) is None
        waiting = pool.submit(kept.get, "a", slow)
        go.set()
        assert first.result(30) is waiting.result(30) is kept.take("a", slow)
    assert loads == ["slow"]


def test_who_waited_for_a_failure_loads_for_himself() -> None:
    kept, begun, go = Cache(), threading.Event(), threading.Event()

    def failing() -> Held:
        begun.set()
        assert go.wait(30)
        raise ValueError("mine alone")

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(kept.get, "a", failing)
        assert begun.wait(30)
        second = pool.submit(kept.get, "a", lambda: Held(7))
        go.set()
        with pytest.raises(ValueError, match="mine alone"):
            first.result(30)
        assert second.result(30).nbytes == 7
