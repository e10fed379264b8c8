"""What is done to the outputs between two runs: chunks torn, cut, flipped or gone, junk left, files removed."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

TO_CHUNKS = ("delete", "cut", "tear", "flip", "empty")
TO_FILES = ("junk", "forget", "unframe")
VARIABLES = ("scene", "valid", "features")
FRAME = ("x/c/0", "y/c/0", "x/zarr.json", "band/c/0")
"""Files of a store that are no chunk of a tile."""
FORGETTABLE = ("bank.npz", "basis.npz", "receipt.json", "item.json", "report.html", "denoised.tif", "features.tif")


@dataclass(frozen=True)
class Damage:
    """One thing done to what a stopped run left; `chance` in [0, 1) chooses where."""

    kind: str
    chance: float
    place: float = 0.5


def apply(damage: Damage, out: Path) -> str | None:
    """Do it; the path of the chunk that is no longer whole, by its store's final name, or None."""
    if damage.kind in TO_CHUNKS:
        chunks = sorted(path for name in VARIABLES for path in out.glob(f"*/*.zarr*/{name}/c/**/*") if path.is_file())
        return _to_chunk(damage, chunks[int(damage.chance * len(chunks))], out) if chunks else None
    scenes = sorted(path for path in out.glob("*") if path.is_dir())
    if not scenes:
        return None
    scene = scenes[int(damage.chance * len(scenes))]
    if damage.kind == "junk":
        _leave_junk(scene)
    elif damage.kind == "unframe":
        files = [store / name for store in sorted(scene.glob("*.zarr*")) for name in FRAME if (store / name).exists()]
        if files:
            files[int(damage.place * len(files))].unlink()
            return by_final_name(files[int(damage.place * len(files))], out)
    else:
        name = FORGETTABLE[int(damage.place * len(FORGETTABLE))]
        (scene / name).unlink(missing_ok=True)
    return None


def by_final_name(path: Path, out: Path) -> str:
    """The path of a chunk as it is when its store is whole."""
    return str(path.relative_to(out)).replace(".zarr.partial/", ".zarr/").replace(".sums.partial/", ".sums/")


def tile_of(chunk: str) -> tuple[str, str, str] | None:
    """(scene, stage, tile) that has to be computed again where this file is damaged, if it is a chunk of a tile."""
    parts = chunk.split("/")
    if parts[2] not in VARIABLES:
        return None
    stage = parts[1].removeprefix("features.zarr.").removesuffix(".zarr")
    return parts[0], stage, ".".join(parts[-2:])


def _to_chunk(damage: Damage, path: Path, out: Path) -> str:
    content = path.read_bytes()
    place = min(len(content) - 1, int(damage.place * len(content)))
    if damage.kind == "delete" or not content:
        path.unlink()
    elif damage.kind == "cut":
        path.write_bytes(content[:place])
    elif damage.kind == "flip":
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :])
    elif damage.kind == "empty":
        path.write_bytes(b"")
    else:
        torn = np.random.default_rng([place]).bytes(min(64, len(content) - place))
        path.write_bytes(content[:place] + torn + content[place + len(torn) :])
    return by_final_name(path, out)


def _leave_junk(scene: Path) -> None:
    """What killed writers of every kind leave behind."""
    for store in scene.glob("*.zarr*"):
        (store / ".partial").mkdir(exist_ok=True)
        (store / ".partial" / "0123456789abcdef").write_bytes(b"half a chunk")
    (scene / ".denoised.tif.x1y2z3.partial").mkdir(exist_ok=True)
    (scene / ".denoised.tif.x1y2z3.partial" / "draft.tif").write_bytes(b"II*\0")
    (scene / ".bank.npz.1.partial").write_bytes(b"PK")
    if not (scene / "item.json").exists():
        (scene / ".item.json.1.partial").write_bytes(b"{")
    if not (scene / "scene.zarr").exists() and not (scene / "scene.zarr.partial").exists():
        shutil.rmtree(scene / "scene.zarr.draft.partial", ignore_errors=True)
        (scene / "scene.zarr.draft.partial" / "scene").mkdir(parents=True)
