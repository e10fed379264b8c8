"""terrasketch: denoise, compress and featurise scenes with blockwise randomized SVD and lowered convolution.

The two verbs of the house take xarray objects and return them, lazily on Dask-backed ones:

    scene = pipeline.open_scene("scene.tif")
    pipeline.denoise(scene)          pipeline.features(scene, bank)

and so does the accessor on them: scene.terrasketch.denoise(), .features(bank), .compress("scene.zarr").
`pipeline.zarr_encoding(array, rmse=5)` is for xarray's own `to_zarr`.

Everything else is reached by its room: pipeline.svd.svd, pipeline.gemm.conv2d, ...
Importing this package imports none of its rooms, so that a worker that only decodes a chunk stays light.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any

from pipeline.hook import register

__version__ = "0.1.0"

_VERBS = "pipeline.flow.arrays"
_LAZY = ("denoise", "features", "open_scene", "zarr_encoding")
"""What `__getattr__` finds."""

register()


class CallableRoom(ModuleType):
    """A room whose name is also a verb: calling `pipeline.denoise` calls the verb of that name in flow."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        return getattr(import_module(_VERBS), self.__name__.rpartition(".")[2])(*args, **options)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})


def __getattr__(name: str) -> Any:
    if name == "features":
        return import_module(_VERBS).features
    if name == "open_scene":
        return import_module("pipeline.flow.opening").open_scene
    if name == "zarr_encoding":
        return import_module("pipeline.flow.encoding").zarr_encoding
    if name == "denoise":
        return import_module("pipeline.denoise")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
