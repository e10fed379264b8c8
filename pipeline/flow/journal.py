"""The store is the journal: a chunk that is there and whole is done.

While a store is being filled its name ends in `.partial`, so nothing half-written looks whole; in an object store,
where nothing is renamed, its metadata wait in a journal (raster/object_stores.py). A store begun under another
configuration is refused, with the difference named.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import __version__
from pipeline.errors import OutputError, ResumeError, elsewhere, unwritable
from pipeline.flow.difference import differences
from pipeline.flow.lock import hold
from pipeline.raster.chunks import PARTIAL, publish, remove_tree, sweep
from pipeline.raster.frame import Frame
from pipeline.raster.object_stores import finish_objects, is_begun, put_empty
from pipeline.raster.scene import SceneInfo
from pipeline.raster.zarr_store import Variable, create_store, read_attributes
from pipeline.storage import ObjectPath, Place

_SHOWN = 3


@contextmanager
def alone(lock: Place, output: Place | None = None) -> Iterator[None]:
    """Keep other runs off an output while this one writes it; the system lets go of the lock when a process dies.

    output: what is locked, where it is not the folder of the lock.

    Raises:
        OutputError: another run is writing there, or the folder cannot be made.
    """
    if isinstance(lock, ObjectPath):
        with hold(lock, output or lock.parent):
            yield
        return
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        file = lock.open("w")
    except OSError as error:
        raise OutputError(f"{lock.parent}: cannot be written: {elsewhere(error.strerror)}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.path.samestat(os.fstat(file.fileno()), lock.stat()):
                raise FileNotFoundError(lock)  # its last holder has just removed it, and another may hold a new one
        except OSError as error:
            raise OutputError(
                f"{output or lock.parent}: another run is writing here; wait for it, or give another output"
            ) from error
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


@dataclass(frozen=True)
class Plan:
    """A store to fill: where, of which scene, with which variables, under which configuration."""

    final: Place
    info: SceneInfo
    tile: int
    variables: tuple[Variable, ...]
    configuration: dict[str, Any]
    frame: Frame | None = None
    """The labels that the scene came with as an array; None where its store gets those of a file."""

    @property
    def partial(self) -> Place:
        """The store's name until it is whole; in an object store its own."""
        return self.final.with_name(self.final.name + ".partial") if isinstance(self.final, Path) else self.final

    @property
    def begun(self) -> bool:
        """True where there is a store to take up again."""
        return any(map(is_begun, dict.fromkeys((self.final, self.partial))))

    def begin(self) -> Place:
        """The store to fill: the one that is there, or a new one.

        Raises:
            ResumeError: the one that is there was begun under another configuration.
        """
        for path in dict.fromkeys((self.final, self.partial)):
            if is_begun(path):
                check_configuration(path, self.configuration)
                sweep(path)
                self._mend(path)
                return path
        remove_tree(self.partial)
        if isinstance(self.final, ObjectPath):
            with tempfile.TemporaryDirectory(prefix="terrasketch-") as folder:
                draft = Path(folder) / self.final.name
                self._create(draft)
                put_empty(draft, self.final)
            return self.final
        draft = self.final.with_name(self.final.name + ".draft.partial")
        remove_tree(draft)
        try:
            self._create(draft)
            draft.replace(self.final.with_name(self.final.name + ".partial"))
        except BaseException:  # an array that cannot be stored, a full disk, Ctrl-C
            remove_tree(draft)
            raise
        return self.partial

    def _mend(self, path: Place) -> None:
        """Put back what is no chunk of a tile, coordinates and the variables' metadata, where it is lost or torn.

        Not in an object store, whose objects are whole or not there, and whose metadata are put last.
        """
        if isinstance(path, ObjectPath):
            return
        draft = path / PARTIAL / "frame"
        self._create(draft)
        try:
            for new in filter(Path.is_file, sorted(draft.rglob("*"))):
                old = path / new.relative_to(draft)
                if not old.is_file() or (old.name != "zarr.json" and old.read_bytes() != new.read_bytes()):
                    old.parent.mkdir(parents=True, exist_ok=True)
                    new.replace(old)
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {unwritable(error)}") from error
        sweep(path)

    def finish(self, path: Place) -> Place:
        """Every chunk is there: give the store its own name, or its metadata."""
        if isinstance(path, ObjectPath):
            finish_objects(path)
            return path
        sweep(path)
        if path != self.final:
            assert isinstance(self.final, Path)
            publish(path, self.final)
        return self.final

    def _create(self, draft: Path) -> None:
        create_store(draft, self.info, self.tile, list(self.variables), self._attributes(), self.frame)

    def _attributes(self) -> dict[str, Any]:
        record: dict[str, Any] = {} if self.frame is None else self.frame.record()
        return record | {
            "version": __version__,
            "variable": self.variables[0].name,
            "tile": self.tile,
            "source": self.info.to_json(),
            "configuration": self.configuration,
            "configuration_hash": configuration_hash(self.configuration),
        }


def configuration_hash(configuration: dict[str, Any]) -> str:
    """SHA-256 of the configuration as canonical JSON."""
    text = json.dumps(configuration, sort_keys=True, separators=(",", ":"), allow_nan=True)
    return hashlib.sha256(text.encode()).hexdigest()


def check_configuration(path: Place, configuration: dict[str, Any]) -> None:
    """Refuse a store that was begun under another configuration, naming what differs.

    Raises:
        ResumeError: the hashes differ.
    """
    attributes = read_attributes(path)
    begun, now = str(attributes.get("configuration_hash")), configuration_hash(configuration)
    if begun == now:
        return
    different = differences(attributes.get("configuration"), configuration)
    more = f" and {len(different) - _SHOWN} more" if len(different) > _SHOWN else ""
    # Features come after their scene: it is there, and is as it should be.
    keep = ", or remove it to make the features alone anew" if "features" in configuration else ""
    raise ResumeError(
        f"{path} was begun under another configuration ({begun[:12]}, now {now[:12]}): "
        f"{'; '.join(different[:_SHOWN])}{more}; give another output, or --overwrite{keep}"
    )
