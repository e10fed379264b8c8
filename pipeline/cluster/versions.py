"""Do client, scheduler and workers run the same code? What differs is named before a chunk is written.

What could change a byte of a store must be the same everywhere: this package to its sources, Python, the numerical
libraries, the codecs, and GDAL's minor version. Differences in GDAL's patch, or in the processor's BLAS kernels, are
said and no more: pixels are decoded alike, and results agree within rounding.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import rasterio
from threadpoolctl import threadpool_info

from pipeline import __version__
from pipeline.errors import ClusterError

PACKAGES = ("dask", "distributed", "numpy", "scipy", "numba", "llvmlite", "zarr", "numcodecs")
SAME_ON_SCHEDULERS = ("terrasketch", "sources", "Python", "dask", "distributed")
SAME_ON_WORKERS = (*SAME_ON_SCHEDULERS, *PACKAGES[2:], "GDAL")
SAID = ("GDAL's patch", "BLAS kernels")
Facts = Mapping[str, str]
_CANNOT_LOAD = ("ModuleNotFoundError(", "ImportError(", "AttributeError(")


class Unfit(ClusterError):
    """A worker found, at its first task, that it runs other versions; the message is its address and its facts."""


@cache
def facts() -> dict[str, str]:
    """What this process runs, by name."""
    gdal, _, patch = rasterio.__gdal_version__.rpartition(".")
    return {
        "terrasketch": __version__,
        "sources": _sources(),
        "Python": "{}.{}".format(*sys.version_info),
        **{package: _version(package) for package in PACKAGES},
        "GDAL": gdal,
        "GDAL's patch": patch,
        "BLAS kernels": ", ".join(sorted({str(pool["architecture"]) for pool in threadpool_info() if _is_blas(pool)})),
    }


@cache
def stamp() -> str:
    """All that must be the same on a worker, in a few bytes that go with every task."""
    own = facts()
    return hashlib.sha256(repr([own[name] for name in SAME_ON_WORKERS]).encode()).hexdigest()[:16]


def differences(theirs: Facts, names: Sequence[str]) -> str:
    """`numpy 2.1.0 (here 2.2.1), ...`; empty where nothing differs."""
    ours = facts()
    return ", ".join(
        f"{name} {theirs.get(name, 'unknown')} (here {ours[name]})" for name in names if theirs.get(name) != ours[name]
    )


def check_all(client: Any, name: str) -> list[str]:
    """Ask the scheduler and every worker of a Dask client what they run; notes about what may differ.

    Raises:
        ClusterError: somebody lacks this package, or runs what would write other bytes.
    """
    try:
        found = {"the scheduler": client.run_on_scheduler(facts)}
        workers = client.run(facts, on_error="return")  # by way of the scheduler, which may go meanwhile
    except Exception as error:  # whatever its own process raised
        raise ClusterError(unable(f"{name}: the scheduler", error)) from error
    found |= {f"worker {address}": told for address, told in workers.items()}
    unfit, notes = [], []
    for who, told in found.items():
        if isinstance(told, BaseException):
            unfit.append(unable(f"{name}: {who}", told))
        elif different := differences(told, SAME_ON_SCHEDULERS if who == "the scheduler" else SAME_ON_WORKERS):
            unfit.append(refusal(f"{name}: {who}", different))
        elif who != "the scheduler" and (different := differences(told, SAID)):
            notes.append(f"{who} has {different}: results agree within rounding, not byte by byte")
    if unfit:
        raise ClusterError(_first_of(unfit))
    return [_first_of(notes)] if notes else []


def refusal(who: str, different: str) -> str:
    """Why somebody cannot take part, and the remedy, in one line."""
    return f"{who} runs {different}; install the same there as here (one image or one lock file), and start it again"


def unable(who: str, error: BaseException) -> str:
    """Why somebody cannot even say what it runs, in one line."""
    # A worker that cannot read what it is asked tells of its error in a plain Exception's text.
    if isinstance(error, ImportError | AttributeError) or str(error).startswith(_CANNOT_LOAD):
        return f"{who} cannot load this version of terrasketch ({error}); install it there too, and start it again"
    return f"{who} does not answer ({type(error).__name__}: {' '.join(str(error).split())})"


def has_bokeh() -> bool:
    """Whether Dask's dashboard and performance report can be drawn here."""
    return importlib.util.find_spec("bokeh") is not None


def _first_of(lines: Sequence[str]) -> str:
    return lines[0] if len(lines) == 1 else f"{lines[0]} (and {len(lines) - 1} more like it)"


def _is_blas(pool: Mapping[str, Any]) -> bool:
    return pool["user_api"] == "blas" and "architecture" in pool


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def _sources() -> str:
    """A digest of this package's sources: versions stay as they are while one develops."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]
