"""Arrays to .npz bytes and back, where the bytes may be hostile.

Writing gives the same bytes for the same arrays: members stored in order, with one fixed date. Reading decides every
size before it allocates, from a small directory, and unpickles nothing.
"""

from __future__ import annotations

import io
import math
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from pipeline.errors import NOT_SHARED, WORKER, BankError, OutputError
from pipeline.storage import Place, put_whole

MOST_BYTES = 256 << 20
MOST_DIRECTORY = 64 << 10
HEADER_START = 10
FIRST_BEYOND_UNICODE = 0x110000
# The headers that `pack` writes, and no other: nothing in them is evaluated.
HEADER = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '(?P<dtype><U[1-9]\d{0,5}|<f[48]|<i8|\|b1)', 'fortran_order': False, "
    rb"'shape': \((?P<shape>(?:\d{1,15}, ?){0,3}(?:\d{1,15})?)\), \} *\n",
    re.DOTALL,
)
DATE = (1980, 1, 1, 0, 0, 0)
DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    MemoryError,
    RuntimeError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
)


def pack(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """An .npz archive of `arrays`, uncompressed, in the order given; NumPy's load reads it without pickle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            npy.write_array(member, np.ascontiguousarray(array).reshape(array.shape), (1, 0), allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", DATE)
            info.create_system, info.external_attr = 3, 0o644 << 16
            archive.writestr(info, member.getvalue())
    return buffer.getvalue()


def write(path: Place, content: bytes) -> None:
    """Write `content` to `path` whole or not at all."""
    try:
        put_whole(path, content)
    except OSError as error:
        raise OutputError(f"cannot write the bank {path}: {error.strerror}; choose another place with -o") from error


def read(path: Place, *versions: Mapping[str, str]) -> dict[str, NDArray[Any]]:
    """The arrays of the archive at `path`: exactly the members that one of `versions` names, of those NumPy kinds.

    Raises BankError, with the path, for anything else.
    """
    try:
        with path.open("rb") as file:
            _check_directory(file)
            with zipfile.ZipFile(file) as archive:
                members = {info.filename: info for info in archive.infolist()}
                known = [kinds for kinds in versions if {f"{name}.npy" for name in kinds} == members.keys()]
                if not known or len(archive.infolist()) != len(members):
                    raise ValueError(f"it holds {', '.join(sorted(members)) or 'nothing'}")
                if sum(info.file_size for info in members.values()) > MOST_BYTES:
                    raise ValueError(f"it unpacks to more than {MOST_BYTES >> 20} MiB")
                return {name: _member(archive, members[f"{name}.npy"], kind) for name, kind in known[0].items()}
    except DAMAGE as error:
        reason = (error.strerror or "") if isinstance(error, OSError) else str(error)
        unseen = WORKER.get() and isinstance(error, FileNotFoundError)
        remedy = NOT_SHARED if unseen else "make one with `terrasketch fit`"
        raise BankError(f"cannot read the bank {path}: {reason or type(error).__name__}; {remedy}") from error


def _check_directory(file: BinaryIO) -> None:
    """Refuse an archive whose directory of members is larger than a bank's can be, before zipfile reads it."""
    size = file.seek(0, os.SEEK_END)
    if size > MOST_BYTES:
        raise ValueError(f"it is larger than {MOST_BYTES >> 20} MiB")
    file.seek(max(0, size - 42))
    tail = file.read(42)
    if len(tail) < 42 or tail[20:24] != b"PK\5\6" or tail[:4] == b"PK\6\7":
        raise ValueError("it is not an .npz archive of ours")
    directory_bytes, _, comment = struct.unpack("<LLH", tail[32:42])
    if directory_bytes > MOST_DIRECTORY or comment:
        raise ValueError("its directory is not a bank's")


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, kind: str) -> NDArray[Any]:
    """One array, checked against the bytes that are there before it is made."""
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{info.filename} is compressed in a way banks are not")
    with archive.open(info) as member:
        content = member.read(info.file_size)
    header = HEADER.match(content)
    if not header or len(header[0]) != HEADER_START + int.from_bytes(content[8:HEADER_START], "little"):
        raise ValueError(f"{info.filename} is not an array a bank is made of")
    dtype = np.dtype(header["dtype"].decode())
    shape = tuple(int(number) for number in header["shape"].replace(b",", b" ").split())
    held = len(content) - len(header[0])
    if dtype.kind != kind:
        raise ValueError(f"{info.filename} holds {dtype}")
    if math.prod(shape) * dtype.itemsize != held:
        raise ValueError(f"{info.filename} says {dtype} {shape}, but holds {held} bytes")
    if kind == "U" and (np.frombuffer(content, "<u4", offset=len(header[0])) >= FIRST_BEYOND_UNICODE).any():
        raise ValueError(f"{info.filename} holds letters that are none")
    return np.frombuffer(content, dtype, offset=len(header[0])).reshape(shape)
