"""How much a mask takes out: a mask of the wrong coding takes out nothing, or everything, and nobody would know."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.denoise.block import LEAST_CLEAR
from pipeline.errors import BankError
from pipeline.flow.by_date import dates_of
from pipeline.flow.crew import Watch
from pipeline.flow.ends import NO_PAIR, Pair, join, pair_of
from pipeline.flow.paperwork import counted, share_text
from pipeline.flow.tasks import Receipt
from pipeline.flow.undeclared import tell_fill
from pipeline.grid import Window
from pipeline.raster.masks import MaskedSource, clear_of
from pipeline.raster.nodata import valid_from
from pipeline.raster.scene import Source
from pipeline.untrusted import one_line

SHOWN = 5
"""Names of bands that a line has room for."""
Learnt = TypeVar("Learnt")
Lesson = Iterable[tuple[NDArray[Any], NDArray[np.bool_]]]
_REMEDY = "is that its coding? --mask-band CODING:MASK, --mask-values or --mask-bits say another"
_CLOUDED = "give --basis scene, which learns for all tiles where the scene is clear"


@dataclass
class Lessons:
    """Windows to learn from, one after the other, and how many pixels they had. To be iterated once."""

    source: Source
    windows: Sequence[Window]
    valid: int = 0
    masked: int = 0
    seen: set[int] = field(default_factory=set)
    """Numbers, from 0, of the bands that have any value."""
    ends: Pair = NO_PAIR

    def __iter__(self) -> Iterator[tuple[NDArray[Any], NDArray[np.bool_]]]:
        for window in self.windows:
            block, valid = self.source.read(window)
            clear = clear_of(self.source, window)
            self._see(block, valid)
            taught = valid if clear is None else valid & clear
            self.valid += int(np.count_nonzero(valid))
            self.masked += int(np.count_nonzero(valid & ~taught))
            self.ends = join(self.ends, pair_of(block, valid))
            yield block, taught

    def _see(self, block: NDArray[Any], valid: NDArray[np.bool_]) -> None:
        for number in set(range(len(block))) - self.seen:
            if valid.any() or valid_from(block[number : number + 1], (self.source.info.nodata,)).any():
                self.seen.add(number)


def _blamed(error: BankError, lessons: Sequence[Lessons]) -> BankError:
    valid, masked = (sum(getattr(one, name) for one in lessons) for name in ("valid", "masked"))
    if not valid:
        return _empty_bands(lessons) or error
    if valid != masked:
        return error
    return BankError(f"the {lessons[0].source} takes every valid pixel of {lessons[0].source.info.name} out; {_REMEDY}")


def _empty_bands(lessons: Sequence[Lessons]) -> BankError | None:
    """The error that names the bands without a value, where others have some."""
    for one in lessons:
        info = one.source.info
        bands = [name for number, name in enumerate(info.bands) if number not in one.seen]
        if not 0 < len(bands) < len(info.bands):
            continue
        shown = ", ".join(bands[:SHOWN]) + (f" and {len(bands) - SHOWN} more" if len(bands) > SHOWN else "")
        return BankError(
            one_line(
                f"no sample of {info.name} has a value in {shown} ({len(bands)} of {len(info.bands)} bands), so no "
                "pixel has all bands; choose the others (-b, read.bidx in a workflow)"
            )
        )
    return None


def taught(lessons: Sequence[Lessons], watch: Watch | None, learn: Callable[[Lesson], Learnt]) -> Learnt:
    """What `learn` makes of all lessons; `watch` is told of their masks.

    Raises:
        BankError: of `learn`; where a mask is to blame it is named.
    """
    try:
        learnt = learn(chain.from_iterable(lessons))
    except BankError as error:
        raise _blamed(error, lessons) from error
    if watch is not None:
        fits = any(lesson.masked for lesson in lessons)  # a scene among them may be clear
        for lesson in lessons:
            tell_mask(lesson.source, lesson, watch, doubt=lesson.masked > 0 or not fits)
            tell_fill(lesson.source, lesson.ends, watch)
    return learnt


def mask_facts(source: Source, found: Receipt | Lessons, heeded: bool = True) -> dict[str, Any] | None:
    """What a receipt says of the mask; None without one, and where some tiles were there already and were not seen.

    `effective_share` is without the pixels of tiles that learn from masked pixels too; 0 where none is `heeded`.
    """
    resumed = isinstance(found, Receipt) and found.resumed
    judged = found.judged if isinstance(found, Receipt) else found.valid
    if not isinstance(source, MaskedSource) or not judged or resumed:
        return None
    unheeded, clouded = (found.unheeded, found.clouded) if isinstance(found, Receipt) else (0, 0)
    share, effective = found.masked / judged, (found.masked - unheeded) / judged if heeded else 0.0
    facts = {"name": source.name, "out": str(source.rule), "valid_pixels": judged, "share": share}
    return facts | {"effective_share": effective, "clouded_tiles": clouded}


def tell_mask(
    source: Source, found: Receipt | Lessons, watch: Watch, *, heeded: bool = True, doubt: bool = True
) -> dict[str, Any] | None:
    """Note the share of the valid pixels that the mask takes out, and warn of none and of all, which its coding is to
    be doubted for, and of tiles that learn from masked pixels too; the same as facts.

    heeded: whether anything is learnt by it. doubt: whether none and all are to be warned of.
    """
    facts = mask_facts(source, found, heeded)
    if facts is None:
        return None
    share, effective = facts["share"], facts["effective_share"]
    of = f"{source.info.name}: the {source}"
    if not heeded:
        watch.note(f"{of} is without effect on what is stored: nothing is denoised")
    elif share in (0, 1) and doubt:
        clear = "unless the scene is clear, " if share == 0 else ""
        watch.warn(f"{of} takes {share_text(share)} of the valid pixels out of learning; {clear}{_REMEDY}")
    elif isinstance(found, Receipt) and found.clouded:
        line = f"{of} takes {share_text(effective)} of the valid pixels out of learning, of {share_text(share)} masked"
        watch.warn(one_line(f"{line}: {_clouded(source, found)}"))
    else:
        watch.note(f"{of} takes {share_text(effective)} of the valid pixels out of learning")
    return facts


def _clouded(source: Source, found: Receipt) -> str:
    """How many tiles learn from masked pixels too, and what helps."""
    few, learn = ("are", "learn") if found.clouded > 1 else ("is", "learns")
    least = f"{100 * LEAST_CLEAR:g} %"
    what = f"{found.clouded} of {counted(found.tiles, 'tile')} {few} less than {least} clear"
    dates = dates_of(source.info)
    if not found.masked_on or dates is None:
        return f"{what} and {learn} from masked pixels, too; {_CLOUDED}"
    worst = max(found.masked_on, key=lambda date: found.masked_on[date])
    label = source.info.bands[dates.numbers[worst][0]].partition(" ")[0]
    if dates.how == "apart":
        return f"{what} on some date, which learns from masked pixels there, too (most on {label}); {_CLOUDED}"
    what += f" and {learn} from masked pixels, too"
    other = "" if found.clouded == found.tiles else f", or {_CLOUDED}"  # of nothing clear it learns nothing
    return f"{what} (most are masked on {label}); leave that date out{other}"
