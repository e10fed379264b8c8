"""Files made to harm, at every door of the command: one clear line, bounded memory, no connection, nothing written."""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path
from xml.sax.saxutils import escape

import google_crc32c
import numpy as np
import pytest
import rasterio

from pipeline.errors import ConfigError, OutputError
from pipeline.grid import MOST_TILES, Grid
from pipeline.raster.chunks import put_chunk
from pipeline.untrusted import one_line, parse_json, printable, read_file
from tests.scenes import call, small_scene, write_tif

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
HUGE = 10**12
KEYS = {"name": "default", "configuration": {"separator": "."}}


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    folder = tmp_path_factory.mktemp("honest")
    scene = small_scene(folder / "scene.tif")
    assert call("compress", scene, folder / "scene.zarr", "--tile", "64").exit_code == 0
    return folder


@pytest.fixture
def store(honest, tmp_path):
    return Path(shutil.copytree(honest / "scene.zarr", tmp_path / "scene.zarr"))


def refused(*words, says="", code=(1, 2)):
    """The one line that the command gives: no traceback, no bug of ours, nothing that steers a terminal."""
    result = call(*words)
    line = result.stderr.strip()
    assert result.exit_code in code, (result.output, line)
    assert "\n" not in line
    assert line.isprintable()
    assert "unexpected" not in line, line
    assert says in line, line
    return line


def change(path, *keys, to):
    """Put a value at these keys of a JSON file, of JSON in a word of it too."""
    path.write_text(changed(path.read_text(), keys, to))


def changed(text, keys, to):
    facts = json.loads(text)
    place = facts
    for depth, key in enumerate(keys[:-1], 1):
        if isinstance(place[key], str):
            place[key] = changed(place[key], keys[depth:], to)
            return json.dumps(facts)
        place = place[key]
    place[keys[-1]] = to
    return json.dumps(facts)


OURS = ("attributes", "terrasketch")
METADATA = {
    "rows": ("zarr.json", (*OURS, "source", "height"), HUGE, "tiles"),
    "infinite": ("zarr.json", (*OURS, "source", "height"), float("inf"), "damaged"),
    "columns": ("zarr.json", (*OURS, "source", "width"), 10**30, "tiles"),
    "tile of nothing": ("zarr.json", (*OURS, "tile"), 0, "at least 1 pixel"),
    "tile": ("zarr.json", (*OURS, "tile"), HUGE, "in chunks of"),
    "variable": ("zarr.json", (*OURS, "variable"), "../../elsewhere", "holds no"),
    "shape": ("scene/zarr.json", ("shape",), [4, HUGE, HUGE], "in chunks of"),
    "dtype": ("scene/zarr.json", ("data_type",), "string", "not what we wrote"),
    "external codec": ("scene/zarr.json", ("codecs",), [{"name": "numcodecs.pickle"}], "not what we wrote"),
    "codec twice": ("valid/zarr.json", ("codecs",), [{"name": "bytes"}, *[{"name": "blosc"}] * 2], "not what we wrote"),
    "sharding": ("scene/zarr.json", ("codecs",), [{"name": "sharding_indexed"}], "not what we wrote"),
    "keys": ("scene/zarr.json", ("chunk_key_encoding",), KEYS, "named by"),
    "transformers": ("scene/zarr.json", ("storage_transformers",), [{"name": "x"}], "no plain"),
    "mask in huge chunks": ("valid/zarr.json", ("chunk_grid", "configuration", "chunk_shape"), [HUGE] * 2, "in chunks"),
    "mask of text": ("valid/zarr.json", ("data_type",), "string", "not what we wrote"),
}


@pytest.mark.parametrize("name", METADATA)
def test_metadata_of_a_store_that_lie(store, tmp_path, name):
    file, keys, value, says = METADATA[name]
    change(store / file, *keys, to=value)
    refused("decompress", store, tmp_path / "out.tif", says=says)
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize("word", ["", "{", "[]", '"{}"', "[" * 900 + "]" * 900, "x" * 1000])
def test_our_attribute_in_other_words(store, tmp_path, word):
    change(store / "zarr.json", *OURS, to=word)
    refused("decompress", store, tmp_path / "out.tif", says="`terrasketch` attribute")


def test_configurations_of_other_kinds_are_no_bug_of_ours(store):
    for odd in ([], 1, {"compress": []}, {"compress": {"bound": []}}):
        change(store / "zarr.json", *OURS, "configuration", to=odd)
        result = call("inspect", store)
        assert result.exit_code == 0 or "unexpected" not in result.stderr, (odd, result.stderr)


@pytest.mark.parametrize("content", ["[" * 200_000, "[" * 900 + "]" * 900, '{"a":' * 70 + "1" + "}" * 70])
def test_json_too_deep(store, tmp_path, content):
    (store / "zarr.json").write_text(content)
    refused("inspect", store, says="not a store")
    item = tmp_path / "item.json"
    item.write_text(content)
    refused("inspect", item, says="item.json")
    with pytest.raises(ValueError):
        parse_json(content)


def test_files_without_an_end(store, tmp_path):
    for link in (store / "zarr.json", tmp_path / "item.json", tmp_path / "scene.tif", tmp_path / "job.yaml"):
        link.unlink(missing_ok=True)
        link.symlink_to("/dev/zero")
    refused("inspect", tmp_path / "item.json", says="it is no file")
    refused("inspect", tmp_path / "scene.tif", says="no file")
    refused("run", tmp_path / "job.yaml", says="bytes")
    os.mkfifo(tmp_path / "pipe.tif")
    refused("inspect", tmp_path / "pipe.tif", says="no file")
    with pytest.raises(OSError, match="no file"):
        read_file(store / "zarr.json", 100)


def test_files_larger_than_any(store, tmp_path):
    for path in (store / "zarr.json", tmp_path / "item.json"):
        os.truncate(path, 1 << 40) if path.exists() else path.write_bytes(b"")
        os.truncate(path, 1 << 40)
        refused("inspect", store if path.name == "zarr.json" else path)
    assert "larger than 2 GiB" in refused("inspect", tmp_path / "item.json")


def harm_pipe(chunk, _elsewhere):
    chunk.unlink()
    os.mkfifo(chunk)


def harm_device(chunk, _elsewhere):
    chunk.unlink()
    chunk.symlink_to("/dev/zero")


def harm_link(chunk, elsewhere):
    shutil.move(chunk, elsewhere)
    chunk.symlink_to(elsewhere)


def harm_length(chunk, _elsewhere):
    os.truncate(chunk, 1 << 40)


@pytest.mark.parametrize("harm", [harm_pipe, harm_device, harm_link, harm_length])
@pytest.mark.parametrize("chunk", ["scene/c/0/0/0", "valid/c/0/0"])
def test_chunks_that_are_no_files_of_the_store(store, tmp_path, harm, chunk):
    harm(store / chunk, tmp_path / "elsewhere")
    refused("decompress", store, tmp_path / "out.tif", says="damaged chunk")


def test_a_frame_that_unpacks_to_gigabytes(store, tmp_path):
    chunk = store / "valid/c/0/0"
    data = bytearray(chunk.read_bytes())
    data[4:8] = (2**31 - 64).to_bytes(4, "little")
    chunk.write_bytes(data)
    refused("decompress", store, tmp_path / "out.tif", says="does not unpack to the 4096 bytes")


def test_a_frame_that_says_it_goes_on_beyond_its_file(store, tmp_path):
    chunk = store / "valid/c/0/0"
    data = bytearray(chunk.read_bytes())
    data[12:16] = (800 << 20).to_bytes(4, "little")  # Blosc followed this into memory that is not there
    data[-4:] = google_crc32c.value(bytes(data[:-4])).to_bytes(4, "little")
    chunk.write_bytes(data)
    refused("decompress", store, tmp_path / "out.tif", says="does not unpack to the 4096 bytes")


def test_nothing_is_written_through_a_link_out_of_a_store(tmp_path):
    store, outside = tmp_path / "scene.zarr.partial", tmp_path / "outside"
    outside.mkdir()
    (store / "scene" / "c").mkdir(parents=True)
    (store / "scene" / "c" / "0").symlink_to(outside)
    with pytest.raises(OutputError, match="by a link"):
        put_chunk(store, store / "scene" / "c" / "0" / "7" / "7", b"bytes")
    (store / ".partial").symlink_to(outside)
    with pytest.raises(OutputError, match="by a link"):
        put_chunk(store, store / "valid" / "c" / "0", b"bytes")
    assert not list(outside.iterdir())


class TestItems:
    def item(self, folder, **asset):
        band = {"href": "./scene.tif", "type": "image/tiff", "roles": ["data"]} | asset
        facts = {"type": "Feature", "stac_version": "1.0.0", "id": "../../etc", "geometry": None, "links": []}
        facts |= {"properties": {"datetime": "2020-01-01T00:00:00Z"}, "assets": {"all": band}}
        path = folder / "item.json"
        path.write_text(json.dumps(facts))
        return path

    @pytest.mark.parametrize(
        "href",
        [
            "MEM:::DATAPOINTER=1,PIXELS=9,LINES=9",
            "WMS:http://127.0.0.1:9/wms",
            "<VRTDataset rasterXSize='1' rasterYSize='1'/>",
            "/vsistdin/",
            "/vsimem/a.tif",
            "gopher://127.0.0.1/a.tif",
            "a\x1b[2J.tif",
        ],
    )
    def test_assets_that_are_no_files(self, tmp_path, href):
        refused("inspect", self.item(tmp_path, href=href), says="an asset is at")

    @pytest.mark.parametrize("facts", [{"eo:bands": 3}, {"type": [1]}, {"roles": 5}, {"href": {}}, {"roles": [[]]}])
    def test_facts_of_other_kinds(self, tmp_path, facts):
        refused("inspect", self.item(tmp_path, **facts), says="no valid STAC item")

    def test_the_id_is_no_path(self, honest, tmp_path):
        shutil.copy(honest / "scene.tif", tmp_path / "scene.tif")
        result = call("inspect", self.item(tmp_path), "--json")
        assert json.loads(result.stdout)["name"] == "_.._etc"


def vrt(source, more="", relative=0):
    return (
        '<VRTDataset rasterXSize="4" rasterYSize="4"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        f'<SourceFilename relativeToVRT="{relative}">{escape(source)}</SourceFilename><SourceBand>1</SourceBand>'
        f"</SimpleSource></VRTRasterBand>{more}</VRTDataset>"
    )


class TestNetwork:
    @pytest.fixture
    def server(self):
        """A loopback listener, and what connected to it: GDAL's own sockets are seen by no hook of Python's."""
        calls = []
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def listen():
                while True:
                    try:
                        connection, _ = listener.accept()
                    except OSError:
                        return
                    calls.append(connection)
                    connection.close()

            thread = threading.Thread(target=listen, daemon=True)
            thread.start()
            yield f"127.0.0.1:{listener.getsockname()[1]}", calls
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()

    def test_local_files_open_no_connection(self, server, tmp_path):
        address, calls = server
        tiles = (
            f"<GDAL_WMS><Service name='TMS'><ServerUrl>http://{address}/${{z}}/${{x}}/${{y}}.png</ServerUrl></Service>"
            "<DataWindow><UpperLeftX>0</UpperLeftX><UpperLeftY>9</UpperLeftY><LowerRightX>9</LowerRightX>"
            "<LowerRightY>0</LowerRightY><TileLevel>1</TileLevel></DataWindow><BandsCount>1</BandsCount></GDAL_WMS>"
        )
        coverage = f"<WCS_GDAL><ServiceURL>http://{address}/wcs?</ServiceURL><CoverageName>a</CoverageName></WCS_GDAL>"
        files = {
            "a.vrt": vrt(f"http://{address}/a.tif"),
            "b.vrt": vrt(f"/vsicurl/http://{address}/a.tif"),
            "c.vrt": vrt("/vsis3/bucket/a.tif"),
            "d.vrt": vrt(f"/vsizip/vsicurl/http://{address}/a.zip/a.tif"),
            "e.vrt": vrt(tiles),
            "f.vrt": vrt("a.vrt", relative=1),
            "g.vrt": vrt(vrt(f"/vsicurl?url=http://{address}/a.tif")),
            "h.vrt": vrt(f"vrt:///vsicurl/http://{address}/a.tif?bands=1"),
            "i.vrt": vrt(
                "a.tif", f'<Metadata domain="GEOLOCATION"><MDI key="X_DATASET">http://{address}/</MDI></Metadata>'
            ),
            "j.vrt": vrt(f"WMS:http://{address}/wms"),
            "k.xml": tiles,
            "l.xml": coverage,
            "m.xml": f"<GDAL_WMTS><GetCapabilitiesUrl>http://{address}/</GetCapabilitiesUrl></GDAL_WMTS>",
        }
        for name, content in files.items():
            (tmp_path / name).write_text(content)
            refused("inspect", tmp_path / name, says=name)
        inline = vrt(f"/vsicurl/http://{address}/a.tif")
        refused("inspect", inline, says="no such file")
        assert not calls
        assert call("inspect", f"http://{address}/a.tif").exit_code == 1
        assert calls  # a remote path is the user's own word; and this listener does hear GDAL

    def test_an_honest_mosaic_is_read(self, honest, tmp_path):
        shutil.copy(honest / "scene.tif", tmp_path / "scene.tif")
        note = '<Metadata><MDI key="SOURCE">https://example.org/</MDI></Metadata>'
        (tmp_path / "a.vrt").write_text(vrt("scene.tif", note, relative=1))
        assert call("inspect", tmp_path / "a.vrt").exit_code == 0

    def test_no_socket_is_made_for_a_local_scene(self, honest, tmp_path):
        guard = (
            "import sys\n"
            "def hook(event, args):\n"
            "    if event == 'socket.bind' and args[1] == ('::1', 0):\n"
            "        return\n"  # urllib3, where boto3 is installed, finds out whether there is an IPv6
            "    if event in ('socket.connect', 'socket.bind', 'socket.getaddrinfo'):\n"
            "        raise SystemExit(f'{event} {args}')\n"
            "sys.addaudithook(hook)\n"
            "from pipeline.cli.main import main\n"
            "main(sys.argv[1:])\n"
        )
        words = [sys.executable, "-c", guard, "compress", honest / "scene.tif", tmp_path / "s.zarr", "--tile", "64"]
        done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def raw_band(source):
    return (
        '<VRTDataset rasterXSize="4" rasterYSize="4"><VRTRasterBand dataType="Byte" band="1" '
        f'subClass="VRTRawRasterBand"><SourceFilename relativetoVRT="1">{source}</SourceFilename>'
        "</VRTRasterBand></VRTDataset>"
    )


def test_lists_of_rasters_that_lead_elsewhere(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "secret").write_bytes(bytes(100))
    path = tmp_path / "in" / "a.vrt"
    cases = {
        raw_band("../secret"): "outside its folder",
        raw_band("/etc/passwd"): "outside its folder",
        vrt("a.vrt", relative=1): "a.vrt",
        "<!DOCTYPE a [<!ENTITY u 'http'>]>" + vrt("&u;"): "entities",
        vrt("x").replace("</VRTDataset>", ""): "no XML",
        vrt("MEM:::DATAPOINTER=1,PIXELS=4,LINES=4"): "no file",
    }
    for content, says in cases.items():
        path.write_text(content)
        refused("inspect", path, says=says)
    for number in range(20):
        (tmp_path / f"{number}.vrt").write_text(vrt(f"{number + 1}.vrt", relative=1))
    refused("inspect", tmp_path / "0.vrt", says="more than 8 deep")


class TestRasters:
    def sparse(self, path, height, width, **profile):
        words = {"driver": "GTiff", "dtype": "uint8", "count": 1, "SPARSE_OK": True} | profile
        with rasterio.open(path, "w", height=height, width=width, **words):
            pass
        return path

    def test_more_pixels_than_any_scene(self, tmp_path):
        path = self.sparse(tmp_path / "a.tif", 2**26, 2**26, tiled=True, blockxsize=2**20, blockysize=1024)
        refused("compress", path, tmp_path / "a.zarr", "--tile", "256", says="on a side")
        refused("compress", path, tmp_path / "a.zarr", "--tile", "8192", says="on a side")
        assert [one.name for one in tmp_path.iterdir()] == ["a.tif"]

    def test_longer_than_any_scene(self, tmp_path):
        path = self.sparse(tmp_path / "a.tif", 1, 2**28)
        refused("compress", path, tmp_path / "a.zarr", says="on a side")

    def test_blocks_that_fill_the_memory(self, tmp_path):
        path = self.sparse(tmp_path / "a.tif", 65536, 65536, tiled=True, blockxsize=65536, blockysize=65536)
        refused("inspect", path, says="4096 MiB each")
        path = self.sparse(tmp_path / "b.tif", 8192, 8192, count=40, tiled=True, blockxsize=8192, blockysize=8192,
                           interleave="pixel")  # fmt: skip
        refused("inspect", path, says="2560 MiB each")

    def test_more_bands_than_memory_takes(self, tmp_path, monkeypatch):
        path = self.sparse(tmp_path / "a.tif", 300, 300, count=4100, tiled=True, interleave="band")
        refused("compress", path, tmp_path / "a.zarr", "--tile", "256", says="a smaller --tile")
        assert not (tmp_path / "a.zarr").exists()
        monkeypatch.setattr("pipeline.raster.geotiff.MOST_READ_BYTES", 1 << 20)
        refused("inspect", path, says="choose bands")

    def test_places_that_are_none(self, tmp_path):
        block = np.ones((1, 8, 8), np.uint8)
        near = write_tif(tmp_path / "a_B1.tif", block)
        far = write_tif(tmp_path / "a_B2.tif", block, transform=rasterio.Affine(20, 0, 1e17, 0, -20, 0))
        lost = write_tif(tmp_path / "a_B3.tif", block, transform=rasterio.Affine(20, 0, float("nan"), 0, -20, 0))
        small = write_tif(tmp_path / "a_B4.tif", block, transform=rasterio.Affine(1e-12, 0, 435_740, 0, -20, 4_179_460))
        folders = [tmp_path / name for name in ("far", "small")]
        for folder, other in zip(folders, (far, small), strict=True):
            folder.mkdir()
            for file in (near, other):
                shutil.copy(file, folder)
            refused("inspect", folder, says="pixels of")
        refused("inspect", lost, says="not finite")


def test_grids_are_bounded():
    Grid(16 << 12, 16 << 12, 16)
    with pytest.raises(ConfigError, match=str(MOST_TILES)):
        Grid(2**31, 2**31, 16)


class TestNames:
    ODD = "\x1b[31mred\x1b]0;title\x07\u202egnp.exe\x9b"

    def test_messages_steer_no_terminal(self, tmp_path):
        refused("inspect", tmp_path / f"{self.ODD}.tif", says="\\x1b[31m")
        refused("inspect", tmp_path / "a.tif", "--bands", self.ODD)
        (tmp_path / "job.yaml").write_text(json.dumps({self.ODD * 10: 1}))
        assert len(refused("run", tmp_path / "job.yaml", says="unknown key")) < 2100

    def test_results_steer_no_terminal(self, tmp_path):
        path = write_tif(tmp_path / f"{self.ODD}.tif", np.ones((2, 70, 70), np.uint8))
        with rasterio.open(path, "r+") as file:
            file.descriptions = (self.ODD, "<script>alert(1)</script>")
        for words in (["inspect", path], ["compress", path, tmp_path / "a.zarr"], ["compare", path, path]):
            result = call(*words)
            assert result.exit_code == 0, result.stderr
            assert all(line.isprintable() for line in result.stdout.splitlines()), result.stdout
        assert call("inspect", tmp_path / "a.zarr").exit_code == 0

    def test_names_that_are_no_utf_8(self, tmp_path):
        path = os.fsdecode(bytes(tmp_path) + b"/caf\xe9.tif")
        write_tif(tmp_path / "a.tif", np.ones((1, 70, 70), np.uint8)).rename(path)
        for words in (["inspect", path], ["compress", path, tmp_path / "a.zarr"], ["inspect", tmp_path / "a.zarr"]):
            done = subprocess.run(
                [sys.executable, "-m", "pipeline.cli", *map(os.fspath, words)], capture_output=True, check=False
            )
            assert b"Traceback" not in done.stderr
            assert b"unexpected" not in done.stderr, done.stderr

    def test_what_is_printable_stays(self):
        assert printable("Zürich 東京 µm\n") == "Zürich 東京 µm\n"
        assert printable("\x00\x7f\x85\u2066\udcff") == "\\x00\\x7f\\x85\\u2066\\udcff"
        assert len(one_line("a" * 10**6)) < 2100


MEMORY = """
import resource, sys, json
from pathlib import Path
from pipeline.cli.main import main
honest, *hostile = json.loads(sys.argv[1])
try:
    main(honest)  # libraries and compiled kernels are there, and do not count
except SystemExit as left:
    assert not left.code, honest
for words in hostile:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (700 << 20), resource.RLIM_INFINITY))
    try:
        main(words)
    except SystemExit as left:
        assert left.code in (1, 2), (words, left.code)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)
"""


def test_all_of_it_in_little_memory(honest, tmp_path):
    def case(name):
        return Path(shutil.copytree(honest / "scene.zarr", tmp_path / f"{name}.zarr"))

    bomb, long, deep, mask = (case(name) for name in ("bomb", "long", "deep", "mask"))
    frame = bytearray((bomb / "valid/c/0/0").read_bytes())
    frame[4:8] = (2**31 - 64).to_bytes(4, "little")
    (bomb / "valid/c/0/0").write_bytes(frame)
    os.truncate(long / "scene/c/0/0/0", 1 << 40)
    (deep / "zarr.json").write_text("[" * (8 << 20))
    change(mask / "valid/zarr.json", "chunk_grid", "configuration", "chunk_shape", to=[1 << 16] * 2)
    os.symlink("/dev/zero", tmp_path / "item.json")
    tif = TestRasters().sparse(
        tmp_path / "b.tif", 60000, 60000, tiled=True, blockxsize=60000 // 16 * 16, blockysize=59984
    )
    out = str(tmp_path / "out.tif")
    commands = [["decompress", str(honest / "scene.zarr"), str(tmp_path / "honest.tif")]]
    commands += [["decompress", str(one), out] for one in (bomb, long, deep, mask)]
    commands += [["inspect", str(tmp_path / "item.json")], ["inspect", str(tif)], ["run", "/dev/zero"]]
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, json.dumps(commands)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == len(commands) - 1, done.stderr
    assert not [line for line in lines if "memory" in line or "unexpected" in line], lines
    assert resource.getpagesize() > 0


def test_no_word_of_what_gdal_says_in_no_known_letters(tmp_path):
    """rasterio cannot log such a message; Python then printed a traceback, and the command went on."""
    path = write_tif(tmp_path / "scene.tif", np.ones((2, 16, 16), np.uint8))
    with rasterio.open(path, "r+") as file:
        file.descriptions = ("one", "two")
    data = path.read_bytes()
    assert data.count(b'<Item name="DESCRIPTION"') == 2
    path.write_bytes(data.replace(b"<Item name=", b"<Item \xd6ame "))
    words = [sys.executable, "-m", "pipeline.cli", "inspect", str(path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert done.returncode == 0
