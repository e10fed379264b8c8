"""Bases of the scene: a first pass over windows spread evenly, whose sums give all tiles one noise, one set of planes,
one basis and one set of classes.

Four maps, or five where the noise grows with the signal. A task answers for a fixed batch of windows, the driver adds
up the answers in their order: the same model on every scheduler. It is kept in a file that workers read once.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pipeline.denoise import model_file, pool
from pipeline.denoise.defects import Repair
from pipeline.denoise.model import SceneModel
from pipeline.denoise.settings import groups, settings_for
from pipeline.errors import BankError, OutputError, TerrasketchError, TileError
from pipeline.flow.basis_files import basis_folder, make_folder, model_file_of
from pipeline.flow.by_date import dates_of, group_of_dates
from pipeline.flow.denoise import FILE_KINDS, Denoising, ModelFile
from pipeline.flow.threads import one_blas_thread
from pipeline.grid import Window
from pipeline.network import bank_file
from pipeline.raster.masks import clear_of
from pipeline.raster.scene import Source
from pipeline.storage import Place

SIDE = 256
MOST_WINDOWS = 24
PASSES = 5
"""Over the windows, at most."""
BATCH = 2
"""Windows a task answers for: fixed, so that the sums do not depend on the workers."""
SCORES = 1 << 24
"""Scores that come back to the driver to find the classes with: 64 MB."""

Step = Callable[..., Any]
"""(block, valid, origin) to what a window adds, or None."""


class Gather(Protocol):
    """Runs a function over many arguments somewhere; the results come in the arguments' order."""

    def __call__(self, function: Callable[[Any], Any], arguments: Sequence[Any]) -> Iterator[Any]: ...


@dataclass(frozen=True)
class Look:
    """One task: what a step finds in a few windows, added up where it can be."""

    source: Source
    step: Step
    merge: bool

    def __call__(self, windows: Sequence[Window]) -> Any:
        with one_blas_thread():
            found = [one for one in map(self._window, windows) if one is not None]
            return pool.merged(found) if self.merge else found

    def _window(self, window: Window) -> Any:
        try:
            return self.step(*self.source.read(window), (window.y0, window.x0), clear=clear_of(self.source, window))
        except TerrasketchError as error:
            message = f"{self.source.info.name}: basis of the scene ({window}): {error}"
            raise TileError(message).of(error.file, window.to_json()) from error


def spread_windows(height: int, width: int, side: int = SIDE, most: int = MOST_WINDOWS) -> list[Window]:
    """At most `most` windows of at most side² pixels: the whole of a small scene, a lattice of a larger one."""
    rows, columns = -(-height // side), -(-width // side)
    if rows * columns > most:
        columns = min(most, max(1, int(columns * math.sqrt(most / (rows * columns)))))
        rows = min(rows, most // columns)
        columns = min(-(-width // side), most // rows)
    ys, xs = _cuts(height, rows, side), _cuts(width, columns, side)
    return [Window(y0, y1, x0, x1) for y0, y1 in ys for x0, x1 in xs]


def fit_scene(
    source: Source, quality: str, sigma: float | None, gather: Gather, repair: Repair = "all"
) -> SceneModel | None:
    """The model of a scene, mended of what `repair` says; None where the windows show no patch to learn from.

    Raises:
        TileError: a window cannot be read.
    """
    windows = spread_windows(source.info.height, source.info.width)
    batches = [windows[first : first + BATCH] for first in range(0, len(windows), BATCH)]

    def each(step: Step) -> list[Any]:
        return [one for found in gather(Look(source, step, False), batches) for one in found]

    def total(step: Step) -> Any:
        return pool.merged(gather(Look(source, step, True), batches))

    surveys = each(partial(pool.survey, sigma=sigma, repair=repair))
    if not surveys:
        return None
    model, pixels = replace(pool.agree(surveys), repair=repair), sum(one.pixels for one in surveys)
    if not model.sigma.any():
        return model
    if model.stabiliser is not None:
        model = pool.levelled(model, each(partial(pool.level, model=model)))
    bands, found = len(source.info.bands), model.whitening.V.shape[1]
    settings, most = (settings_for(q, bands, found).aligned(model.replicated) for q in (quality, "quality"))
    planes = groups(found, settings.patch)[0].stop
    # More classes want more patches, whatever the quality; a scene learns once.
    steps = most.learning(pixels, planes)
    settings = replace(settings, learn=steps, classes=most.classes)
    moments = total(partial(pool.basis_moments, model=model, settings=settings))
    if moments is None or moments[0].count == 0:
        return None
    model = pool.based(model, moments, settings)
    leading = sum(one.basis.leading(settings.leading).V.shape[1] for one in model.learnt)
    share = min(1.0, SCORES / (leading * moments[0].count))
    rows = each(partial(pool.leading_rows, model=model, settings=settings, share=share))
    model = pool.sorted_out(model, rows, settings, pixels)
    return pool.finished(model, total(partial(pool.members_moments, model=model, settings=settings)))


def with_basis(source: Source, denoising: Denoising, path: Place, key: str, gather: Gather) -> Denoising:
    """The denoising with the scene's model, kept at `path` for the workers; fitted unless it is there under this key.

    Each group of dates has one of its own, in the folder `basis_folder` of the path.

    Raises:
        TileError: a window cannot be read.
        OutputError: a file cannot be written.
    """
    if denoising.quality == "none" or denoising.basis == "tile":
        return denoising
    dates = dates_of(source.info)
    groups = dates.groups if dates is not None else ()
    if dates is None or len(groups) == 1:
        parts = [(source, path, 1 if dates is None else len(dates))]
    else:
        folder = basis_folder(path)
        parts = [
            (group_of_dates(source, dates, group), model_file_of(folder, number), len(group))
            for number, group in enumerate(groups)
        ]
    models = (_model_file(one, denoising, file, key, gather, denoising.mends(count)) for one, file, count in parts)
    return replace(denoising, models=tuple(models))


def _model_file(
    source: Source, denoising: Denoising, path: Place, key: str, gather: Gather, repair: Repair
) -> ModelFile | None:
    if not _made_for(path, key):
        with one_blas_thread():
            model = fit_scene(source, denoising.quality, denoising.sigma, gather, repair)
        if model is None:
            return None
        if isinstance(path, Path):
            make_folder(path)
        arrays = {"key": np.array(key), **model_file.to_arrays(model)}
        try:
            bank_file.write(path, bank_file.pack(arrays))
        except OutputError as error:
            raise OutputError(f"{path}: the basis of the scene cannot be written: {error.__cause__}") from error
    return ModelFile(str(path), _digest(path))


def _made_for(path: Place, key: str) -> bool:
    try:
        return str(bank_file.read(path, FILE_KINDS)["key"]) == key
    except BankError:
        return False


def _digest(path: Place) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _cuts(length: int, count: int, side: int) -> list[tuple[int, int]]:
    """The middles, at most `side` long, of `count` even parts of a length."""
    cuts = []
    for number in range(count):
        start, stop = length * number // count, length * (number + 1) // count
        start += max(0, (stop - start - side) // 2)
        cuts.append((start, min(stop, start + side)))
    return cuts
