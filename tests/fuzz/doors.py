"""The doors where bytes from anywhere enter: honest files to damage, and what is done with the damaged ones."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import google_crc32c
import numpy as np

from pipeline.codec import decode, decode_factors, read_header
from pipeline.config import load_workflow
from pipeline.flow.inspect import inspect_path
from pipeline.flow.journal import check_configuration
from pipeline.flow.read import open_scene
from pipeline.network import Bank
from pipeline.network.onnx_import import load
from pipeline.raster.placement import Placement
from pipeline.raster.places import read_places
from pipeline.run import name_scenes
from tests.fuzz.mutate import damage, damage_json

Damage = Callable[[bytes, Random], bytes]


@dataclass(frozen=True)
class Door:
    """A file below the folder of honest files, how it is damaged, and what opens it."""

    name: str
    file: str
    damage: Damage
    enter: Callable[[Path], object]
    """With the folder."""


def crc32(data: bytes, rng: Random) -> bytes:
    """A container of ours, damaged under a true checksum."""
    body = damage(data[:-4], rng)
    return body + struct.pack("<I", zlib.crc32(body))


def crc32c(data: bytes, rng: Random) -> bytes:
    """A plain chunk, damaged under a true checksum."""
    body = damage(data[:-4], rng)
    return body + struct.pack("<I", google_crc32c.value(body))


def _read(path: Path) -> None:
    source = open_scene(str(path))
    window = source.info.grid(64)[0].window
    source.read(window)


def _store(folder: Path) -> None:
    inspect_path([str(folder / "scene.zarr")])
    _read(folder / "scene.zarr")


def _container(folder: Path) -> None:
    data = (folder / "chunk.tslr").read_bytes()
    if np.prod(read_header(data).shape, dtype=float) <= 1 << 18:
        decode(data)
        decode_factors(data)


def _places(name: str) -> Callable[[Path], object]:
    def enter(folder: Path) -> None:
        source = open_scene(str(folder / "scene.tif"))
        read_places(str(folder / name), Placement.of(source.info.geo, "scene"), "scene")

    return enter


def doors() -> list[Door]:
    """All of them, in a fixed order."""
    chunk = "scene.zarr/scene/c/0/0/0"
    return [
        Door("container", "chunk.tslr", crc32, _container),
        Door("store", "scene.zarr/zarr.json", damage_json, _store),
        Door("array", "scene.zarr/scene/zarr.json", damage_json, _store),
        Door("mask", "scene.zarr/valid/zarr.json", damage_json, _store),
        Door("chunk", chunk, crc32, _store),
        Door("mask chunk", "scene.zarr/valid/c/0/0", crc32c, _store),
        Door("resumed", "scene.zarr/zarr.json", damage_json, lambda f: check_configuration(f / "scene.zarr", {"a": 1})),
        Door("bank", "bank.npz", damage, lambda folder: Bank.load(folder / "bank.npz")),
        Door("inspected bank", "bank.npz", damage, lambda folder: inspect_path([str(folder / "bank.npz")])),
        Door("network", "network.onnx", damage, lambda folder: load(folder / "network.onnx")),
        Door("workflow", "job.yaml", damage, lambda folder: name_scenes(load_workflow(folder / "job.yaml").sources)),
        Door("workflow in JSON", "job2.yaml", damage_json, lambda folder: load_workflow(folder / "job2.yaml")),
        Door("item", "item.json", damage_json, lambda folder: _read(folder / "item.json")),
        Door("raster", "scene.tif", damage, lambda folder: _read(folder / "scene.tif")),
        Door("list of rasters", "scene.vrt", damage, lambda folder: _read(folder / "scene.vrt")),
        Door("GeoJSON", "places.geojson", damage_json, _places("places.geojson")),
        Door("table", "places.csv", damage, _places("places.csv")),
        Door("GeoParquet", "places.parquet", damage, _places("places.parquet")),
    ]
