"""A bank: a fitted set of filters with its normalisation, all that `features` needs beside the scene."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import BankError
from pipeline.network import bank_file
from pipeline.network.halo import Stage, centred, needed, reach
from pipeline.storage import Place, place

VERSION = 2
SPECTRUM_POOL = 5
MOST_BANDS, MOST_FILTERS, MOST_PIXELS, MOST_LETTERS = 4096, 65536, 1023, 1000
MOST_HIDDEN_POOL = 16
KINDS = {
    "name": "U",
    "bands": "U",
    "mean": "f",
    "std": "f",
    "filters": "f",
    "bias": "f",
    "labels": "U",
    "signs": "U",
    "pool": "i",
    "spectra": "b",
    "version": "i",
}
FRONT = {"projection": "f", "hidden": "f", "hidden_bias": "f", "hidden_pool": "i"}
"""What version 2 added."""


@dataclass(frozen=True, eq=False)
class Bank:
    """Filters over z-scored bands, and how their responses are rectified and pooled.

    What the filters see are D planes: the bands; or `projection` of them; or a hidden layer over either. Raises
    BankError where the parts do not fit each other. A bank may be grouped: filters (N, D/groups, k, k).
    """

    name: str
    """How it was fitted: rcf-mixed, torchgeo-rcf, ..."""
    bands: tuple[str, ...]
    """Names of the C bands it was fitted to, in order."""
    mean: NDArray[np.float64]
    """(C,) mean of each band over valid pixels, in data units."""
    std: NDArray[np.float64]
    """(C,) standard deviation of each band, in data units; 1 for a constant band."""
    filters: NDArray[np.float32]
    """(N, D/groups, k, k), applied to the planes; dilated by `hidden_pool` where there is a hidden layer."""
    bias: NDArray[np.float32]
    """(N,), added to each response."""
    labels: tuple[str, ...]
    """Names of the N filters."""
    signs: str = "both"
    """"both": relu(z) and relu(−z) of each response z; "one": relu(z)."""
    pool: int = 9
    """Side of the window that responses are averaged over, in pixels, unless the caller says otherwise."""
    spectra: bool = False
    """Whether the 5 x 5 mean and the mean over the cell of each z-scored band follow the responses."""
    version: int = VERSION
    """Of the file format."""
    projection: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), np.float32))
    """(K, C) from z-scored bands to K components; empty where the bands are seen as they are."""
    hidden: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0, 0, 0), np.float32))
    """(M, C or K, j, j), a first layer: rectified, and averaged over `hidden_pool` pixels; empty where there is none.
    """
    hidden_bias: NDArray[np.float32] = field(default_factory=lambda: np.empty((0,), np.float32))
    """(M,), added to the responses of the hidden layer."""
    hidden_pool: int = 1
    """Side of the mean between the layers. It slides by one pixel, and the filters are dilated by it instead."""

    def __post_init__(self) -> None:
        single = ("filters", "bias", "projection", "hidden", "hidden_bias")
        for name, dtype in (("mean", "f8"), ("std", "f8"), *((name, "f4") for name in single)):
            array = np.array(getattr(self, name), dtype=dtype)
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        if problem := _problem(self):
            raise BankError(f"this bank cannot be used: {problem}; fit it again")

    @property
    def planes(self) -> int:
        """D, the planes that the filters see."""
        return len(self.hidden) or len(self.projection) or len(self.bands)

    @property
    def groups(self) -> int:
        """In how many groups the planes are taken: 1, or C for filters that see one band each."""
        return self.planes // int(self.filters.shape[1])

    @property
    def dilation(self) -> int:
        """Pixels from tap to tap of the filters."""
        return self.hidden_pool if len(self.hidden) else 1

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the output features, in order: responses +, responses −, 5 x 5 spectra, spectra."""
        if self.signs == "both":
            responses = *(f"{label}+" for label in self.labels), *(f"{label}-" for label in self.labels)
        else:
            responses = self.labels
        if not self.spectra:
            return responses
        return *responses, *(f"mean{SPECTRUM_POOL}_{band}" for band in self.bands), *self.bands

    @property
    def front(self) -> tuple[Stage, ...]:
        """The stages of the hidden layer, before the filters."""
        return (_filter_stage(self.hidden, 1), centred(self.hidden_pool, 1)) if len(self.hidden) else ()

    def paths(self, pool: int, stride: int) -> tuple[tuple[Stage, ...], ...]:
        """The stages from the scene to each kind of feature: responses first, then pooled and plain spectra."""
        responses = (*self.front, _filter_stage(self.filters, self.dilation), centred(pool, stride))
        if not self.spectra:
            return (responses,)
        return responses, (centred(SPECTRUM_POOL, stride),), (centred(stride, stride),)

    def halo(self, pool: int | None = None, stride: int = 1) -> int:
        """Pixels to read around a window whose origin is a multiple of `stride`.

        stride − 2 of them are for the scene's last cells, which may hang over its edge and are filled by reflection.
        """
        reaches = [reach(path, stride) for path in self.paths(self.pool if pool is None else pool, stride)]
        return max(max(before, after + max(0, stride - 2)) for before, after in reaches)

    def sees(self, pool: int, stride: int) -> int:
        """Side in pixels of the square that one cell is made of, all features together."""
        lows, highs = zip(*(needed(path, 0, 0) for path in self.paths(pool, stride)), strict=True)
        return int(max(highs) - min(lows) + 1)

    def check_scene(self, bands: tuple[str, ...], where: str) -> None:
        """Raise BankError unless the scene `where` has this bank's bands, by name and in order."""
        if bands != self.bands:
            raise BankError(
                f"{where} has bands {_short(bands)}, bank {self.name!r} was fitted to {_short(self.bands)}; "
                f"choose and order bands (-b, read.bidx in a workflow), or fit a bank to this scene"
            )

    def over_bands(self) -> Bank:
        """The same bank with its projection folded into its filters: (N, C, k, k) over the bands themselves.

        Raises BankError for a bank with a hidden layer.
        """
        if len(self.hidden):
            raise BankError(f"bank {self.name!r} has a hidden layer; its filters are not linear in the bands")
        if not len(self.projection):
            return self
        filters = np.einsum("ndij,dc->ncij", self.filters, self.projection, optimize=True, dtype=np.float64)
        return replace(self, filters=filters.astype(np.float32), projection=np.empty((0, 0), np.float32))

    def part(self, own: slice, *, spectra: bool) -> Bank:
        """Some of the filters of an ungrouped bank as a bank of their own, with the bank's spectra or without any."""
        return replace(self, filters=self.filters[own], bias=self.bias[own], labels=self.labels[own], spectra=spectra)

    def to_bytes(self) -> bytes:
        """The bank as an .npz archive without pickle; the same bank gives the same bytes."""
        kinds = KINDS if self.version == 1 else KINDS | FRONT
        return bank_file.pack({name: np.asarray(getattr(self, name)) for name in kinds})

    def digest(self) -> str:
        """SHA-256 of the bytes: what a configuration hash should name."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def save(self, path: str | Place) -> None:
        """Write the bank to `path` whole or not at all. Raises OutputError."""
        bank_file.write(place(path), self.to_bytes())

    @classmethod
    def load(cls, path: str | Place) -> Bank:
        """Read a bank of version 1 or 2 and check it before any of it is used. Raises BankError with the path."""
        kinds = KINDS | FRONT
        parts = bank_file.read(place(path), kinds, KINDS)
        try:
            values: dict[str, Any] = {
                name: part.tolist() if kinds[name] in "Uib" else part for name, part in parts.items()
            }
            if values["version"] != (VERSION if len(parts) == len(kinds) else 1):
                raise BankError(f"its parts are not those of version {values['version']!r}")
            values["bands"], values["labels"] = tuple(values["bands"]), tuple(values["labels"])
            return cls(**values)
        except (TypeError, ValueError) as error:
            raise BankError(f"cannot read the bank {path}: {error}") from error


def _filter_stage(filters: NDArray[np.float32], dilation: int) -> Stage:
    """A filter in the middle of its pixel; of an even side, the longer half comes after."""
    size = filters.shape[-1]
    return Stage(size, 1, (size - 1) // 2 * dilation, dilation)


def _problem(bank: Bank) -> str | None:
    """What keeps the parts of a bank from fitting each other, None where they do."""
    if bank.version not in (1, VERSION):
        return f"its format is version {bank.version!r}, this program knows 1 to {VERSION}"
    texts = (bank.name, *bank.bands, *bank.labels)
    if not all(isinstance(text, str) and len(text) <= MOST_LETTERS for text in texts):
        return f"its names are not all text of at most {MOST_LETTERS} letters"
    if not bank.bands or len(bank.bands) > MOST_BANDS:
        return f"{len(bank.bands)} bands are not between 1 and {MOST_BANDS}"
    return _front_problem(bank) or _filter_problem(bank) or _value_problem(bank)


def _front_problem(bank: Bank) -> str | None:
    """What is wrong with the projection or the hidden layer."""
    projection, hidden, bands = bank.projection, bank.hidden, len(bank.bands)
    if bank.version == 1 and (projection.size or hidden.size):
        return "version 1 has no projection and no hidden layer"
    if len(projection) and projection.shape != (len(projection), bands):
        return f"projection {projection.shape} is not (components, {bands} bands)"
    if len(projection) > bands:
        return f"{len(projection)} components are more than its {bands} bands"
    if not isinstance(bank.hidden_pool, int) or not 1 <= bank.hidden_pool <= MOST_HIDDEN_POOL:
        return f"hidden_pool {bank.hidden_pool!r} is not between 1 and {MOST_HIDDEN_POOL} pixels"
    if not len(hidden):
        return "it has a bias of a hidden layer, and no such layer" if bank.hidden_bias.size else None
    if hidden.ndim != 4 or 0 in hidden.shape or hidden.shape[1] != (len(projection) or bands):
        return f"the hidden layer {hidden.shape} is not (M, {len(projection) or bands}, k, k)"
    if hidden.shape[2] != hidden.shape[3] or hidden.shape[2] > MOST_PIXELS or len(hidden) > MOST_BANDS:
        return f"the hidden layer {hidden.shape} is not square, or beyond what is allowed"
    if bank.hidden_bias.shape != hidden.shape[:1]:
        return f"hidden_bias {bank.hidden_bias.shape} is not one for each of {len(hidden)} filters"
    return None


def _filter_problem(bank: Bank) -> str | None:
    """What is wrong with the shapes of filters, bias and normalisation."""
    if bank.filters.ndim != 4 or 0 in bank.filters.shape:
        return f"its filters are {bank.filters.shape}, not (N, planes/groups, k, k)"
    n, c, height, width = bank.filters.shape
    bands, planes = len(bank.bands), bank.planes
    if height != width or (height - 1) * bank.dilation >= MOST_PIXELS or n > MOST_FILTERS:
        return f"{n} filters of {height} x {width} are not square, or beyond what is allowed"
    if planes % c or n % (planes // c):
        return f"filters {bank.filters.shape} do not divide {planes} planes into groups"
    if bank.mean.shape != (bands,) or bank.std.shape != (bands,):
        return f"mean {bank.mean.shape} and std {bank.std.shape} are not one for each of {bands} bands"
    if bank.bias.shape != (n,) or len(bank.labels) != n:
        return f"bias {bank.bias.shape} and {len(bank.labels)} labels are not one for each of {n} filters"
    return None


def _value_problem(bank: Bank) -> str | None:
    """What is wrong with the numbers."""
    numbers = (bank.mean, bank.std, bank.filters, bank.bias, bank.projection, bank.hidden, bank.hidden_bias)
    if not all(np.isfinite(part).all() for part in numbers):
        return "it holds numbers that are not finite"
    if (bank.std <= 0).any():
        return "a band's std is not positive"
    if bank.signs not in ("both", "one") or not isinstance(bank.spectra, bool):
        return f"signs {bank.signs!r} is not both or one, or spectra {bank.spectra!r} is not true or false"
    if not isinstance(bank.pool, int) or not 1 <= bank.pool <= MOST_PIXELS:
        return f"pool {bank.pool!r} is not between 1 and {MOST_PIXELS} pixels"
    return None


def _short(bands: tuple[str, ...]) -> str:
    listed = ", ".join(bands[:12])
    return f"{listed}, ... ({len(bands)} in all)" if len(bands) > 12 else listed
