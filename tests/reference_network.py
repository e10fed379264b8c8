"""Networks done the slow way: each output adds up its taps one by one, wherever it lies, so the bits do not move.

And random networks: chains of small blocks of operators, with random weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.network.graph import Graph, Node

Array = NDArray[Any]


class Slow:
    """A graph as a function of its input, as `Network` is: (N, C, y, x) in, a list of arrays out."""

    def __init__(self, graph: Graph, outputs: Sequence[str] | None = None) -> None:
        self.graph, self.outputs = graph, tuple(outputs or graph.outputs)

    def __call__(self, x: Array) -> list[Array]:
        values: dict[str, Array] = {**self.graph.constants, self.graph.inputs[0]: x}
        for node in self.graph.nodes:
            inputs = [values[name] if name else None for name in node.inputs]
            made = OPS[node.op](inputs, node.attributes)
            values |= dict(zip(node.outputs, made if isinstance(made, tuple) else (made,), strict=True))
        return [values[name] for name in self.outputs]


def same_pads(length: int, size: int, stride: int, dilation: int, auto: str) -> tuple[int, int]:
    total = max(0, (-(-length // stride) - 1) * stride + (size - 1) * dilation + 1 - length)
    return (total // 2, total - total // 2) if auto == "SAME_UPPER" else (total - total // 2, total // 2)


def windows(x: Array, given: dict[str, Any], sizes: Sequence[int], fill: float, ceil: bool) -> list[list[Array]]:
    """x at each tap of a window: (N, C, out y, out x), by row and column of the window."""
    strides, spreads = given.get("strides", (1, 1)), given.get("dilations", (1, 1))
    pads, auto = list(given.get("pads", (0,) * 4)), given.get("auto_pad", "NOTSET")
    counts = []
    for i in (0, 1):
        if auto.startswith("SAME"):
            pads[i], pads[i + 2] = same_pads(x.shape[2 + i], sizes[i], strides[i], spreads[i], auto)
        room = x.shape[2 + i] + pads[i] + pads[i + 2] - (sizes[i] - 1) * spreads[i] - 1
        assert room >= 0
        count = (-(-room // strides[i]) if ceil else room // strides[i]) + 1
        if ceil and (count - 1) * strides[i] >= x.shape[2 + i] + pads[i]:
            count -= 1
        pads[i + 2] += max(
            0, (count - 1) * strides[i] + (sizes[i] - 1) * spreads[i] + 1 - x.shape[2 + i] - pads[i] - pads[i + 2]
        )
        counts.append(count)
    padded = np.pad(x, ((0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])), constant_values=fill)
    rows, columns = (
        [slice(t * spreads[i], t * spreads[i] + (counts[i] - 1) * strides[i] + 1, strides[i]) for t in range(sizes[i])]
        for i in (0, 1)
    )
    return [[padded[:, :, row, column] for column in columns] for row in rows]


def conv(inputs: list[Any], given: dict[str, Any]) -> Array:
    x, w = inputs[:2]
    taps = windows(x, given, w.shape[2:], 0.0, False)
    total: Any = np.float32(0)
    for i in range(w.shape[2]):
        for j in range(w.shape[3]):
            for c in range(w.shape[1]):
                total = total + w[None, :, c, i, j, None, None] * taps[i][j][:, c, None]
    return total + inputs[2][:, None, None] if len(inputs) > 2 else total


def conv_transpose(inputs: list[Any], given: dict[str, Any]) -> Array:
    x, w = inputs[:2]
    strides, spreads = given.get("strides", (1, 1)), given.get("dilations", (1, 1))
    extras, pads = given.get("output_padding", (0, 0)), given.get("pads", (0,) * 4)
    full = [(x.shape[2 + i] - 1) * strides[i] + (w.shape[2 + i] - 1) * spreads[i] + 1 + extras[i] for i in (0, 1)]
    out = np.zeros((1, w.shape[1], *full), np.float32)
    for i in range(w.shape[2]):
        for j in range(w.shape[3]):
            for c in range(x.shape[1]):
                ys = slice(i * spreads[0], i * spreads[0] + (x.shape[2] - 1) * strides[0] + 1, strides[0])
                xs = slice(j * spreads[1], j * spreads[1] + (x.shape[3] - 1) * strides[1] + 1, strides[1])
                out[:, :, ys, xs] += w[c, :, i, j, None, None] * x[:, c, None]
    return out[:, :, pads[0] : full[0] - pads[2], pads[1] : full[1] - pads[3]]


def max_pool(inputs: list[Any], given: dict[str, Any]) -> Array:
    taps = windows(inputs[0], given, given["kernel_shape"], -np.inf, bool(given.get("ceil_mode")))
    return np.max([tap for row in taps for tap in row], axis=0)


def average_pool(inputs: list[Any], given: dict[str, Any]) -> Array:
    ceil = bool(given.get("ceil_mode"))
    taps = windows(inputs[0], given, given["kernel_shape"], 0.0, ceil)
    real = windows(np.ones_like(inputs[0]), given, given["kernel_shape"], 0.0, ceil)
    total, count = (sum(tap for row in part for tap in row) for part in (taps, real))
    return (total / count).astype(np.float32)


def resize(inputs: list[Any], given: dict[str, Any]) -> Array:
    out = inputs[0]
    half = Fraction(0 if given["coordinate_transformation_mode"] == "asymmetric" else 1, 2)
    for axis, scale in enumerate(inputs[2]):
        factor, n = Fraction(float(scale)), out.shape[axis]
        places = [(i + half) / factor - half for i in range(int(n * factor))]
        if given["coordinate_transformation_mode"] == "pytorch_half_pixel" and len(places) == 1:
            places = [Fraction(0)]
        low = np.array([place.numerator // place.denominator for place in places])
        share = np.array([float(place % 1) for place in places], np.float32)
        shape = [-1 if i == axis else 1 for i in range(out.ndim)]
        first, second = (out.take(np.clip(low + i, 0, n - 1), axis) for i in (0, 1))
        if factor == 1:
            continue
        if given["mode"] == "nearest":
            out = np.where(share.reshape(shape) <= 0.5, first, second)
        else:
            out = first * (1 - share.reshape(shape)) + second * share.reshape(shape)
    return out


def pad(inputs: list[Any], given: dict[str, Any]) -> Array:
    pads = [int(value) for value in inputs[1]]
    mode = given.get("mode", "constant")
    return np.pad(inputs[0], list(zip(pads[:4], pads[4:], strict=True)), mode=mode)


def cut(inputs: list[Any], _given: dict[str, Any]) -> Array:
    index: list[Any] = [slice(None)] * inputs[0].ndim
    for start, end, axis, step in zip(*inputs[1:], strict=True):
        index[axis] = slice(start, end, step)
    return inputs[0][tuple(index)]


def depth_to_space(inputs: list[Any], given: dict[str, Any]) -> Array:
    (n, c, h, w), b = inputs[0].shape, given["blocksize"]
    split = inputs[0].reshape(n, b, b, c // b**2, h, w)
    return split.transpose(0, 3, 4, 1, 5, 2).reshape(n, c // b**2, h * b, w * b)


def space_to_depth(inputs: list[Any], given: dict[str, Any]) -> Array:
    (n, c, h, w), b = inputs[0].shape, given["blocksize"]
    split = inputs[0].reshape(n, c, h // b, b, w // b, b)
    return split.transpose(0, 3, 5, 1, 2, 4).reshape(n, c * b**2, h // b, w // b)


OPS: dict[str, Callable[[list[Any], dict[str, Any]], Any]] = {
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "Resize": resize,
    "Pad": pad,
    "Slice": cut,
    "DepthToSpace": depth_to_space,
    "SpaceToDepth": space_to_depth,
    "Relu": lambda inputs, given: np.maximum(inputs[0], 0),
    "Add": lambda inputs, given: inputs[0] + inputs[1],
    "Concat": lambda inputs, given: np.concatenate(inputs, given["axis"]),
    "Transpose": lambda inputs, given: inputs[0].transpose(given["perm"]),
    "GlobalAveragePool": lambda inputs, given: inputs[0].mean(axis=(2, 3), keepdims=True),
}


class Builder:
    """A network, operator by operator: each method takes and gives the name of a tensor."""

    def __init__(self, channels: int, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[Node] = []
        self.constants: dict[str, Array] = {}
        self.channels = {"x": channels}

    def graph(self, *outputs: str) -> Graph:
        return Graph(("x",), outputs or (self.nodes[-1].outputs[0],), tuple(self.nodes), self.constants, 17)

    def add(self, op: str, *inputs: str, channels: int | None = None, **given: Any) -> str:
        name = f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(Node(op, inputs, (name,), given))
        self.channels[name] = self.channels[inputs[0]] if channels is None else channels
        return name

    def constant(self, values: Any) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants[name] = np.asarray(values)
        return name

    def weights(self, *shape: int) -> str:
        return self.constant(self.rng.uniform(0.2, 1.0, shape).astype(np.float32))

    def conv(self, x: str, size: int = 3, channels: int = 2, **given: Any) -> str:
        """Pads of (size − 1)/2 on all sides, unless others are given."""
        if "pads" not in given and "auto_pad" not in given:
            given["pads"] = [(size - 1) // 2 * given.get("dilations", [1])[0]] * 4
        weights = self.weights(channels, self.channels[x], size, size)
        return self.add("Conv", x, weights, channels=channels, kernel_shape=[size, size], **given)

    def transposed(self, x: str, size: int, stride: int, channels: int = 2, **given: Any) -> str:
        weights = self.weights(self.channels[x], channels, size, size)
        return self.add("ConvTranspose", x, weights, channels=channels, strides=[stride] * 2, **given)

    def resize(self, x: str, scale: float, mode: str = "nearest", placing: str = "half_pixel") -> str:
        scales = self.constant(np.array([1, 1, scale, scale], np.float32))
        return self.add("Resize", x, "", scales, mode=mode, coordinate_transformation_mode=placing)

    def pad(self, x: str, top: int, left: int, bottom: int, right: int, mode: str = "constant") -> str:
        return self.add("Pad", x, self.constant([0, 0, top, left, 0, 0, bottom, right]), mode=mode)

    def cut(self, x: str, start: int, end: int, step: int = 1) -> str:
        words = ([start] * 2, [end] * 2, [2, 3], [step] * 2)
        return self.add("Slice", x, *(self.constant(np.array(word)) for word in words))

    def join(self, *tensors: str) -> str:
        return self.add("Concat", *tensors, channels=sum(self.channels[name] for name in tensors), axis=1)
