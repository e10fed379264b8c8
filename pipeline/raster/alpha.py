"""An alpha band that is none: writers tag the last of four bands of bytes so, whatever it holds."""

from __future__ import annotations

import numpy as np

from pipeline.raster.gdal import GDAL_ERRORS, gdal_env, open_reader

PEEK = 256
MASKS = ("alpha", "mask", "opacity", "valid")
LEVELS, MOSTLY = 16, 0.5
"""More values than a mask has; and the share of pixels neither clear nor opaque: alpha has few, along edges."""


def alpha_as_data(path: str, number: int) -> str | None:
    """What speaks for band `number`, from 1, which is tagged alpha, being one of data; None where nothing does.

    Its name, or its values in the middle of the scene, PEEK x PEEK pixels at most.
    """
    try:
        with gdal_env(path), open_reader(path) as dataset:
            name = (dataset.descriptions[number - 1] or "").strip()
            if name:
                return None if any(word in name.lower() for word in MASKS) else f"it is called {name}"
            (y, x), (height, width) = (length // 2 for length in dataset.shape), dataset.shape
            rows, columns = (
                (max(0, at - PEEK // 2), min(end, at + PEEK // 2)) for at, end in ((y, height), (x, width))
            )
            values = dataset.read(number, window=(rows, columns))
    except GDAL_ERRORS:  # who reads the pixels will say so
        return None
    if values.dtype.kind not in "iu":
        return None
    between = float(np.mean((values > 0) & (values < np.iinfo(values.dtype).max)))
    many = between > MOSTLY and len(np.unique(values)) > LEVELS
    return f"{between:.0%} of its values are neither clear nor opaque" if many else None
