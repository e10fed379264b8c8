"""Bases of the scene: a first pass over windows spread evenly, whose sums give all tiles one noise, one set of planes,
one basis and one set of classes.

Four maps, or five where the noise grows with the signal. A task answers for a fixed batch of windows, the driver adds
up the answers in their order: the same model on every scheduler. It is kept in a file that workers read once.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from pipeline.denoise import model_file, pool
from pipeline.denoise.defects import Repair
from pipeline.denoise.model import SceneModel
from pipeline.denoise.settings import groups, settings_for
from pipeline.denoise.stray import without_stray
from pipeline.errors import BankError, OutputError, TerrasketchError, TileError
from pipeline.flow.basis_files import basis_folder, make_folder, model_file_of
from pipeline.flow.by_date import Dates, all_of, clear_on, dates_of, some_dates
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

AT_ONCE = 8
"""Groups of dates whose models are found side by side: a task carries all of them."""

Step = Callable[..., Any]
"""(block, valid, origin) to what a window adds, or None."""


class Gather(Protocol):
    """Runs a function over many arguments somewhere; the results come in the arguments' order."""

    def __call__(self, function: Callable[[Any], Any], arguments: Sequence[Any]) -> Iterator[Any]: ...


class Ask(NamedTuple):
    """What is wanted of every window."""

    step: Step
    merge: bool
    """Whether the answers are added up where they can be."""


Fit = Generator[Ask, Any, SceneModel | None]
"""Asks, is sent the answers, and returns a model."""


@dataclass(frozen=True)
class Look:
    """One task: what is asked of a few windows of a scene, or of groups of its dates; each window is read once."""

    source: Source
    asks: tuple[Ask, ...]
    dates: Dates | None = None
    groups: tuple[tuple[int, ...], ...] = ()
    """Of each ask the numbers of its dates; without dates there is one ask, of all bands."""

    def __call__(self, windows: Sequence[Window]) -> list[Any]:
        found: list[list[Any]] = [[] for _ in self.asks]
        with one_blas_thread():
            for window in windows:
                for number, answer in enumerate(self._window(window)):
                    found[number] += [] if answer is None else [answer]
            return [pool.merged(one) if ask.merge else one for ask, one in zip(self.asks, found, strict=True)]

    def _window(self, window: Window) -> list[Any]:
        try:
            parts = self._parts(window)
            steps = (ask.step for ask in self.asks)
            return [
                step(block, without_stray(block, valid), (window.y0, window.x0), clear=clear)
                for step, (block, valid, clear) in zip(steps, parts, strict=True)
            ]
        except TerrasketchError as error:
            message = f"{self.source.info.name}: basis of the scene ({window}): {error}"
            raise TileError(message).of(error.file, window.to_json()) from error

    def _parts(self, window: Window) -> Iterator[tuple[Any, Any, Any]]:
        """What each ask is put to: block (band, y, x), valid (y, x) and clear (y, x) or None."""
        block, valid = self.source.read(window)
        dates = self.dates
        if dates is None:
            yield block, valid, clear_of(self.source, window)
            return
        each, masks = dates.valid(block, valid, self.source.info.nodata), clear_on(self.source, window, dates)
        for group in self.groups:
            shared = np.logical_and.reduce([each[date] for date in group])
            yield block[dates.bands(*group)], shared, all_of([masks[date] for date in group])


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
    return run_fits(source, [_fit(len(source.info.bands), quality, sigma, repair)], gather)[0]


def run_fits(
    source: Source,
    fits: Sequence[Fit],
    gather: Gather,
    dates: Dates | None = None,
    groups: Sequence[tuple[int, ...]] = (),
) -> list[SceneModel | None]:
    """The models that `fits` return, of all bands or of groups of `dates`, step by step side by side: whatever their
    number, a window is read no more often.

    Raises:
        TileError: a window cannot be read.
    """
    windows = spread_windows(source.info.height, source.info.width)
    batches = [windows[first : first + BATCH] for first in range(0, len(windows), BATCH)]
    models: list[SceneModel | None] = [None] * len(fits)
    asked = {number: next(fit) for number, fit in enumerate(fits)}
    while asked:
        numbers = list(asked)
        look = Look(source, tuple(asked.values()), dates, tuple(groups[number] for number in numbers) if dates else ())
        answers = zip(*gather(look, batches), strict=True)
        for number, found in zip(numbers, answers, strict=True):
            ask = asked.pop(number)
            try:
                asked[number] = fits[number].send(
                    pool.merged(found) if ask.merge else [one for some in found for one in some]
                )
            except StopIteration as end:
                models[number] = end.value
    return models


def _fit(bands: int, quality: str, sigma: float | None, repair: Repair) -> Fit:
    """How a model of so many bands is found."""
    surveys = yield Ask(partial(pool.survey, sigma=sigma, repair=repair), False)
    if not surveys:
        return None
    model, pixels = replace(pool.agree(surveys), repair=repair), sum(one.pixels for one in surveys)
    if not model.sigma.any():
        return model
    if model.stabiliser is not None:
        model = pool.levelled(model, (yield Ask(partial(pool.level, model=model), False)))
    found = model.whitening.V.shape[1]
    settings, most = (settings_for(q, bands, found).aligned(model.replicated) for q in (quality, "quality"))
    planes = groups(found, settings.patch)[0].stop
    # More classes want more patches, whatever the quality; a scene learns once.
    steps = most.learning(pixels, planes)
    settings = replace(settings, learn=steps, classes=most.classes)
    moments = yield Ask(partial(pool.basis_moments, model=model, settings=settings), True)
    if moments is None or moments[0].count == 0:
        return None
    model = pool.based(model, moments, settings)
    leading = sum(one.basis.leading(settings.leading).V.shape[1] for one in model.learnt)
    share = min(1.0, SCORES / (leading * moments[0].count))
    rows = yield Ask(partial(pool.leading_rows, model=model, settings=settings, share=share), False)
    model = pool.sorted_out(model, rows, settings, pixels)
    members = yield Ask(partial(pool.members_moments, model=model, settings=settings), True)
    return pool.finished(model, members)


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
    if dates is None or len(dates.groups) == 1:
        if not _made_for(path, key):
            with one_blas_thread():
                repair = denoising.mends(1 if dates is None else len(dates))
                model = fit_scene(source, denoising.quality, denoising.sigma, gather, repair)
            _write(model, path, key)
        return replace(denoising, models=(_model_file(path, key),))
    folder = basis_folder(path)
    files = [model_file_of(folder, number) for number in range(len(dates.groups))]
    wanted = [number for number, file in enumerate(files) if not _made_for(file, key)]
    for first in range(0, len(wanted), AT_ONCE):
        numbers = wanted[first : first + AT_ONCE]
        groups = [dates.groups[number] for number in numbers]
        for number, model in zip(numbers, _fit_dates(source, dates, groups, denoising, gather), strict=True):
            _write(model, files[number], key)
    return replace(denoising, models=tuple(_model_file(file, key) for file in files))


def _fit_dates(
    source: Source, dates: Dates, groups: Sequence[tuple[int, ...]], denoising: Denoising, gather: Gather
) -> list[SceneModel | None]:
    """The models of some groups of dates."""
    chosen = tuple(sorted(date for group in groups for date in group))
    own = [tuple(chosen.index(date) for date in group) for group in groups]
    fits = []
    for group in groups:
        bands = sum(len(dates.numbers[date]) for date in group)
        fits.append(_fit(bands, denoising.quality, denoising.sigma, denoising.mends(len(group))))
    with one_blas_thread():
        return run_fits(some_dates(source, dates, chosen), fits, gather, dates.only(chosen), own)


def _write(model: SceneModel | None, path: Place, key: str) -> None:
    if model is None:
        return
    if isinstance(path, Path):
        make_folder(path)
    arrays = {"key": np.array(key), **model_file.to_arrays(model)}
    try:
        bank_file.write(path, bank_file.pack(arrays))
    except OutputError as error:
        raise OutputError(f"{path}: the basis of the scene cannot be written: {error.__cause__}") from error


def _model_file(path: Place, key: str) -> ModelFile | None:
    """The model that was made under this key; None where no patch was to learn from."""
    return ModelFile(str(path), _digest(path)) if _made_for(path, key) else None


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
