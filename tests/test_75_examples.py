"""Every example of every --help runs, word for word, in a folder with small files of those names."""

from __future__ import annotations

import glob
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import click
import geopandas
import numpy as np
import onnx
import pytest
import rasterio
import shapely
from onnx import TensorProto, helper, numpy_helper

from pipeline.cli.main import _COMMANDS, commands
from tests.scenes import CRS, TRANSFORM, call, small_scene
from tests.stac_files import item, search

BANDS = ("B02", "B03", "B04", "B08")
NETWORK = "/layer2/layer2.1/relu_1/Relu_output_0"
FLOW = """\
sources: [../scene.tif, ../my_scene.tif]
features: {bank: classic, stride: 8}
write: {cog: [denoised], report: false}
"""


def examples() -> Iterator[tuple[str, str]]:
    """The command and the line of each example."""
    context = click.Context(commands)
    for name in _COMMANDS:
        text = commands.get_command(context, name).help.partition("Example:")[2]
        for line in text.splitlines():
            if "terrasketch " in line:
                yield name, line.strip()
    for line in commands.help.partition("Example:")[2].splitlines():
        if line.strip().startswith("terrasketch "):
            yield "terrasketch", line.strip()


EXAMPLES = list(examples())


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small files of the names that the examples use."""
    folder = tmp_path_factory.mktemp("examples")
    scene = small_scene(folder / "scene.tif", height=64, width=72, holes=0.02)
    with rasterio.open(scene, "r+") as file:
        file.descriptions = BANDS
        file.crs, file.transform = CRS, rasterio.Affine(100, 0, TRANSFORM.c, 0, -100, TRANSFORM.f)
    for number, band in enumerate(BANDS, 1):
        with (
            rasterio.open(scene) as source,
            rasterio.open(folder / f"{band}.tif", "w", **(source.profile | {"count": 1})) as file,
        ):
            file.write(source.read(number), 1)
    (folder / "scenes" / "east").mkdir(parents=True)
    for copy in ("my_scene.tif", "scenes/one.tif", "scenes/two.tif", "scenes/east/three.tif"):
        shutil.copy(scene, folder / copy)
    dates = [folder / "scenes" / "one.tif", folder / "scenes" / "two.tif"]
    (folder / "workflows").mkdir()
    (folder / "out" / "scene").mkdir(parents=True)
    (folder / "workflows" / "scene.yaml").write_text(FLOW)
    write_places(folder)
    write_network(folder / "resnet18.onnx")
    search(folder / "found.json", [item("found", str(scene))])
    for words in (
        ["compress", scene, folder / "scene.zarr"],
        ["features", scene, folder / "features.zarr", "--bank", "classic", "--stride", 2],
        ["fit", scene, "-o", folder / "bank.npz", "--count", 8],
        ["compress", scene, folder / "out" / "scene" / "scene.zarr"],
        ["features", scene, folder / "out" / "scene" / "features.zarr", "--bank", "classic", "--stride", 2],
        ["compress", *dates, folder / "stack.zarr", "--stack", "--times", "2016-01-17,2016-02-06"],
    ):
        made = call(*words)
        assert made.exit_code == 0, made.stderr
    return folder


def write_places(folder: Path) -> None:
    """Fields, barns and plots over the scene."""
    x0, y0 = TRANSFORM.c, TRANSFORM.f
    boxes = [
        shapely.box(x0 + x, y0 - y - 900, x0 + x + 900, y0 - y) for x in range(0, 7000, 1000) for y in (0, 2500, 5000)
    ]
    table = {"crop": ["oats", "rye", "barley"] * 7, "t_per_ha": np.linspace(1, 9, 21)}
    fields = geopandas.GeoDataFrame(table, geometry=boxes, crs=CRS)
    fields.to_file(folder / "fields.gpkg")
    fields.to_parquet(folder / "plots.parquet")
    fields.set_geometry(fields.centroid)[:3].to_file(folder / "barns.gpkg")


def write_network(path: Path) -> None:
    """One convolution of three bands whose tensor has the name of one of ResNet's."""
    weights = numpy_helper.from_array(np.ones((4, 3, 3, 3), "float32"), "w")
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1] * 4, strides=[2, 2]),
        helper.make_node("Relu", ["c"], [NETWORK]),
    ]
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, None, None])
    graph = helper.make_graph(
        nodes, "g", [value], [helper.make_tensor_value_info(NETWORK, TensorProto.FLOAT, None)], [weights]
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def expanded(line: str) -> list[str]:
    """The words as a shell gives them: patterns expanded where they are not quoted."""
    words: list[str] = []
    for raw in line.split():
        word = shlex.split(raw)[0]
        words += sorted(glob.glob(word)) if "*" in raw and raw == word else [word]
    return words


@pytest.mark.parametrize(("name", "line"), EXAMPLES, ids=[line for _, line in EXAMPLES])
def test_the_example_runs(
    name: str, line: str, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(prepared, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    source, pipe, line = line.rpartition(" | ")
    stdin = Path("found.json").read_text() if pipe else None
    assert not pipe or source.startswith("stac-client search")  # which a file of its output stands for
    for output in OUTPUTS.get(line, ()):
        drop(Path(output))
    words = expanded(line)[1:]
    if "--retry-failed" in words:  # of a run that has been
        assert call(*(word for word in words if word != "--retry-failed")).exit_code == 0
    result = call(*words, stdin=stdin)
    assert result.exit_code == 0, result.stderr


def drop(path: Path) -> None:
    """Take away an output that the folder holds as the input of another example."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


OUTPUTS = {
    "terrasketch compress scene.tif scene.zarr --snr 40": ("scene.zarr",),
    "terrasketch decompress scene.zarr scene.tif --co COMPRESS=ZSTD": ("scene.tif",),
    "terrasketch features scene.tif features.zarr --stride 4": ("features.zarr",),
    "terrasketch fit scenes/*.tif -o bank.npz --bank rcf-mixed --count 128": ("bank.npz",),
}
"""Examples whose outputs are inputs of others."""


def test_there_are_examples_of_every_command_and_none_is_missed() -> None:
    assert {name for name, _ in EXAMPLES} == {*_COMMANDS, "terrasketch"}
    assert len(EXAMPLES) > 25
