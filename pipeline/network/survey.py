"""Which tensors of a network tiles can be computed of, and why not the others."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction

from pipeline.errors import BankError, ModelError
from pipeline.network.graph import Graph, Node
from pipeline.network.operators import told
from pipeline.network.site import TO_NCHW, C, Dims, Refused, X, Y
from pipeline.network.sizes import MOST_CHANNELS, MOST_STRIDE
from pipeline.network.tiling import Field, Hop, Strides
from pipeline.network.tiling_rules import TOGETHER, is_mean_over_space, rule

ONE = (Fraction(1), Fraction(1))
TAKING = ("Conv", "ConvTranspose", "BatchNormalization")
"""Operators whose weights tell the channels of what they work on."""
TYPED = "CastLike"
"""Takes no more than the type of what stands beside its first input."""


@dataclass
class Survey:
    """Every tensor of a network: its axes and its stride where tiles can be computed of it, else what is in the way."""

    graph: Graph
    source: str
    """The network's input."""
    dims: dict[str, Dims]
    strides: dict[str, Strides]
    hops: dict[str, Hop] = field(default_factory=dict)
    """By output."""
    causes: dict[str, str] = field(default_factory=dict)
    """Why not, by tensor: the operator's name, its reason, and where it is."""
    means: dict[str, str] = field(default_factory=dict)
    """Means over the whole scene, and the tensors that they are of."""

    def field(self, tensor: str) -> Field:
        """The way from the scene to a tensor, or to the one that it is the mean of.

        Raises:
            BankError: there is no such tensor, or tiles cannot be computed of it.
        """
        if tensor in self.causes and tensor not in self.means:
            raise BankError(
                f"tensor {tensor} cannot be computed in tiles: {self.causes[tensor]}; {self._remedy(tensor)}"
            )
        wanted = self.means.get(tensor, tensor)
        if wanted not in self.dims or wanted == self.source:
            raise BankError(
                f"there is no tensor {tensor}, or it does not depend on the scene; the last is {self._last()}"
            )
        hops = tuple(self._way({wanted}))
        names = {self.source, *(name for hop in hops for name in (*hop.sources, *hop.outputs))}
        made = Field(
            wanted,
            self.source,
            self.dims[wanted],
            self.dims[self.source],
            hops,
            {name: self.strides[name] for name in names},
            {name: math.prod(side for side in self.dims[name] if isinstance(side, int)) for name in names},
            mean=tensor in self.means,
        )
        if max(made.units) > MOST_STRIDE:
            units = " x ".join(map(str, made.units))
            raise BankError(
                f"tensor {tensor} cannot be computed in tiles: blocks would begin at multiples of {units} pixels, "
                f"beyond {MOST_STRIDE}; take an earlier tensor with @TENSOR"
            )
        return made

    def _remedy(self, tensor: str) -> str:
        best = self.last_before(tensor)
        if best is None:
            return "and no tensor before it can be"
        means = [mean for mean in self.means if f"(at {mean})" in self.causes[tensor]]
        others = "".join(f", or {mean}, its mean over the scene" for mean in means)
        return f"take an earlier tensor with @TENSOR, the last is {best}{others}"

    def last_before(self, tensor: str) -> str | None:
        """The last tensor of those that `tensor` is made of which tiles can be computed of."""
        used, best = {tensor}, None
        for node in reversed(self.graph.nodes):
            if used.intersection(node.outputs):
                used.update(node.inputs)
                fit = [name for name in node.outputs if name in self.dims]
                best = best or (fit[0] if fit else None)
        return best

    def _last(self) -> str:
        return next((name for name in reversed(self.dims) if name != self.source), "none")

    def _way(self, wanted: set[str]) -> list[Hop]:
        """The hops that the wanted tensors are made by, in the order they run; outputs nobody needs are left out."""
        way = []
        for node in reversed(self.graph.nodes):
            made = tuple(name for name in node.outputs if name in wanted)
            if made:
                hop = self.hops[made[0]]
                way.append(Hop(made, hop.sources, hop.steps))
                wanted.update(hop.sources)
        return way[::-1]


def survey(graph: Graph, channels: int | None = None) -> Survey:
    """Walk through a network that takes one input, (1, C, y, x), and see how far tiles can go.

    `channels` is C where the network's filters do not say. Raises BankError for more than one input, ModelError for an
    operator whose attributes cannot be.
    """
    if len(graph.inputs) != 1:
        raise BankError(f"the network has {len(graph.inputs)} inputs ({', '.join(graph.inputs)}); a bank takes one")
    source = graph.inputs[0]
    known = input_channels(graph)
    size = channels if known is None else known
    dims: Dims = (1, Y, X, size) if _channels_last(graph) else (1, size, Y, X)
    found = Survey(graph, source, {source: dims}, {source: ONE})
    for node in graph.nodes:
        cause = _inherited(found, node, 1)
        if cause is None:
            try:
                cause = _enter(found, node)
            except Refused as refused:
                cause = f"{refused} (at {node.outputs[0]})"
                if _is_mean(found, node):
                    found.means[node.outputs[0]] = node.inputs[0]
        if cause is not None:
            found.causes |= dict.fromkeys(node.outputs, cause)
    return found


def input_channels(graph: Graph) -> int | None:
    """The channels of the network's input, by the first filters, statistics or constants that meet them.

    Raises ModelError for an operator whose attributes cannot be.
    """
    source = graph.inputs[0]
    seen: dict[str, Dims] = {source: (1, Y, X, C) if _channels_last(graph) else (1, C, Y, X)}
    for node in graph.nodes:
        if not seen.keys() & set(node.inputs):
            continue
        weights = graph.constants.get(node.inputs[1]) if len(node.inputs) > 1 else None
        if node.op in TAKING and weights is not None:
            return int(told(node, _taken)(node, weights.shape))
        try:
            dims = told(node, rule)(node, seen, graph.constants, graph.opset).dims
        except Refused:
            continue
        if C in dims:
            seen |= dict.fromkeys(node.outputs, dims)
        elif node.op in TOGETHER:
            return next(side for side in reversed(dims) if isinstance(side, int))
    return None


def _taken(node: Node, shape: tuple[int, ...]) -> int:
    """The channels that filters or statistics of a shape are for. Raises ModelError."""
    groups = node.attributes.get("group", 1) if node.op == "Conv" else 1
    channels = math.prod(shape[1:2] if node.op == "Conv" else shape[:1]) * groups
    if len(shape) < 1 + (node.op == "Conv") or channels < 1:
        raise ModelError(f"weights of shape {shape} in {groups} groups take no channels")
    return int(channels)


def _inherited(found: Survey, node: Node, first: int | None = None) -> str | None:
    """The cause of an input that cannot be had; of the `first` alone where an operator's own words say more."""
    asked = node.inputs if node.op in (*TOGETHER, "Concat") else node.inputs[:first]
    return next((found.causes[name] for name in asked if name in found.causes), None)


def _enter(found: Survey, node: Node) -> str | None:
    """Note what an operator makes, or say what is in the way of its inputs. Raises Refused."""
    made = told(node, rule)(node, found.dims, found.graph.constants, found.graph.opset)
    # Bounds, biases, statistics and fills are the same in every tile where they are constants, and nowhere else.
    beside = {name for name in node.inputs if name and node.op != TYPED} - {*made.sources, *found.graph.constants}
    if beside:
        if cause := _inherited(found, node):
            return cause
        raise Refused(f"{node.op} takes {min(beside)} of the scene where tiles have constants alone in common with it")
    if len({found.strides[name] for name in made.sources}) > 1:
        raise Refused(f"{node.op} of tensors with unlike strides")
    y, x = found.strides[made.sources[0]]
    strides = y * made.steps[0].scale, x * made.steps[1].scale
    _check_sizes(node, made.others or (made.dims,), strides)
    outputs = tuple(name for name in node.outputs if name)
    hop = Hop(outputs, made.sources, made.steps)
    for number, name in enumerate(outputs):
        found.dims[name] = made.others[number] if made.others else made.dims
        found.strides[name], found.hops[name] = strides, hop
    return None


def _check_sizes(node: Node, made: tuple[Dims, ...], strides: Strides) -> None:
    """Refuse what no network has, before anything grows with it."""
    for dims in made:
        sides = [side for side in dims if isinstance(side, int)]
        if min(sides, default=1) < 1 or math.prod(sides) > MOST_CHANNELS:
            raise Refused(f"{node.op} makes {math.prod(sides)} channels, not 1 to {MOST_CHANNELS}")
    if max(max(stride.numerator, stride.denominator) for stride in strides) > MOST_STRIDE:
        y, x = strides
        raise Refused(f"{node.op} makes one place of {y} x {x} pixels, beyond {MOST_STRIDE} or 1/{MOST_STRIDE}")


def _is_mean(found: Survey, node: Node) -> bool:
    dims = found.dims.get(node.inputs[0]) if node.inputs else None
    return dims is not None and is_mean_over_space(node, dims, found.graph.constants, found.graph.opset)


def _channels_last(graph: Graph) -> bool:
    """Whether all that the network does to its input first is to bring channels to the front."""
    first = [node for node in graph.nodes if graph.inputs[0] in node.inputs]
    orders = [tuple(map(int, node.attributes.get("perm", ()))) for node in first if node.op == "Transpose"]
    return len(orders) == len(first) > 0 and set(orders) == {TO_NCHW}
