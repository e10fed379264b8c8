"""Pixels at the rim of a grid of several files that not all files reach, where no nodata says so of single bands: they
are missing in all bands, which is told where they are many."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, product

from pipeline.flow.crew import Watch
from pipeline.flow.lacking import MANY
from pipeline.flow.paperwork import counted, share_text
from pipeline.raster.dates import DateStack
from pipeline.raster.masks import unmasked
from pipeline.raster.scene import Source
from pipeline.raster.stack import StackSource, covered
from pipeline.untrusted import one_line

Part = tuple[slice, slice]
"""Rows and columns of a grid."""


def tell_rim(source: Source, watch: Watch) -> None:
    """Warn of them, naming the file that reaches least far."""
    scene = unmasked(source)
    for stack in scene.members if isinstance(scene, DateStack) else (scene,):
        if not isinstance(stack, StackSource) or stack.info.nodata is not None:
            continue
        parts = [covered(member) for member in stack.members]
        mute = [part for part, member in zip(parts, stack.members, strict=True) if member.info.nodata is None]
        reached = area(parts)
        lost = reached - area([_shared(mute)]) if mute else 0
        if lost <= MANY * reached:
            continue
        least = stack.members[min(range(len(parts)), key=lambda number: area([parts[number]]))].source.path
        what = f"{counted(lost, 'pixel')} ({share_text(lost / reached)}) lack a file ({least}) and have others"
        remedy = "give --nodata a number that no pixel has (read: {nodata: ...}), or choose bands that go together"
        watch.warn(one_line(f"{source.info.name}: {what}, and without nodata are missing in all bands; {remedy}"))
        return


def area(parts: Sequence[Part]) -> int:
    """Pixels in any of the parts."""
    ys, xs = ([*sorted({end for part in parts for end in (part[axis].start, part[axis].stop)})] for axis in (0, 1))
    return sum(
        (y1 - y0) * (x1 - x0)
        for (y0, y1), (x0, x1) in product(pairwise(ys), pairwise(xs))
        if any(p[0].start <= y0 < p[0].stop and p[1].start <= x0 < p[1].stop for p in parts)
    )


def _shared(parts: Sequence[Part]) -> Part:
    """What is in all of them."""
    starts, stops = ([[getattr(part[axis], end) for part in parts] for axis in (0, 1)] for end in ("start", "stop"))
    (y0, y1), (x0, x1) = ((max(start), min(stop)) for start, stop in zip(starts, stops, strict=True))
    return slice(y0, max(y0, y1)), slice(x0, max(x0, x1))
