"""What is made of an array (band, y, x) window by window, each with its halo; lazily, where the array is Dask's.

Of a lazy array it is one layer of tasks that name the blocks they cut their window from. So a block under the halos of
several windows is computed once, and the graph grows with the number of windows alone. (`delayed` with a slice for an
argument gives each task a copy, under other names, of all that the slice is made of.)
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from itertools import accumulate, pairwise
from typing import Any

import dask.array as da
import numpy as np

# Where Dask's own arrays have them from; tuples, the graphs of before, are to be refused one day.
from dask._task_spec import DataNode, Task, TaskRef
from dask.base import is_dask_collection, tokenize
from dask.highlevelgraph import HighLevelGraph
from numpy.typing import NDArray

from pipeline.flow.threads import one_blas_thread
from pipeline.grid import Window

Heart = Callable[..., NDArray[Any]]
"""Of the pixels of the outer window what the inner one has, (block, inner, outer), with `clear` where there is a mask;
it is pure, and names itself in tokens by what it is."""
Around = Callable[[Window], Window]
"""A window with its halo, clipped at the scene's edge."""


def cuts(cube: Any, axis: int, tile: int, stride: int) -> list[int]:
    """Where windows begin and end along an axis: Dask's chunks where they suit the stride, tiles elsewhere."""
    extent = cube.shape[axis]
    if is_dask_collection(cube):
        edges = sorted({0, *accumulate(cube.chunks[axis])})
        if all(edge % stride == 0 for edge in edges[:-1]):
            return edges
    step = -(-tile // stride) * stride
    return [*range(0, extent, step), extent]


def windows(cube: Any, tile: int, stride: int) -> list[Window]:
    """All windows, in raster order."""
    ys, xs = cuts(cube, 1, tile, stride), cuts(cube, 2, tile, stride)
    return [Window(y0, y1, x0, x1) for y0, y1 in pairwise(ys) for x0, x1 in pairwise(xs)]


def map_windows(
    cube: Any,
    heart: Heart,
    around: Around,
    *,
    tile: int,
    stride: int,
    count: int,
    dtype: np.dtype[Any],
    name: str,
    clear: Any = None,
) -> Any:
    """What `heart` makes of every window, (count, y, x) of cells of stride x stride pixels; lazy where the cube is.

    `name` is what the tasks are called by, beside a token of the cube, the heart and the windows. `clear`, (y, x)
    or (band, y, x), is a mask of which the heart gets the outer window, too.
    """
    ys, xs = cuts(cube, 1, tile, stride), cuts(cube, 2, tile, stride)
    inner = [[Window(y0, y1, x0, x1) for x0, x1 in pairwise(xs)] for y0, y1 in pairwise(ys)]
    if not is_dask_collection(cube):
        clear = None if clear is None else np.asarray(clear)  # once: a lazy one would be read for each window
        return np.block([[_at_once(cube, clear, heart, one, around(one)) for one in row] for row in inner])
    cube = cube.rechunk({0: -1})
    layers = [cube] if clear is None else [cube, _like(cube, clear)]
    name = f"{name}-{tokenize(*(layer.name for layer in layers), heart, around, ys, xs, stride)}"
    rows, columns = (list(accumulate(cube.chunks[axis], initial=0)) for axis in (1, 2))
    # Once for all tasks: a bank may be large.
    tasks: dict[Any, Any] = {f"{name}-heart": DataNode(f"{name}-heart", heart)}
    for i, row in enumerate(inner):
        for j, one in enumerate(row):
            outer = around(one)
            high, wide = list(_parts(rows, outer.y0, outer.y1)), list(_parts(columns, outer.x0, outer.x1))
            places = [(r, c) for r, _ in high for c, _ in wide]
            blocks = [TaskRef((one.name, *(0,) * (one.ndim - 2), *at)) for one in layers for at in places]
            parts = [(y, x) for _, y in high for _, x in wide]
            tasks[name, 0, i, j] = Task(
                (name, 0, i, j), _of_blocks, TaskRef(f"{name}-heart"), one, outer, len(wide), parts, *blocks
            )
    chunks = ((count,), *(tuple(-(-(end - start) // stride) for start, end in pairwise(cut)) for cut in (ys, xs)))
    graph = HighLevelGraph.from_collections(name, tasks, dependencies=layers)
    return da.Array(graph, name, chunks, meta=np.empty((0, 0, 0), dtype))  # type: ignore[no-untyped-call]


def _like(cube: Any, clear: Any) -> Any:
    """A mask in chunks like those of the cube, all bands in one."""
    return da.asarray(clear).rechunk(cube.chunks[3 - clear.ndim :])  # type: ignore[no-untyped-call]


def made_here(data: Any, name: str) -> bool:
    """Whether `map_windows` has a part in a lazy array, under this name."""
    layers = getattr(data.__dask_graph__(), "layers", {}) if is_dask_collection(data) else {}
    return any(one.startswith(f"{name}-") and f"{one}-heart" in layers[one] for one in layers)


def _parts(edges: list[int], start: int, end: int) -> Iterator[tuple[int, slice]]:
    """The blocks that hold start to end, by number, and what of each of them does."""
    for number in range(bisect_right(edges, start) - 1, bisect_left(edges, end)):
        here, there = edges[number], edges[number + 1]
        yield number, slice(max(start, here) - here, min(end, there) - here)


def _of_blocks(
    heart: Heart, inner: Window, outer: Window, across: int, parts: list[tuple[slice, slice]], *blocks: Any
) -> NDArray[Any]:
    """The outer window put together of its parts of the blocks, `across` in a row, and what the heart makes of it.

    Behind the blocks of the cube stand those of the mask, where there is one.
    """

    def whole(those: tuple[Any, ...]) -> NDArray[Any]:
        cut = [np.asarray(block)[..., *part] for block, part in zip(those, parts, strict=True)]
        return np.block([cut[at : at + across] for at in range(0, len(cut), across)])

    pixels, mask = blocks[: len(parts)], blocks[len(parts) :]
    return _made(heart, whole(pixels), inner, outer, whole(mask) if mask else None)


def _at_once(cube: Any, clear: Any, heart: Heart, inner: Window, outer: Window) -> NDArray[Any]:
    return _made(heart, cube[:, *outer.slices], inner, outer, None if clear is None else clear[..., *outer.slices])


def _made(heart: Heart, block: Any, inner: Window, outer: Window, clear: Any) -> NDArray[Any]:
    with one_blas_thread():
        # One layout in memory for all: Numba compiles kernels for each anew.
        masks = {} if clear is None else {"clear": np.ascontiguousarray(clear)}
        return heart(np.ascontiguousarray(block), inner, outer, **masks)
