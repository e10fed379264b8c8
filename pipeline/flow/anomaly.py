"""What does not belong: moments of residuals -> a score for every pixel -> those beyond a false-alarm rate."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.answers import Anomaly, Background, Moments
from pipeline.answers.detections import grouped, outlines, strongest
from pipeline.answers.tail import histogram, threshold
from pipeline.errors import ConfigError
from pipeline.flow.answer_tables import write_shapes
from pipeline.flow.crew import Crew
from pipeline.flow.holes import blamed
from pipeline.flow.maps import TABLE, Layer, tiles_of, write_map
from pipeline.flow.tasks import Receipt
from pipeline.flow.threads import one_blas_thread
from pipeline.flow.values import Gather, Look, Values
from pipeline.grid import Halo
from pipeline.raster.store_source import StoreSource

MOST_PIXELS = 2_000_000
LAYER = Layer("anomaly", "float32")


def write_anomaly(
    values: Values, background: Background, target: Path, crew: Crew, *, rate: float
) -> tuple[Receipt, dict[str, Any]]:
    """Write the scores at `target`, and what is beyond the false-alarm rate beside it as GeoParquet.

    Returns the receipt, and the threshold with what was found.

    Raises:
        OutputError, TileError: as for `write_map`.
        BlockError: too few pixels of background.
        ConfigError: more pixels than MOST_PIXELS lie beyond the rate.
    """
    info = values.source.info
    crew.watch.note(f"{info.name}: the background of {len(info.bands)} bands")
    moments = background_moments(values, background, crew.gather)
    with one_blas_thread(), blamed(values.source, values.tile):
        model = Anomaly.fit(moments, background)
    finish = partial(_detect, target=target, dimensions=len(model.whitening), rate=rate)
    beside = [target.with_suffix(TABLE)]
    return write_map(values, target, LAYER, "anomaly", model, crew, halo=model.halo, finish=finish, beside=beside)


def background_moments(values: Values, background: Background, gather: Gather) -> Moments:
    """The residuals' moments over the whole scene, summed tile after tile. Raises TileError."""
    bands = len(values.source.info.bands)
    total = Moments(np.zeros((bands, bands)), 0)
    for own in gather(Look(values, partial(_moments, background=background)), range(len(values.grid))):
        total = total + own
    return total


def _moments(values: Values, index: int, background: Background) -> Moments:
    info, tile = values.source.info, values.grid[index]
    outer = tile.window.expand(Halo.even(background.annulus.reach), info.height, info.width)
    block, valid = values.read(outer)
    return Moments.of(block, valid, background, tile.window.within(outer))


def _detect(store: StoreSource, _: Receipt, target: Path, dimensions: int, rate: float) -> dict[str, Any]:
    """The threshold of a rate, and the table of what lies beyond it."""
    counts = sum(histogram(plane[inner]) for _, plane, inner in tiles_of(store))
    scored = int(np.sum(counts))
    limit = threshold(np.asarray(counts), dimensions, rate) if scored else float("nan")
    rows, columns, scores = _beyond(store, limit)
    members = strongest(grouped(rows, columns), scores, rows, columns)
    heads = np.array([own[0] for own in members], np.intp)
    attributes = {
        "rank": np.arange(1, len(members) + 1, dtype=np.int32),
        "score": scores[heads],
        "pixels": np.array([len(own) for own in members], np.int32),
        "row": rows[heads].astype(np.int32),
        "column": columns[heads].astype(np.int32),
    }
    shapes = np.array(list(outlines(members, rows, columns)), dtype=object)
    write_shapes(target.with_suffix(TABLE), store.info, shapes, attributes)
    share = len(rows) / scored if scored else 0.0
    return {"scored": scored, "threshold": limit, "detections": len(members), "pixels": len(rows), "share": share}


def _beyond(store: StoreSource, limit: float) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Rows, columns and scores of all pixels above the limit."""
    found: list[tuple[Any, Any, Any]] = [(np.empty(0, np.intp), np.empty(0, np.intp), np.empty(0, np.float32))]
    count = 0
    for tile, plane, inner in tiles_of(store):
        own = plane[inner]
        ys, xs = np.nonzero(own > limit)
        count += len(ys)
        if count > MOST_PIXELS:
            raise ConfigError(f"more than {MOST_PIXELS} pixels score above {limit:.4g}; give a smaller --pfa")
        found.append((ys + tile.window.y0, xs + tile.window.x0, own[ys, xs]))
    rows, columns, scores = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return rows, columns, scores
