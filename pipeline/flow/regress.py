"""From labels to a map: labelled cells -> ridge, judged on blocks it has not seen -> a prediction for every cell."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.answers import Regressor, accuracy, spatial_blocks
from pipeline.answers.colours import hex_of, palette
from pipeline.answers.regress import Splits, chosen, targets_of
from pipeline.answers.scaling import Scaling
from pipeline.errors import BlockError, ConfigError
from pipeline.flow.crew import Crew, Nobody, Watch
from pipeline.flow.doubts import doubts
from pipeline.flow.gap import reach
from pipeline.flow.labels import Labelled
from pipeline.flow.legend import legend_files, write_legend
from pipeline.flow.maps import Layer, tiles_of, write_map
from pipeline.flow.tasks import Receipt
from pipeline.flow.threads import one_blas_thread
from pipeline.flow.values import Values
from pipeline.raster.placement import Placement
from pipeline.raster.store_source import StoreSource

Bool = NDArray[np.bool_]

ACROSS = 8
"""Blocks along the longer side of the labels' extent, where no size is given."""


@dataclass(frozen=True)
class Validation:
    """How labels are parted: sides of blocks and gap in cells, number of folds."""

    block: int
    gap: int
    folds: int
    seed: int

    @classmethod
    def of(
        cls,
        values: Values,
        data: Labelled,
        block: float | None,
        gap: float | None,
        folds: int,
        seed: int,
        watch: Watch | None = None,
    ) -> Validation:
        """Sizes in units of the CRS, or found: the gap is what a cell's features can see, the block ACROSS-th of the
        labels' extent, and no smaller than twice the gap. `watch` is told where it is not known what they see.

        Raises:
            ConfigError: a size below one cell.
        """
        info = values.source.info
        size = min(Placement.of(info.geo, info.name).resolution(info.height, info.width))
        cells, unknown = reach(values.source) if gap is None else (round(gap / size), "")
        if unknown:
            (watch or Nobody()).warn(unknown)
        extent = 1 + int(max(np.ptp(data.rows), np.ptp(data.columns)))
        side = max(-(-extent // ACROSS), 2 * cells, 1) if block is None else round(block / size)
        if side < 1 or cells < 0:
            raise ConfigError(f"--block {block:g} is less than half a cell of {size:g}; give more")
        return cls(int(side), int(cells), folds, seed)


def judge(data: Labelled, how: Validation) -> tuple[dict[str, Any], float]:
    """What the ridge is worth on folds it has not seen, and the penalty for all labels.

    Folds that leave nothing to train on, one cell or cells that are all alike are not judged, and no cells of a class
    that the rest of its fold's map has no place of; where that is so of all cells the figures are None.

    Raises:
        ConfigError: fewer blocks with labels than folds, or no fold leaves anything to train on.
        BlockError: all labelled cells are alike.
    """
    rng = np.random.default_rng(how.seed)
    fold = spatial_blocks.dealt(data.rows, data.columns, how.block, how.folds, rng, (data.place, data.stand))
    classes = len(data.classes)
    splits = splits_of(data, fold, how.gap)
    found = np.zeros(len(fold), data.labels.dtype)
    judged = np.zeros(len(fold), bool)
    folds: list[dict[str, Any]] = []
    most, wanting = 0, classes > 0 and len(np.unique(data.place)) == len(np.unique(data.labels))
    for train, test in splits(np.ones(len(fold), bool)):
        if not train.any():
            continue
        most = max(most, int(train.sum()))
        if not test.any():  # of no class that is trained on
            wanting = True
            continue
        penalty = chosen(data.features, data.labels, train, splits, classes)
        targets = targets_of(data.labels[train], classes)
        try:
            model = Regressor.fit(data.features[train], targets, penalty, classes)
        except BlockError:  # one cell, or all alike
            continue
        found[test] = model.predict(data.features[test])
        judged |= test
        own = scores(data, test, found)
        own.pop("confusion", None)
        if classes:
            own["without"] = [data.classes[number] for number in np.setdiff1d(data.labels, data.labels[train])]
        folds.append({"train": int(train.sum()), "test": int(test.sum()), "penalty": penalty} | own)
    if not folds and not wanting:
        Scaling.of(data.features)  # where all labels are alike, no other folds help
        left = f"more than {most} labelled cells to train on: too few, or all alike" if most else "a label to train on"
        raise ConfigError(
            f"with blocks of {how.block} cells and a gap of {how.gap} no fold leaves {left}; "
            f"give a smaller --block or --gap, or labels further apart"
        )
    report = {"overall": _overall(data, judged, found), "folds": folds}
    if classes:
        left = np.bincount(data.labels[~judged], minlength=classes).tolist()
        report["unjudged"] = {name: cells for name, cells in zip(data.classes, left, strict=True) if cells}
        more = np.bincount(data.labels[data.added], minlength=classes).tolist()
        report["added"] = {name: cells for name, cells in zip(data.classes, more, strict=True) if cells}
    penalty = chosen(data.features, data.labels, np.ones(len(fold), bool), splits, classes)
    return report, penalty


def splits_of(data: Labelled, fold: NDArray[np.intp], gap: int) -> Splits:
    """The folds among some of the labelled cells, a gap between; of classes those test cells alone that can be
    judged.
    """

    def splits(cells: Bool) -> Any:
        own = np.flatnonzero(cells)
        parts = spatial_blocks.splits(data.rows[own], data.columns[own], fold[own], gap)
        for train, test in parts:
            whole = np.zeros((2, len(fold)), bool)
            whole[0, own], whole[1, own] = train, test
            if data.classes:
                whole[1] = spatial_blocks.judgeable(data.labels, whole[0], whole[1])
            yield whole[0], whole[1]

    return splits


def scores(data: Labelled, cells: Bool, found: NDArray[Any]) -> dict[str, Any]:
    """The figures that suit the labels, of some of the cells (n,), of which there is one at least.

    Cells that were added for their class's sake are no even sample: they count in what is told class by class, the mean
    of the classes and the confusion, and not in what is told of all cells, accuracy and kappa.
    """
    classes = len(data.classes)
    if not classes:
        return accuracy.numbers(data.labels[cells], found[cells])
    whole = accuracy.classes(data.labels[cells], found[cells], classes)
    even = _even(data, cells)
    own = accuracy.classes(data.labels[even], found[even], classes)
    return own | {name: whole[name] for name in ("mean_class_accuracy", "confusion")}


def _even(data: Labelled, cells: Bool) -> Bool:
    """Those of the cells (n,) that are an even sample; all where none is."""
    even = cells & ~data.added
    return even if even.any() else cells


def _overall(data: Labelled, judged: Bool, found: NDArray[Any]) -> dict[str, Any]:
    """The figures of all cells that were judged, None where none was; and what saying the same everywhere would be
    worth at best: the most frequent class, or the mean.
    """
    if not judged.any():
        none = dict.fromkeys(("accuracy", "mean_class_accuracy", "kappa", "confusion"))
        return none | {"baseline": {"accuracy": None}, "judged": 0}
    labels = data.labels[_even(data, judged)]
    most = float(np.bincount(labels).max()) / len(labels) if data.classes else 0.0
    best = {"accuracy": most} if data.classes else {"rmse": float(labels.std())}
    return scores(data, judged, found) | {"baseline": best, "judged": int(judged.sum())}


def write_prediction(
    values: Values, data: Labelled, field: str, how: Validation, target: Path, crew: Crew
) -> tuple[Receipt, dict[str, Any]]:
    """Judge, fit on all labels, and write the map at `target`; returns the receipt and the report.

    Raises:
        OutputError, TileError: as for `write_map`.
        ConfigError: as for `judge`.
        BlockError: no feature varies.
    """
    classes = len(data.classes)
    crew.watch.note(f"{values.source.info.name}: {len(data.labels)} labelled cells, {how.folds} folds of blocks")
    with one_blas_thread():
        report, penalty = judge(data, how)
        targets = targets_of(data.labels, classes)
        model = Regressor.fit(data.features, targets, penalty, classes)
    for text in doubts(data, field, report):
        crew.watch.warn(text)
    report = {
        "kind": "classes" if classes else "numbers",
        "cells": len(data.labels),
        "places": len(np.unique(data.place)),
        "block_cells": how.block,
        "gap_cells": how.gap,
        "penalty": penalty,
    } | report
    if not classes:
        return write_map(values, target, Layer(field, "float32"), "regress", model, crew, finish=lambda *_: report)
    colours = palette(classes)

    def finish(store: StoreSource, _: Receipt) -> dict[str, Any]:
        cells = sum(np.bincount(plane[inner].ravel(), minlength=classes + 1) for _, plane, inner in tiles_of(store))
        legend = [
            {"value": number, "name": name, "colour": hex_of(colour), "cells": int(np.asarray(cells)[number])}
            for number, (name, colour) in enumerate(zip(data.classes, colours, strict=True), 1)
        ]
        write_legend(target, legend)
        return report | {"classes": legend}

    layer = Layer(field, "uint8", dict(enumerate(colours, 1)), tuple(map(str, data.classes)))
    beside = legend_files(target)
    return write_map(values, target, layer, "regress", model, crew, finish=finish, beside=beside)
