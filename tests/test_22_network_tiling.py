"""Tiled = whole, bit for bit, for random networks, sizes and tiles; not so when a block is a stride short."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from pipeline.errors import BankError
from pipeline.network.execute import Network
from pipeline.network.graph import Graph
from pipeline.network.survey import survey
from pipeline.network.tiling import Axis, Field
from tests.reference_network import Builder, Slow

WORDS = """
conv strided dilated lopsided even same pool ceil average transposed nearest linear half zeros edge reflect crop every
unpack pack residual branches skip
"""
BLOCKS = tuple(WORDS.split())


def block(kind: str, b: Builder, x: str, odd: int) -> str:
    """One small block of operators after tensor x; `odd` varies it."""
    match kind:
        case "conv":
            return b.add("Relu", b.conv(x, 1 + 2 * (odd % 3)))
        case "strided":
            return b.conv(x, 3, strides=[2, 2 + odd % 2])
        case "dilated":
            return b.conv(x, 3, dilations=[2, 1 + odd % 3], pads=[2, 1 + odd % 3] * 2)
        case "lopsided":
            return b.conv(x, 3, pads=[odd % 3, 1, 0, odd % 4])
        case "even":
            return b.conv(x, 2 + 2 * (odd % 2), strides=[1 + odd % 2] * 2, pads=[1, 1, 0, 0])
        case "same":
            return b.conv(x, 2 + odd % 3, strides=[2, 3], auto_pad=("SAME_UPPER", "SAME_LOWER")[odd % 2])
        case "pool":
            return b.add("MaxPool", x, kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 0])
        case "ceil":
            return b.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 3], ceil_mode=1)
        case "average":
            return b.add("AveragePool", x, kernel_shape=[2, 3], strides=[2, 1], pads=[0, 1, 0, 1])
        case "transposed":
            return b.transposed(x, 2 + odd % 3, 2, pads=[odd % 2] * 4, output_padding=[odd % 2, 0])
        case "nearest":
            return b.resize(x, 2, "nearest", ("half_pixel", "asymmetric")[odd % 2])
        case "linear":
            return b.resize(x, (2, 1.5, 4)[odd % 3], "linear", ("half_pixel", "asymmetric")[odd % 2])
        case "half":
            placing = ("half_pixel", "pytorch_half_pixel")[odd // 2 % 2]
            return b.resize(x, 0.5, ("nearest", "linear")[odd % 2], placing)
        case "zeros":
            return b.pad(x, odd % 4, 1, 0, odd % 3)
        case "edge" | "reflect":
            return b.pad(x, odd % 3, 2, 1, odd % 2, kind)
        case "crop":
            return b.cut(x, odd % 3, (-1, -2, 1 << 40)[odd % 3])
        case "every":
            return b.cut(x, odd % 2, 1 << 40, 2)
        case "unpack":
            return b.add("DepthToSpace", b.conv(x, 3, 4), blocksize=2, channels=1)
        case "pack":
            return b.add("SpaceToDepth", x, blocksize=2, channels=4 * b.channels[x])
        case "residual":
            return b.add("Add", x, b.conv(b.conv(x, 3), 5, b.channels[x]))
        case "branches":
            return b.join(b.conv(x, 5, dilations=[2, 2]), x, b.conv(x, 1))
        case _:
            down = b.conv(b.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]), 3)
            up = b.transposed(down, 2, 2) if odd % 2 else b.resize(down, 2)
            return b.join(x, up)


@st.composite
def networks(draw: DrawFn) -> Graph:
    builder, last = Builder(draw(st.integers(1, 2)), draw(st.integers(0, 99))), "x"
    for kind in draw(st.lists(st.sampled_from(BLOCKS), min_size=1, max_size=4)):
        last = block(kind, builder, last, draw(st.integers(0, 11)))
    return builder.graph()


Run = Callable[[Graph], Callable[[np.ndarray], list[np.ndarray]]]


def whole(graph: Graph, field: Field, x: np.ndarray, run: Run = Slow) -> np.ndarray:
    """The tensor of the whole scene, continued by zeros to a size that the network accepts."""
    sides = [Axis(field, number, x.shape[2 + number]).padded for number in (0, 1)]
    padded = np.zeros((*x.shape[:2], *sides), np.float32)
    padded[:, :, : x.shape[2], : x.shape[3]] = x
    return run(graph)(padded)[0]


def tiled(
    graph: Graph,
    field: Field,
    x: np.ndarray,
    tile: tuple[int, int],
    shave: tuple[int, int] = (0, 0),
    run: Run = Slow,
) -> np.ndarray:
    """The same in tiles of so many places; `shave` takes strides S off the blocks, before and after."""
    axes = [Axis(field, number, x.shape[2 + number]) for number in (0, 1)]
    padded = np.zeros((*x.shape[:2], axes[0].padded, axes[1].padded), np.float32)
    padded[:, :, : x.shape[2], : x.shape[3]] = x
    network = run(graph)
    result = np.full((field.channels, axes[0].places, axes[1].places), np.nan, np.float32)
    for top in range(0, axes[0].places, tile[0]):
        for left in range(0, axes[1].places, tile[1]):
            parts, froms, blocks = [], [], []
            for axis, first, side in zip(axes, (top, left), tile, strict=True):
                end = min(first + side, axis.places)
                start, stop = axis.span(first, end - 1)
                start += shave[0] * axis.unit * (start > 0)
                stop -= shave[1] * axis.unit * (stop < axis.padded)
                assert start % axis.unit == 0
                assert (axis.padded - stop) % axis.unit == 0
                parts.append(slice(first, end))
                froms.append(slice(first - axis.place(start), end - axis.place(start)))
                blocks.append(slice(start, stop))
            got = network(padded[:, :, *blocks])[0][0][:, *froms]
            if got.shape[1:] == tuple(part.stop - part.start for part in parts):
                result[:, *parts] = got
    return result


def _field(graph: Graph) -> Field:
    return survey(graph, 2).field(graph.outputs[0])


@settings(max_examples=150)
@given(graph=networks(), height=st.integers(1, 70), width=st.integers(1, 70), tile=st.tuples(*[st.integers(1, 24)] * 2))
def test_tiles_are_the_whole_bit_for_bit(graph: Graph, height: int, width: int, tile: tuple[int, int]) -> None:
    field = _field(graph)
    x = np.random.default_rng(height).uniform(0.1, 1, (1, field.source_dims[1], height, width)).astype(np.float32)
    try:
        wanted = whole(graph, field, x)[0]
    except BankError:  # no size suits this network
        reject()
    assert wanted.shape == (field.channels, *(Axis(field, i, x.shape[2 + i]).places for i in (0, 1)))
    np.testing.assert_array_equal(tiled(graph, field, x, tile), wanted)


@pytest.mark.parametrize("kind", BLOCKS)
def test_tiles_of_every_operator_are_the_whole(kind: str) -> None:
    for odd in range(6):
        for height, width in ((10, 13), (7, 16)):
            builder = Builder(2, odd)
            block(kind, builder, builder.conv("x", 1), odd)
            graph = builder.graph()
            field = _field(graph)
            x = np.random.default_rng(odd).uniform(0.1, 1, (1, 2, height, width)).astype(np.float32)
            np.testing.assert_array_equal(tiled(graph, field, x, (1, 3)), whole(graph, field, x)[0])


@settings(max_examples=60)
@given(graph=networks(), height=st.integers(1, 90), width=st.integers(1, 90), tile=st.tuples(*[st.integers(4, 40)] * 2))
def test_tiles_are_the_whole_with_our_engine(graph: Graph, height: int, width: int, tile: tuple[int, int]) -> None:
    field = _field(graph)
    x = np.random.default_rng(width).standard_normal((1, field.source_dims[1], height, width), np.float32)
    try:
        wanted = whole(graph, field, x, Network)[0]
    except BankError:
        reject()
    slow = whole(graph, field, x)[0]
    assert np.abs(wanted - slow).max() <= 1e-5 * np.abs(slow).max()
    assert np.abs(tiled(graph, field, x, tile, run=Network) - wanted).max() <= 1e-5 * np.abs(wanted).max()


def tight_networks() -> dict[str, Graph]:
    """Networks whose halo is no larger than it must be: every pixel of it counts."""
    graphs = {}
    b = Builder(2)
    b.conv(b.conv("x", 3), 5, dilations=[2, 2])
    graphs["two convolutions"] = b.graph()
    b = Builder(1)
    x = b.conv("x", 7, strides=[2, 2])
    x = b.add("AveragePool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    for strides in (1, 2):
        y = b.conv(b.conv(x, 3, strides=[strides] * 2), 3)
        x = b.add("Add", y, b.conv(x, 1, strides=[strides] * 2))
    graphs["a small ResNet"] = b.graph()
    b = Builder(1)
    x = b.conv(b.add("AveragePool", b.conv("x", 3), kernel_shape=[2, 2], strides=[2, 2]), 3)
    b.conv(b.join(b.resize(x, 2, "linear"), "x"), 3)
    graphs["a small U-Net"] = b.graph()
    b = Builder(1)
    b.transposed(b.conv("x", 3, strides=[3, 3]), 5, 3, pads=[1] * 4)
    graphs["a transposed convolution"] = b.graph()
    b = Builder(1)
    b.conv(b.conv("x", 4, strides=[2, 2], auto_pad="SAME_UPPER"), 3)
    graphs["pads by the size"] = b.graph()
    return graphs


@pytest.mark.parametrize("name", tight_networks())
@pytest.mark.parametrize("shave", [(1, 0), (0, 1)])
def test_a_block_a_stride_short_is_not_the_whole(name: str, shave: tuple[int, int]) -> None:
    graph = tight_networks()[name]
    field = survey(graph).field(graph.outputs[0])
    x = np.random.default_rng(1).uniform(0.1, 1, (1, field.source_dims[1], 150, 131)).astype(np.float32)
    places = max(1, int(32 / field.stride[0]))
    wanted = whole(graph, field, x)[0]
    assert np.array_equal(tiled(graph, field, x, (places, places)), wanted)
    short = tiled(graph, field, x, (places, places), shave)
    assert not np.allclose(short, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


def test_the_halo_of_a_network_done_by_hand() -> None:
    graph = tight_networks()["a small ResNet"]
    field = survey(graph).field(graph.outputs[0])
    # conv 7/2, pool 3/2: 5 pixels; two 3/1 at stride 4: 8 more; 3/2 at 4 and 3/1 at 8: 4 + 8 more; in all 25, then
    # up to whole strides of 8. After: a place's own 8 pixels are 7 more than its first.
    assert field.stride == (8, 8)
    assert field.halo == (32, 32, 24, 24)
    assert (field.channels, field.shifts, field.units) == (2, (0, 0), (8, 8))


def test_a_network_without_pads_puts_its_places_where_their_pixels_are() -> None:
    b = Builder(1)
    b.conv(b.conv("x", 5, pads=[0] * 4), 5, pads=[0] * 4)
    field = survey(b.graph()).field("conv_1")
    assert field.shifts == (4, 4)
    assert Axis(field, 0, 100).places == 92


def test_a_size_that_skips_do_not_fit_is_continued_to_one_that_they_do() -> None:
    graph = tight_networks()["a small U-Net"]
    axis = Axis(survey(graph).field(graph.outputs[0]), 0, 33)
    assert (axis.padded, axis.places) == (34, 34)
    b = Builder(1)
    b.join(b.conv("x", 3), b.conv("x", 3, pads=[0] * 4))
    with pytest.raises(BankError, match="does not run on rows of 33"):
        Axis(survey(b.graph()).field(b.nodes[-1].outputs[0]), 0, 33)


def _refusals() -> dict[str, tuple[Builder, str]]:
    """Networks that tiles cannot be computed of, and what is said."""
    cases: dict[str, tuple[Builder, str]] = {}

    def case(name: str, said: str, *more: str, **given: object) -> Builder:
        b = Builder(2)
        first = b.add("Relu", b.conv("x", 3))
        b.add(name, first, *more, **given)
        b.add("Relu", b.nodes[-1].outputs[0])
        cases[f"{name} {given}"] = (b, said)
        return b

    for name in ("GlobalMaxPool", "GlobalAveragePool"):
        case(name, f"{name} pools the whole scene")
    for name in ("InstanceNormalization", "GroupNormalization"):
        case(name, f"{name} takes its statistics from the whole scene")
    case("LayerNormalization", "LayerNormalization takes its statistics", axis=1)
    case("Softmax", "Softmax sums over the whole scene", axis=3)
    case("ArgMax", "ArgMax reduces the whole scene", axis=2)
    case("ReduceMax", "ReduceMax reduces the whole scene", axes=[2, 3])
    for name in ("Flatten", "Gemm", "Reshape"):
        case(name, f"{name} depends on the size of the scene, or leaves its axes")
    case("NonZero", "NonZero is not an operator that is known to be exact on tiles")
    case("MaxPool", "MaxPool over 1 axes, not y and x", kernel_shape=[2])
    b = case("MatMul", "MatMul mixes a whole row", "constant_9")
    b.constants["constant_9"] = np.ones((4, 4), np.float32)
    b = case("Add", "Add with a tensor of the size of one scene", "constant_9")
    b.constants["constant_9"] = np.ones((1, 2, 64, 64), np.float32)
    b = case("Resize", "Resize to one fixed size", "", "", "constant_9")
    b.constants["constant_9"] = np.array([1, 2, 64, 64])
    b = case(
        "Resize", "Resize with align_corners, whose", "", "constant_9", coordinate_transformation_mode="align_corners"
    )
    b.constants["constant_9"] = np.array([1, 1, 2, 2], np.float32)
    b = case("Resize", "Resize by 0.3", "", "constant_9", mode="linear")
    b.constants["constant_9"] = np.array([1, 1, 0.3, 2], np.float32)
    b = case("Pad", "Pad in mode wrap", "constant_9", mode="wrap")
    b.constants["constant_9"] = np.array([0, 0, 1, 1, 0, 0, 1, 1])
    b = case("Slice", "Slice -4:9:1 along y, whose place depends", "a", "b", "c")
    b.constants |= {"a": np.array([-4]), "b": np.array([9]), "c": np.array([2])}
    b = Builder(2)
    first = b.add("Relu", b.conv("x", 3))
    b.add("Add", first, b.conv(first, 3, strides=[2, 2]))
    cases["unlike strides"] = (b, "Add of tensors with unlike strides")
    b = Builder(2)
    b.add("Resize", b.conv("x"), "", "", b.add("Shape", "x"))
    cases["run-time sizes"] = (b, "Resize takes its sizes at run time")
    return cases


@pytest.mark.parametrize("name", _refusals())
def test_what_cannot_be_tiled_is_refused_by_name_with_a_tensor_that_can(name: str) -> None:
    builder, said = _refusals()[name]
    with pytest.raises(BankError, match=said) as caught:
        survey(builder.graph()).field(builder.nodes[-1].outputs[0])
    last = {"run-time sizes": "conv_0", "unlike strides": "conv_2"}.get(name, "relu_1")
    assert f"take an earlier tensor with @TENSOR, the last is {last}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_channels_are_counted_through_transposes_and_heads() -> None:
    """ConvNeXt's way: channels last, a norm and a product over them, and back; and a TensorFlow export's input."""
    b = Builder(5)
    first = b.add("Transpose", "x", perm=[0, 3, 1, 2])
    last = b.add("Transpose", b.conv(first, 3, 4), perm=[0, 2, 3, 1])
    last = b.add("LayerNormalization", last, b.constant(np.ones(4, np.float32)), axis=-1)
    last = b.add("MatMul", last, b.constant(np.ones((4, 6), np.float32)))
    last = b.add("Softmax", b.add("Add", last, b.constant(np.ones(6, np.float32))), axis=-1)
    found = survey(b.graph())
    assert found.dims["x"] == (1, "y", "x", 5)
    assert found.field(last).dims == (1, "y", "x", 6)
    assert found.field(last).channels == 6
