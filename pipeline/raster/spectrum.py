"""Where in the spectrum the bands of a scene lie, as far as its tags tell.

Sources: STAC's eo extension v2.0.0 (center_wavelength, micrometres); GDAL's metadata domain IMAGERY
(CENTRAL_WAVELENGTH_UM, FWHM_UM); the header of ENVI files (wavelength, wavelength_units), as GDAL gives it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pipeline.raster.scene import SceneInfo

IMAGERY = "IMAGERY"
_OF_IMAGERY = {"CENTRAL_WAVELENGTH_UM": "center_wavelength", "FWHM_UM": "full_width_half_max"}
_PER_UM = {"micrometers": 1.0, "um": 1.0, "µm": 1.0, "nanometers": 1e3, "nm": 1e3}


def wavelengths(info: SceneInfo) -> tuple[float | None, ...]:
    """The centre of each band in micrometres; None where nothing tells."""
    return tuple(_centre(tags) for tags in info.band_tags)


def known_wavelengths(info: SceneInfo) -> tuple[float, ...] | None:
    """The centres of all bands in nanometres, NaN where nothing tells; None where it tells of none."""
    found = wavelengths(info)
    if not any(found):
        return None
    return tuple(math.nan if value is None else round(1e3 * value, 6) for value in found)


def with_spectrum(tags: Mapping[str, str], imagery: Mapping[str, Any]) -> dict[str, str]:
    """A band's tags, and under our own names what its domain IMAGERY says beyond them."""
    known = imagery_tags(tags)
    more = {word: str(value) for word, value in imagery.items() if word in _OF_IMAGERY and word not in known}
    return {**{_OF_IMAGERY[word]: value for word, value in more.items()}, **tags}


def spectrum(tags: Mapping[str, str]) -> dict[str, str]:
    """What a band's tags say of its centre and width, under our own tags' names; micrometres."""
    return {_OF_IMAGERY[word]: value for word, value in imagery_tags(tags).items()}


def imagery_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """What a band's tags say, in the words of GDAL's domain IMAGERY; empty where they say nothing."""
    centre, width = _centre(tags), _positive(tags.get("full_width_half_max"))
    found = {"CENTRAL_WAVELENGTH_UM": centre, "FWHM_UM": width}
    return {word: f"{value:.9g}" for word, value in found.items() if value is not None}


def _centre(tags: Mapping[str, str]) -> float | None:
    own = _positive(tags.get("center_wavelength"))
    if own is not None:
        return own
    lower = {key.lower(): value for key, value in tags.items()}
    value = _positive(lower.get("wavelength"))
    unit = _PER_UM.get(str(lower.get("wavelength_units", "")).strip().lower())
    return None if value is None or unit is None else value / unit


def _positive(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else 0.0
    except ValueError:
        return None
    return value if 0 < value < math.inf else None
