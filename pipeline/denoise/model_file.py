"""A scene's model as a few arrays, and back: what `flow` keeps in a file and workers read.

The classes of all groups of planes stand one behind the other in two long vectors, of whole and of real numbers.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.denoise.mixture import Gaussian
from pipeline.denoise.model import Learnt, SceneModel
from pipeline.denoise.patch_svd import PatchBasis
from pipeline.denoise.stabilise import Stabiliser
from pipeline.denoise.whiten import Whitening

Array = NDArray[Any]

KINDS = {"sigma": "f", "stabiliser": "f", "mean": "f", "level": "f", "V": "f", "sizes": "i", "values": "f"}
"""Names of the arrays and their NumPy kinds."""


def to_arrays(model: SceneModel) -> dict[str, Array]:
    """The model as arrays, the same for the same model."""
    line, planes = model.stabiliser, model.whitening
    sizes: list[int] = [planes.rank, int(model.replicated), len(model.learnt)]
    values: list[Array] = []
    for one in model.learnt:
        sizes += [*one.basis.V.shape, len(one.basis.gains), len(one.classes)]
        values += [one.basis.mean, one.basis.V, one.basis.gains]
        for each in (one.sorters, one.classes):
            sizes += [each[0].size, *(len(part.gains) for part in each)]
            for part in each:
                values += [part.mean, part.V, part.gains, np.array([part.weight])]
    return {
        "sigma": model.sigma,
        "stabiliser": np.empty((0, 0)) if line is None else np.stack([line.gain, line.floor, line.sigma]),
        "mean": planes.mean,
        "level": planes.sigma,
        "V": planes.V,
        "sizes": np.array(sizes, np.int64),
        "values": np.concatenate([np.empty(0), *(np.ravel(part).astype(np.float64) for part in values)]),
    }


def from_arrays(arrays: dict[str, Array]) -> SceneModel:
    """The model that `to_arrays` made these of; ValueError or IndexError where no model gives such arrays."""
    take = _Reader(arrays["sizes"], arrays["values"])
    rank, replicated, count = take.size(), bool(take.size()), take.size()
    line = None if arrays["stabiliser"].size == 0 else Stabiliser(*arrays["stabiliser"])
    whitening = Whitening(arrays["mean"], arrays["level"], arrays["V"], rank)
    learnt = [take.learnt() for _ in range(count)]
    if take.rest():
        raise ValueError("it holds more numbers than a model has")
    return SceneModel(arrays["sigma"], line, whitening, learnt, replicated)


class _Reader:
    """Takes the vectors apart, from the front."""

    def __init__(self, sizes: Array, values: Array) -> None:
        self._sizes, self._values = sizes, values
        self._at = self._next = 0

    def size(self) -> int:
        self._next += 1
        return int(self._sizes[self._next - 1])

    def doubles(self, *shape: int) -> NDArray[np.float64]:
        first, self._at = self._at, self._at + math.prod(shape)
        if min(shape) < 0 or self._at > len(self._values):
            raise ValueError("it holds fewer numbers than it says")
        return self._values[first : self._at].reshape(shape)

    def part(self, *shape: int) -> NDArray[np.float32]:
        return self.doubles(*shape).astype(np.float32)

    def learnt(self) -> Learnt:
        d, r, above, classes = (self.size() for _ in range(4))
        basis = PatchBasis(self.part(d), self.part(d, r), self.part(above))
        return Learnt(basis, self.gaussians(classes), self.gaussians(classes))

    def gaussians(self, count: int) -> list[Gaussian]:
        size, kept = self.size(), [self.size() for _ in range(count)]
        return [Gaussian(self.part(size), self.part(size, size), self.doubles(k), self.weight()) for k in kept]

    def weight(self) -> float:
        self._at += 1
        return float(self._values[self._at - 1])

    def rest(self) -> bool:
        return self._at != len(self._values) or self._next != len(self._sizes)
