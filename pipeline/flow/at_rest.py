"""The memory of a process of ours before its first tile."""

from __future__ import annotations

from pipeline.jit import any_compiled
from pipeline.raster.cache import CACHE_BYTES

LIBRARIES = 330 << 20
"""Python with numpy, scipy, numba, GDAL, zarr, xarray, and the compiled kernels."""
COMPILER = 260 << 20
"""Of a process that compiles the kernels; those after it find them on the disk."""
GDAL_CACHE = 64 << 20


def base_memory() -> int:
    """Bytes of any process of ours that starts now."""
    return LIBRARIES + GDAL_CACHE + CACHE_BYTES + (0 if any_compiled() else COMPILER)
