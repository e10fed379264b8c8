"""Masks of clouds and their shadows: which pixels of a scene are clear enough to learn from.

`valid` says which pixels are real and is kept with them; `clear` says which of them teach, and is kept nowhere.

Sources: SCL: Sentinel-2 L2A product definition (scene classification); QA_PIXEL: Landsat Collection 2 data format
control book (LSDS-1619); Fmask: HLS v2.0 user guide, table of the QA bits; CFmask: Zhu, Woodcock (2012).
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigError, SourceError
from pipeline.grid import Window
from pipeline.raster.folders import RASTER_ENDINGS
from pipeline.raster.gdal import is_remote
from pipeline.raster.geotiff import RasterSource, open_raster
from pipeline.raster.scene import SceneInfo, Source
from pipeline.raster.stack import place

MOST_VALUE, MOST_BIT = (1 << 32) - 1, 31
_SHOWN = 20
"""Names of bands that a line has room for."""

OWN_MASKS = (
    "for masks of their own give dates (--stack) that have one as a band (--mask-band SCL), or each date as a folder "
    "of band files with its mask among them"
)


@dataclass(frozen=True)
class Rule:
    """Which values of a mask take a pixel out."""

    values: tuple[int, ...] = ()
    """Any of these."""
    bits: tuple[int, ...] = ()
    """Any value with one of these bits, counted from 0."""

    def out(self, mask: NDArray[Any]) -> NDArray[np.bool_]:
        """(y, x) which pixels are out by a mask (y, x) of any real dtype; what is no whole number is."""
        finite = np.isfinite(mask)
        whole = np.where(finite, mask, 0).astype(np.int64)
        flags = sum(1 << bit for bit in set(self.bits))
        return np.asarray(np.isin(whole, self.values) | ((whole & flags) != 0) | ~finite | (whole != mask))

    def __str__(self) -> str:
        coding = next((f"{name}: " for name, rule in CODINGS.items() if rule == self), "")
        parts = [("values", self.values), ("bits", self.bits)]
        return coding + " and ".join(f"{word} {', '.join(map(str, those))}" for word, those in parts if those)


CODINGS = {
    "scl": Rule(values=(0, 1, 3, 8, 9, 10)),  # no data, defective, shadow, cloud (medium, high), cirrus
    "qa_pixel": Rule(bits=(0, 1, 2, 3, 4)),  # fill, dilated cloud, cirrus, cloud, shadow
    "fmask": Rule(bits=(0, 1, 2, 3)),  # HLS: cirrus, cloud, beside one, shadow; its fill of 255 has them all
    "cfmask": Rule(values=(2, 4, 255)),  # shadow, cloud, fill
}
_NAMES = re.compile(rf"(?<![a-z0-9])({'|'.join(CODINGS)})(?![a-z0-9])")


@dataclass(frozen=True)
class MaskChoice:
    """What `--mask-band [CODING:]BAND|FILE`, `--mask-values` and `--mask-bits` ask for."""

    target: str
    """Name or number of a band, key of an asset, or a file."""
    coding: str | None
    own: Rule | None
    """In place of the coding's."""

    @classmethod
    def of(cls, text: str | None, values: Sequence[int] | None, bits: Sequence[int] | None) -> MaskChoice | None:
        """None where no mask is asked for.

        Raises:
            ConfigError: values or bits without a mask, or out of range.
        """
        given = "--mask-values" if values is not None else "--mask-bits" if bits is not None else None
        if text == "":
            raise ConfigError("--mask-band is empty: name the band or file of the mask, or leave it out")
        if text is None:
            if given:
                raise ConfigError(f"{given} without --mask-band: name the band or file of the mask")
            return None
        for name, numbers, most in (("--mask-values", values, MOST_VALUE), ("--mask-bits", bits, MOST_BIT)):
            wrong = [number for number in numbers or () if not 0 <= number <= most]
            if wrong:
                raise ConfigError(f"{name} {wrong[0]}: give whole numbers from 0 to {most}")
        front, colon, rest = text.partition(":")
        coded = bool(colon and rest) and front.lower() in CODINGS
        own = Rule(tuple(values or ()), tuple(bits or ())) if given else None
        return cls(rest if coded else text, front.lower() if coded else None, own)

    def rule(self, name: str) -> Rule:
        """How the mask that was found under this name is coded.

        Raises:
            ConfigError: nobody says.
        """
        found = _NAMES.search(name.lower())
        coding = self.coding or (found[1] if found else None)
        if self.own is None and coding is None:
            ways = ", ".join(f"{coding}:{self.target}" for coding in CODINGS)
            raise ConfigError(
                f"mask {self.target}: its name does not say how it is coded; give --mask-band {ways}, "
                "or say what is out: --mask-values 3,8 or --mask-bits 3,4"
            )
        return self.own or CODINGS[coding or ""]

    def find(self, names: Sequence[str], numbers: Sequence[int] | None = None) -> int | None:
        """Position, from 0, of the mask among bands by name, whatever its case, or by number; None where it is none."""
        if self.target in names:
            return list(names).index(self.target)
        lower = [name.lower() for name in names]
        if self.target.lower() in lower:
            return lower.index(self.target.lower())
        numbers = range(1, len(names) + 1) if numbers is None else numbers
        return list(numbers).index(int(self.target)) if self.target in map(str, numbers) else None

    def open_file(self, scene: SceneInfo) -> RasterSource:
        """The mask as a file of its own.

        Raises:
            ConfigError: it is neither a file nor a band of the scene.
            SourceError: it is named as a file, and is none, or several or a folder; it cannot be opened, or has several
                bands.
        """
        if os.path.isdir(self.target):
            raise SourceError(f"--mask-band {self.target}: a folder, and a mask is one file or a band; {OWN_MASKS}")
        if "," in self.target and all(map(os.path.exists, self.target.split(","))):
            raise SourceError(f"--mask-band {self.target}: several files, and a mask is one, or a band; {OWN_MASKS}")
        there = os.path.isfile(self.target)
        if not there and not is_remote(self.target):
            # What is named as a file is input that is not there, as a scene may be; else it is a word for a band.
            file_like = os.path.dirname(self.target) or Path(self.target).suffix.lower() in RASTER_ENDINGS
            kind = SourceError if file_like else ConfigError
            raise kind(f"no mask band or file {self.target}; {self._beside(scene)}")
        file = open_raster(os.path.abspath(self.target) if there else self.target)
        if len(file.info.bands) > 1:
            raise SourceError(f"{self.target} has {len(file.info.bands)} bands; give a mask of one band")
        return file

    def _beside(self, scene: SceneInfo) -> str:
        """What there is in place of the mask; of files that have each a band of its name, how they are one scene."""
        each = [name for name in scene.bands if re.search(rf"[_\W]{re.escape(self.target)}$", name, re.IGNORECASE)]
        if len(each) > 1:
            dates = "--stack (in Python stack=True), or give the store that denoise or compress --stack makes"
            return f"{len(each)} files of {scene.name} have one each ({each[0]}, ...): dates of one place want {dates}"
        more = len(scene.bands) - _SHOWN
        shown = ", ".join(scene.bands[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
        return f"the bands of {scene.name} are {shown}"


@dataclass(frozen=True)
class MaskedSource:
    """A scene, and which of its pixels are clear. Picklable, without an open handle."""

    source: Source
    mask: Source
    """One band, on the scene's grid."""
    rule: Rule
    name: str = "mask"
    """What it was asked for by."""

    @property
    def info(self) -> SceneInfo:
        """The facts of the scene."""
        return self.source.info

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """As of any source: the mask takes nothing away. Raises SourceError."""
        return self.source.read(window)

    def clear(self, window: Window) -> NDArray[np.bool_]:
        """(y, x) bool, where the mask lies and says that there is no cloud. Raises SourceError."""
        block, there = self.mask.read(window)
        return there & ~self.rule.out(block[0])

    def __str__(self) -> str:
        return f"mask {self.name} ({self.rule})"

    def identity(self) -> dict[str, Any]:
        """What of the mask decides bytes, for the configuration hash."""
        facts = {"fingerprint": self.mask.info.fingerprint, "band": self.mask.info.bands[0]}
        return facts | {"values": sorted(set(self.rule.values)), "bits": sorted(set(self.rule.bits))}

    def over(self, other: Source) -> MaskedSource:
        """The same mask over another source of the same grid."""
        return replace(self, source=other)


def masked(scene: Source, mask: RasterSource, rule: Rule, name: str) -> MaskedSource:
    """A scene with a mask of one band, brought to the scene's grid by nearest neighbour.

    Raises:
        SourceError: the mask cannot be placed on the scene, or lies beside it.
    """
    # The mask's own sentinel and masks are values like the others: the rule says what they mean.
    bare = replace(mask, nodata=(None,), masks=(), alpha=None)
    return MaskedSource(scene, place(bare, scene.info), rule, name)


def clear_of(source: Source, window: Window) -> NDArray[np.bool_] | None:
    """(y, x) bool, the clear pixels of a window; None where nothing says which are."""
    return source.clear(window) if isinstance(source, MaskedSource) else None


def teaching(source: Source, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """A window to learn from: its block (band, y, x), and which pixels (y, x) are valid and clear."""
    block, valid = source.read(window)
    clear = clear_of(source, window)
    return block, valid if clear is None else valid & clear


def unmasked(source: Source) -> Source:
    """The source without its mask."""
    return source.source if isinstance(source, MaskedSource) else source


def masked_like(source: Source, other: Source) -> Source:
    """The other source, of the same grid, with the mask of `source` where it has one."""
    return source.over(other) if isinstance(source, MaskedSource) else other
