"""Which bands make a picture: by name (Sentinel-2, Landsat, plain words), by wavelength, or evenly spaced.

Of dates as one scene, whose bands are called `2016-01-17 B04`, a picture is of one date: the one of which most is
there, as far as that is known, and the last of several.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

Triple = tuple[int, int, int]


class Composite(NamedTuple):
    """A picture's name and its three bands (red, green, blue), counted from 0."""

    label: str
    bands: Triple


_THEMATIC_MAPPER = {"B1", "B2", "B3", "B4", "B5", "B7"}
"""Landsat 4 to 7: B1 is blue and B4 is near infrared, a place below Landsat 8 and Sentinel-2."""

_SENSOR_BANDS = 16
"""More than Sentinel-2 (13) and Landsat (11) have; in a longer list B4 is only the fourth of many."""

_OF_DATE = re.compile(r"(\d{4}-\d\d-\d\d(?:T\d\d:\d\d:\d\dZ)?) (.+)")
"""Names as raster/dates.py gives them."""
_TRUE_NM = (660.0, 560.0, 480.0)
_NIR_NM = 840.0
_TOLERANCE_NM = 60.0


class _Choice(NamedTuple):
    """The bands among which a picture is sought: where they are among all, their plain names, their centres in nm."""

    places: list[int]
    names: list[str]
    wavelengths: list[float] | None

    def spread(self) -> Triple:
        return self.back(_spread(len(self.places)))

    def back(self, bands: Triple) -> Triple:
        red, green, blue = (self.places[band] for band in bands)
        return red, green, blue


def default_rgb(
    band_names: Sequence[str], wavelengths: Sequence[float] | None = None, shares: Sequence[float] | None = None
) -> Triple:
    """Bands (counted from 0) of the main picture: true colour if it can be had, else evenly spaced bands.

    shares: of the pixels that have a value, in each band, by which a date is chosen.
    """
    return true_colour(band_names, wavelengths, shares) or _chosen(band_names, wavelengths, shares).spread()


def composites(
    band_names: Sequence[str],
    wavelengths: Sequence[float] | None = None,
    rgb: Triple | None = None,
    shares: Sequence[float] | None = None,
) -> list[Composite]:
    """The pictures worth showing: `rgb` or true colour, then near infrared false colour where bands allow."""
    true = true_colour(band_names, wavelengths, shares)
    first = rgb or true or _chosen(band_names, wavelengths, shares).spread()
    if true is not None and first == true:
        label = "True colour"
    else:
        label = "Grey" if len(set(first)) == 1 else "Band composite"
    found = [Composite(label, first)]
    nir = _near_infrared(_chosen(band_names, wavelengths, shares))
    if true is not None and nir is not None and (nir, *true[:2]) != first:
        found.append(Composite("Near infrared", (nir, true[0], true[1])))
    return found


def _chosen(names: Sequence[str], wavelengths: Sequence[float] | None, shares: Sequence[float] | None) -> _Choice:
    """All bands, or those of one date. Shares that are the same in whole percent tell no dates apart."""
    places, plain = list(range(len(names))), list(names)
    dated = [match for match in map(_OF_DATE.fullmatch, names) if match]
    if dated and len(dated) == len(names):
        of: dict[str, list[int]] = {}
        for place, match in enumerate(dated):
            of.setdefault(match[1], []).append(place)
        there = dict.fromkeys(of, 0) if shares is None else {d: round(100 * min(shares[p] for p in of[d])) for d in of}
        places = of[max(of, key=lambda date: (there[date], date))]
        plain = [dated[place][2] for place in places]
    return _Choice(places, plain, None if wavelengths is None else [wavelengths[place] for place in places])


def _spread(count: int) -> Triple:
    """Up to four unnamed bands are taken for red, green, blue (, alpha); more rise in wavelength."""
    if count <= 4:
        return 0, min(1, count - 1), min(2, count - 1)
    return 5 * count // 6, count // 2, count // 6


def true_colour(
    band_names: Sequence[str], wavelengths: Sequence[float] | None, shares: Sequence[float] | None = None
) -> Triple | None:
    """Bands (counted from 0) of true colour, or None where neither names nor wavelengths in nm tell."""
    choice = _chosen(band_names, wavelengths, shares)
    names = _index(choice.names)
    numbered = ("B3", "B2", "B1") if set(names) == _THEMATIC_MAPPER else ("B4", "B3", "B2")
    for red, green, blue in [("RED", "GREEN", "BLUE"), ("R", "G", "B"), numbered]:
        if red in names and green in names and blue in names:
            return choice.back((names[red], names[green], names[blue]))
    near = [_nearest(choice.wavelengths, target) for target in _TRUE_NM]
    if near[0] is None or near[1] is None or near[2] is None:
        return None
    return choice.back((near[0], near[1], near[2]))


def common_names(band_names: Sequence[str]) -> dict[int, str]:
    """STAC's common names by place (from 0), of scenes whose names tell the sensor or the colour; else none.

    Fewer than pictures are made of: B4, B3, B2 may be anybody's; B04 is Sentinel-2's, and six are Landsat 4 to 7's.
    """
    names, colours = _index(band_names), true_colour(band_names, None)
    sentinel = any(re.fullmatch(r"B0\d", name.upper().strip()) for name in band_names)
    mapper = set(names) == _THEMATIC_MAPPER
    if colours is None or not (sentinel or mapper or {"RED", "GREEN", "BLUE"} <= set(names)):
        return {}
    infrared = {"B8": "nir", "B8A": "nir08"} if sentinel else {"B4": "nir08"} if mapper else {}
    found = {names[name]: common for name, common in infrared.items() if name in names}
    return found | dict(zip(colours, ("red", "green", "blue"), strict=True))


def _near_infrared(choice: _Choice) -> int | None:
    names = _index(choice.names)
    sentinel = "B8A" in names or any(re.match(r"B0\d", name.upper().strip()) for name in choice.names)
    landsat = "B4" if set(names) == _THEMATIC_MAPPER else "B5"
    for name in ["NIR", "NIR08", "NIR1", "NEARINFRARED", *(("B8", "B8A") if sentinel else (landsat,))]:
        if name in names:
            return choice.places[names[name]]
    near = _nearest(choice.wavelengths, _NIR_NM)
    return None if near is None else choice.places[near]


def _index(band_names: Sequence[str]) -> dict[str, int]:
    """Names in one spelling (B04, b4 and SR_B4 are B4), each with its first index.

    "Band 4" is no sensor's name but a count, and so is B4 among more bands than these sensors have.
    """
    found: dict[str, int] = {}
    for index, name in enumerate(band_names):
        plain = re.sub(r"[\s_-]", "", name.upper())
        plain = re.sub(r"^(?:SR|TOA)?B0*(\d+A?)$", r"B\1", plain)
        if len(band_names) <= _SENSOR_BANDS or not re.match(r"B\d", plain):
            found.setdefault(plain, index)
    return found


def _nearest(wavelengths: Sequence[float] | None, target: float) -> int | None:
    if wavelengths is None:
        return None
    gap = np.abs(np.asarray(wavelengths, np.float64) - target)
    if not np.isfinite(gap).any():
        return None
    index = int(np.nanargmin(gap))
    return index if gap[index] <= _TOLERANCE_NM else None
