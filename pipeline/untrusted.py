"""What came from anywhere: read no further than a limit, JSON no deeper than one, text that a terminal may show."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

MOST_METADATA_BYTES = 16 << 20
"""Of a zarr.json or a STAC item. JSON takes up to 25 times its bytes in memory: 400 MB."""
MOST_DEPTH = 64
_MOST_SHOWN = 2000
_LETTERS = {"\n", "\t"}
# Bidirectional overrides and isolates, line and paragraph separators: text would show as other text.
_DISGUISES = {*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x2028, 0x2029, 0x200E, 0x200F, 0x061C}


def read_file(path: str | os.PathLike[str], most: int) -> bytes:
    """The bytes of a file of at most `most` bytes. Devices and pipes are refused: they may never end.

    Raises:
        OSError: it cannot be read, or is no file.
        ValueError: it is longer.
    """
    # Not blocking: opening a pipe that nobody writes to would wait for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            kind = errno.EISDIR if stat.S_ISDIR(os.fstat(descriptor).st_mode) else errno.EINVAL
            raise OSError(kind, os.strerror(kind) if kind == errno.EISDIR else "it is no file", os.fspath(path))
        size = os.fstat(descriptor).st_size
        if size > most:
            raise ValueError(f"it is longer than {_size(most)}")
        data = file.read(size + 1)  # room for `most` would be taken first
        if len(data) > size:  # it grows, or does not know its size
            data += file.read(most + 1 - len(data))
    if len(data) > most:
        raise ValueError(f"it is longer than {_size(most)}")
    return data


def parse_json(data: bytes | str, depth: int = MOST_DEPTH) -> Any:
    """JSON in UTF-8, nested at most `depth` deep.

    Raises:
        ValueError: it is none, or deeper.
    """
    try:
        value = json.loads(data)
    except RecursionError as error:
        raise ValueError(f"it is nested more than {depth} deep") from error
    level = [value]
    for _ in range(depth + 1):
        level = [inner for one in level for inner in _inside(one)]
        if not level:
            return value
    raise ValueError(f"it is nested more than {depth} deep")


def read_json(path: str | os.PathLike[str], most: int = MOST_METADATA_BYTES) -> Any:
    """The JSON of a file of at most `most` bytes. Raises OSError and ValueError as `read_file` and `parse_json`."""
    return parse_json(read_file(path, most))


def is_inside(path: Path, folder: Path) -> bool:
    """Whether the file lies in the folder when all symbolic links are followed."""
    real = os.path.realpath(folder)
    return os.path.realpath(path).startswith(real.rstrip(os.sep) + os.sep)


def printable(text: str) -> str:
    """The text with all that steers a terminal, and all that is no UTF-8, spelled out: `\\x1b`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(letter if _may_show(letter) else _spelled(letter) for letter in text)


def one_line(text: str) -> str:
    """A message as one line that a terminal may show, its middle left out where it is endless."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= _MOST_SHOWN else f"{line[: _MOST_SHOWN // 2]} ... {line[-_MOST_SHOWN // 2 :]}"


def _may_show(letter: str) -> bool:
    code = ord(letter)
    steers = code < 0x20 or 0x7F <= code < 0xA0 or 0xD800 <= code < 0xE000 or code in _DISGUISES
    return letter in _LETTERS or not steers


def _spelled(letter: str) -> str:
    code = ord(letter)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _inside(value: Any) -> Any:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _size(count: int) -> str:
    return f"{count >> 20} MiB" if count >= 1 << 20 else f"{count} bytes"


def kind_of(value: object) -> str:
    """What a value is that should be another, in a message: None, or `a list`."""
    name = type(value).__name__
    return "None" if value is None else f"{'an' if name[0] in 'aei' or name == 'ndarray' else 'a'} {name}"
