"""One operator along one axis of the scene: how many outputs it gives, and which inputs a run of them is made of.

Every step here commutes with shifts: n inputs less `scale`·m give outputs less m, and outputs [a + m, b + m] are made
of the inputs of [a, b] shifted by `scale`·m. That is all that tiling needs (`tiling.py`); what a step does beyond the
ends of its input (zeros, reflection, the last value again) is its own affair and is done at the scene's ends alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar, Protocol

from pipeline.network.halo import Stage, needed

Run = tuple[int, int]
"""Places [first, last] along an axis, both inclusive."""


class Step(Protocol):
    """What tiling asks of an operator along one axis."""

    @property
    def scale(self) -> Fraction:
        """Inputs from one output to the next."""

    @property
    def offset(self) -> Fraction:
        """Inputs by which what an output is made of lies to the right of the place that it takes; 0 within that."""

    @property
    def fewest(self) -> int:
        """Outputs that a longer axis must be computed with at least, to be computed as a longer axis is."""

    def length(self, n: int) -> int:
        """Outputs of n inputs; 0 where the operator does not accept n."""

    def needed(self, run: Run, n: int) -> Run:
        """The inputs, of n, that outputs `run` are made of; what lies beyond the ends is left out."""


@dataclass(frozen=True)
class Taps:
    """Convolution and pooling; a pad by a constant and a slice are those of one tap (negative `before`: passed over).

    `same` is auto_pad's SAME_UPPER or SAME_LOWER: pads found from the length, which tiles have in common with the
    scene up to multiples of the stride.
    """

    size: int = 1
    stride: int = 1
    before: int = 0
    after: int = 0
    dilation: int = 1
    ceil: bool = False
    same: str = ""
    divides: bool = False
    """Whether the length must be a multiple of the stride."""

    @property
    def fewest(self) -> int:
        """A window that hangs over the end comes after one that does not."""
        return 2 if self.ceil else 1

    @property
    def scale(self) -> Fraction:
        """Inputs from one output to the next."""
        return Fraction(self.stride)

    @property
    def offset(self) -> Fraction:
        """The middle of the taps less that of the output's own inputs [i·s, (i + 1)·s)."""
        return Fraction(0) if self.same else _beyond((self.size - 1) * self.dilation, self.stride, self.before)

    def pads(self, n: int) -> tuple[int, int]:
        """Padding before and after n inputs."""
        if not self.same:
            return self.before, self.after
        extent = (self.size - 1) * self.dilation + 1
        total = max(0, (-(-n // self.stride) - 1) * self.stride + extent - n)
        less, more = total // 2, total - total // 2
        return (less, more) if self.same == "SAME_UPPER" else (more, less)

    def length(self, n: int) -> int:
        """Outputs of n inputs; a window that `ceil` adds must begin before the padding after them."""
        if self.divides and n % self.stride:
            return 0
        before, after = self.pads(n)
        room = n + before + after - (self.size - 1) * self.dilation - 1
        if room < 0:
            return 0
        if not self.ceil:
            return room // self.stride + 1
        count = -(-room // self.stride) + 1
        return count - ((count - 1) * self.stride >= n + before)

    def needed(self, run: Run, n: int) -> Run:
        """[a·s − p, b·s − p + (k − 1)·d], within the input."""
        stage = Stage(self.size, self.stride, self.pads(n)[0], self.dilation)
        return _within(needed((stage,), *run), n)


@dataclass(frozen=True)
class Spread:
    """Transposed convolution: input i adds to outputs i·s − p + t·d of its taps t."""

    size: int
    stride: int = 1
    before: int = 0
    after: int = 0
    dilation: int = 1
    extra: int = 0
    """Outputs added at the end: output_padding."""
    fewest: ClassVar[int] = 1

    @property
    def scale(self) -> Fraction:
        """Inputs from one output to the next."""
        return Fraction(1, self.stride)

    @property
    def offset(self) -> Fraction:
        """The middle of an input's own outputs [i·s, (i + 1)·s) less that of those it adds to."""
        return -_beyond((self.size - 1) * self.dilation, self.stride, self.before) / self.stride

    def length(self, n: int) -> int:
        """(n − 1)·s + (k − 1)·d + 1 less the padding."""
        return max(
            0, (n - 1) * self.stride + (self.size - 1) * self.dilation + 1 + self.extra - self.before - self.after
        )

    def needed(self, run: Run, n: int) -> Run:
        """[⌈(a + p − (k − 1)·d) / s⌉, ⌊(b + p) / s⌋], within the input."""
        first = -((-(run[0] + self.before - (self.size - 1) * self.dilation)) // self.stride)
        return _within((first, (run[1] + self.before) // self.stride), n)


@dataclass(frozen=True)
class Resampled:
    """Resize by a constant factor; places beyond the ends are the ends'."""

    factor: Fraction
    """Outputs for each input."""
    shift: Fraction
    """Output i lies at (i + shift) / factor − shift, or without the last term, of the input."""
    centred: bool
    """Whether that last term is there: half_pixel, as against tf_half_pixel_for_nn and asymmetric."""
    before: int
    """Inputs that an output takes from its place rounded down, to the left ..."""
    after: int
    """... and to the right."""
    fewest: int = 1
    offset: ClassVar[Fraction] = Fraction(0)

    @property
    def scale(self) -> Fraction:
        """Inputs from one output to the next."""
        return 1 / self.factor

    def length(self, n: int) -> int:
        """⌊n·factor⌋."""
        return math.floor(n * self.factor)

    def needed(self, run: Run, n: int) -> Run:
        """The inputs around the places of the first and the last output."""
        first, last = (math.floor((i + self.shift) / self.factor - self.shift * self.centred) for i in run)
        return min(max(first - self.before, 0), n - 1), min(max(last + self.after, 0), n - 1)


@dataclass(frozen=True)
class Continued:
    """A pad that goes on with the pixels there are: `edge` repeats the last, `reflect` turns back at it."""

    before: int
    after: int
    reflect: bool
    scale: ClassVar[Fraction] = Fraction(1)

    @property
    def offset(self) -> Fraction:
        """Outputs before the first input."""
        return Fraction(-self.before)

    @property
    def fewest(self) -> int:
        """A tile, too, must be longer than what it would reflect, and than what is cut off its other end."""
        pads = max(0, self.before), max(0, self.after)
        if self.reflect:
            return 1 + sum(pads) + max(pads)
        return 1 + sum(pads) if min(self.before, self.after) < 0 else 1

    def length(self, n: int) -> int:
        """n and the pads, where something is left to go on with; a reflection cannot be longer than that."""
        left = n + min(0, self.before) + min(0, self.after)
        least = max(1, self.before + 1, self.after + 1) if self.reflect else 1
        return n + self.before + self.after if left >= least else 0

    def needed(self, run: Run, n: int) -> Run:
        """The outputs' own places, or the end; `fewest` are so many that what is reflected there is among them."""
        return _within((run[0] - self.before, run[1] - self.before), n)


@dataclass(frozen=True)
class Unpacked:
    """DepthToSpace: each input becomes a run of outputs."""

    size: int
    fewest: ClassVar[int] = 1
    offset: ClassVar[Fraction] = Fraction(0)

    @property
    def scale(self) -> Fraction:
        """Inputs from one output to the next."""
        return Fraction(1, self.size)

    def length(self, n: int) -> int:
        """n·size."""
        return n * self.size

    def needed(self, run: Run, n: int) -> Run:
        """The inputs that the outputs are packed in."""
        return _within((run[0] // self.size, run[1] // self.size), n)


STILL = Taps()
"""An operator that takes each place by itself."""


def _beyond(reach: int, stride: int, before: int) -> Fraction:
    """By how much the middle of places [−before, reach − before] lies beyond that of [0, stride); 0 where it is within:
    what is strided, padded by as much as it takes, has no middle of its own."""
    middle = Fraction(reach - (stride - 1), 2) - before
    return Fraction(0) if abs(middle) <= Fraction(stride - 1, 2) else middle


def _within(run: Run, n: int) -> Run:
    """The run within [0, n); where nothing of it is, the place next to it, so that a tile is never without inputs."""
    first, last = sorted(run)
    return min(max(0, first), n - 1), max(min(last, n - 1), 0)
