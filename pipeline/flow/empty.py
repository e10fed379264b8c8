"""A scene without one valid pixel: told, for what is written of it looks like any other and holds nothing."""

from __future__ import annotations

import numpy as np

from pipeline.flow.crew import Watch
from pipeline.flow.tasks import Receipt
from pipeline.raster.masks import unmasked
from pipeline.raster.scene import Source
from pipeline.untrusted import one_line


def tell_empty(source: Source, counted: Receipt, watch: Watch) -> None:
    """Warn where all tiles of a scene were read now and none had a pixel that is valid in all bands."""
    if not counted.tiles or counted.seen or counted.resumed or counted.failed:
        return
    info, scene = source.info, unmasked(source)
    declared = [] if info.nodata is None or info.nodata != info.nodata else [f"nodata {info.nodata:.9g}"]
    declared += ["NaN"] if np.dtype(info.dtype).kind == "f" else []
    declared += ["its mask"] if getattr(scene, "masks", ()) else []
    declared += ["its alpha band"] if getattr(scene, "alpha", None) else []
    watch.warn(
        one_line(
            f"{info.name}: none of its pixels is valid in all bands: all are missing by "
            f"{' or '.join(declared) or 'its mask'}; if they are not, say --nodata, or choose bands"
        )
    )
