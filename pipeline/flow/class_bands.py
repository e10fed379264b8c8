"""Bands of classes among those of a scene: told where their numbers are treated as measurements."""

from __future__ import annotations

from pipeline.codec import Bound
from pipeline.flow.crew import Watch
from pipeline.raster.classes import is_classes
from pipeline.raster.scene import Source
from pipeline.raster.times import BAND
from pipeline.untrusted import one_line

_NAMED = 3


def tell_classes(source: Source, quality: str, bound: Bound | None, watch: Watch) -> None:
    """Warn of bands that by their names hold classes or flags, where the scene is denoised or stored with a loss."""
    lossy = bound is not None and bound.mode != "lossless"
    bands = zip(source.info.bands, source.info.band_tags, strict=True)
    names = list(dict.fromkeys(tags.get(BAND, name) for name, tags in bands if is_classes(name)))
    if not names or not (lossy or quality != "none"):
        return
    how = " and ".join(["denoised"] * (quality != "none") + ["stored with a loss"] * lossy)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    what = f"by name of classes: {', '.join(names[:_NAMED])}{more}; {how} as if it measured something"
    remedy = f"leave it out (-b, --bands), or let it mask clouds (--mask-band {names[0]})"
    watch.warn(one_line(f"{source.info.name}: {what}: {remedy}"))
