"""Scenes of which nothing tells when they were taken: their items have no date, which is told once of all of a run."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.flow.crew import Watch
from pipeline.flow.paperwork import counted
from pipeline.untrusted import one_line


def tell_undated(names: Sequence[str], watch: Watch) -> None:
    """Warn of them, naming the first."""
    if not names:
        return
    more = f" and of {counted(len(names) - 1, 'more scene')}" if len(names) > 1 else ""
    what = f"{names[0]}: nothing tells when it was taken: datetime of its item.json{more} is null, some time since 1970"
    tag = "a tag ACQUISITIONDATETIME in its file (rio edit-info FILE --tag ACQUISITIONDATETIME=2016-01-17T15:56:22Z)"
    other = "a date in its name (scene_20160117.tif) or a STAC item as its source does"
    watch.warn(one_line(f"{what}; {tag}, {other}, then run it anew with --overwrite"))
