"""What the words of the command line say: each option's text to what it means, or one line of what is wrong with it."""

from __future__ import annotations

from typing import Any

import click

_MAX_BAND = 65535


def parse_bidx(_context: Any, _parameter: Any, values: tuple[str, ...]) -> list[int] | None:
    """-b 1 -b 2, -b 1,2 and -b 1..3, as rio takes them."""
    numbers: list[int] = []
    for part in (part for value in values for part in value.split(",")):
        first, dots, last = part.partition("..")
        try:
            low, high = int(first), int(last if dots else first)
        except ValueError:
            raise click.BadParameter(
                f"{part!r} is not a band number; give -b 1, -b 1,2 or -b 1..3, or names by --bands"
            ) from None
        if 1 <= high < low:
            raise click.BadParameter(
                f"{part!r} runs backwards; give {high}..{low}, or an order of your own as -b 3,2,1"
            )
        if not 1 <= low <= high <= _MAX_BAND:
            raise click.BadParameter(f"{part!r}: bands are counted from 1")
        numbers += range(low, high + 1)
    return numbers or None


def parse_whole(_context: Any, _parameter: Any, value: str | None) -> list[int] | None:
    """--mask-values 3,8,9."""
    try:
        return [int(part) for part in value.split(",")] if value is not None else None
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a list of whole numbers; give 3,8,9") from None


def parse_creation_options(_context: Any, _parameter: Any, values: tuple[str, ...]) -> dict[str, str]:
    """--co NAME=VALUE, as many as there are."""
    options = {}
    for value in values:
        name, equals, setting = value.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{value!r} is not NAME=VALUE")
        options[name.strip()] = setting.strip()
    return options


def parse_names(_context: Any, _parameter: Any, value: str | None) -> list[str] | None:
    """--bands B04,B03,B02."""
    names = None if value is None else [name.strip() for name in value.split(",") if name.strip()]
    if names == []:
        raise click.BadParameter(f"{value!r} names nothing; give some, or leave the option out")
    return names


def parse_sigma(_context: Any, _parameter: Any, value: str) -> float | None:
    """--sigma auto|FLOAT; auto is None."""
    if value == "auto":
        return None
    try:
        sigma = float(value)
    except ValueError:
        sigma = 0.0
    if not 0 < sigma < float("inf"):
        raise click.BadParameter(f"give auto or a positive number of data units, got {value!r}")
    return sigma


def parse_points(_context: Any, _parameter: Any, values: tuple[str, ...]) -> list[tuple[float, float]]:
    """--at X,Y, as many as there are."""
    points = []
    for value in values:
        try:
            x, y = (float(part) for part in value.split(","))
        except ValueError:
            raise click.BadParameter(f"{value!r} is not X,Y; give two numbers, such as 437000,4175000") from None
        if not abs(x) + abs(y) < float("inf"):
            raise click.BadParameter(f"{value!r} is no place; give two finite numbers")
        points.append((x, y))
    return points
