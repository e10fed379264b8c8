"""What an operator takes beside the scene is a constant, or tiles are refused: bounds, biases, statistics, fills."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pipeline.errors import BankError
from pipeline.network.execute import Network
from pipeline.network.survey import survey
from pipeline.network.tiling import Axis
from tests.reference_network import Builder
from tests.test_22_network_tiling import tiled, whole

ONES = np.ones(2, np.float32)
HERE = "ReduceMean reduces the whole scene"


def _bound(b: Builder, first: str) -> None:
    b.add("Clip", first, b.add("ReduceMean", first, keepdims=0))


def _upper_bound(b: Builder, first: str) -> None:
    b.add("Clip", first, "", b.add("ReduceMean", first, keepdims=0))


def _bias(b: Builder, first: str) -> None:
    mean = b.add("ReduceMean", first, b.constant([0, 2, 3]), keepdims=0)
    b.add("Conv", first, b.weights(2, 2, 1, 1), mean)


def _transposed_bias(b: Builder, first: str) -> None:
    mean = b.add("ReduceMean", first, b.constant([0, 2, 3]), keepdims=0)
    b.add("ConvTranspose", first, b.weights(2, 2, 1, 1), mean)


def _statistics(b: Builder, first: str) -> None:
    mean, ones = b.add("ReduceMean", first, b.constant([0, 2, 3]), keepdims=0), b.constant(ONES)
    b.add("BatchNormalization", first, ones, ones, mean, ones, epsilon=1e-5)


def _scale(b: Builder, first: str) -> None:
    b.add("LayerNormalization", b.add("Transpose", first, perm=[0, 2, 3, 1]), b.add("ReduceMean", first, keepdims=0))


def _fill(b: Builder, first: str) -> None:
    b.add("Pad", first, b.constant([0, 0, 1, 1, 0, 0, 1, 1]), b.add("ReduceMean", first, keepdims=0))


SIDES: dict[str, Callable[[Builder, str], None]] = {
    "lower bound of Clip": _bound,
    "upper bound of Clip": _upper_bound,
    "bias of Conv": _bias,
    "bias of ConvTranspose": _transposed_bias,
    "mean of BatchNormalization": _statistics,
    "scale of LayerNormalization": _scale,
    "value of Pad": _fill,
}


@pytest.mark.parametrize("name", SIDES)
def test_a_side_input_that_the_scene_decides_is_refused(name: str) -> None:
    b = Builder(2)
    SIDES[name](b, b.conv("x", 3))
    last = b.add("Relu", b.nodes[-1].outputs[0])
    with pytest.raises(BankError, match=HERE) as caught:
        survey(b.graph()).field(last)
    mean = next(node.outputs[0] for node in b.nodes if node.op == "ReduceMean")
    assert f"(at {mean}); take an earlier tensor with @TENSOR, the last is " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_side_input_over_the_scene_is_refused() -> None:
    b = Builder(2)
    first = b.conv("x", 3)
    b.add("Clip", first, b.add("Relu", first))
    with pytest.raises(BankError, match=r"Clip takes relu_1 of the scene .* \(at clip_2\)"):
        survey(b.graph()).field("clip_2")


def test_what_gives_its_type_alone_may_be_of_the_whole_scene() -> None:
    b = Builder(2)
    first = b.conv("x", 3)
    b.add("CastLike", first, b.add("ReduceMean", first))
    assert survey(b.graph()).field("castlike_2").channels == 2


def test_a_scale_for_each_row_of_one_scene_is_refused() -> None:
    b = Builder(2)
    rows = b.constant(np.ones((64, 1, 1), np.float32))
    b.add("LayerNormalization", b.add("Transpose", "x", perm=[0, 2, 3, 1]), rows)
    with pytest.raises(BankError, match="LayerNormalization with a tensor of the size of one scene"):
        survey(b.graph(), 2).field(b.nodes[-1].outputs[0])


@pytest.mark.parametrize("op", ["LRN", "BatchNormalization"])
def test_channels_are_at_axis_1_or_the_operator_is_refused(op: str) -> None:
    b = Builder(2)
    more = [b.constant(ONES)] * 4 if op == "BatchNormalization" else []
    given = {} if more else {"size": 3, "alpha": 1.0, "beta": 0.75, "bias": 1.0}
    b.add(op, b.add("Transpose", b.conv("x", 3), perm=[0, 2, 3, 1]), *more, **given)
    with pytest.raises(BankError, match=f"{op} (sums along|has statistics for each) row"):
        survey(b.graph()).field(b.nodes[-1].outputs[0])


@pytest.mark.parametrize("mode", ["edge", "reflect"])
@pytest.mark.parametrize("ends", [(-2, 2), (2, -2), (-1, 4), (-4, 1), (3, -1)])
def test_tiles_of_a_pad_that_cuts_one_end_and_continues_the_other_are_the_whole(
    mode: str, ends: tuple[int, int]
) -> None:
    b = Builder(2)
    b.pad("x", ends[0], -1, ends[1], 1, mode)
    graph = b.graph()
    field = survey(graph, 2).field("pad_0")
    x = np.random.default_rng(3).standard_normal((1, 2, 11, 12)).astype(np.float32)
    assert np.array_equal(tiled(graph, field, x, (1, 1), run=Network), whole(graph, field, x, Network)[0])


def test_a_pad_that_cuts_all_there_is_needs_more() -> None:
    b = Builder(2)
    b.pad("x", -2, -2, 2, 2, "edge")
    with pytest.raises(BankError, match="needs at least 3 rows of pixels, got 1"):
        Axis(survey(b.graph(), 2).field("pad_0"), 0, 1)


def test_tiles_of_lrn_over_channels_are_the_whole() -> None:
    b = Builder(2)
    b.conv(b.add("LRN", b.conv("x", 3, 7), size=5, alpha=1.0, beta=0.75, bias=1.0, channels=7), 3)
    graph = b.graph()
    field = survey(graph).field(b.nodes[-1].outputs[0])
    x = np.random.default_rng(2).standard_normal((1, 2, 40, 33)).astype(np.float32)
    wanted = whole(graph, field, x, Network)[0]
    assert np.abs(tiled(graph, field, x, (9, 16), run=Network) - wanted).max() <= 1e-5 * np.abs(wanted).max()
