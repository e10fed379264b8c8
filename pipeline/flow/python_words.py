"""Messages for who calls from Python, in the words of Python."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.errors import TerrasketchError

_OPTION = re.compile(r"(?<![\w/.-])--([a-z][a-z-]*)(?![\w/.-])")
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
    return _OPTION.sub(_keyword, text)


def _keyword(found: re.Match[str]) -> str:
    return _WHOLE.get(found[1], found[1].replace("-", "_"))
