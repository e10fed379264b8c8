"""Pixels that lack a date, or a band, and have others: what wants all of them leaves these out, which is told where
they are most of a scene, with the dates that cost most."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import BlockError
from pipeline.flow.by_date import Dates, dates_of
from pipeline.flow.crew import Watch
from pipeline.flow.masked_share import Lesson
from pipeline.flow.paperwork import counted, share_text
from pipeline.flow.read import sample_windows
from pipeline.raster.scene import Source
from pipeline.untrusted import one_line

Bool = NDArray[np.bool_]

LEAST = 0.5
"""Of the pixels that any date has, those that have all: where there are less, it is told."""
SHOWN = 4
"""Dates that a line has room for."""
SIDE = 128
"""Rows and columns of a window that are counted, about: a sample tells shares of dates well enough."""


@dataclass(frozen=True)
class Holes:
    """Which of a sample of a scene's pixels lack which of its dates, or of its bands where it has no dates."""

    noun: str
    """date or band"""
    names: tuple[str, ...]
    missing: Bool
    """(date, n), of pixels that some date has."""

    @property
    def whole(self) -> float:
        """The share of these pixels that have all dates."""
        return _whole(self.missing)

    @property
    def many(self) -> bool:
        """Whether they are to be told of."""
        return self.missing.size > 0 and self.whole < LEAST

    def text(self) -> str:
        """How many lack a date, which dates cost most, and what is left without these."""
        left_out = sorted(self._costly(), key=lambda number: (-self.missing[number].sum(), number))
        shares = [share_text(float(self.missing[number].mean())) for number in left_out[:SHOWN]]
        named = [f"{self.names[n]} {share}" for n, share in zip(left_out, shares, strict=False)]
        more = f", and {len(left_out) - SHOWN} more" if len(left_out) > SHOWN else ""
        worst = f"{named[0].replace(' ', ' lacks ', 1)}{''.join(f', {one}' for one in named[1:])}{more}"
        rest = share_text(1 - _whole(np.delete(self.missing, left_out, axis=0)))
        these, them = ("it", "it") if len(left_out) == 1 else (f"these {len(left_out)} {self.noun}s", "them")
        return (
            f"{share_text(1 - self.whole)} of the pixels lack a {self.noun} and have others ({worst}); "
            f"without {these} {rest} would: leave {them} out"
        )

    def _costly(self) -> list[int]:
        """The dates to leave out until enough pixels have the others: those that lack most, or each time that by which
        most is won, whichever are fewer; dates with the same holes win nothing one by one."""
        ways = [self._left_out(winning) for winning in (False, True)]
        return min(ways, key=lambda gone: (len(gone), -_whole(np.delete(self.missing, gone, axis=0))))

    def _left_out(self, winning: bool) -> list[int]:
        here, gone = list(range(len(self.names))), list[int]()
        count, sums = self.missing.sum(axis=0), self.missing.sum(axis=1)
        while len(here) > 1 and np.mean(count == 0) < LEAST:
            alone = count == int(winning)
            worst = max(here, key=lambda n: (np.count_nonzero(self.missing[n] & alone), sums[n], -n))
            here.remove(worst)
            gone.append(worst)
            count = count - self.missing[worst]
        return gone


def holes_of(parts: Lesson, bands: Iterable[str], dates: Dates | None, nodata: float | None) -> Holes:
    """What of these blocks (band, y, x), valid (y, x), lacks which date; bands: their names, those of dates with the
    day before."""
    names = tuple(bands)
    noun, labels = "band", names
    if dates is None:
        dates = Dates(tuple((number,) for number in range(len(names))))
    else:
        noun, labels = "date", tuple(names[own[0]].partition(" ")[0] for own in dates.numbers)
    found = [np.empty((len(labels), 0), bool)]
    step = 0
    for block, valid in parts:
        step = step or max(1, *(extent // SIDE for extent in valid.shape))
        block, valid = block[:, ::step, ::step], valid[::step, ::step]
        missing = ~np.stack(dates.valid(block, valid, nodata)).reshape(len(labels), -1)
        found.append(missing[:, ~missing.all(axis=0)])
    return Holes(noun, labels, np.concatenate(found, axis=1))


def sampled_holes(source: Source, tile: int) -> Holes:
    """Those of windows spread over a scene. Raises SourceError."""
    parts = (source.read(window) for window in sample_windows(source, tile))
    return holes_of(parts, source.info.bands, dates_of(source.info), source.info.nodata)


def holes_text(source: Source, tile: int) -> str:
    """What is to be said of a scene by `Holes.text`; empty where little or nothing is. Raises SourceError."""
    if len(source.info.bands) < 2:
        return ""
    holes = sampled_holes(source, tile)
    return holes.text() if holes.many else ""


def or_else(source: Source, tile: int, remedy: str) -> str:
    """The remedy behind what is said, and before it that which `holes_text` has to say. Raises SourceError."""
    text = holes_text(source, tile)
    return f": {text}, or {remedy}" if text else f"; {remedy}"


@contextmanager
def blamed(source: Source, tile: int) -> Iterator[None]:
    """Where too little is left to learn from, the dates that are to blame stand behind the error.

    Raises:
        BlockError: of what is done within.
        SourceError: the scene cannot be read once more.
    """
    try:
        yield
    except BlockError as error:
        text = holes_text(source, tile)
        if not text:
            raise
        raise BlockError(one_line(f"{source.info.name}: {str(error).partition(';')[0]}: {text}")) from error


def tell_unanswered(source: Source, tile: int, answered: int, watch: Watch) -> None:
    """Warn of the cells of a map without an answer, where they are most and lack a date. Raises SourceError."""
    cells = source.info.height * source.info.width
    if answered >= LEAST * cells:
        return
    text = holes_text(source, tile)
    if text:
        lost = cells - answered
        what = f"{lost} of {counted(cells, 'pixel')} ({share_text(lost / cells)}) have no answer"
        watch.warn(one_line(f"{source.info.name}: {what}: {text}"))


def _whole(missing: Bool) -> float:
    return float(np.mean(~missing.any(axis=0)))
