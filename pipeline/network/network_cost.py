"""What a network costs on a scene before it runs: its matrix products, the blocks of tiles, the maps held at once."""

from __future__ import annotations

import math
from typing import Any

from numpy.typing import NDArray

from pipeline.gemm import Convolution
from pipeline.gemm.partition import FLOAT, partition
from pipeline.grid import Grid
from pipeline.network.cost import Layer
from pipeline.network.graph import Graph, Node
from pipeline.network.network_bank import NetworkBank
from pipeline.network.network_features import axis_of, network_window
from pipeline.network.tiling import Field

MOST_READ = 2.0
"""Pixels read over the scene's, from where on it is worth a word."""
PRODUCTS = ("Conv", "ConvTranspose", "MatMul")


def describe_network(
    bank: NetworkBank, height: int, width: int, *, block: tuple[int, int] | None = None
) -> tuple[Layer, ...]:
    """The convolutions and products of the network over a whole height x width scene, in order, halos left out.

    Panels are those of a `block` of (rows, columns) of pixels, of the whole scene unless it is given.
    """
    share = [part / whole for part, whole in zip(block or (height, width), (height, width), strict=True)]
    field, graph = bank.field, bank.graph
    axes = axis_of(field, 0, height), axis_of(field, 1, width)
    made = {name for hop in field.hops for name in hop.outputs}
    layers = []
    for node in graph.nodes:
        if node.op in PRODUCTS and node.outputs[0] in made:
            over = node.outputs[0] if node.op == "Conv" else node.inputs[0]
            sides = [axis.lengths[over] for axis in axes]
            part = [min(side, math.ceil(side * much)) for side, much in zip(sides, share, strict=True)]
            layers.append(_layer(node, graph, sides[0] * sides[1], part))
    return tuple(layers)


def live_bytes(field: Field, height: int, width: int) -> int:
    """The most bytes of maps, float32, that are needed at one time for a block of height x width pixels."""
    last = {name: number for number, hop in enumerate(field.hops) for name in (*hop.sources, *hop.outputs)}
    last[field.tensor] = len(field.hops)
    held, most = {field.source}, 0
    for number, hop in enumerate(field.hops):
        held.update(hop.outputs)
        most = max(most, sum(_bytes(field, name, height, width) for name in held))
        held = {name for name in held if last[name] > number}
    return most


def scene_blocks(
    bank: NetworkBank, pool: int, stride: int, tile: int, height: int, width: int
) -> tuple[int, tuple[int, int]]:
    """Pixels read in all by the tiles of a scene, and the largest (height, width) that one of them reads."""
    grid = Grid(height, width, tile)

    def block(number: int) -> tuple[int, int]:
        return network_window(bank, pool, stride, grid[number].window, (height, width)).shape

    rows = [block(row * grid.columns)[0] for row in range(grid.rows)]
    columns = [block(column)[1] for column in range(grid.columns)]
    return sum(rows) * sum(columns), (max(rows), max(columns))


def about(bank: NetworkBank, pool: int, stride: int, tile: int, height: int, width: int) -> list[str]:
    """The network in one line, stride and halo of its tensor; and what larger tiles would save, where it is much."""
    field = bank.field
    top, left, bottom, right = field.halo
    blocks = ", on anchored blocks" if bank.exact else ""
    over = ", their mean over the scene" if field.mean else ""
    over += f", of the pixels as they are ({bank.dtype})" if bank.whole else ""
    lines = [
        f"{bank.name}: {field.channels} features every {field.stride[0]} pixels{over}; blocks begin at multiples of "
        f"{' x '.join(map(str, field.units))} and take {top} rows above, {bottom} below, {left} columns to the left, "
        f"{right} to the right of a tile{blocks}"
    ]
    read = [scene_blocks(bank, pool, stride, side, height, width)[0] / (height * width) for side in (tile, 4 * tile)]
    if read[0] >= MOST_READ:
        lines.append(f"tiles of {tile} read {read[0]:.1f} times the scene's pixels, of {4 * tile} {read[1]:.1f} times")
    return lines


def _layer(node: Node, graph: Graph, m: int, part: list[int]) -> Layer:
    weights = graph.constants[node.inputs[1]]
    groups, taps = int(node.attributes.get("group", 1)), math.prod(weights.shape[2:])
    if node.op == "Conv":
        n, k = weights.shape[0], math.prod(weights.shape[1:])
    else:
        n, k, taps = math.prod(weights.shape[1:]) * groups, weights.shape[0] // groups, 1
    cut = partition(m, max(1, n // groups), k, taps=taps)
    size = "x".join(map(str, weights.shape[2:])) or "product"
    name = f"{node.op.lower()} {size} {node.outputs[0]}"
    return Layer(name, m, n, k, groups * cut.flops, groups * cut.bytes, _panel(node, weights, part))


def _panel(node: Node, weights: NDArray[Any], part: list[int]) -> int:
    """Outputs computed at once of the part of a map; 0 where BLAS has the whole product."""
    if node.op != "Conv" or weights.ndim != 4:
        return 0
    steps = [tuple(node.attributes.get(name) or (1, 1)) for name in ("strides", "dilations")]
    stride, dilation = ((int(y), int(x)) for y, x in steps)
    groups = int(node.attributes.get("group", 1))
    convolution = Convolution(weights, stride=stride, dilation=dilation, groups=groups)
    sides = [(part[i] - 1) * stride[i] + (weights.shape[2 + i] - 1) * dilation[i] + 1 for i in range(2)]
    return convolution.at_once((weights.shape[1] * groups, *sides))


def _bytes(field: Field, name: str, height: int, width: int) -> int:
    y, x = field.strides[name]
    return FLOAT * field.sizes[name] * math.ceil(height / y) * math.ceil(width / x)
