"""Arrays of float16: neither the denoiser nor a chunk has half precision, and every number of it is a float32."""

from __future__ import annotations

import numpy as np
import xarray as xr

from pipeline.flow.sentinels import KEYS, nodata_of, with_own


def widened(scene: xr.DataArray) -> xr.DataArray:
    """A scene of float16 in float32, lazy where it is lazy, its sentinel being what the pixels hold for it (-10000 for
    -9999); others as they are."""
    if not isinstance(scene, xr.DataArray) or scene.dtype != np.float16:
        return scene
    scene = with_own(scene)
    nodata = nodata_of(scene)
    wide = scene.astype("float32")
    wide.encoding = {key: told for key, told in scene.encoding.items() if key != "dtype"}
    if nodata is not None:
        others = {key: told for key, told in scene.attrs.items() if key not in KEYS}
        wide.attrs = others | {"_FillValue": np.float32(np.float16(nodata))}
    return wide
