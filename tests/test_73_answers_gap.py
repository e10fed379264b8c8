"""The gap of the validation: what cells see is told by features, in stores and in COGs, and taken from there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely

from pipeline.flow.gap import reach
from pipeline.flow.read import open_scene
from pipeline.grid import Window
from pipeline.network import features_block, fit_bank
from pipeline.network.execute import Network
from pipeline.network.survey import survey
from pipeline.raster.sight import SEEN, STRIDE, sight, with_sight
from tests.scenes import CRS, call, call_json, read, small_scene
from tests.test_22_network_tiling import tight_networks
from tests.tiny_models import small_resnet


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small scene."""
    return small_scene(tmp_path_factory.mktemp("gap") / "scene.tif", holes=0.0)


def made(scene: Path, target: Path, *words: object) -> Path:
    """Features of the scene."""
    given = ("features", scene, target, "--tile", 64, *words)
    result = call(*given)
    assert result.exit_code == 0, result.stderr
    return target


@pytest.mark.parametrize(
    ("words", "seen"),
    [
        (("--bank", "rcf-mixed", "--count", 4, "--size", 11, "--pool", 5, "--stride", 4), 15),
        (("--bank", "torchgeo-rcf", "--count", 4, "--size", 3, "--pool", 4, "--stride", 4), 6),
        (("--bank", "random-2layer", "--count", 4, "--pool", 4, "--stride", 4), None),
        (("--bank", "rcf-mixed", "--count", 4, "--pool", 1, "--stride", 16), 16),
    ],
)
def test_stores_and_cogs_of_features_say_what_their_cells_see(
    scene: Path, tmp_path: Path, words: tuple[object, ...], seen: int | None
) -> None:
    store, cog = made(scene, tmp_path / "f.zarr", *words), made(scene, tmp_path / "f.tif", *words)
    stride = int(str(words[-1]))
    told = sight(open_scene(str(store)).info.tags)
    assert told is not None
    assert told[1] == stride
    assert told[0] == seen or (seen is None and told[0] > 10)
    with rasterio.open(cog) as file:
        assert (file.tags()[SEEN], file.tags()[STRIDE]) == tuple(map(str, told))
    gap = -(-told[0] // stride)
    assert reach(open_scene(str(store))) == reach(open_scene(str(cog))) == (gap, "")
    call("compress", cog, tmp_path / "packed.zarr", "--lossless")
    assert reach(open_scene(str(tmp_path / "packed.zarr"))) == (gap, "")
    configuration = json.loads((store / "zarr.json").read_text())["attributes"]["terrasketch"]
    assert set(json.loads(configuration)["configuration"]["features"]) == {"bank", "pool", "stride"}


@pytest.mark.parametrize(
    ("name", "size", "pool"), [("rcf-mixed", 11, 5), ("torchgeo-rcf", 4, 2), ("random-2layer", None, 1)]
)
def test_a_cell_sees_the_pixels_that_change_it(scene: Path, name: str, size: int | None, pool: int) -> None:
    words: dict[str, Any] = {} if size is None else {"size": size}
    windows = [(read(scene)[:, :64, :64], np.ones((64, 64), bool))]
    bank = fit_bank(name, windows, bands=("a", "b", "c", "d"), count=4, **words)
    block = read(scene)[:, :80, :80].astype("float32")
    whole = Window(0, 80, 0, 80)
    given: dict[str, Any] = {"pool": pool, "stride": 1, "window": whole, "outer": whole, "scene_shape": (80, 80)}
    before = features_block(block, np.ones((80, 80), bool), bank, **given)[0]
    block[:, 40, 40] += 1000
    after = features_block(block, np.ones((80, 80), bool), bank, **given)[0]
    rows, columns = np.nonzero((before != after).any(axis=0))
    assert 1 + np.ptp(rows) == 1 + np.ptp(columns) == bank.sees(pool, 1)


@pytest.mark.parametrize("name", sorted(tight_networks()))
def test_a_place_of_a_network_sees_the_pixels_that_change_it(name: str) -> None:
    graph = tight_networks()[name]
    field = survey(graph).field(graph.outputs[0])
    side, network = 16 * field.units[0] if field.units[0] > 4 else 48, Network(graph, (field.tensor,))
    rng = np.random.default_rng(0)
    changed = np.zeros((side, int(side / field.stride[0])), bool)
    for _ in range(4):  # what rectifying or a maximum hides one time
        x = rng.uniform(0, 1, (1, field.source_dims[1], side, side)).astype(np.float32)
        before = network(x)[0][0]
        for row in range(side):
            other = x.copy()
            other[:, :, row] += rng.choice([-100, 100], (1, field.source_dims[1], side)).astype(np.float32)
            changed[row] |= (network(other)[0][0] != before).any(axis=(0, 2))
    inner = changed[:, changed.shape[1] // 3 : -(changed.shape[1] // 3)]
    for pixels, count in ((inner, 1), (inner[:, :-1] | inner[:, 1:], 2)):
        extents = [1 + int(np.ptp(np.flatnonzero(own))) for own in pixels.T]
        assert max(extents) == field.sees(count * int(field.stride[0]))


def test_features_of_a_network_say_what_their_cells_see(tmp_path: Path, scene: Path) -> None:
    model = small_resnet(tmp_path / "resnet.onnx", 4)
    store = made(scene, tmp_path / "f.zarr", "--bank", f"onnx:{model}@add_5")
    # conv 5/2, pool 3/2: 9 pixels; two 3/1 at stride 4: 16 more.
    assert sight(open_scene(str(store)).info.tags) == (25, 4)
    assert reach(open_scene(str(store))) == (7, "")
    cells, unknown = reach(open_scene(str(without_tags(store))))
    assert cells == 3
    assert "does not say how many pixels its cells see: the gap is 3 cells" in unknown


def without_tags(store: Path) -> Path:
    """The store as one of before: nothing in it says what cells see."""
    path = store / "zarr.json"
    text = path.read_text()
    facts = json.loads(json.loads(text)["attributes"]["terrasketch"])
    tags = facts["source"]["tags"]
    assert tags.pop(SEEN)
    assert tags.pop(STRIDE)
    whole = json.loads(text)
    whole["attributes"]["terrasketch"] = json.dumps(facts)
    path.write_text(json.dumps(whole))
    return store


def test_stores_of_before_go_by_pool_and_the_largest_filter_of_banks(tmp_path: Path, scene: Path) -> None:
    words = ("--bank", "rcf-mixed", "--count", 4, "--pool", 9, "--stride", 4)
    store = made(scene, tmp_path / "f.zarr", *words)
    assert reach(open_scene(str(without_tags(store)))) == (4, "")


def test_regress_takes_the_gap_of_a_cog_and_warns_where_it_is_not_known(tmp_path: Path, scene: Path) -> None:
    words = ("--bank", "rcf-mixed", "--count", 4, "--size", 5, "--pool", 8, "--stride", 4)
    cog = made(scene, tmp_path / "f.tif", *words)
    with rasterio.open(cog) as file:
        transform, shape, pixels, profile, names = (
            file.transform,
            file.shape,
            file.read(),
            file.profile,
            file.descriptions,
        )
    rng = np.random.default_rng(0)
    places = [shapely.Point(transform @ (c + 0.5, r + 0.5)) for r, c in rng.integers(0, min(shape), (200, 2)).tolist()]
    frame = geopandas.GeoDataFrame({"level": rng.random(200)}, geometry=places, crs=CRS)
    frame.to_file(tmp_path / "p.gpkg")
    given = ("--labels", tmp_path / "p.gpkg", "--field", "level")
    result = call("regress", cog, tmp_path / "a.tif", *given, "--json")
    assert json.loads(result.stdout)["gap_cells"] == 3
    assert "does not say" not in result.stderr  # numbers by lot are worth a warning of their own
    with rasterio.open(tmp_path / "old.tif", "w", **profile) as file:
        file.write(pixels)
        file.descriptions = names
    result = call("regress", tmp_path / "old.tif", tmp_path / "b.tif", *given, "--json")
    assert json.loads(result.stdout)["gap_cells"] == 1
    warned = [line for line in result.stderr.splitlines() if "does not say" in line]
    assert len(warned) == 1
    assert "old does not say how many pixels its cells see: the gap is 1 cell, and the accuracy flatters" in warned[0]
    again = call("regress", tmp_path / "old.tif", tmp_path / "c.tif", *given, "--gap", 200)
    assert "does not say" not in again.stderr
    plain = call_json("regress", scene, tmp_path / "d.tif", *given)
    assert plain["gap_cells"] == 1
    assert reach(open_scene(str(scene))) == (1, "")
    # Warped to other cells, the file's own cells say nothing.
    assert reach(open_scene(str(cog), resolution=20))[1]


def test_features_of_features_see_through_both() -> None:
    once = with_sight({"a": "b"}, 15, 4)
    assert once == {"a": "b", SEEN: "15", STRIDE: "4"}
    # 3 cells, 4 pixels apart, of 15 pixels: 15 + 2 * 4.
    assert sight(with_sight(once, 3, 2)) == (23, 8)
    assert with_sight(once, None, 1) == {"a": "b"}


@pytest.mark.parametrize("seen", ["", "0", "-3", "1e3", "x", "9" * 10, "\u00b2"])
def test_tags_that_make_no_sense_say_nothing(seen: str) -> None:
    assert sight({SEEN: seen, STRIDE: "4"}) is None
