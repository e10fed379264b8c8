"""Where the places of a tensor lie: over the pixels that they are made of, whichever end an operator takes from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pipeline.network.survey import survey
from tests.reference_network import Builder


def pooled(b: Builder, x: str, times: int, **given: Any) -> str:
    for _ in range(times):
        x = b.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], **given)
    return x


PLACED: dict[str, tuple[Callable[[Builder], str], int]] = {
    "a crop at the start alone": (lambda b: b.cut("x", 6, 1 << 40), 6),
    "a crop at the end alone": (lambda b: b.cut("x", 0, -6), 0),
    "a crop, then as many zeros at the end": (lambda b: b.pad(b.cut("x", 6, 1 << 40), 0, 0, 6, 6), 6),
    "zeros at the start": (lambda b: b.pad("x", 3, 3, 0, 0), -3),
    "edges at the start": (lambda b: b.pad("x", 3, 3, 0, 0, "edge"), -3),
    "zeros that a convolution takes again": (lambda b: b.conv(b.pad("x", 1, 1, 1, 1), 3, pads=[0] * 4), 0),
    "more pads than it takes": (lambda b: b.conv("x", 3, pads=[2] * 4), -1),
    "a convolution of what came before": (lambda b: b.conv("x", 3, pads=[2, 2, 0, 0]), -1),
    "windows beyond the end, up again": (lambda b: b.resize(pooled(b, "x", 1, pads=[1] * 4, ceil_mode=1), 2), 0),
    "the same thrice": (lambda b: b.resize(pooled(b, "x", 3, pads=[1] * 4, ceil_mode=1), 8), 0),
    "the same, transposed": (lambda b: b.transposed(pooled(b, "x", 1, pads=[1] * 4, ceil_mode=1), 2, 2), 0),
    "every second": (lambda b: b.cut("x", 0, 1 << 40, 2), 0),
    "every second from the fifth": (lambda b: b.cut("x", 4, 1 << 40, 2), 2),
    "a stem without pads": (
        lambda b: b.conv(b.conv("x", 7, strides=[2, 2], pads=[0] * 4), 7, strides=[2, 2], pads=[0] * 4),
        2,
    ),
    "strided windows without pads": (lambda b: pooled(b, "x", 5), 0),
    "what a transposed convolution adds": (lambda b: b.transposed("x", 5, 1), -2),
    "what it adds at a stride": (lambda b: b.transposed(b.conv("x", 3, strides=[2, 2]), 6, 2), -2),
    "a skip cut to a valid branch": (lambda b: b.join(b.cut("x", 2, -2), b.conv("x", 5, pads=[0] * 4)), 2),
    "even windows, the same length": (
        lambda b: b.conv(b.conv("x", 2, auto_pad="SAME_UPPER"), 2, auto_pad="SAME_UPPER"),
        0,
    ),
}


@pytest.mark.parametrize("name", PLACED)
def test_places_stay_over_the_pixels_they_are_made_of_whichever_end_lacks_some(name: str) -> None:
    build, shift = PLACED[name]
    b = Builder(1)
    field = survey(b.graph(build(b))).field(b.nodes[-1].outputs[0])
    assert field.shifts == (shift, shift)
