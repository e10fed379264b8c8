"""Colours for classes: hues a golden angle apart, in turns of lightness, so that any first k of them differ."""

from __future__ import annotations

import colorsys

GOLDEN = 0.6180339887498949
LEVELS = ((0.55, 0.62), (0.38, 0.55), (0.72, 0.70))
"""Lightness and saturation, by turns."""

RGB = tuple[int, int, int]


def palette(count: int) -> list[RGB]:
    """`count` colours, 0 ... 255 for red, green and blue."""
    return [_colour(number) for number in range(count)]


def hex_of(colour: RGB) -> str:
    """#rrggbb."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _colour(number: int) -> RGB:
    lightness, saturation = LEVELS[number % len(LEVELS)]
    red, green, blue = colorsys.hls_to_rgb((0.58 + number * GOLDEN) % 1.0, lightness, saturation)
    return round(255 * red), round(255 * green), round(255 * blue)
