"""Lines of pixels: weighted sums of a few of them, sums into places apart. Unsigned indices, as in window_kernels."""

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
    count = places.shape[0]
    pixels, results = x.reshape(x.size), out.reshape(out.size)
    for p in range(planes):
        if inner == 1:
            _columns(pixels, p * length, places, weights, results, p * count)
            continue
        for i in range(count):
            _rows(pixels, p * length, places[i], weights[i], results, (p * count + i) * inner, inner)


@jit
def _columns(pixels: F32, start: int, places: Places, weights: F32, results: F32, at: int) -> None:
    """One line to another, each element by itself."""
    count, taps = places.shape
    if taps == 1:
        for i in range(count):
            results[np.uint64(at + i)] = weights[i, 0] * pixels[np.uint64(start + places[i, 0])]
    elif taps == 2:
        for i in range(count):
            one, two = pixels[np.uint64(start + places[i, 0])], pixels[np.uint64(start + places[i, 1])]
            results[np.uint64(at + i)] = weights[i, 0] * one + weights[i, 1] * two
    else:
        for i in range(count):
            value = np.float32(0.0)
            for t in range(taps):
                value += weights[i, t] * pixels[np.uint64(start + places[i, t])]
            results[np.uint64(at + i)] = value


@jit
def _rows(pixels: F32, start: int, places: Places, weights: F32, results: F32, at: int, inner: int) -> None:
    """One line as the sum of others, which begin at (start + places) · inner."""
    target, by, first = np.uint64(at), weights[0], np.uint64((start + places[0]) * inner)
    if places.size == 2:
        also, second = weights[1], np.uint64((start + places[1]) * inner)
        for k in range(np.uint64(inner)):
            results[target + k] = by * pixels[first + k] + also * pixels[second + k]
        return
    for k in range(np.uint64(inner)):
        results[target + k] = by * pixels[first + k]
    for t in range(1, places.size):
        by, first = weights[t], np.uint64((start + places[t]) * inner)
        for k in range(np.uint64(inner)):
            results[target + k] += by * pixels[first + k]


@jit
def add_apart(x: F32, bias: F32, out: F32, first: tuple[int, int], step: tuple[int, int]) -> None:
    """out[n, first + i·step] += x[n, i] along both axes, for x (N, y, x); with a bias (N,), = x[n, i] + bias[n]."""
    n, height, width = x.shape
    pixels, results = x.reshape(x.size), out.reshape(out.size)
    stride = np.uint64(step[1])
    for plane in range(n):
        for y in range(height):
            row = plane * out.shape[1] + first[0] + y * step[0]
            start, place = np.uint64(row * out.shape[2] + first[1]), np.uint64((plane * height + y) * width)
            if bias.size:
                base = bias[plane]
                if step[1] == 2:
                    for k in range(np.uint64(width)):
                        results[start + np.uint64(2) * k] = pixels[place + k] + base
                else:
                    for k in range(np.uint64(width)):
                        results[start + stride * k] = pixels[place + k] + base
            elif step[1] == 1:
                for k in range(np.uint64(width)):
                    results[start + k] += pixels[place + k]
            elif step[1] == 2:
                for k in range(np.uint64(width)):
                    results[start + np.uint64(2) * k] += pixels[place + k]
            else:
                for k in range(np.uint64(width)):
                    results[start + stride * k] += pixels[place + k]
