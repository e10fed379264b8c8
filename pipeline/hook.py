"""`scene.terrasketch` on xarray's arrays as soon as both packages are imported, whichever comes first.

A process that only decodes a chunk imports this package and no xarray, which takes longer than all the rest of it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

NAME = "terrasketch"
_ACCESSOR = "pipeline.flow.accessor"


def register() -> None:
    """Give xarray's arrays the accessor, now or when xarray is imported."""
    if "xarray" in sys.modules and hasattr(sys.modules["xarray"], "register_dataarray_accessor"):
        _give(sys.modules["xarray"])
    else:
        sys.meta_path.insert(0, _WhenImported("xarray", _give))


def _give(xarray: ModuleType) -> None:
    if not hasattr(xarray.DataArray, NAME):
        xarray.register_dataarray_accessor(NAME)(_accessor)


def _accessor(scene: Any) -> Any:
    return import_module(_ACCESSOR).SceneAccessor(scene)


class _WhenImported(MetaPathFinder):
    """Looks on while one module is imported, once, and calls a function with it."""

    def __init__(self, name: str, call: Callable[[ModuleType], None]) -> None:
        self._name, self._call = name, call

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module as the other finders find it, with a loader that calls back."""
        if fullname != self._name:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _Calling(spec.loader, self._call)
        return spec


class _Calling(Loader):
    """Another loader, and a call once the module is there."""

    def __init__(self, loader: Loader, call: Callable[[ModuleType], None]) -> None:
        self._loader, self._call = loader, call

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """As the other loader does."""
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """As the other loader does, which then has the module for itself again."""
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._call(module)
