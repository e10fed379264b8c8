"""Messages for who calls from Python, in the words of Python."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.errors import TerrasketchError

# `rio warp --like FILE`, `dask scheduler --scheduler-file`: options of other programs are theirs in Python, too.
_FOREIGN = r"\b(?:rio|dask|gdal\w*) [a-z-]+(?: [A-Z]+)* --[a-z-]+"
_OPTION = re.compile(rf"{_FOREIGN}|(?<![\w/.-])--([a-z][a-z-]*)(?![\w/.-])")
_PHRASES = (
    (
        re.compile(r"say --nodata=(\S+), in a workflow [^}]*\}"),
        r"give .rio.write_nodata(\1) first, or open_scene(..., nodata=\1)",
    ),
    (re.compile(r"--overwrite what was made without"), "overwrite=True for what was made without"),
)
"""What more than an option has other words for in Python."""
_WHOLE = {"overwrite": "overwrite=True", "stack": "stack=True", "lossless": "lossless=True"}


@contextmanager
def python_words() -> Iterator[None]:
    """Messages name keyword arguments where they would name options of the command line."""
    try:
        yield
    except TerrasketchError as error:
        if len(error.args) == 1 and isinstance(error.args[0], str):
            error.args = (in_python(error.args[0]),)
        raise


def in_python(text: str) -> str:
    """A message with keyword arguments in place of options."""
    for pattern, words in _PHRASES:
        text = pattern.sub(words, text)
    return _OPTION.sub(_keyword, text)


def _keyword(found: re.Match[str]) -> str:
    if found[1] is None:
        return found[0]
    return _WHOLE.get(found[1], found[1].replace("-", "_"))
