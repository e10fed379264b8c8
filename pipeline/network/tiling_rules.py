"""What each operator means for tiling: it takes places one by one, looks around, or mixes the whole scene.

The last kind is refused by name, and so is every operator that is not in the list: nobody has shown it to be exact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ModelError
from pipeline.network.graph import Node
from pipeline.network.site import SPACE, C, Dims, Refused, Rule, Site
from pipeline.network.steps import STILL
from pipeline.network.window_rules import convolution, cut, packed, pad, pool, resize, transposed, unpacked


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


POINTWISE = _words("""
    Abs Acos Acosh Asin Asinh Atan Atanh BitwiseNot Cast CastLike Ceil Celu Clip Cos Cosh Dropout Elu Erf Exp Floor Gelu
    HardSigmoid HardSwish Identity IsInf IsNaN LeakyRelu Log Mish Neg Not Reciprocal Relu Round Selu Shrink Sigmoid
    Sign Sin Sinh Softplus Softsign Sqrt Swish Tan Tanh ThresholdedRelu
""")
TOGETHER = _words("""
    Add And BitwiseAnd BitwiseOr BitwiseXor BitShift Div Equal Greater GreaterOrEqual Less LessOrEqual Max Mean Min Mod
    Mul Or Pow PRelu Sub Sum Where Xor
""")
POOLED = ("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
REDUCED = _words("""
    ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare
""")
WHOLE = ("InstanceNormalization", "GroupNormalization", "MeanVarianceNormalization")
SIZED = ("Flatten", "Reshape", "Shape", "Size", "Expand", "Tile", "Gemm")


def rule(node: Node, dims: Mapping[str, Dims], constants: Mapping[str, NDArray[np.generic]], opset: int) -> Rule:
    """How tiles pass through an operator, given the axes of its inputs. Raises Refused."""
    if node.op not in RULES:
        raise Refused(f"{node.op} is not an operator that is known to be exact on tiles")
    return RULES[node.op](Site(node, dims, constants, opset))


def is_mean_over_space(node: Node, dims: Dims, constants: Mapping[str, NDArray[np.generic]], opset: int) -> bool:
    """Whether the operator is the mean over all of y and x, and nothing else, of a tensor of these axes."""
    if node.op == "GlobalAveragePool":
        return dims[2:] in (SPACE, SPACE[::-1])
    if node.op != "ReduceMean":
        return False
    try:
        axes = _axes(Site(node, {node.inputs[0]: dims}, constants, opset))
    except Refused:
        return False
    return sorted(str(dims[axis]) for axis in axes) == sorted(SPACE)


def _pointwise(site: Site) -> Rule:
    return site.still(site.data)


def _together(site: Site) -> Rule:
    """Tensors over the scene and constants, broadcast: an axis of the scene meets itself, or a constant's 1."""
    sources = tuple(dict.fromkeys(name for name in site.node.inputs if name in site.dims))
    shapes: list[Dims] = [site.dims[name] for name in sources]
    for name in site.node.inputs:
        if name in site.constants:
            shapes.append(tuple(site.constants[name].shape))
            if 0 in shapes[-1]:
                raise ModelError(f"a constant of shape {shapes[-1]} is empty")
    rank = max(map(len, shapes))
    columns = ([shape[i - rank] for shape in shapes if len(shape) >= rank - i] for i in range(rank))
    return site.still(tuple(_merged(site, column) for column in columns), sources)


def _merged(site: Site, sizes: list[int | str | None]) -> int | str | None:
    """One axis of a broadcast."""
    others = {size for size in sizes if size != 1}
    if not others:
        return 1
    if others & set(SPACE):
        if len(others) > 1:
            raise Refused(f"{site.node.op} with a tensor of the size of one scene, which is another in every tile")
        return others.pop()
    told = others - {None, C}
    return told.pop() if told else (None if None in others else C)


def _normalised(site: Site) -> Rule:
    if site.attribute("training_mode", 0):
        raise Refused("BatchNormalization in training mode takes its statistics from the whole scene")
    site.no_space([site.axis(1)], "has statistics for each row or column of one scene")
    return site.still(site.data)


def _local(site: Site) -> Rule:
    """LRN: over some places around along axis 1, whatever axis that is."""
    site.no_space([site.axis(1)], "sums along rows or columns, not over channels")
    return site.still(site.data)


def _layer(site: Site) -> Rule:
    """LayerNormalization: over its axis and all after it; scale and bias are broadcast to all axes."""
    first = site.axis(int(site.attribute("axis", -1)))
    site.no_space(list(range(first, len(site.data))), "takes its statistics from the whole scene")
    return _together(site)


def _softmax(site: Site) -> Rule:
    """Along one axis; before opset 13 over that axis and all after it."""
    old = site.opset < 13
    first = site.axis(int(site.attribute("axis", 1 if old else -1)))
    site.no_space(list(range(first, len(site.data))) if old else [first], "sums over the whole scene")
    return site.still(site.data)


def _length(site: Site) -> Rule:
    """LpNormalization: along one axis."""
    site.no_space([site.axis(int(site.attribute("axis", -1)))], "sums over the whole scene")
    return site.still(site.data)


def _axes(site: Site) -> list[int]:
    """The axes of a reduction: all where none are named, unless none means none."""
    given = site.integers(1, "axes", "axes")
    if not given:
        return [] if site.attribute("noop_with_empty_axes", 0) else list(range(len(site.data)))
    return [site.axis(axis) for axis in given]


def _reduced(site: Site) -> Rule:
    if site.node.op.startswith("Arg"):
        axes = [site.axis(int(site.attribute("axis", 0)))]
    else:
        axes = _axes(site)
    site.no_space(axes, "reduces the whole scene")
    if site.attribute("keepdims", 1):
        return site.still(tuple(1 if i in axes else side for i, side in enumerate(site.data)))
    return site.still(tuple(side for i, side in enumerate(site.data) if i not in axes))


def _transposed_axes(site: Site) -> Rule:
    order = site.attribute("perm", range(len(site.data))[::-1])
    if sorted(order) != list(range(len(site.data))):
        raise ModelError(f"perm {order[:16]} is no order of {len(site.data)} axes")
    return site.still(tuple(site.data[int(axis)] for axis in order))


def _squeeze(site: Site) -> Rule:
    axes = site.integers(1, "axes", "axes")
    if axes is None:
        raise Refused("Squeeze of every axis of size 1")
    gone = [site.axis(axis) for axis in axes]
    site.no_space(gone, "drops an axis of the scene")
    return site.still(tuple(side for i, side in enumerate(site.data) if i not in gone))


def _unsqueeze(site: Site) -> Rule:
    axes = site.integers(1, "axes", "axes") or []
    rank = len(site.data) + len(axes)
    new, old = {axis % rank for axis in axes if -rank <= axis < rank}, iter(site.data)
    if len(new) != len(axes):
        raise ModelError(f"axes {axes[:16]} are not different ones of {rank}")
    return site.still(tuple(1 if i in new else next(old) for i in range(rank)))


def _concat(site: Site) -> Rule:
    if any(name not in site.dims for name in site.node.inputs):
        raise Refused("Concat of the scene with a constant, which is of one size")
    shapes = [site.dims[name] for name in site.node.inputs]
    axis = site.axis(int(site.attribute("axis", 1)))
    site.no_space([axis], "lays scenes side by side")
    sizes = [shape[axis] for shape in shapes]
    if any(len(shape) != len(shapes[0]) for shape in shapes):
        raise Refused("Concat of tensors with unlike axes")
    if any(one != other for shape in shapes for one, other in zip(shape, shapes[0], strict=True) if one in SPACE):
        raise Refused("Concat of tensors with y and x in unlike places")
    total = sum(size for size in sizes if isinstance(size, int)) if all(isinstance(s, int) for s in sizes) else None
    dims = (*shapes[0][:axis], total, *shapes[0][axis + 1 :])
    return Rule(tuple(dict.fromkeys(site.node.inputs)), (STILL, STILL), dims)


def _split(site: Site) -> Rule:
    axis = site.axis(int(site.attribute("axis", 0)))
    site.no_space([axis], "cuts the scene into parts that depend on its size")
    parts, count, size = site.integers(1, "split", "parts"), len(site.node.outputs), site.data[axis]
    sizes: list[int | None] = [None] * count
    if parts is not None:
        sizes = [*parts]
    elif isinstance(size, int):
        each = -(-size // count)
        sizes = [min(each, size - i * each) for i in range(count)]
    others = tuple((*site.data[:axis], part, *site.data[axis + 1 :]) for part in sizes)
    return Rule((site.node.inputs[0],), (STILL, STILL), others[0], others)


def _gather(site: Site) -> Rule:
    indices, axis = site.constant(1, "indices"), site.axis(int(site.attribute("axis", 0)))
    assert indices is not None
    site.no_space([axis], "takes rows or columns of the whole scene")
    return site.still((*site.data[:axis], *indices.shape, *site.data[axis + 1 :]))


def _product(site: Site) -> Rule:
    """MatMul by a constant matrix, along a last axis that is not the scene's."""
    matrix = site.constant(1, "matrix")
    if matrix is None or matrix.ndim != 2:
        raise Refused("MatMul by more than one matrix")
    site.no_space([len(site.data) - 1], "mixes a whole row or column of the scene")
    return site.still((*site.data[:-1], matrix.shape[1]))


def _refuse(why: str) -> Callable[[Site], Rule]:
    def refused(site: Site) -> Rule:
        _ = site.data
        raise Refused(f"{site.node.op} {why}")

    return refused


RULES: dict[str, Callable[[Site], Rule]] = {
    "Conv": convolution,
    "ConvTranspose": transposed,
    "Resize": resize,
    "Upsample": resize,
    "Pad": pad,
    "Slice": cut,
    "SpaceToDepth": packed,
    "DepthToSpace": unpacked,
    "BatchNormalization": _normalised,
    "LRN": _local,
    "LayerNormalization": _layer,
    "RMSNormalization": _layer,
    "LpNormalization": _length,
    "ArgMax": _reduced,
    "ArgMin": _reduced,
    "Transpose": _transposed_axes,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Concat": _concat,
    "Split": _split,
    "Gather": _gather,
    "MatMul": _product,
}
_KINDS: list[tuple[Any, Callable[[Site], Rule]]] = [
    (POINTWISE, _pointwise),
    (TOGETHER, _together),
    (("MaxPool", "AveragePool", "LpPool"), pool),
    (("Softmax", "LogSoftmax", "Hardmax"), _softmax),
    (REDUCED, _reduced),
    (POOLED, _refuse("pools the whole scene before the end of the network")),
    (WHOLE, _refuse("takes its statistics from the whole scene")),
    (SIZED, _refuse("depends on the size of the scene, or leaves its axes")),
]
for _names, _kind in _KINDS:
    RULES |= dict.fromkeys(_names, _kind)
