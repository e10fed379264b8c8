"""The weighted sum of a context, a row at once: every known magnitude is a term, all terms in one pass over the row.

Source: as in `context`. Integers alone, which wrap: the same sums on every CPU, in any order.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numpy.typing import NDArray

from pipeline.codec.context import (
    ABOUT_BEFORE,
    ABOUT_FIRST,
    ABOUT_PARENT,
    ABOVE,
    BEFORE,
    CORNERS,
    FIRST,
    LEFT,
    MEAN,
    OTHER,
    PARENT,
    SECOND,
    TERMS,
    TWO_BEFORE,
)
from pipeline.jit import jit
from pipeline.vectors import VECTOR_BYTES, broadcast, counted, element, emitted, load, store, variable

I64 = NDArray[np.int64]
I32 = NDArray[np.int32]

LANES = VECTOR_BYTES // 4
MOST_TERMS = 24
OFFSET, WEIGHT, FROM, TO = range(4)
# In place of weights where terms are told apart: a weight of 0 is no term.
NUMBERS = np.arange(1, TERMS + 1)


class Rows(NamedTuple):
    """What a row is summed in."""

    start: I32
    """what all terms of a row are added to, as long as the row and LANES more"""
    half: I32
    """the sums of the parent's row, as long"""
    terms: I64
    """(MOST_TERMS, 4): where in the magnitudes a term begins, its weight, the columns from and to which it counts"""
    parents: I64
    """those of the parent's row, as many"""


@jit
def rows_of(width: int) -> Rows:
    """Room for rows of `width`."""
    start, half = np.empty((2, width + LANES), np.int32)
    return Rows(start, half, np.empty((MOST_TERMS, 4), np.int64), np.empty((MOST_TERMS, 4), np.int64))


@jit
def expect_outside(A: I32, boxes: I64, c: int, k: int, w: I64, rows: Rows, outside: I32) -> None:
    """outside, from where subband k begins on, row by row = the sums for it in plane c, of all but what stands in it.

    A (plane, y, x): magnitudes, contiguous. w (TERMS,): `products`. outside: one for each element of a plane, in the
    order of subbands, and LANES more; what is behind the subband is spoilt.
    """
    y0, y1, n, flat, width = boxes[k, 0], boxes[k, 1], boxes[k, 3] - boxes[k, 2], A.reshape(-1), A.shape[2]
    start, half, terms, parents = rows.start, rows.half, rows.terms, rows.parents
    m, has_parent, count, at = (n + 1) // 2, w[PARENT] or w[ABOUT_PARENT], 0, boxes[k, 9]
    _fill(start, 0, n, w[MEAN])
    for y in range(y0, y1):
        if has_parent and (y - y0) % 2 == 0:
            _fill(half, 0, m, 0)
            add_terms(half, 0, half, 0, m, flat, parents, 0, _list_parent(A, boxes, c, k, y, w, parents))
            _double(half, w[MEAN], start, 0, n)
        if y0 + 2 <= y < y1 - 2:  # no edge is near, of this subband or others: terms are those of the row before
            for t in range(count):
                terms[t, OFFSET] += width
        else:
            count = _list_outside(A, boxes, c, k, y, w, terms, 0)
        add_terms(start, 0, outside, at, n, flat, terms, 0, count)
        at += n


@jit
def expect_inside(A: I32, boxes: I64, c: int, k: int, w: I64, outside: I32, out: I32) -> None:
    """out = the sums for subband k after `expect_outside`, at the same places, with what stands in it."""
    n, at, flat, width = boxes[k, 3] - boxes[k, 2], boxes[k, 9], A.reshape(-1), A.shape[2]
    left, second = np.int32(w[LEFT]), np.int32(w[SECOND])
    for row in range(boxes[k, 1] - boxes[k, 0]):
        here = (c * A.shape[1] + boxes[k, 0] + row) * width + boxes[k, 2]
        add_above(flat, here, width, row, n, w, outside, at, out, at)
        for x in range(1, n):
            out[np.uint64(at + x)] += left * flat[np.uint64(here + x - 1)]
        for x in range(2, n):
            out[np.uint64(at + x)] += second * flat[np.uint64(here + x - 2)]
        at += n


@jit
def add_above(
    flat: I32, here: int, width: int, row: int, n: int, w: I64, outside: I32, at: int, out: I32, to: int
) -> None:
    """out[to + x] = outside[at + x] and what stands above it, x < n, in a subband whose row begins at `here` of all
    magnitudes, with `width` to a row of a plane."""
    above, second = here - (width if row > 0 else 0), here - (2 * width if row > 1 else 0)
    of_above, of_corners = np.int32(w[ABOVE] if row > 0 else 0), np.int32(w[CORNERS] if row > 0 else 0)
    of_second = np.int32(w[SECOND] if row > 1 else 0)
    for x in range(n):
        known = of_above * flat[np.uint64(above + x)] + of_second * flat[np.uint64(second + x)]
        out[np.uint64(to + x)] = outside[np.uint64(at + x)] + known
    for x in range(1, n):
        out[np.uint64(to + x)] += of_corners * flat[np.uint64(above + x - 1)]
    for x in range(n - 1):
        out[np.uint64(to + x)] += of_corners * flat[np.uint64(above + x + 1)]


@jit
def separate_row(A: I32, boxes: I64, c: int, k: int, y: int, w: I64, rows: Rows, out: I32, pitch: int) -> None:
    """out[pitch · term + x] = what each term adds to the sum of row y, none of it from the row; pitch >= n + LANES."""
    n, flat, half, start, terms = boxes[k, 3] - boxes[k, 2], A.reshape(-1), rows.half, rows.start, rows.terms
    for term in range(TERMS):
        _fill(out, pitch * term, n, w[MEAN] if term == MEAN else 0)
    if boxes[k, 4] >= 0:
        _fill(start, 0, n, 0)
        first, count = 0, _list_parent(A, boxes, c, k, y, NUMBERS, terms)
        while first < count:
            term, last = terms[first, WEIGHT] - 1, _weigh_terms(terms, first, count, w)
            add_terms(start, 0, half, 0, (n + 1) // 2, flat, terms, first, last)
            _double(half, 0, out, pitch * term, n)
            first = last
    first, count = 0, _list_outside(A, boxes, c, k, y, NUMBERS, terms, _list_above(A, boxes, c, k, y, NUMBERS, terms))
    while first < count:
        term, last = terms[first, WEIGHT] - 1, _weigh_terms(terms, first, count, w)
        add_terms(out, pitch * term, out, pitch * term, n, flat, terms, first, last)
        first = last


@jit
def _weigh_terms(terms: I64, first: int, count: int, w: I64) -> int:
    """Give the first terms of the same number their weight; where the next begins."""
    number, t = terms[first, WEIGHT], first
    while t < count and terms[t, WEIGHT] == number:
        terms[t, WEIGHT] = w[number - 1]
        t += 1
    return t


@jit
def _fill(row: I32, at: int, n: int, value: int) -> None:
    for x in range(n):
        row[np.uint64(at + x)] = value


@jit
def _list_parent(A: I32, boxes: I64, c: int, k: int, y: int, w: I64, terms: I64) -> int:
    """List the terms of half as many columns, the parent's; how many they are."""
    plane, m, dy = c * A.shape[1] * A.shape[2], (boxes[k, 3] - boxes[k, 2] + 1) // 2, (y - boxes[k, 0]) // 2
    return _add_box(terms, 0, w[PARENT], w[ABOUT_PARENT], boxes, boxes[k, 4], dy, m, plane, A.shape[2])


@jit
def _list_above(A: I32, boxes: I64, c: int, k: int, y: int, w: I64, terms: I64) -> int:
    """List the terms in the rows above of the subband; how many they are."""
    y0, n, width, count = boxes[k, 0], boxes[k, 3] - boxes[k, 2], A.shape[2], 0
    here = (c * A.shape[1] + y) * width + boxes[k, 2]
    if y > y0:
        count = _add(terms, count, here - width, w[ABOVE], 0, n)
        count = _add(terms, count, here - width - 1, w[CORNERS], 1, n)
        count = _add(terms, count, here - width + 1, w[CORNERS], 0, n - 1)
    if y > y0 + 1:
        count = _add(terms, count, here - 2 * width, w[SECOND], 0, n)
    return count


@jit
def _list_outside(A: I32, boxes: I64, c: int, k: int, y: int, w: I64, terms: I64, count: int) -> int:
    """List all other terms but the mean, after the first `count`; how many they are together."""
    y0, y1, n, width = boxes[k, 0], boxes[k, 1], boxes[k, 3] - boxes[k, 2], A.shape[2]
    plane = A.shape[1] * width
    here = c * plane + y * width + boxes[k, 2]
    if c > 0:
        count = _add(terms, count, here - plane, w[BEFORE], 0, n)
        count = _add_about(terms, count, here - plane, w[ABOUT_BEFORE], n, n, y > y0, y + 1 < y1, width)
    if c > 1:
        count = _add(terms, count, here - 2 * plane, w[TWO_BEFORE], 0, n)
    if boxes[k, 5] >= 0:
        count = _add_box(terms, count, w[FIRST], w[ABOUT_FIRST], boxes, boxes[k, 5], y - y0, n, c * plane, width)
    if boxes[k, 6] >= 0:
        count = _add_box(terms, count, w[OTHER], 0, boxes, boxes[k, 6], y - y0, n, c * plane, width)
    return count


# Rows are passed as an array and a place: slices, calls that may fail and ways out of a function before its end make
# Numba count who holds which array, which takes as long as a row.


@jit
def add_terms(start: I32, at: int, out: I32, to: int, n: int, flat: I32, terms: I64, first: int, count: int) -> None:
    """out[to + x] = start[at + x] + Σ weight · flat[offset + x] over the terms from the first to before `count` whose
    columns x is in, for x < n. Behind that, out is spoilt.

    Whole vectors are read, and what was too much is taken back, but never from outside of magnitudes `flat`.
    """
    size = (n + LANES - 1) & -LANES
    inside = at + size <= start.shape[0] and to + size <= out.shape[0]
    for t in range(first, count):
        inside &= terms[t, OFFSET] >= 0 and terms[t, OFFSET] + size <= flat.shape[0]
    if inside:
        _add_vectors(start, at, out, to, flat, terms, size // LANES, first, count)
    else:
        for x in range(n):
            out[np.uint64(to + x)] = start[np.uint64(at + x)]
    for t in range(first, count):
        offset, weight = terms[t, OFFSET], np.int32(terms[t, WEIGHT])
        if inside:
            for x in range(terms[t, FROM]):
                out[np.uint64(to + x)] -= weight * flat[np.uint64(offset + x)]
            for x in range(terms[t, TO], n):
                out[np.uint64(to + x)] -= weight * flat[np.uint64(offset + x)]
        else:
            for x in range(terms[t, FROM], terms[t, TO]):
                out[np.uint64(to + x)] += weight * flat[np.uint64(offset + x)]


@emitted
def _add_vectors(
    typing: Any, start: Any, at: Any, out: Any, to: Any, flat: Any, terms: Any, blocks: Any, first: Any, count: Any
) -> Any:
    """out[to + x] = start[at + x] + Σ weight · flat[offset + x], in blocks of LANES."""
    word, integer = ir.IntType(32), types.intp

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source, sums, known, table = (
            context.make_array(signature.args[i])(context, builder, args[i]) for i in (0, 2, 4, 5)
        )
        with counted(builder, args[6]) as block:
            x = builder.mul(block.index, ir.Constant(block.index.type, LANES))
            total = variable(builder, load(builder, element(builder, source, builder.add(args[1], x)), word, LANES))
            with counted(builder, builder.sub(args[8], args[7])) as term:
                line = builder.mul(builder.add(args[7], term.index), ir.Constant(term.index.type, 4))
                offset, weight = (builder.load(element(builder, table, line, part)) for part in (OFFSET, WEIGHT))
                row = load(builder, element(builder, known, builder.add(offset, x)), word, LANES)
                product = builder.mul(broadcast(builder, builder.trunc(weight, word), LANES), row)
                builder.store(builder.add(builder.load(total), product), total)
            store(builder, builder.load(total), element(builder, sums, builder.add(args[3], x)), word, LANES)
        return context.get_dummy_value()

    return types.void(start, integer, out, integer, flat, terms, integer, integer, integer), codegen


@jit
def _add(terms: I64, count: int, offset: int, weight: int, first: int, end: int) -> int:
    """One more term, if it counts anywhere; the number of terms."""
    if weight == 0 or first >= end:
        return count
    terms[count, OFFSET], terms[count, WEIGHT], terms[count, FROM], terms[count, TO] = offset, weight, first, end
    return count + 1


@jit
def _add_about(
    terms: I64, count: int, here: int, weight: int, n: int, wide: int, above: bool, below: bool, width: int
) -> int:
    """The four neighbours of n magnitudes from `here`, in a subband that is `wide`."""
    if above:
        count = _add(terms, count, here - width, weight, 0, n)
    if below:
        count = _add(terms, count, here + width, weight, 0, n)
    count = _add(terms, count, here - 1, weight, 1, n)
    return _add(terms, count, here + 1, weight, 0, min(n, wide - 1))


@jit
def _add_box(
    terms: I64, count: int, weight: int, about: int, boxes: I64, number: int, dy: int, n: int, plane: int, width: int
) -> int:
    """Row dy of another subband, of which the last row and the last column may be missing, and its neighbours."""
    y0, y1, x0, x1 = boxes[number, 0], boxes[number, 1], boxes[number, 2], boxes[number, 3]
    y, wide = y0 + dy, x1 - x0
    if y >= y1:
        return count
    here, n = plane + y * width + x0, min(n, wide)
    count = _add(terms, count, here, weight, 0, n)
    return _add_about(terms, count, here, about, n, wide, y > y0, y + 1 < y1, width)


@jit
def _double(half: I32, mean: int, out: I32, at: int, n: int) -> None:
    """out[at : at + n] = the sums of the parent's row, each for two columns, and the mean."""
    for i in range(n >> 1):
        told = half[np.uint64(i)] + np.int32(mean)
        out[np.uint64(at + 2 * i)] = told
        out[np.uint64(at + 2 * i + 1)] = told
    if n & 1:
        out[np.uint64(at + n - 1)] = half[np.uint64(n >> 1)] + np.int32(mean)
