"""How much a mask takes out: a mask of the wrong coding takes out nothing, or everything, and nobody would know."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import BankError
from pipeline.flow.crew import Watch
from pipeline.flow.tasks import Receipt
from pipeline.flow.undeclared import NO_PAIR, Pair, fill_text, join, pair_of
from pipeline.grid import Window
from pipeline.raster.masks import MaskedSource, clear_of
from pipeline.raster.scene import Source
from pipeline.raster.store_source import StoreSource

Learnt = TypeVar("Learnt")
Lesson = Iterable[tuple[NDArray[Any], NDArray[np.bool_]]]
_REMEDY = "is that its coding? --mask-band CODING:MASK, --mask-values or --mask-bits say another"


@dataclass
class Lessons:
    """Windows to learn from, one after the other, and how many pixels they had. To be iterated once."""

    source: Source
    windows: Sequence[Window]
    valid: int = 0
    masked: int = 0
    ends: Pair = NO_PAIR

    def __iter__(self) -> Iterator[tuple[NDArray[Any], NDArray[np.bool_]]]:
        for window in self.windows:
            block, valid = self.source.read(window)
            clear = clear_of(self.source, window)
            taught = valid if clear is None else valid & clear
            self.valid += int(np.count_nonzero(valid))
            self.masked += int(np.count_nonzero(valid & ~taught))
            self.ends = join(self.ends, pair_of(block, valid))
            yield block, taught


def _blamed(error: BankError, lessons: Sequence[Lessons]) -> BankError:
    valid, masked = (sum(getattr(one, name) for one in lessons) for name in ("valid", "masked"))
    if not 0 < valid == masked:
        return error
    return BankError(f"the {lessons[0].source} takes every valid pixel of {lessons[0].source.info.name} out; {_REMEDY}")


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
        for lesson in lessons:
            tell_mask(lesson.source, lesson, watch)
            tell_fill(lesson.source, lesson, watch)
    return learnt


def mask_facts(source: Source, counted: Receipt | Lessons) -> dict[str, Any] | None:
    """What a receipt says of the mask; None without one, and where some tiles were there already and were not seen."""
    resumed = isinstance(counted, Receipt) and counted.resumed
    if not isinstance(source, MaskedSource) or not counted.valid or resumed:
        return None
    share = counted.masked / counted.valid
    return {"name": source.name, "out": str(source.rule), "valid_pixels": counted.valid, "share": share}


def tell_mask(source: Source, counted: Receipt | Lessons, watch: Watch) -> dict[str, Any] | None:
    """Note the share of the valid pixels that the mask takes out, and warn of none and of all; the same as facts."""
    facts = mask_facts(source, counted)
    if facts is None:
        return None
    line = f"{source.info.name}: the {source} takes {share_text(facts['share'])} of the valid pixels out of learning"
    if facts["share"] in (0, 1):
        watch.warn(f"{line}; {_REMEDY}")
    else:
        watch.note(line)
    return facts


def tell_fill(source: Source, counted: Receipt | Lessons, watch: Watch) -> str | None:
    """Warn of a value, in what was read now, that looks like a fill and is none by what the source declares; the same
    as a text. Of a store of ours it was told when that was made.
    """
    text = None if isinstance(source, StoreSource) else fill_text(source.info, counted.ends)
    if text is not None:
        watch.warn(text)
    return text


def share_text(share: float) -> str:
    """A share in percent; only nothing is none, only everything all."""
    if share in (0, 1):
        return "all" if share else "none"
    if 0.001 <= share <= 0.999:
        return f"{100 * share:.1f} %"
    return "less than 0.1 %" if share < 0.5 else "more than 99.9 %"
