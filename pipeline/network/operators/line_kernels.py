"""Lines of pixels: weighted sums of a few of them, and sums into places apart. Unsigned indices, as in window_kernels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.jit import jit

F32 = NDArray[np.float32]
Places = NDArray[np.intp]


@jit
def weighted(x: F32, places: Places, weights: F32, out: F32) -> None:
    """out[p, i] = Σ over taps t of weights[i, t] · x[p, places[i, t]], for x (planes, length, inner)."""
    planes, length, inner = x.shape
    count, taps = places.shape
    pixels, results = x.reshape(x.size), out.reshape(out.size)
    if inner == 1:
        for p in range(planes):
            for i in range(count):
                value = np.float32(0.0)
                for t in range(taps):
                    value += weights[i, t] * pixels[np.uint64(p * length + places[i, t])]
                results[np.uint64(p * count + i)] = value
        return
    for p in range(planes):
        for i in range(count):
            start = np.uint64((p * count + i) * inner)
            for t in range(taps):
                factor, first = weights[i, t], np.uint64((p * length + places[i, t]) * inner)
                if t == 0:
                    for k in range(np.uint64(inner)):
                        results[start + k] = factor * pixels[first + k]
                else:
                    for k in range(np.uint64(inner)):
                        results[start + k] += factor * pixels[first + k]


@jit
def add_apart(x: F32, out: F32, first: tuple[int, int], step: tuple[int, int]) -> None:
    """out[n, first + i·step] += x[n, i] along both axes, for x (N, y, x)."""
    n, height, width = x.shape
    pixels, results = x.reshape(x.size), out.reshape(out.size)
    for plane in range(n):
        for y in range(height):
            row = plane * out.shape[1] + first[0] + y * step[0]
            start, place = np.uint64(row * out.shape[2] + first[1]), np.uint64((plane * height + y) * width)
            if step[1] == 1:
                for k in range(np.uint64(width)):
                    results[start + k] += pixels[place + k]
            elif step[1] == 2:
                for k in range(np.uint64(width)):
                    results[start + np.uint64(2) * k] += pixels[place + k]
            else:
                stride = np.uint64(step[1])
                for k in range(np.uint64(width)):
                    results[start + stride * k] += pixels[place + k]
