"""A look at the bytes of a model before they are parsed: a byte of structure then takes up to fifty, one of data one.

Format: protocol buffers' wire format (https://protobuf.dev/programming-guides/encoding); field numbers of onnx.proto3.
"""

from __future__ import annotations

from pipeline.errors import ModelError

MOST_STRUCTURE_BYTES = 16 << 20
MOST_FIELDS = 1_000_000
LENGTH_DELIMITED = 2
FIXED = {1: 8, 5: 4}

DATA = "data"
INSIDE: dict[str, dict[int, str]] = {
    "model": {7: "graph"},
    "graph": {1: "node", 5: "tensor"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor"},
    "tensor": {4: DATA, 9: DATA, 10: DATA},
}
"""Where numbers lie that stay as they are: raw_data, float_data and double_data of tensors."""


def check(content: bytes) -> None:
    """Raise ModelError for bytes that are no message, or one with more structure than a network has."""
    data = fields = 0
    parts = [("model", 0, len(content))]
    while parts:
        kind, at, end = parts.pop()
        while at < end:
            tag, at = _varint(content, at, end)
            size = 0
            if tag & 7 == LENGTH_DELIMITED:
                size, at = _varint(content, at, end)
            elif tag & 7 in FIXED:
                size = FIXED[tag & 7]
            elif tag & 7 == 0:
                at = _varint(content, at, end)[1]
            else:
                raise ModelError("it is not an ONNX model")
            if at + size > end:
                raise ModelError("it is cut short, or not an ONNX model")
            inside = INSIDE[kind].get(tag >> 3) if tag & 7 == LENGTH_DELIMITED else None
            if inside == DATA:
                data += size
            elif inside is not None:
                parts.append((inside, at, at + size))
            at += size
            fields += 1
            if fields > MOST_FIELDS:
                raise ModelError(f"it has more than {MOST_FIELDS} parts")
    if len(content) - data > MOST_STRUCTURE_BYTES:
        raise ModelError(f"beside its weights it is larger than {MOST_STRUCTURE_BYTES >> 20} MiB")


def _varint(content: bytes, at: int, end: int) -> tuple[int, int]:
    """A number of 7 bits in each byte, and where it ends."""
    value = shift = 0
    while at < end and shift < 70:
        byte = content[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    raise ModelError("it is cut short, or not an ONNX model")
