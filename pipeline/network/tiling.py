"""Tiling a network is exact: which block of pixels makes a tile of a tensor what it is in the whole scene.

One axis at a time. Tensor t has total stride s_t (pixels from one of its places to the next, a ratio), a scene of n
pixels gives it n_t places, and S is a multiple of every s_t on the way, so u_t = S/s_t is whole. The network is run on
pixels [S·i, n − S·j) of the scene. Every operator commutes with shifts by S (`steps.py`), so tensor t of that block is
the part [u_t·i, n_t − u_t·j) of the scene's, as far as it is computed from the same values. It is, wherever

    the places [a_t, b_t] that the wanted ones are made of, found by walking backwards and clipped to [0, n_t),
    lie in that part:       i = min over t of ⌊a_t / u_t⌋,     j = min over t of ⌊(n_t − 1 − b_t) / u_t⌋.

Proof, operator by operator from the pixels on: a wanted place reads places [a, b] of its input. Those within [0, n_t)
are in the block and have the scene's values, by what was shown for the input. Those outside [0, n_t) are padding in
the scene; as the block's part lies within [0, n_t), they are outside of the block too, on the same side, at the same
distance from the same end: its first place is the scene's first where a_t reaches it (then ⌊a_t / u_t⌋ = 0), and so is
its last. So the padding is the same. What the block's own padding spoils at an end inside the scene is never read.
No size has to be a multiple of S: only the block's ends are tied to it, the last one counted from the scene's end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from pipeline.errors import BankError
from pipeline.network.site import Dims
from pipeline.network.steps import Run, Step

Strides = tuple[Fraction, Fraction]
FAR, FARTHEST = 1 << 10, 1 << 24
"""A scene so many times S long has a middle, we say first and last."""
MORE, MOST_TRIED = 64, 1 << 22
"""Lengths tried beyond a scene's own, and twice S, before a network is said not to run on it: with more operators than
networks have, fewer than twice S."""
MOST_TOLD = 1 << 16
"""Lengths tried beyond that, for the refusal to say what the network needs."""


@dataclass(frozen=True)
class Hop:
    """One operator on the way to the wanted tensor."""

    outputs: tuple[str, ...]
    sources: tuple[str, ...]
    steps: tuple[Step, Step]


@dataclass(frozen=True, eq=False)
class Field:
    """What tiles need to know of the way from the scene to one tensor of a network."""

    tensor: str
    """Its name."""
    source: str
    """The network's input."""
    dims: Dims
    """The axes of the tensor: sizes, "y", "x"."""
    source_dims: Dims
    """The axes of the network's input."""
    hops: tuple[Hop, ...]
    strides: dict[str, Strides]
    """Pixels from one place to the next along y and x, of every tensor on the way."""
    sizes: dict[str, int]
    """Values at each place of every tensor on the way."""
    mean: bool = False
    """Whether what is wanted is this tensor's mean over the whole scene."""

    @property
    def channels(self) -> int:
        """Number of features: all axes but y and x."""
        return self.sizes[self.tensor]

    @property
    def stride(self) -> Strides:
        """Total stride of the tensor along y and x, in pixels."""
        return self.strides[self.tensor]

    @cached_property
    def units(self) -> tuple[int, int]:
        """S along y and x: blocks begin at its multiples."""
        return tuple(math.lcm(*(strides[i].numerator for strides in self.strides.values())) for i in (0, 1))  # type: ignore[return-value]

    @cached_property
    def shifts(self) -> tuple[int, int]:
        """Cell less place, along y and x: place i of the tensor is the cell that begins at pixel (i + shift)·s.

        What an operator's pads lack at the start, or have too many, it moves; so does a slice; where branches meet, the
        middle of theirs counts. 0 for a network that pads as much as it takes.
        """
        shifts = []
        for number in (0, 1):
            offsets = {self.source: Fraction(0)}
            for hop in self.hops:
                met = [offsets[name] for name in hop.sources]
                moved = hop.steps[number].offset * self.strides[hop.sources[0]][number]
                offsets |= dict.fromkeys(hop.outputs, (min(met) + max(met)) / 2 + moved)
            places = offsets[self.tensor] / self.stride[number]
            # Half a place is as near to either: towards none.
            shifts.append(int(math.copysign(math.ceil(abs(places) - Fraction(1, 2)), places)))
        return shifts[0], shifts[1]

    @cached_property
    def halo(self) -> tuple[int, int, int, int]:
        """Pixels (top, left, bottom, right) that a tile of S x S pixels far from the ends is computed with."""
        sides = []
        for number in (0, 1):
            axis = self._far(number)
            unit = self.units[number]
            first = axis.n // unit // 2 * unit
            places = axis.place(first), axis.place(first + unit) - 1
            shift = self.shifts[number]
            start, stop = axis.span(places[0] - shift, places[1] - shift)
            sides.append((first - start, stop - first - unit))
        (top, bottom), (left, right) = sides
        return top, left, bottom, right

    def sees(self, pool: int) -> int:
        """Side in pixels of the square that the mean of the places under a pool is made of, far from the ends.

        The longer side where y and x differ, and the longest wherever within S pixels the pool begins.
        """
        most = 0
        for number in (0, 1):
            axis, unit = self._far(number), self.units[number]
            middle, count = axis.place(axis.n // unit // 2 * unit), axis.place(pool)
            for first in range(middle, middle + axis.place(unit)):
                low, high = axis.needs(first, first + count - 1)[self.source]
                most = max(most, high - low + 1)
        return most

    def _far(self, number: int) -> Axis:
        """Along an axis so long that its middle sees neither end."""
        unit, far = self.units[number], FAR * self.units[number]
        while True:
            try:
                axis = Axis(self, number, far)
            except BankError:
                if far > FARTHEST:
                    raise
                far *= 2
                continue
            place = axis.place(axis.n // unit // 2 * unit)
            low, high = axis.needs(place, place)[self.source]
            if (low > 0 and high < axis.n - 1) or far > FARTHEST:
                return axis
            far *= 2


class Axis:
    """A field along one axis of a scene of n pixels.

    Networks whose skips fit some sizes alone (U-Nets) see the scene continued to the next length that they accept.
    Raises BankError where there is none, or where it is the first of all and beyond S: what is continued then would be
    what the network sees, and no more than its last block.
    """

    def __init__(self, field: Field, number: int, n: int) -> None:
        self.field, self.number, self.n = field, number, n
        self.unit = field.units[number]
        self.stride = field.stride[number]
        most = MOST_TRIED // max(1, len(field.hops))
        for length in range(n, n + min(2 * self.unit, most) + MORE):
            self.lengths = self._lengths(length)
            if self.lengths:
                break
        else:
            raise self._refusal(min(MOST_TOLD, most))
        if length > max(n, self.unit) and not any(map(self._lengths, range(n - 1, max(0, n - most), -1))):
            raise self._refusal(min(MOST_TOLD, most))
        self.padded = self.lengths[field.source]
        """Pixels that the network sees: n, or the next length that it accepts."""
        self.places = self.lengths[field.tensor]
        """Places of the tensor."""
        self._units = {name: int(self.unit / strides[number]) for name, strides in field.strides.items()}

    def _refusal(self, most: int) -> BankError:
        """What a network says that does not run on n pixels, nor on fewer."""
        lines = ("rows", "columns")[self.number]
        tried = [] if any(map(self._lengths, range(1, min(self.n, most)))) else range(self.n, self.n + most)
        least = next((length for length in tried if self._lengths(length)), None)
        if least is None:
            return BankError(f"the network does not run on {lines} of {self.n} pixels or a few more")
        return BankError(
            f"the network needs at least {least} {lines} of pixels, got {self.n}; take a larger scene, an earlier "
            f"tensor with @TENSOR, or export the network with pads"
        )

    def _lengths(self, n: int) -> dict[str, int]:
        """The length of every tensor of n pixels; empty where an operator does not accept one."""
        lengths = {self.field.source: n}
        for hop in self.field.hops:
            count = {hop.steps[self.number].length(lengths[name]) for name in hop.sources}
            if len({lengths[name] for name in hop.sources}) > 1 or 0 in count:
                return {}
            lengths |= dict.fromkeys(hop.outputs, count.pop())
        return lengths

    def needs(self, first: int, last: int) -> dict[str, Run]:
        """The places of every tensor that places [first, last] of the wanted one are made of."""
        needs = {self.field.tensor: (first, last)}
        for hop in reversed(self.field.hops):
            runs = [needs[name] for name in hop.outputs if name in needs]
            step = hop.steps[self.number]
            run = _grown(_hull(runs), step.fewest, self.lengths[hop.outputs[0]])
            for name in hop.outputs:
                needs[name] = run
            for name in hop.sources:
                wanted = step.needed(run, self.lengths[name])
                needs[name] = _hull([wanted, needs[name]]) if name in needs else wanted
        return needs

    def span(self, first: int, last: int) -> tuple[int, int]:
        """The pixels [start, stop) to run the network on for places [first, last] of the tensor."""
        needs = self.needs(first, last)
        start = min(run[0] // self._units[name] for name, run in needs.items())
        stop = min((self.lengths[name] - 1 - run[1]) // self._units[name] for name, run in needs.items())
        return self.unit * start, self.padded - self.unit * stop

    def place(self, pixel: int) -> int:
        """The place of the tensor that a multiple of S begins."""
        return int(pixel / self.stride)


def _hull(runs: list[Run]) -> Run:
    return min(run[0] for run in runs), max(run[1] for run in runs)


def _grown(run: Run, fewest: int, length: int) -> Run:
    """At least `fewest` places, where there are as many."""
    last = min(length - 1, max(run[1], run[0] + fewest - 1))
    return max(0, min(run[0], last - fewest + 1)), last
