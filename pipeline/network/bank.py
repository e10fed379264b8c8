"""A bank: a fitted set of filters with its normalisation, all that `features` needs beside the scene."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import BankError
from pipeline.network import bank_file
from pipeline.network.halo import Stage, centred, reach

VERSION = 1
SPECTRUM_POOL = 5
MOST_BANDS, MOST_FILTERS, MOST_PIXELS, MOST_LETTERS = 4096, 65536, 1023, 1000
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


@dataclass(frozen=True, eq=False)
class Bank:
    """Filters over z-scored bands, and how their responses are rectified and pooled.

    Raises BankError where the parts do not fit each other. A bank may be grouped: filters (N, C/groups, k, k).
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
    """(N, C/groups, k, k), applied to z-scored bands."""
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

    def __post_init__(self) -> None:
        for name, dtype in (("mean", "f8"), ("std", "f8"), ("filters", "f4"), ("bias", "f4")):
            array = np.array(getattr(self, name), dtype=dtype)
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        if problem := _problem(self):
            raise BankError(f"this bank cannot be used: {problem}; fit it again")

    @property
    def groups(self) -> int:
        """In how many groups the bands are taken: 1, or C for filters that see one band each."""
        return len(self.bands) // int(self.filters.shape[1])

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

    def paths(self, pool: int, stride: int) -> tuple[tuple[Stage, ...], ...]:
        """The stages from the scene to each kind of feature: responses first, then pooled and plain spectra."""
        size = self.filters.shape[-1]
        responses = (Stage(size, 1, (size - 1) // 2), centred(pool, stride))
        if not self.spectra:
            return (responses,)
        return responses, (centred(SPECTRUM_POOL, stride),), (centred(stride, stride),)

    def halo(self, pool: int | None = None, stride: int = 1) -> int:
        """Pixels to read around a window whose origin is a multiple of `stride`.

        stride − 2 of them are for the scene's last cells, which may hang over its edge and are filled by reflection.
        """
        reaches = [reach(path, stride) for path in self.paths(self.pool if pool is None else pool, stride)]
        return max(max(before, after + max(0, stride - 2)) for before, after in reaches)

    def check_scene(self, bands: tuple[str, ...], where: str) -> None:
        """Raise BankError unless the scene `where` has this bank's bands, by name and in order."""
        if bands != self.bands:
            raise BankError(
                f"{where} has bands {_short(bands)}, bank {self.name!r} was fitted to {_short(self.bands)}; "
                f"choose and order bands with -b, or fit a bank to this scene"
            )

    def part(self, own: slice, *, spectra: bool) -> Bank:
        """Some of the filters of an ungrouped bank as a bank of their own, with the bank's spectra or without any."""
        return replace(self, filters=self.filters[own], bias=self.bias[own], labels=self.labels[own], spectra=spectra)

    def to_bytes(self) -> bytes:
        """The bank as an .npz archive without pickle; the same bank gives the same bytes."""
        return bank_file.pack({name: np.asarray(getattr(self, name)) for name in KINDS})

    def digest(self) -> str:
        """SHA-256 of the bytes: what a configuration hash should name."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def save(self, path: str | Path) -> None:
        """Write the bank to `path` whole or not at all. Raises OutputError."""
        bank_file.write(Path(path), self.to_bytes())

    @classmethod
    def load(cls, path: str | Path) -> Bank:
        """Read a bank and check it before any of it is used. Raises BankError with the path."""
        parts = bank_file.read(Path(path), KINDS)
        try:
            values: dict[str, Any] = {
                name: part.tolist() if KINDS[name] in "Uib" else part for name, part in parts.items()
            }
            values["bands"], values["labels"] = tuple(values["bands"]), tuple(values["labels"])
            return cls(**values)
        except (TypeError, ValueError) as error:
            raise BankError(f"cannot read the bank {path}: {error}") from error


def _problem(bank: Bank) -> str | None:
    """What keeps the parts of a bank from fitting each other, None where they do."""
    if bank.version != VERSION:
        return f"its format is version {bank.version!r}, this program knows {VERSION}"
    texts = (bank.name, *bank.bands, *bank.labels)
    if not all(isinstance(text, str) and len(text) <= MOST_LETTERS for text in texts):
        return f"its names are not all text of at most {MOST_LETTERS} letters"
    if bank.filters.ndim != 4 or 0 in bank.filters.shape or not bank.bands:
        return f"its filters are {bank.filters.shape}, not (N, C/groups, k, k)"
    n, c, height, width = bank.filters.shape
    bands = len(bank.bands)
    if height != width or height > MOST_PIXELS or n > MOST_FILTERS or bands > MOST_BANDS:
        return f"{n} filters of {height} x {width} for {bands} bands are not square, or beyond what is allowed"
    if bands % c or n % (bands // c):
        return f"filters {bank.filters.shape} do not divide {bands} bands into groups"
    if bank.mean.shape != (bands,) or bank.std.shape != (bands,):
        return f"mean {bank.mean.shape} and std {bank.std.shape} are not one for each of {bands} bands"
    if bank.bias.shape != (n,) or len(bank.labels) != n:
        return f"bias {bank.bias.shape} and {len(bank.labels)} labels are not one for each of {n} filters"
    if not all(np.isfinite(part).all() for part in (bank.mean, bank.std, bank.filters, bank.bias)):
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
