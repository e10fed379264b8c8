"""Arrays to PNG data URIs: percentile stretch, symmetric difference, colour ramps, principal components.

Ramps: cividis (Nuñez, Anderton, Renslow 2018) for size, blue to orange for sign; both are colour-blind-safe.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.report.data import F32, Floats, picture_step

U8 = NDArray[np.uint8]
F64 = NDArray[np.float64]

SEQUENTIAL = ((0, 34, 78), (53, 69, 108), (102, 105, 112), (148, 142, 119), (200, 184, 102), (254, 232, 56))
DIVERGING = ((8, 69, 148), (107, 174, 214), (247, 247, 245), (253, 174, 97), (179, 71, 4))

THUMBNAIL_SIDE, THUMBNAIL_BYTES = 160, 14_000

PNG_LEVEL = 5  # of 9: beyond it a picture takes three times as long and is no smaller
_PIXELS = 8192


@dataclass(frozen=True)
class Picture:
    """A PNG as a data URI, with its size in pixels."""

    uri: str
    width: int
    height: int


def thin(block: F32) -> F32:
    """Sample a (..., y, x) array down to a picture's size."""
    step = picture_step(block.shape[-2], block.shape[-1])
    return block[..., ::step, ::step]


def stretch_limits(block: F32) -> list[tuple[float, float]]:
    """2nd and 98th percentile of each plane of (plane, y, x), over finite pixels; (0, 1) if none."""
    limits = []
    for plane in block:
        finite = plane[np.isfinite(plane)]
        low, high = np.percentile(finite, (2, 98)) if finite.size else (0.0, 1.0)
        limits.append((float(low), float(high)))
    return limits


def stretch(block: F32, limits: list[tuple[float, float]]) -> F64:
    """(plane, y, x) to (y, x, plane) in 0..1 by each plane's limits; without spread mid grey; NaN stays."""
    planes = []
    for plane, (low, high) in zip(block, limits, strict=True):
        values = plane.astype(np.float64)
        values[~np.isfinite(values)] = np.nan
        flat = np.where(np.isnan(values), np.nan, 0.5)
        planes.append(np.clip((values - low) / (high - low), 0, 1) if high > low else flat)
    return np.stack(planes, axis=-1)


def rgb_picture(values: F64) -> Picture:
    """(y, x, 3) in 0..1 as a PNG; pixels that are NaN in any plane are transparent.

    64 levels per colour: the eye misses nothing in a textured scene, and the file is a fifth smaller.
    """
    valid = np.isfinite(values).all(axis=-1, keepdims=True)
    colours: U8 = np.rint(np.rint(np.where(valid, values, 0) * 63) * (255 / 63)).astype(np.uint8)
    if not valid.all():
        alpha = np.where(valid, 255, 0).astype(np.uint8)
        colours = np.concatenate([colours, alpha], axis=-1)
    return _encode(Image.fromarray(colours))


def thumbnail(values: F64) -> str:
    """(y, x, 3) in 0..1 as a small JPEG in a data URI, averaged to THUMBNAIL_SIDE, within THUMBNAIL_BYTES; NaN grey.

    JPEG: what a page of a thousand scenes can hold.
    """
    colours: U8 = np.rint(np.where(np.isfinite(values), values, 0.5) * 255).astype(np.uint8)
    image = Image.fromarray(colours)
    image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    for quality in (80, 65, 50, 35, 20, 5):
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality, optimize=True)
        if buffer.tell() <= THUMBNAIL_BYTES:
            break
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def palette_picture(values: F64) -> Picture:
    """(y, x, 3) in 0..1 in 255 colours of its own, less than half of RGB's bytes; NaN in any plane is transparent.

    For pictures whose colours are compared with each other, not with another picture's.
    """
    valid = np.isfinite(values.sum(axis=-1))
    colours: U8 = np.rint(np.where(valid[..., None], values, 0) * 255).astype(np.uint8)
    quantized = Image.fromarray(colours).quantize(255, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    indices = np.where(valid, np.asarray(quantized), 255).astype(np.uint8)
    image = Image.frombytes("P", quantized.size, indices.tobytes())
    palette = quantized.getpalette() or []
    image.putpalette(palette + [0] * (768 - len(palette)))
    return _encode(image, transparency=None if valid.all() else 255)


def ramp_picture(values: F64, ramp: tuple[tuple[int, int, int], ...]) -> Picture:
    """(y, x) in 0..1 through a colour ramp, as a palette PNG (a third of RGB's size); NaN is transparent."""
    steps = 63
    valid = ~np.isnan(values)
    indices = np.where(valid, np.rint(np.where(valid, values, 0) * (steps - 1)), steps).astype(np.uint8)
    image = Image.frombytes("P", indices.shape[::-1], indices.tobytes())
    colours = [ramp_colour(step / (steps - 1), ramp) for step in range(steps)]
    image.putpalette([part for colour in [*colours, (128, 128, 128)] for part in colour])
    return _encode(image, transparency=None if valid.all() else steps)


def ramp_colour(value: float, ramp: tuple[tuple[int, int, int], ...]) -> tuple[int, int, int]:
    """The colour at value 0..1 of a ramp of evenly spaced colours."""
    at = np.linspace(0, 1, len(ramp))
    red, green, blue = (round(float(np.interp(value, at, part))) for part in zip(*ramp, strict=True))
    return red, green, blue


def difference(before: F32, after: F32) -> tuple[F64, float]:
    """before - after of a (y, x) band in 0..1, 0.5 = no change, and its half range (98th percentile)."""
    change = before.astype(np.float64) - after
    finite = np.abs(change[np.isfinite(change)])
    # Few changed pixels leave the percentile at 0: then the largest change is the range.
    limit = float(np.percentile(finite, 98) or finite.max()) if finite.size else 0.0
    scaled = np.clip(0.5 + 0.5 * change / limit, 0, 1) if limit > 0 else np.where(np.isnan(change), np.nan, 0.5)
    return scaled, limit


def change_rms(before: F32, after: F32) -> F64:
    """Root mean square of before - after per band, (band,) float64, over finite pixels; NaN if none."""
    found = []
    for old, new in zip(before, after, strict=True):
        change = old.astype(np.float64) - new
        finite = change[np.isfinite(change)]
        found.append(float(np.sqrt(np.mean(finite**2))) if finite.size else np.nan)
    return np.array(found)


def principal_components(sample: F32, count: int = 3) -> tuple[F32, F64]:
    """The first principal components of standardised features (PCA of their correlation matrix).

    sample: (feature, y, x) float32, a pixel is valid where all its features are finite. Returns components
    (count, y, x) float32, NaN where invalid and 0 beyond the number of features, and (count,) their shares of
    the variance.
    Sign: the loading of largest magnitude is positive.
    """
    features, height, width = sample.shape
    flat = sample.reshape(features, -1)
    pixels = np.flatnonzero(np.isfinite(flat).all(axis=0))
    components = np.full((count, height * width), np.nan, np.float32)
    share = np.zeros(count)
    if pixels.size == 0:
        return components.reshape(count, height, width), share
    blocks = [pixels[start : start + _PIXELS] for start in range(0, pixels.size, _PIXELS)]
    mean = sum((flat[:, block].sum(axis=1, dtype=np.float64) for block in blocks), np.zeros(features)) / pixels.size
    gram = np.zeros((features, features))
    for block in blocks:
        centred = flat[:, block] - mean[:, None]
        gram += centred @ centred.T
    scale = np.sqrt(np.diag(gram) / pixels.size)
    # A constant feature has no direction: its float32 rounding must not be blown up to unit variance.
    inverse = np.divide(1, scale, out=np.zeros(features), where=scale > 1e-6 * np.abs(mean))
    values, vectors = np.linalg.eigh(gram * np.outer(inverse, inverse))
    kept = min(count, features)
    loadings = vectors[:, ::-1][:, :kept].T
    loadings = loadings * np.sign(loadings[np.arange(kept), np.abs(loadings).argmax(axis=1)])[:, None]
    for block in blocks:
        components[:, block] = 0
        components[:kept, block] = (loadings * inverse) @ (flat[:, block] - mean[:, None])
    total = float(np.clip(values, 0, None).sum())
    share[:kept] = np.clip(values[::-1][:kept], 0, None) / total if total > 0 else 0
    return components.reshape(count, height, width), share


def choose_pixels(block: F32, count: int = 5) -> list[tuple[int, int]]:
    """Valid pixels (y, x) of unlike spectra: evenly spaced on the first principal component."""
    component = principal_components(block, 1)[0][0]
    height, width = component.shape
    found = np.flatnonzero(np.isfinite(component))
    if found.size == 0:
        return []
    score = component.ravel()[found]
    low, high = np.percentile(score, (3, 97))
    near = max(1, found.size // 200)
    chosen: list[tuple[int, int]] = []
    for target in np.linspace(low, high, count):
        candidates = found[np.argsort(np.abs(score - target), kind="stable")[:near]]
        place = divmod(_farthest(candidates, chosen, height, width), width)
        if place not in chosen:
            chosen.append(place)
    return chosen


def _farthest(pixels: NDArray[np.intp], chosen: list[tuple[int, int]], height: int, width: int) -> int:
    """The pixel farthest from those chosen and from the border, so that marks neither meet nor stick out."""
    ys, xs = np.divmod(pixels, width)
    gap = 4.0 * np.minimum(np.minimum(ys, height - 1 - ys), np.minimum(xs, width - 1 - xs))
    for y, x in chosen:
        gap = np.minimum(gap, np.hypot(ys - y, xs - x))
    return int(pixels[gap.argmax()])


def finite_or_none(values: Floats) -> list[float | None]:
    """Values as Python floats, None where they are not finite."""
    return [float(value) if np.isfinite(value) else None for value in values]


def _encode(image: Image.Image, transparency: int | None = None) -> Picture:
    buffer = io.BytesIO()
    extra = {} if transparency is None else {"transparency": transparency}
    image.save(buffer, "PNG", compress_level=PNG_LEVEL, **extra)
    uri = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
    return Picture(uri, image.width, image.height)
