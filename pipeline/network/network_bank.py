"""A tensor of an ONNX network as a bank: where the model is, what it is fed, the way from the scene to the tensor."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import BankError, ModelError
from pipeline.network import bank_file
from pipeline.network.bank import MOST_LETTERS
from pipeline.network.execute import Network
from pipeline.network.graph import Graph
from pipeline.network.onnx_import import load
from pipeline.network.survey import input_channels, survey
from pipeline.network.tiling import Field
from pipeline.storage import Place, at_home, place

PREFIX = "onnx:"
SUFFIX = ".onnx"
VERSION = 1
KINDS = {
    "network": "U",
    "tensor": "U",
    "digest": "U",
    "bands": "U",
    "mean": "f",
    "std": "f",
    "exact": "b",
    "version": "i",
}


def split(words: str) -> tuple[Path, str | None]:
    """MODEL and TENSOR of onnx:MODEL[@TENSOR]; the tensor begins after the first @ behind an .onnx, or the first @."""
    text = words.removeprefix(PREFIX)
    end = text.lower().find(SUFFIX + "@")
    model, _, tensor = (
        text.partition("@") if end < 0 else (text[: end + len(SUFFIX)], "", text[end + len(SUFFIX) + 1 :])
    )
    return Path(at_home(model)), tensor or None


@dataclass(frozen=True, eq=False)
class NetworkBank:
    """What `features` needs beside the scene to compute one tensor of a network.

    Raises ModelError where the file is not a model that we run, BankError where tiles cannot be computed of the tensor.
    """

    model: Path
    """The ONNX file."""
    tensor: str
    """Its tensor that is wanted."""
    bands: tuple[str, ...]
    """Names of the C bands that it is fed, in order."""
    mean: NDArray[np.float64]
    """(C,) taken off each band, in data units; 0 where the network normalises by itself."""
    std: NDArray[np.float64]
    """(C,) that each band is divided by; 1 where the network normalises by itself."""
    exact: bool = False
    """Whether the bytes must not depend on the tile, see `network_features`."""
    digest_of_model: str = ""
    """SHA-256 of the file; checked where it is given."""

    def __post_init__(self) -> None:
        if not self.digest_of_model:
            object.__setattr__(self, "digest_of_model", model_digest(self.model))
        if self.whole and not self.plain:
            raise BankError(f"the network {self.model} takes pixels of {self.dtype} as they are, and none normalised")
        known = _channels(self.model, self.tensor, self.digest_of_model)
        if known is not None and known != len(self.bands):
            raise BankError(
                f"the network {self.model} takes {known} bands, got {len(self.bands)} ({', '.join(self.bands[:12])}); "
                f"choose and order bands (-b, read.bidx in a workflow)"
            )

    @property
    def name(self) -> str:
        """onnx:FILE@TENSOR, without the file's folder."""
        return f"{PREFIX}{self.model.name}@{self.tensor}"

    @property
    def graph(self) -> Graph:
        """The part of the network that makes the tensor, or what it is the mean of."""
        return _graph(self.model, self.tensor, self.digest_of_model)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of what the network is given: integers (or bool) where its input is declared so, else float32."""
        known = self.graph.dtypes.get(next(iter(self.graph.inputs), ""))
        return known if known is not None and known.kind in "biu" else np.dtype(np.float32)

    @property
    def whole(self) -> bool:
        """Whether the network takes integers, and so the pixels as they are."""
        return self.dtype.kind != "f"

    @property
    def plain(self) -> bool:
        """Whether the network is given the pixels as they are."""
        return not self.mean.any() and bool((self.std == 1).all())

    @property
    def field(self) -> Field:
        """The way from the scene to the tensor."""
        return _field(self.model, self.tensor, self.digest_of_model, len(self.bands))

    @property
    def network(self) -> Network:
        """The network, its weights prepared; threads may share it."""
        return _network(self.model, self.tensor, self.digest_of_model, self.field.tensor)

    @property
    def features(self) -> tuple[str, ...]:
        """TENSOR_000, ..."""
        digits = max(3, len(str(self.field.channels - 1)))
        return tuple(f"{self.tensor}_{number:0{digits}d}" for number in range(self.field.channels))

    def settled(self, pool: int | None, stride: int | None) -> tuple[int, int]:
        """Pool and stride in pixels: by default the tensor's own stride, in whole pixels, and a pool of the stride.

        Raises BankError for others than multiples of the tensor's stride.
        """
        y, x = self.field.stride
        if self.field.mean and (pool is not None or stride is not None):
            raise BankError(f"tensor {self.tensor} is a mean over the whole scene; leave out --pool and --stride")
        if y != x:
            raise BankError(
                f"tensor {self.tensor} has strides {y} and {x} along y and x; cells are square, take another"
            )
        stride = y.numerator if stride is None else stride
        pool = stride if pool is None else pool
        for word, value in (("stride", stride), ("pool", pool)):
            if value < 1 or (Fraction(value) / y).denominator != 1:
                raise BankError(f"--{word} {value} is not a multiple of {y}, the stride of tensor {self.tensor}")
        return pool, stride

    def sees(self, pool: int, _stride: int) -> int | None:
        """Side in pixels of the square that one cell is made of; None where the network runs on no scene so large that
        its middle sees neither end.
        """
        try:
            return self.field.sees(pool)
        except BankError:
            return None

    def check_scene(self, bands: tuple[str, ...], where: str) -> None:
        """Raise BankError unless the scene `where` has this bank's bands, by name and in order."""
        if bands != self.bands:
            raise BankError(
                f"{where} has bands {', '.join(bands[:12])}, {self.name} was given {', '.join(self.bands[:12])}; "
                f"choose and order bands (-b, read.bidx in a workflow)"
            )

    def check_dtype(self, dtype: np.dtype[Any] | str, where: str) -> None:
        """Raise BankError where a network of integers does not take every value of the pixels `where`, of a dtype."""
        if self.whole and not np.can_cast(dtype, self.dtype, "safe"):
            remedy = (
                "convert the scene (gdal_translate -ot, astype), or export the network with floats as its input"
                if self.dtype.kind != "b"
                else "no scene has such; export the network with floats as its input"
            )
            raise BankError(f"{where} has pixels of {dtype}, {self.name} takes {self.dtype}; {remedy}")

    def to_bytes(self) -> bytes:
        """All but the model, as an .npz archive without pickle; the same bank gives the same bytes."""
        parts: dict[str, Any] = {
            "network": self.model.name,
            "tensor": self.tensor,
            "digest": self.digest_of_model,
            "bands": self.bands,
            "mean": self.mean,
            "std": self.std,
            "exact": self.exact,
            "version": VERSION,
        }
        return bank_file.pack({name: np.asarray(part) for name, part in parts.items()})

    def digest(self) -> str:
        """SHA-256 of the bytes, which hold the model's own: what a configuration hash should name."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def save(self, path: str | Place) -> None:
        """Write all but the model to `path` whole or not at all. Raises OutputError."""
        bank_file.write(place(path), self.to_bytes())

    @classmethod
    def load(cls, path: str | Place, model: str | Path) -> NetworkBank:
        """Read what `save` wrote. Raises BankError where it does not fit itself, or the model at hand."""
        parts = bank_file.read(place(path), KINDS)
        bands, mean, std = tuple(parts["bands"].tolist()), parts["mean"], parts["std"]
        try:
            exact, tensor, digest = (parts[name].item() for name in ("exact", "tensor", "digest"))
            whole = int(parts["version"].item()) == VERSION and all(
                len(word) <= MOST_LETTERS for word in (tensor, *bands)
            )
        except ValueError:
            whole = False
        fits = mean.shape == std.shape == (len(bands),) and np.isfinite([mean, std]).all() and (std > 0).all()
        if not (whole and fits):
            raise BankError(f"cannot read the bank {path}: its parts do not fit each other; make it again")
        if model_digest(Path(model)) != digest:
            raise BankError(f"{model} is not the network that {path} was made for; give that one")
        return cls(Path(model), tensor, bands, mean, std, exact, digest)


def network_facts(path: Place) -> dict[str, Any]:
    """What a file that `save` wrote says, without the model. Raises BankError for any other."""
    parts = bank_file.read(path, KINDS)
    facts = {name: parts[name].tolist() for name in ("bands", "mean", "std", "exact", "digest")}
    return {"bank": f"{PREFIX}{parts['network']}@{parts['tensor']}", **facts}


# Kept by file and content, so that a bank stays small on its way to workers, and they load the model once.
@lru_cache(maxsize=4)
def _graph(model: Path, tensor: str, _digest: str) -> Graph:
    return load(model, [tensor])


@lru_cache(maxsize=4)
def _field(model: Path, tensor: str, digest: str, bands: int) -> Field:
    graph = _graph(model, tensor, digest)
    with _of(model):
        return survey(graph, bands).field(tensor)


def _channels(model: Path, tensor: str, digest: str) -> int | None:
    graph = _graph(model, tensor, digest)
    with _of(model):
        return input_channels(graph)


@contextmanager
def _of(model: Path) -> Iterator[None]:
    """Errors in here name the model."""
    try:
        yield
    except (BankError, ModelError) as error:
        raise type(error)(f"{model}: {error}") from error


@lru_cache(maxsize=4)
def _network(model: Path, tensor: str, digest: str, wanted: str) -> Network:
    return Network(_graph(model, tensor, digest), (wanted,))


def model_digest(model: Path) -> str:
    """SHA-256 of an ONNX file, which holds all of its weights. Raises BankError."""
    if model.exists() and not model.is_file():
        raise BankError(f"cannot read the network {model}: it is no file; give the path of an ONNX model")
    try:
        with model.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BankError(f"cannot read the network {model}: {error.strerror}; give the path of an ONNX model") from error


def check_tensor(model: Path, tensor: str) -> None:
    """Raise ModelError or BankError where the tensor cannot be had of any scene."""
    digest = model_digest(model)
    _field(model, tensor, digest, _channels(model, tensor, digest) or 1)


def wanted_tensor(model: Path, tensor: str | None) -> str:
    """The tensor that is wanted: the one that was named, or the network's only output.

    Raises ModelError, or BankError where there are several outputs to choose from.
    """
    graph = load(model)
    if tensor is None and len(graph.outputs) != 1:
        raise BankError(f"{model} has outputs {', '.join(graph.outputs)}; choose a tensor with @TENSOR")
    return graph.outputs[0] if tensor is None else tensor
