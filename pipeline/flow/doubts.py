"""What is to be said of a validation that cannot be taken at its word."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.flow.labels import Labelled
from pipeline.flow.paperwork import counted
from pipeline.untrusted import one_line

MOST_NAMED = 8
"""Classes in a warning."""


def doubts(data: Labelled, field: str, report: dict[str, Any]) -> list[str]:
    """Warnings, a line each: of classes that are not judged, of folds that train on none of a class, and of labels that
    are predicted worse than by saying the same everywhere. report: of `judge`.
    """
    unjudged, overall = report.get("unjudged", {}), report["overall"]
    said = [unjudged_text(data, field, unjudged)] if unjudged else []
    without = [name for fold in report["folds"] for name in fold.get("without", ()) if name not in unjudged]
    if without:
        names = [f"{name} ({counted(without.count(name), 'fold')})" for name in sorted(set(without))]
        said.append(
            one_line(
                f"folds train on none of {field} {_named(names)}: all of it lies in the gap around their test cells; "
                "give more places of each, or a smaller --block or --gap"
            )
        )
    remedy = "elsewhere the map is no better than a guess; give more labels, or other features"
    if data.classes and overall["judged"] and overall["accuracy"] < overall["baseline"]["accuracy"]:
        figures = f"{overall['accuracy']:.3g} of the cells are right, {overall['baseline']['accuracy']:.3g}"
        said.append(one_line(f"{field}: {figures} if the most frequent class were said everywhere: {remedy}"))
    if not data.classes and overall.get("r2") is not None and overall["r2"] < 0:
        said.append(one_line(f"{field}: R\N{SUPERSCRIPT TWO} is {overall['r2']:.3g}, below that of the mean: {remedy}"))
    return said


def _named(words: list[str]) -> str:
    beyond = len(words) - MOST_NAMED
    return ", ".join(words[:MOST_NAMED]) + (f" and {beyond} more" if beyond > 0 else "")


def unjudged_text(data: Labelled, field: str, unjudged: dict[str, int]) -> str:
    """What is to be said of classes that lack places: `unjudged` are the cells of each that were not judged."""
    lacking, most = [], 0
    for name, left in unjudged.items():
        own = data.labels == data.classes.index(name)
        cells, places = int(own.sum()), len(np.unique(data.place[own]))
        some = "" if left == cells else f"{left} of {cells} cells of "
        lacking.append(f"{some}{name} ({counted(places, 'place')})")
        most = max(most, places)
    words = _named(lacking)
    if sum(unjudged.values()) < len(data.labels):
        what = f"of {field}, {words} cannot be judged on held-out places: no others of them are left to train on"
    else:
        what = f"none of the classes of {field} can be judged on held-out places: {words}; there is no accuracy"
    return one_line(f"{what}; give more places of each{', or a smaller --block or --gap' if most > 1 else ''}")
