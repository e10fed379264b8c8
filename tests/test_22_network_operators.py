"""Fast operators against slow ones: ONNX's reference, or loops, on odd sizes, strides, dilations and paddings."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx.reference import ReferenceEvaluator
from onnx_models import floats, model, node

from pipeline.errors import ModelError
from pipeline.gemm.panel import Panel
from pipeline.network.onnx_import import run
from pipeline.network.operators import window_kernels

SMALL = st.integers(1, 3)
PAIR = st.tuples(SMALL, SMALL)
SIDES = st.tuples(*[st.integers(0, 2)] * 4)
SIZE = st.tuples(st.integers(10, 21), st.integers(10, 21))
MODES = st.sampled_from(["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"])


def agree(made, inputs, tolerance=1e-4):
    """Ours and ONNX's reference on one model."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        names = [value.name for value in made.graph.input]
        expected = ReferenceEvaluator(made).run(None, dict(zip(names, inputs, strict=True)))
    found = run(made, inputs)
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


def looped(planes, start, kernel, stride, dilation, pads, out, reduce):
    """`reduce` over each window, one window at a time; planes (C, y, x) are padded with `start`."""
    padded = np.pad(planes, [(0, 0), (pads[0], pads[2] + 99), (pads[1], pads[3] + 99)], constant_values=start)
    result = np.empty((len(planes), *out), np.float64)
    for y in range(out[0]):
        for x in range(out[1]):
            rows = y * stride[0] + np.arange(kernel[0]) * dilation[0]
            columns = x * stride[1] + np.arange(kernel[1]) * dilation[1]
            result[:, y, x] = reduce(padded[:, rows[:, None], columns])
    return result


def outs(size, kernel, stride, dilation, pads):
    """The windows that fit, by the textbook."""
    return tuple(
        (size[i] + pads[i] + pads[i + 2] - (kernel[i] - 1) * dilation[i] - 1) // stride[i] + 1 for i in range(2)
    )


class TestWindows:
    @pytest.mark.parametrize("room", [1 << 20, 1], ids=["one panel", "many panels"])
    @settings(max_examples=60)
    @given(SIZE, PAIR, PAIR, PAIR, SIDES, st.integers(1, 4))
    def test_depthwise(self, room, size, kernel, stride, dilation, pads, several):
        channels = 3
        x, filters, bias = (
            floats(2, channels, *size),
            floats(channels * several, 1, *kernel, seed=1),
            floats(channels * several),
        )
        shape = {"strides": stride, "dilations": dilation, "pads": pads, "group": channels}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Panel.fitting, "__defaults__", (room,))
            (found,) = run(model([node("Conv", "x,w,b", "y", **shape)], constants={"w": filters, "b": bias}), [x])
        out = outs(size, kernel, stride, dilation, pads)
        for image, result in zip(x, found, strict=True):
            parts = np.repeat(image, several, axis=0)
            expected = looped(
                parts, 0, kernel, stride, dilation, pads, out, lambda w: (w * filters[:, 0]).sum((1, 2)) + bias
            )
            np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("pixels", [2048, 20], ids=["one band", "many bands"])
    @settings(max_examples=60)
    @given(SIZE, PAIR, PAIR, PAIR, st.tuples(*[st.integers(0, 1)] * 4), st.booleans())
    def test_max_pool(self, pixels, size, kernel, stride, dilation, pads, ceil):
        kernel = tuple(side + 1 for side in kernel)
        shape = {"kernel_shape": kernel, "strides": stride, "dilations": dilation, "pads": pads, "ceil_mode": int(ceil)}
        x = floats(2, 3, *size)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(window_kernels, "BAND_PIXELS", pixels)
            (found,) = run(model([node("MaxPool", "x", "y", **shape)]), [x])
        planes = x.reshape(6, *size)
        expected = looped(planes, -np.inf, kernel, stride, dilation, pads, found.shape[2:], lambda w: w.max((1, 2)))
        np.testing.assert_array_equal(found.reshape(expected.shape), expected)
        fits = outs(size, kernel, stride, dilation, pads)
        assert all(b in ((a, a + 1) if ceil else (a,)) for a, b in zip(fits, found.shape[2:], strict=True))

    @pytest.mark.parametrize("padded", [False, True])
    @settings(max_examples=60)
    @given(SIZE, PAIR, PAIR, PAIR, st.tuples(*[st.integers(0, 1)] * 4))
    def test_average_pool(self, padded, size, kernel, stride, dilation, pads):
        kernel = tuple(side + 1 for side in kernel)
        shape = {"kernel_shape": kernel, "strides": stride, "dilations": dilation, "pads": pads}
        x, out = floats(1, 3, *size), outs(size, kernel, stride, dilation, pads)
        made = model([node("AveragePool", "x", "y", count_include_pad=int(padded), **shape)], opset=19)
        (found,) = run(made, [x])
        start = 0.0 if padded else np.nan
        expected = looped(x[0], start, kernel, stride, dilation, pads, out, lambda w: np.nanmean(w, (1, 2)))
        np.testing.assert_allclose(found[0], expected, rtol=1e-5, atol=1e-6)

    def test_the_largest_of_what_is_not_a_number_is_none(self):
        x = floats(1, 1, 5, 5)
        x[0, 0, 2, 2] = np.nan
        (found,) = run(model([node("MaxPool", "x", "y", kernel_shape=[3, 3], pads=[1, 1, 1, 1])]), [x])
        assert np.isnan(found[0, 0, 1:4, 1:4]).all()
        assert np.isfinite(found).sum() == 16

    def test_places_of_the_largest(self):
        x = floats(2, 3, 7, 6)
        made = model(
            [node("MaxPool", "x", "y,i", kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 0])], outputs=("y", "i")
        )
        values, places = run(made, [x])
        assert (x.ravel()[places] == values).all()

    def test_other_types(self):
        x = np.random.default_rng(0).integers(0, 255, (1, 2, 6, 6)).astype(np.uint8)
        agree(model([node("MaxPool", "x", "y", kernel_shape=[3, 3], strides=[2, 2])], kind=2), [x])


class TestConvolutions:
    @settings(max_examples=60)
    @given(SIZE, PAIR, PAIR, PAIR, MODES, st.sampled_from([1, 2]))
    def test_automatic_padding(self, size, kernel, stride, dilation, mode, groups):
        x, w = floats(2, 4, *size), floats(6, 4 // groups, *kernel, seed=1)
        dilation = dilation if mode in ("NOTSET", "VALID") else (1, 1)
        shape = {"strides": stride, "dilations": dilation, "auto_pad": mode, "group": groups}
        agree(model([node("Conv", "x,w", "y", **shape)], constants={"w": w}), [x])

    @settings(max_examples=60)
    @given(st.integers(8, 20), SMALL, SMALL, SMALL, st.tuples(*[st.integers(0, 2)] * 2))
    def test_one_dimension(self, length, taps, stride, dilation, pads):
        x, w, b = floats(2, 4, length), floats(6, 2, taps, seed=1), floats(6, seed=2)
        shape = {"strides": [stride], "dilations": [dilation], "pads": pads, "group": 2}
        agree(model([node("Conv", "x,w,b", "y", **shape)], constants={"w": w, "b": b}), [x])

    def test_filters_that_are_computed(self):
        made = model([node("Exp", "v", "w"), node("Conv", "x,w", "a"), node("Relu", "a", "y")], ("x", "v"))
        agree(made, [floats(1, 3, 6, 6), 0.1 * floats(2, 3, 3, 3)])

    @settings(max_examples=80)
    @given(SIZE, PAIR, PAIR, PAIR, st.tuples(*[st.integers(0, 1)] * 4), st.sampled_from([1, 2]))
    def test_a_transpose_is_the_adjoint_of_its_convolution(self, size, kernel, stride, dilation, pads, groups):
        """⟨conv(u), x⟩ = ⟨u, convᵀ(x)⟩ for every u and x."""
        kernel = tuple(side + 1 for side in kernel)
        w = floats(4, 6 // groups, *kernel, seed=1)
        shape = {"strides": stride, "dilations": dilation, "pads": pads, "group": groups}
        x = floats(1, 4, *size)
        (spread,) = run(model([node("ConvTranspose", "x,w", "y", **shape)], constants={"w": w}), [x])
        u = floats(*spread.shape, seed=2)
        (gathered,) = run(model([node("Conv", "x,w", "y", **shape)], constants={"w": w}), [u])
        assert gathered.shape == x.shape
        scale = np.linalg.norm(gathered) * np.linalg.norm(x)
        assert abs(np.vdot(gathered, x) - np.vdot(u, spread)) <= 1e-5 * scale


SCALE = st.floats(0.3, 3.3).map(lambda scale: round(scale, 2))
PLACES = ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric"]


class TestResize:
    @settings(max_examples=100)
    @given(
        st.tuples(st.integers(2, 9), st.integers(2, 9)),
        SCALE,
        SCALE,
        st.sampled_from(PLACES),
        st.booleans(),
        st.booleans(),
    )
    def test_weights(self, size, up, across, places, cubic, outside):
        scales = np.float32([1, 1, max(up, 1.01 / size[0]), max(across, 1.01 / size[1])])
        shape = {"mode": "cubic" if cubic else "linear", "coordinate_transformation_mode": places}
        if min(int(size[0] * scales[2]), int(size[1] * scales[3])) < 2:
            return
        made = node("Resize", "x,,s", "y", exclude_outside=int(outside), antialias=0, **shape)
        agree(model([made], constants={"s": scales}, opset=19), [floats(1, 2, *size)])

    @settings(max_examples=60)
    @given(st.tuples(st.integers(2, 9), st.integers(2, 9)), st.integers(2, 20), st.integers(2, 20), st.booleans())
    def test_antialiasing(self, size, rows, columns, cubic):
        made = node("Resize", "x,,,s", "y", mode="cubic" if cubic else "linear", antialias=1)
        agree(model([made], constants={"s": np.int64([1, 2, rows, columns])}, opset=19), [floats(1, 2, *size)])

    @settings(max_examples=60)
    @given(
        st.tuples(st.integers(2, 9), st.integers(2, 9)),
        st.integers(2, 20),
        st.integers(2, 20),
        st.sampled_from(["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"]),
    )
    def test_nearest(self, size, rows, columns, mode):
        made = node(
            "Resize", "x,,,s", "y", mode="nearest", nearest_mode=mode, coordinate_transformation_mode="asymmetric"
        )
        agree(model([made], constants={"s": np.int64([1, 2, rows, columns])}, opset=19), [floats(1, 2, *size)])


class TestOthers:
    @pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
    def test_pad_and_crop(self, mode):
        made = model(
            [node("Pad", "x,p", "y", mode=mode)], constants={"p": np.int64([0, 0, 2, -1, 0, 0, -2, 3])}, opset=19
        )
        (found,) = run(made, [x := floats(1, 2, 6, 7)])
        expected = np.pad(x[:, :, :-2, 1:], [(0, 0), (0, 0), (2, 0), (0, 3)], mode)
        np.testing.assert_array_equal(found, expected)

    @pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint8])
    def test_whole_numbers_divide_towards_zero(self, dtype):
        x = np.arange(-9, 9).astype(dtype)
        y = np.full(18, 4, dtype)
        (found,) = run(
            model([node("Div", "x,z", "y")], ("x", "z"), kind=helper.np_dtype_to_tensor_dtype(np.dtype(dtype))), [x, y]
        )
        np.testing.assert_array_equal(found, np.trunc(x.astype(float) / 4).astype(dtype))

    def test_sums_of_old_opsets_say_where_to_broadcast(self):
        made = model([node("Add", "x,b", "y", broadcast=1, axis=1)], constants={"b": floats(3)}, opset=6)
        x = floats(2, 3, 4, 5)
        np.testing.assert_array_equal(run(made, [x])[0], x + floats(3)[:, None, None])
        with pytest.raises(ModelError, match="broadcast is not set"):
            run(model([node("Add", "x,b", "y")], constants={"b": floats(3)}, opset=6), [x])

    def test_an_output_is_nobody_else_s_memory(self):
        made = model(
            [node("Identity", "x", "y"), node("Identity", "c", "z")], outputs=("y", "z"), constants={"c": floats(3)}
        )
        x = floats(3)
        y, z = run(made, [x])
        y[:] = z[:] = 0
        assert x.all()

    @pytest.mark.parametrize("x", [-200.0, 0.0, 200.0])
    def test_activations_do_not_overflow(self, x):
        for op in ("Sigmoid", "Softplus", "Mish", "Elu", "Softmax", "LogSoftmax"):
            (found,) = run(model([node(op, "x", "y")], opset=18), [np.float32([[x, 0]])])
            assert np.isfinite(found).all()
