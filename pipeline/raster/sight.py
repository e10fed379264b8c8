"""How much of a scene a cell of features sees, as tags that go with them: into stores, COGs, and what is made of these.

Cells whose squares of pixels overlap are no independent witnesses of what features are worth.
"""

from __future__ import annotations

from collections.abc import Mapping

SEEN, STRIDE = "TERRASKETCH_SEEN_PIXELS", "TERRASKETCH_STRIDE_PIXELS"
"""Side of the square of pixels that a cell is made of; pixels from one cell to the next."""
MOST_DIGITS = 9


def with_sight(tags: Mapping[str, str], seen: int | None, stride: int) -> dict[str, str]:
    """The tags of a scene as those of its features; where cells of features were its pixels, they see what these do.

    seen: None where it is not known, or means nothing.
    """
    others = {name: value for name, value in tags.items() if name not in (SEEN, STRIDE)}
    if seen is None:
        return others
    below, step = sight(tags) or (1, 1)
    return others | {SEEN: str(below + (seen - 1) * step), STRIDE: str(stride * step)}


def sight(tags: Mapping[str, str]) -> tuple[int, int] | None:
    """The two sides in pixels, or None where tags do not say them."""
    told = [str(tags.get(name, "")) for name in (SEEN, STRIDE)]
    if not all(word.isascii() and word.isdigit() and len(word) <= MOST_DIGITS and int(word) for word in told):
        return None
    return int(told[0]), int(told[1])
