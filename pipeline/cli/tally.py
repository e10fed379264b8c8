"""What a run says of its scenes in the end: a few lines each, a total, every failure."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import click

from pipeline.cli.progress import print_bytes
from pipeline.config import Workflow
from pipeline.flow.paperwork import counted, plain
from pipeline.flow.receipts import SceneReceipt
from pipeline.flow.summary import to_be_retried
from pipeline.storage import is_url
from pipeline.untrusted import one_line, printable

SOME_FAILED = 3
_REMEDY = "or --overwrite"
_REMEDY_OF_MANY = "or --retry-failed --overwrite, which leaves finished scenes alone"


class Tally:
    """Gathers receipts. What is to be printed waits on the disk: it may be long, and bars are drawn until the end."""

    def __init__(self, as_json: bool, *, many: bool = False) -> None:
        self._many = many
        self._json = as_json
        self._counts = dict.fromkeys(("done", "complete", "failed", "refused"), 0)
        self._computed = False
        self._lines, self._errors = (_spool(), _spool())

    def __enter__(self) -> Tally:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self._errors.close()

    def add(self, receipt: SceneReceipt, job: Workflow) -> None:
        """Keep the lines of one scene."""
        self._counts[receipt.status] += 1
        self._computed |= receipt.status != "refused" and any(stage.tiles for stage in receipt.stages)
        if self._json:
            self._lines.write(json.dumps(plain(receipt.to_json(job.model_dump())), allow_nan=False) + "\n")
        else:
            self._lines.write(printable(_summary(receipt)) + "\n")
        if receipt.failures:
            text = receipt.failures[0]
            if self._many and to_be_retried(receipt, job.model_dump()):
                text = text.replace(_REMEDY, _REMEDY_OF_MANY)
            self._errors.write(f"Error: {one_line(f'{receipt.name}: {text}{_more(receipt)}')}\n")

    def close(self, out: str, already: int) -> int:
        """Print everything, and give the exit code. `already`: scenes that needed no run."""
        total, failed = sum(self._counts.values()), self._counts["failed"] + self._counts["refused"]
        if self._json:
            click.echo('{"scenes": [', nl=False)
            for number, line in enumerate(_read(self._lines)):
                click.echo((", " if number else "") + line, nl=False)
            click.echo("]}")
        else:
            for line in _read(self._lines):
                click.echo(line)
            if total > 1 or already:
                click.echo(self._total(already, shown(out)))
        for line in _read(self._errors):
            click.echo(line, err=True)
        if not failed:
            return 0
        return 1 if failed == total and not self._computed and not already else SOME_FAILED

    def _total(self, already: int, out: str) -> str:
        words = {"done": "written", "complete": "complete already", "failed": "failed", "refused": "refused"}
        parts = [f"{count} {words[status]}" for status, count in self._counts.items() if count]
        parts += [f"{already} not run again"] if already else []
        where = f" in {out}"
        if self._counts["failed"]:
            where = f"; {out}/run.json has the reasons, --retry-failed runs them again"
        return f"{counted(sum(self._counts.values()) + already, 'scene')}: {', '.join(parts)}{where}"


def shown(folder: str) -> str:
    """A folder as the user would type it from here."""
    if is_url(folder):
        return folder
    path, here = Path(folder), Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else folder


def _summary(receipt: SceneReceipt) -> str:
    folder = shown(receipt.folder)
    if receipt.status == "complete":
        return f"{receipt.name}: the outputs are complete in {folder}"
    if receipt.kept_off:
        return f"{receipt.name}: failed" + (f"; what is in {folder} is not of this run" if receipt.foreign else "")
    if receipt.status == "failed":
        return f"{receipt.name}: failed" + (f"; what was computed is kept in {folder}" if receipt.computed else "")
    if receipt.status == "refused":
        return f"{receipt.name}: refused; what is in {folder} stays as it was"
    facts = receipt.facts
    words = [f"{receipt.name}: written to {folder}"]
    if facts.get("ratio"):
        words.append(
            f"  scene.zarr     {print_bytes(facts['stored_bytes'])}, {facts['ratio']:.1f} x smaller than raw"
            + _kept(facts.get("snr"))
        )
    for stage in receipt.stages:
        resumed = f", {stage.resumed} of them there already" if stage.resumed else ""
        words.append(f"  {stage.name:<19} {counted(stage.tiles, 'tile')}{resumed} in {stage.seconds:.1f} s")
    return "\n".join(words)


def _more(receipt: SceneReceipt) -> str:
    """How many failures there are beside the first."""
    more = receipt.history[-1]["failures"] - 1
    return f" (and {more:,} more; {shown(receipt.folder)}/receipt.json has them)" if more > 0 else ""


def _kept(snr: float | None) -> str:
    """How near the stored scene is to the denoised one, where that is known."""
    if snr is None:
        return ""
    return ", without loss" if math.isinf(snr) else f" at {snr:.1f} dB"


def _spool() -> IO[str]:
    return TemporaryFile("w+", encoding="utf-8", errors="surrogateescape")


def _read(file: IO[str]) -> Iterator[str]:
    file.seek(0)
    return (line.rstrip("\n") for line in file)
