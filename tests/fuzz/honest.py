"""The honest files, small, that the doors let through before they are damaged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import geopandas
import shapely

from tests.onnx_models import floats, model, node
from tests.scenes import call, small_scene

WORKFLOW = """version: 1
sources: [a.tif, [b_B02.tif, b_B03.tif]]
out: out
read: {tile: 128, nodata: 0, resampling: bilinear}
denoise: {quality: fast, sigma: 12.5}
compress: {max_error: 2}
features: {bank: rcf-mixed, count: 64, stride: 4}
write: {cog: [denoised], report: true}
run: {scheduler: threads, workers: 2}
"""
VRT = """<VRTDataset rasterXSize="170" rasterYSize="150"><SRS>EPSG:32618</SRS>
<GeoTransform>435740, 20, 0, 4179460, 0, -20</GeoTransform>
<VRTRasterBand dataType="UInt16" band="1"><NoDataValue>0</NoDataValue>
<SimpleSource><SourceFilename relativeToVRT="1">scene.tif</SourceFilename><SourceBand>1</SourceBand>
<SrcRect xOff="0" yOff="0" xSize="170" ySize="150"/><DstRect xOff="0" yOff="0" xSize="170" ySize="150"/>
</SimpleSource></VRTRasterBand></VRTDataset>
"""


def make(folder: Path) -> Path:
    """All of them, in a folder."""
    golden = sorted((Path(__file__).parents[1] / "golden").glob("*.tslr"), key=lambda path: path.stat().st_size)
    shutil.copy(golden[len(golden) // 2], folder / "chunk.tslr")
    scene = small_scene(folder / "scene.tif")
    _done(call("compress", scene, folder / "scene.zarr", "--tile", "64"))
    _done(call("fit", scene, "-o", folder / "bank.npz", "--count", "8"))
    network = model(
        [node("Conv", "x,w", "c", pads=[1] * 4), node("Relu", "c", "y")], constants={"w": floats(2, 1, 3, 3)}
    )
    (folder / "network.onnx").write_bytes(network.SerializeToString())
    (folder / "job.yaml").write_text(WORKFLOW)
    (folder / "job2.yaml").write_text(json.dumps({"sources": ["a.tif"], "read": {"tile": 64}, "compress": {"snr": 30}}))
    (folder / "scene.vrt").write_text(VRT)
    (folder / "item.json").write_text(json.dumps(_item()))
    _places(folder)
    return folder


def _done(result: Any) -> None:
    assert result.exit_code == 0, result.stderr


def _item() -> dict[str, Any]:
    bands = [{"name": f"B{number}", "common_name": name} for number, name in enumerate(("blue", "green", "red", "nir"))]
    asset = {"href": "./scene.tif", "type": "image/tiff; application=geotiff", "roles": ["data"], "eo:bands": bands}
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": ["https://stac-extensions.github.io/eo/v1.1.0/schema.json"],
        "id": "scene",
        "geometry": {"type": "Point", "coordinates": [-75.0, 37.0]},
        "bbox": [-75.0, 37.0, -75.0, 37.0],
        "properties": {"datetime": "2016-05-01T00:00:00Z", "proj:epsg": 32618},
        "links": [{"rel": "self", "href": "./item.json"}, {"rel": "parent", "href": "./item.json"}],
        "assets": {"all": asset, "thumbnail": {"href": "./t.png", "type": "image/png", "roles": ["thumbnail"]}},
    }


def _places(folder: Path) -> None:
    shapes = [shapely.Point(436_000, 4_179_000), shapely.box(436_000, 4_178_000, 437_000, 4_179_000)]
    frame = geopandas.GeoDataFrame({"name": ["a", "b"], "n": [1, 2]}, geometry=shapes, crs="EPSG:32618")
    frame.to_file(folder / "places.geojson", driver="GeoJSON")
    frame.to_parquet(folder / "places.parquet")
    (folder / "places.csv").write_text("WKT,name\nPOINT (436000 4179000),a\n")
