"""What a run writes into the folder of a scene, and whether a folder is a run's: files of others are left alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from pipeline.errors import ConfigError, OutputError, elsewhere
from pipeline.raster.chunks import PARTIAL, remove_tree
from pipeline.raster.object_stores import is_begun
from pipeline.storage import ObjectPath, Place, is_url, lies_in, place

OUTPUTS = (
    "scene.zarr",
    "features.zarr",
    "features.zarr.sums",
    "denoised.tif",
    "denoised.tif.aux.xml",
    "features.tif",
    "features.tif.aux.xml",
    "bank.npz",
    "basis.npz",
    "basis",
    "item.json",
    "report.html",
    "receipt.json",
)
"""What a run writes into the folder of a scene."""
_STORES, _RECEIPT = ("scene.zarr", f"scene.zarr{PARTIAL}"), "receipt.json"
_PAPERS = ("run.json", "collection.json", "search-*.json")
"""Written beside the folders of the scenes, and named as STAC is."""
_TOLD = {"inputs", "stages", "options"}
"""Words of every receipt."""


def check_ours(folder: Place, used: Sequence[str] = ()) -> None:
    """Refuse a folder in which something has the name of an output, and no run has left a receipt or a scene's store.

    Args:
        used: paths that the run reads: a bank that was fitted into this folder is in order. So is what viewers leave
            beside a raster that is gone.

    Raises:
        OutputError: there is something, or the folder cannot be listed.
    """
    try:
        there = folder.names() if isinstance(folder, ObjectPath) else {path.name for path in folder.iterdir()}
        mine = [name for name in OUTPUTS if name in there and not name.endswith(".aux.xml")]
        foreign = next((name for name in mine if not _among(folder / name, used)), None)
        if foreign is None or is_of_run(folder):
            return
    except OSError as error:
        raise OutputError(f"{folder}: cannot be read: {elsewhere(error.strerror)}") from error
    raise OutputError(
        f"{folder / foreign} is no output of a run; give another --out, or --overwrite, which replaces it"
    )


def is_of_run(folder: Place) -> bool:
    """True where a run was at work: a store of the scene, whole, being filled or put, or a receipt.

    Raises:
        OutputError: that cannot be told.
    """
    if any(is_begun(folder / name) for name in _STORES) or _is_receipt(folder / _RECEIPT):
        return True
    return isinstance(folder, ObjectPath) and (folder / _STORES[0] / PARTIAL).is_dir()


def _is_receipt(path: Place) -> bool:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and found.keys() >= _TOLD


class Below:
    """What runs wrote below a folder, to tell it from scenes that lie there too. Each folder is looked at once."""

    def __init__(self, out: str | None = None) -> None:
        self.out = out
        self._root = None if out is None or is_url(out) else Path(out).resolve()
        self._of_run: dict[Path, bool] = {}

    def __contains__(self, path: object) -> bool:
        """True for the folder of a scene's outputs, all that lies in it, and the papers of all scenes."""
        if self._root is None or not isinstance(path, Path):
            return False
        here = path.parent.resolve() / path.name
        if not here.is_relative_to(self._root):
            return False
        parts = here.relative_to(self._root).parts
        if len(parts) == 1 and any(fnmatch(parts[0], paper) for paper in _PAPERS):
            return True
        folders = [self._root.joinpath(*parts[:count]) for count in range(len(parts))]
        return any(map(self._is_of_run, folders)) or (bool(parts) and here.is_dir() and self._is_of_run(here))

    def _is_of_run(self, folder: Path) -> bool:
        if folder not in self._of_run:
            self._of_run[folder] = is_of_run(folder)
        return self._of_run[folder]


def _among(path: Place, used: Sequence[str]) -> bool:
    return any(str(place(one).absolute()) == str(path.absolute()) for one in used)


def clear(folder: Place, used: Sequence[str]) -> None:
    """Remove the outputs of an earlier run, and nothing else.

    Raises:
        ConfigError: a path that this run reads is one of them.
    """
    outputs = [folder / name for name in OUTPUTS] + [folder / f"{name}{PARTIAL}" for name in OUTPUTS]
    for path in used:
        if any(lies_in(place(path).absolute(), output.absolute()) for output in outputs):
            raise ConfigError(f"{path} is an output of this run, and would be overwritten; give another --out")
    for output in outputs:
        remove_tree(output)
