"""Results on stdout: a few words for people, JSON for machines."""

from __future__ import annotations

import json
from typing import Any

import click

from pipeline.cli.progress import print_bytes
from pipeline.flow.paperwork import counted, plain
from pipeline.flow.tasks import Receipt
from pipeline.storage import Place
from pipeline.untrusted import printable


def print_receipt(target: Place, receipt: Receipt, as_json: bool) -> None:
    """What one stage wrote; no raw bytes where it read none itself, as the mean of a scene, made of tiles' sums."""
    size = receipt.stored if target.suffix == ".zarr" else target.stat().st_size
    result = {
        "output": str(target),
        "tiles": receipt.tiles,
        "raw_bytes": receipt.raw or None,
        "stored_bytes": size,
        "ratio": round(receipt.raw / size, 3) if size and receipt.raw else None,
        "seconds_of_work": round(receipt.seconds, 3),
        "clipped": receipt.clipped,
    }
    if as_json:
        click.echo(json.dumps(result))
    else:
        smaller = f" ({receipt.raw / size:.2f} x smaller)" if 0 < size < receipt.raw else ""
        clipped = f", {counted(receipt.clipped, 'value')} clipped" if receipt.clipped else ""
        raw = f"{print_bytes(receipt.raw)} raw, " if receipt.raw else ""
        click.echo(
            f"{printable(str(target))}: {counted(receipt.tiles, 'tile')}, {raw}"
            f"{print_bytes(size)} stored{smaller}, {receipt.seconds:.1f} s of work{clipped}"
        )


def print_result(result: dict[str, Any], as_json: bool) -> None:
    """A flat mapping, a line each."""
    if as_json:
        click.echo(json.dumps(plain(result), default=str, allow_nan=False))
        return
    width = max(len(name) for name in result)
    for name, value in result.items():
        click.echo(f"{printable(name):<{width}}  {printable(str(value))}")


def table(head: list[str], rows: list[list[str]]) -> str:
    """A plain table: first column left, the others right."""
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in [head, *rows]
    ]
    return "\n".join(lines)
