"""The numbers of the algorithms that decide the bytes of a run, part of a store's configuration.

A run that is taken up again keeps the tiles that are there. Where another algorithm made them, the others would be of
another denoising: the store is refused, as under other options. Raise a number by one in the commit that changes what
its algorithm writes for the same input and options, beyond the rounding of machines; tests/test_37_algorithms.py holds
figures of each that turn red where that was forgotten.
"""

from __future__ import annotations

DENOISE = 4
"""What `denoise` makes of a block, or of a scene with its basis."""
CODEC = 2
"""What is stored of a block under a bound, as bytes; whether they can be read is the container's version."""
FEATURES = 1
"""Features of a scene, and the fitting of banks on it."""


def of_scene(*, denoised: bool, coded: bool) -> dict[str, int]:
    """Of those that a store of a scene goes through."""
    return ({"denoise": DENOISE} if denoised else {}) | ({"codec": CODEC} if coded else {})
