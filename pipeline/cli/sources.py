"""SRC of the commands that take many scenes: words, and on standard input paths or a STAC search's result."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO
from uuid import uuid4

import click

from pipeline.errors import ConfigError, OutputError, SourceError
from pipeline.raster.catalogue import members
from pipeline.raster.stac_home import settled
from pipeline.raster.stac_json import MAX_SEARCH
from pipeline.storage import Place, put_file

_BLOCK = 1 << 20
_LINES = 64 << 20
"""Bytes of paths that are read from standard input at most."""


def given(words: tuple[str, ...], spool: Place | None = None) -> list[str]:
    """The sources that SRC names; `-` stands for what comes on standard input.

    A STAC item or item collection that comes there is kept as a file in `spool`, so that a later run finds it again;
    without one, for as long as the command runs.

    Raises:
        ConfigError: there is too much on standard input.
        OutputError: the file cannot be written.
        SourceError: it is no STAC object.
    """
    return [source for word in words for source in (_from_stdin(spool) if word == "-" else [word])]


def _from_stdin(spool: Place | None) -> list[str]:
    """Paths, one a line; or the file that the JSON was written to."""
    stream = sys.stdin.buffer
    first = stream.read(_BLOCK)
    if first.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] != b"{":
        text = first + stream.read(_LINES)
        if len(text) > _LINES:
            raise ConfigError(f"more than {_LINES >> 20} MiB of paths on standard input; give a pattern or a catalogue")
        return [line.strip() for line in text.decode("utf-8", "surrogateescape").splitlines() if line.strip()]
    if spool is None:
        folder = TemporaryDirectory(prefix="terrasketch-")
        click.get_current_context().call_on_close(folder.cleanup)
        spool = Path(folder.name)
    try:
        if isinstance(spool, Path):
            spool.mkdir(parents=True, exist_ok=True)
            return [str(_kept(first, stream, spool))]
        with TemporaryDirectory(prefix="terrasketch-") as drafts:
            draft = _kept(first, stream, Path(drafts))
            put_file(draft, spool / draft.name)
            return [str(spool / draft.name)]
    except OSError as error:
        raise OutputError(f"{spool}: cannot be written: {error.strerror}") from error


def _look_into(draft: Path) -> None:
    """Refuse what is no catalogue or holds nothing, by the name that the user knows it by."""
    try:
        next(iter(members(str(draft))), None)
    except SourceError as error:
        raise SourceError(str(error).replace(str(draft), "standard input")) from error


def _kept(first: bytes, stream: IO[bytes], spool: Path) -> Path:
    """The stream as a file that is called by its contents; what it names lies relative to where the user stands."""
    draft, final = (spool / f".search.{uuid4().hex[:12]}.json.partial" for _ in range(2))
    size = 0
    try:
        with draft.open("wb") as file:
            block = first
            while block:
                size += len(block)
                if size > MAX_SEARCH:
                    raise ConfigError(f"more than {MAX_SEARCH >> 30} GiB on standard input; split the search")
                file.write(block)
                block = stream.read(_BLOCK)
        _look_into(draft)
        digest = hashlib.sha256()
        with final.open("wb") as file:
            for block in settled(str(draft), Path.cwd()):
                digest.update(block)
                file.write(block)
        return final.replace(spool / f"search-{digest.hexdigest()[:8]}.json")
    finally:
        for path in (draft, final):
            path.unlink(missing_ok=True)
