"""Operators that look around: how convolutions, pools, pads, slices and resizes move along y and x.

Semantics: ONNX operators (https://onnx.ai/onnx/operators/), of every version.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from pipeline.errors import ModelError
from pipeline.network.site import SPACE, Refused, Rule, Site, X, Y
from pipeline.network.steps import STILL, Continued, Resampled, Spread, Step, Taps, Unpacked

FINEST = 64
"""Of the steps of a scale: 1/64. Scales that floats hold exactly leave the same places in every tile."""
FAR = 1 << 30
"""Ends of slices beyond this mean "to the end"."""
REACH = {"nearest": (0, 1), "linear": (0, 1), "cubic": (1, 2)}


def convolution(site: Site) -> Rule:
    """Conv: the channels are its filters'."""
    weights = site.constant(1, "filters")
    assert weights is not None
    first, second = _windows(site, list(weights.shape[2:]))
    site.positive("group")
    return site.moved(weights.shape[0], first, second)


def pool(site: Site) -> Rule:
    """MaxPool, AveragePool, LpPool."""
    if len(site.node.outputs) > 1 and site.node.outputs[1]:
        raise Refused(f"{site.node.op} gives places in the whole scene (its second output)")
    first, second = _windows(site, [])
    return site.moved(site.data[1], first, second)


def transposed(site: Site) -> Rule:
    """ConvTranspose: (C, N/groups, kh, kw)."""
    weights = site.constant(1, "filters")
    assert weights is not None
    if site.attribute("output_shape"):
        raise Refused("ConvTranspose gives an output of one fixed size (output_shape)")
    sizes = weights.shape[2:]
    if len(sizes) != 2:
        raise Refused(f"ConvTranspose over {len(sizes)} axes, not y and x")
    strides, spreads = site.pair("strides", 1), site.pair("dilations", 1)
    extras, pads = site.pair("output_padding", 0), site.pads()
    same = site.attribute("auto_pad", "NOTSET")
    steps = []
    for i in (0, 1):
        before, after = pads[i], pads[i + 2]
        if same in ("SAME_UPPER", "SAME_LOWER"):
            total = max(0, (sizes[i] - 1) * spreads[i] + 1 + extras[i] - strides[i])
            before = total // 2 if same == "SAME_UPPER" else total - total // 2
            after = total - before
        steps.append(Spread(sizes[i], strides[i], before, after, spreads[i], extras[i]))
    return site.moved(weights.shape[1] * site.positive("group"), *steps)


def resize(site: Site) -> Rule:
    """Resize and Upsample, by constant scales."""
    mode = str(site.attribute("mode", "nearest"))
    mode = "linear" if mode.endswith("linear") else mode
    placing = str(site.attribute("coordinate_transformation_mode", "half_pixel"))
    if site.node.op == "Upsample" or site.opset < 11:
        placing = "asymmetric"
    if mode not in REACH or site.attribute("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise Refused(f"{site.node.op} in a mode that is not known ({mode})")
    scales = _scales(site)
    steps: dict[Any, Step] = {}
    for axis, scale in zip(site.data, scales, strict=True):
        if axis in SPACE:
            steps[axis] = _resampled(site, scale, mode, placing)
        elif scale != 1:
            raise Refused(f"{site.node.op} by {scale} along an axis that is not y or x")
    return Rule((site.node.inputs[0],), (steps[Y], steps[X]), site.data)


def pad(site: Site) -> Rule:
    """Pad: by a constant it is a window of one tap; `edge` and `reflect` go on with the pixels there are."""
    mode = str(site.attribute("mode", "constant"))
    if mode not in ("constant", "edge", "reflect"):
        raise Refused(f"Pad in mode {mode} takes pixels from the far side of the scene")
    pads, axes = site.integers(1, "pads", "pads"), site.integers(3, "axes", "axes")
    axes = list(range(len(site.data))) if axes is None else [site.axis(axis) for axis in axes]
    if pads is None or len(pads) != 2 * len(axes):
        raise Refused("Pad without a pad for both ends of each axis")
    dims, steps = list(site.data), {Y: STILL, X: STILL}
    for number, axis in enumerate(axes):
        before, after = pads[number], pads[number + len(axes)]
        side = dims[axis]
        if side not in SPACE:
            dims[axis] = side if before == after == 0 else _plus(side, before + after)
        elif mode == "constant" or (before <= 0 and after <= 0):
            steps[side] = Taps(before=before, after=after)
        else:
            steps[side] = Continued(before, after, mode == "reflect")  # type: ignore[assignment]
    return Rule((site.node.inputs[0],), (steps[Y], steps[X]), tuple(dims))


def cut(site: Site) -> Rule:
    """Slice: a start counted from the beginning and an end counted from the end stay where they are in every tile."""
    starts, ends = site.integers(1, "starts", "starts"), site.integers(2, "ends", "ends")
    axes, strides = site.integers(3, "axes", "axes"), site.integers(4, "steps", "steps")
    if starts is None or ends is None:
        raise Refused("Slice without its starts or ends")
    axes = list(range(len(starts))) if axes is None else [site.axis(axis) for axis in axes]
    strides = [1] * len(axes) if strides is None else strides
    if not len(starts) == len(ends) == len(axes) == len(strides) or 0 in strides:
        raise ModelError("its starts, ends, axes and steps are not equally many, or a step is 0")
    dims, steps = list(site.data), {Y: STILL, X: STILL}
    for axis, start, end, stride in zip(axes, starts, ends, strides, strict=True):
        side = dims[axis]
        if side not in SPACE:
            dims[axis] = len(range(side)[start:end:stride]) if isinstance(side, int) else None
        elif start < 0 or 0 <= end < FAR or stride < 1:
            raise Refused(f"Slice {start}:{end}:{stride} along {side}, whose place depends on the size of the scene")
        else:
            steps[side] = Taps(stride=stride, before=-start, after=min(end, 0) if end < FAR else 0)
    return Rule((site.node.inputs[0],), (steps[Y], steps[X]), tuple(dims))


def packed(site: Site) -> Rule:
    """SpaceToDepth."""
    side = site.positive("blocksize")
    step = Taps(side, side, divides=True)
    return site.moved(_times(site.data[1], side * side), step, step)


def unpacked(site: Site) -> Rule:
    """DepthToSpace."""
    side = site.positive("blocksize")
    channels = site.data[1]
    return site.moved(channels // side**2 if isinstance(channels, int) else None, Unpacked(side), Unpacked(side))


def _plus(channels: int | str | None, more: int) -> int | None:
    return channels + more if isinstance(channels, int) else None


def _times(channels: int | str | None, factor: int) -> int | None:
    return channels * factor if isinstance(channels, int) else None


def _windows(site: Site, sizes: list[int]) -> tuple[Taps, Taps]:
    """The two axes of a convolution or a pool, from its attributes."""
    sizes = [int(size) for size in site.attribute("kernel_shape", sizes)]
    if len(sizes) != 2:
        raise Refused(f"{site.node.op} over {len(sizes)} axes, not y and x")
    if min(sizes) < 1:
        raise ModelError(f"a kernel of {sizes[0]} x {sizes[1]} has no taps")
    strides, spreads, pads = site.pair("strides", 1), site.pair("dilations", 1), site.pads()
    auto = str(site.attribute("auto_pad", "NOTSET"))
    same = auto if auto.startswith("SAME") else ""
    ceil = bool(site.attribute("ceil_mode", 0))
    first, second = (
        Taps(sizes[i], strides[i], pads[i], pads[i + 2], spreads[i], ceil and not same, same) for i in (0, 1)
    )
    return first, second


def _scales(site: Site) -> list[Fraction]:
    """The scale of each axis, exactly as the float in the file."""
    if site.node.op == "Resize" and len(site.node.inputs) > 3 and site.node.inputs[3]:
        site.constant(3, "sizes")
        raise Refused("Resize to one fixed size, which tiles have not in common with the scene")
    place = 1 if site.node.op == "Upsample" or site.opset < 11 else 2
    given = site.attribute("scales")
    values = given if given is not None else site.constant(place, "scales")
    if values is None or not np.size(values):
        raise Refused(f"{site.node.op} without scales")
    axes = site.attribute("axes")
    scales = [Fraction(1)] * len(site.data)
    places = range(len(scales)) if axes is None else [site.axis(int(axis)) for axis in axes]
    if np.size(values) != len(places) or not np.isfinite(values).all():
        raise ModelError(f"scales {np.ravel(values)[:8].tolist()} are not {len(places)} finite numbers")
    for axis, value in zip(places, np.ravel(values), strict=True):
        scales[axis] = Fraction(float(value))
    return scales


def _resampled(site: Site, scale: Fraction, mode: str, placing: str) -> Step:
    if scale == 1:
        return STILL
    if scale <= 0 or scale.denominator > FINEST:
        raise Refused(f"{site.node.op} by {float(scale):g}, which is not a whole number of 1/{FINEST}")
    if placing == "half_pixel_symmetric" and scale.denominator == 1:
        placing = "half_pixel"
    if placing not in ("half_pixel", "pytorch_half_pixel", "asymmetric", "tf_half_pixel_for_nn"):
        raise Refused(f"{site.node.op} with {placing}, whose places depend on the size of the scene")
    before, after = REACH[mode]
    if site.attribute("antialias", 0) and scale < 1 and mode != "nearest":
        before = after = -(-(before + 1) * scale.denominator // scale.numerator)
    half = Fraction(0) if placing == "asymmetric" else Fraction(1, 2)
    # A single output of pytorch_half_pixel lies at 0; a tile must not have one where the scene has more.
    fewest = 2 if placing == "pytorch_half_pixel" else 1
    return Resampled(scale, half, "half_pixel" in placing and not placing.startswith("tf"), before, after, fewest)
