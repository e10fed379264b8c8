"""Seeded damage to bytes, to JSON, and to both when a checksum is made good again."""

from __future__ import annotations

import json
import random
import re
import struct
from typing import Any

ODD_NUMBERS = [0, 1, -1, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 10**12, 10**30, 0.5, -0.0, 1e308, 1e-320]
ODD_TEXTS = ["", "NaN", "-Infinity", "../../outside", "/etc/passwd", "\x1b[2J\x1b[31m", "\u202egnp", "a" * 5000, "\x00"]
ODD_TEXTS += ["MEM:::DATAPOINTER=1,PIXELS=9,LINES=9", "http://127.0.0.1:9/a.tif", "<VRTDataset/>", "\ud800", "1e5"]


def damage(data: bytes, rng: random.Random) -> bytes:
    """One to four hits: bits, bytes, numbers, cuts, copies; half of them among the first bytes, where headers are."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        if not out:
            break
        reach = min(len(out), 400) if rng.random() < 0.5 else len(out)
        at = rng.randrange(reach)
        kind = rng.randrange(7)
        if kind == 0:
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            out[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        elif kind == 2:
            form = rng.choice(("<H", ">H", "<I", ">I", "<Q", "<d"))
            number = rng.choice((0, 1, 2**15, 2**16 - 1, 10**12, 2**31, 2**32 - 1, 2**63))
            word = struct.pack(form, float(number) if form == "<d" else number % (1 << (8 * struct.calcsize(form))))
            out[at : at + len(word)] = word
        elif kind == 3:
            del out[at : at + rng.randint(1, 64)]
        elif kind == 4:
            out[at:at] = rng.randbytes(rng.randint(1, 16))
        elif kind == 5:
            start = rng.randrange(len(out))
            out[at:at] = out[start : start + rng.randint(1, 200)]
        elif rng.random() < 0.3:
            del out[at:]
    return bytes(out)


def damage_json(data: bytes, rng: random.Random) -> bytes:
    """One to three values replaced, left out or moved; at times the bytes themselves."""
    if rng.random() < 0.15:
        return damage(data, rng)
    value = json.loads(data)
    for _ in range(rng.randint(1, 3)):
        places = list(_places(value))
        if not places:
            break
        holder, key = rng.choice(places)
        kind = rng.randrange(6)
        if kind == 0:
            del holder[key]
        elif kind == 1:
            holder[key] = rng.choice(ODD_NUMBERS)
        elif kind == 2:
            holder[key] = rng.choice(ODD_TEXTS)
        elif kind == 3:
            holder[key] = rng.choice([None, True, [], {}, [[]], {"a": 1}, [1, 2, 3]])
        elif kind == 4:
            holder[key] = json.loads(json.dumps(rng.choice(places)[0]))
        else:
            holder[key] = f"@{rng.choice((20, 100, 900, 100_000))}@"
    return re.sub(r'"@(\d+)@"', lambda found: _nested(int(found[1])), json.dumps(value)).encode()


def _nested(levels: int) -> str:
    """Lists in lists; json itself would write none so deep."""
    return "[" * levels + "]" * levels


def _places(value: Any) -> Any:
    """Every (holder, key) below a value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(inside):
        yield value, key
        yield from _places(inner)
