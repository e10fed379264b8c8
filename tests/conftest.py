"""Fixtures that every floor may use; dask and xarray are not imported, so floors 0-2 stay light."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import scipy.linalg  # noqa: F401  (brings its own BLAS, which must be loaded before the threads are limited)
from hypothesis import settings
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from pipeline.grid import Window
from sample_data.generator import Settings, scene_block, sigmas

ROOT = Path(__file__).parents[1]

settings.register_profile("house", deadline=None, derandomize=True)
settings.load_profile("house")


# Files whose tests share nothing, and of which each may take a minute.
APART = {"test_41_stopping", "test_80_benchmarks"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files stay together, as their tests share servers and scenes; what shares nothing fills up the workers at the
    end, when few are left."""
    for item in items:
        if item.path.stem not in APART:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


class Synthetic(NamedTuple):
    """A small scene from the generator, with its truth."""

    truth: NDArray[np.float32]
    noisy: NDArray[np.float32]
    valid: NDArray[np.bool_]
    sigma: NDArray[np.float32]


@pytest.fixture(scope="session", autouse=True)
def _one_blas_thread() -> Iterator[None]:
    """The same bytes on every machine, and no oversubscription of two cores."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real scenes beside the repository; the test is skipped where it is absent."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real scenes are not beside the repository (../shared/data)")
    return folder


@pytest.fixture(scope="session")
def sample_scene() -> Path:
    """The Sentinel-2 crop of the repository: 10 bands x 488 x 488, uint16."""
    return ROOT / "sample_data" / "s2_18SVG_crop_10band_20m.tif"


@pytest.fixture(scope="session")
def synthetic() -> Synthetic:
    """10 bands x 128 x 160, float32, noise by band, holes in about a tenth of the area. Read-only arrays."""
    chosen = Settings(height=128, width=160, bands=10, seed=4, holes=0.1, dtype="float32")
    scene = Synthetic(*scene_block(Window(0, 128, 0, 160), chosen), sigmas(chosen))
    for array in scene:
        array.flags.writeable = False
    return scene
