"""The models that integers under contexts are coded with, what picks one, and the states of dependent quantisation.

Each magnitude is a first bit (is there any), a run of ones in units of 2^k, k from the context, and k low bits; each
bit has a model of its own in each context. Signs go by those to the left and above. docs/format.md has the bytes.

Coefficients may be quantised dependently (Fischer, Wang 1992; Schwarz et al. 2021): of two quantisers, the steps of
one between those of the other, a state says which is next, and the parity of what was coded moves the state.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.codec import range_coder as rc
from pipeline.codec.context import BUCKETS
from pipeline.jit import jit

I64 = NDArray[np.int64]
I32 = NDArray[np.int32]

CONTEXTS = 2  # the coder of this module, in the section table
DEPENDENT = 3  # the same, for what is quantised dependently
# Ones in a row before a number goes on by Elias's gamma; models of one context: any, the run, two low bits.
RUN = 16
FIRST_LOW = RUN + 1
MODELS = RUN + 3
# Contexts of signs: four orientations, three signs (0, +, −) to the left and three above.
SIGNS = 4 * 9
# How many bits a fresh model counts as seen.
SEEN = 4
# The state after an even and after an odd value; odd states use the quantiser between the steps. One state: no such.
PLAIN = np.zeros((1, 2), np.int64)
STATES = np.array([[0, 2], [5, 7], [1, 3], [6, 4], [2, 0], [4, 6], [3, 1], [7, 5]], np.int64)


def word_of(states: I64) -> np.uint64:
    """The states in one word, for `after`."""
    return np.uint64(sum(int(state) << (4 * i) for i, state in enumerate(states.flat)))


@jit
def after(word: np.uint64, now: int, value: int) -> int:
    """The state after a value in state `now`."""
    return int(np.int64(word >> np.uint64(8 * now + 4 * (value & 1)) & np.uint64(7)))


def fresh(states: int) -> tuple[I32, I32]:
    """Models (quantiser, bucket, MODELS) as they start, and those of the signs.

    In a bucket of mean magnitude e there is something with probability e / (1 + e), and the run goes on with the
    same; where k > 0, with a half.
    """
    models = np.full((BUCKETS, MODELS), rc.HALF, np.int32)
    for b in range(BUCKETS):
        # (centre of the bucket − 1) / 16 = e; the centre is (9 + 2 (b mod 4)) / 8 octaves.
        centre = (9 + 2 * (b & 3)) << (b >> 2)
        some = rc.model(centre - 8, centre + 120)
        models[b, 0] = some
        if low_bits(b) == 0:
            models[b, 1:FIRST_LOW] = some
    return np.stack([models + SEEN] * min(states, 2)), np.full(SIGNS, rc.HALF, np.int32)


@jit
def low_bits(b: int) -> int:
    """k of bucket b."""
    return max(0, (b - 18) >> 2)


@jit
def sign_context(left: int, above: int, orientation: int) -> int:
    """The context of a sign: the values to the left and above, in its subband."""
    return 9 * orientation + 3 * _trit(left) + _trit(above)


@jit
def _trit(value: int) -> int:
    return (1 if value > 0 else 0) + (2 if value < 0 else 0)
