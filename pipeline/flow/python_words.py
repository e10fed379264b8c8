"""For who calls from Python: numbers looked at before anything is begun, and messages in the words of Python."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral
from typing import Any

from pipeline.errors import ConfigError, TerrasketchError

_OPTION = re.compile(r"(?<![\w/.-])--([a-z][a-z-]*)(?![\w/.-])")
_WHOLE = {"overwrite": "overwrite=True", "stack": "stack=True", "lossless": "lossless=True"}


def whole_number(name: str, value: Any) -> int | None:
    """`value` as an int of at least 1; None where it is None. Raises ConfigError for anything else."""
    if value is None:
        return None
    if value is True or not isinstance(value, Integral) or value < 1:
        raise ConfigError(f"{name} {value!r} is not a whole number above 0; give one, or leave it out")
    return int(value)


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
