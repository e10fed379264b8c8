"""Counts the tiles that a run begins, computes and finds done: lines of one length in a file beside the outputs.

The driver and every worker import this; the workers of a cluster as a preload of `dask worker`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.flow.compress import SceneJob
from pipeline.flow.feature_job import FeatureJob
from pipeline.flow.network_mean import MeanJob, SumsJob
from pipeline.grid import Tile

LENGTH = 64
STAGES: dict[type[Any], str] = {SceneJob: "scene", FeatureJob: "features", SumsJob: "sums", MeanJob: "mean"}
_done: list[bool] = []


def install() -> None:
    """Have every job of this process write down its tiles."""
    if not _done:
        _done.append(True)
        for kind, stage in STAGES.items():
            kind.run = _counted(kind.run, stage)


def dask_setup(_worker: object) -> None:
    """What `dask worker --preload` calls."""
    install()


def log_of(folder: Path) -> Path:
    """The log of the runs in ROOT/disk/NAME: not on the disk that is filled up."""
    return folder.parents[1] / "logs" / f"{folder.name}.log"


def _counted(run: Callable[[Any, Tile], Any], stage: str) -> Callable[[Any, Tile], Any]:
    def counted(self: Any, tile: Tile) -> Any:
        scene = Path(self.store).parent
        log, about = log_of(scene.parents[1]), f"{scene.name} {stage} {tile.row}.{tile.column} {os.getpid()}"
        _note(log, f"begin {about}")
        try:
            wrote = run(self, tile)
        except BaseException:
            _note(log, f"failed {about}")
            raise
        _note(log, f"{'found' if wrote.resumed else 'wrote'} {about}")
        return wrote

    return counted


def _note(log: Path, text: str) -> None:
    """Append one line; the system keeps short appends of several processes apart."""
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, text.ljust(LENGTH - 1)[: LENGTH - 1].encode() + b"\n")
    finally:
        os.close(file)
