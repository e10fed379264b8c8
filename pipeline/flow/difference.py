"""What differs between two configurations of a store, in the words of a workflow: `compress.snr: 40 -> 35`."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

_WORDS = {
    "source.bands": "read.bands",
    "source.nodata": "read.nodata",
    "source.times": "read.times",
    "source.crs": "the scene's CRS",
    "source.transform": "the scene's transform",
    "source.fingerprint": "the scene's pixels",
    "source.mask.band": "read.mask_band",
    "source.mask.values": "read.mask_values",
    "source.mask.bits": "read.mask_bits",
    "source.mask.fingerprint": "the mask's pixels",
    "grid.tile": "read.tile",
    "source.grid.tile": "read.tile of the scene",
    "grid.height": "the scene's height",
    "grid.width": "the scene's width",
    "effort": "compress.effort",
    "features.bank.name": "features.bank",
    "features.bank.network": "features.bank",
    "features.bank.digest": "the bank's contents",
    "algorithms.denoise": "terrasketch's algorithm of denoising",
    "algorithms.codec": "terrasketch's algorithm of compression",
    "algorithms.features": "terrasketch's algorithm of features",
}
_UNSAID = {
    "denoise.basis": "tile",
    "denoise.repair": "auto",
    "compress.effort": "fast",
    "features.dtype": "float32",
    "features.domain": "pixels",
}
"""What an absent key means."""
_ALGORITHMS = {word for key, word in _WORDS.items() if key.startswith("algorithms.")}
_UNNUMBERED = "older"
_MASK, _DATES, _BANDS = "read.mask_", "read.times", "read.bands"
_SHORT, _NAMED = 40, 3
"""Letters of a list that a line has room for, and how many of its values are named where it is longer."""
_CONTENTS = (
    "the scene's CRS",
    "the scene's transform",
    "the scene's pixels",
    "the mask's pixels",
    "the bank's contents",
)


def differences(was: Any, now: Any) -> list[str]:
    """A line for each word that differs, those first that tell most: masks, dates and options, then bands, which differ
    with the dates, and contents; of keys that no workflow has, the keys."""
    old, new = _told(was), _told(now)
    words = [
        word
        for word in sorted(old.keys() | new.keys(), key=lambda word: (_rank(word), word))
        if old.get(word, _UNSAID.get(word)) != new.get(word, _UNSAID.get(word))
    ]
    # What is no longer denoised needs no algorithm of it: only where nothing else differs is the store an older one's.
    chosen = [word for word in words if word not in _ALGORITHMS or (word in old and word in new)] or words
    lines = [line for word in chosen if (line := _line(word, old, new))]
    return lines or [f"{word} changed" for word in chosen]


def _rank(word: str) -> int:
    if word in _CONTENTS or word in _ALGORITHMS:
        return 4 if word in _CONTENTS else 5
    return 0 if word.startswith(_MASK) else {_DATES: 1, _BANDS: 3}.get(word, 2)


def _line(word: str, old: dict[str, Any], new: dict[str, Any]) -> str:
    """What differs in a word; nothing where both read alike."""
    if word in _CONTENTS:
        return f"{word} changed"
    was, now = old.get(word), new.get(word)
    if isinstance(was, list) and isinstance(now, list):
        went, came = _texts(word, was), _texts(word, now)
        return f"{word}: {_lists(went, came)}" if went != came else ""
    before, after = _value(word, old), _value(word, new)
    return f"{word}: {before} -> {after}" if before != after else ""


def _lists(was: list[str], now: list[str]) -> str:
    """Both, where they are short; else what went and what came."""
    if max(len(", ".join(texts)) for texts in (was, now)) <= _SHORT:
        return f"{_listed(was)} -> {_listed(now)}"
    gone, come = ([text for text in one if text not in other] for one, other in ((was, set(now)), (now, set(was))))
    parts = [f"{how} {_listed(those)}" for how, those in (("without", gone), ("with", come)) if those]
    return ", ".join(parts) or ("in another order" if sorted(was) == sorted(now) else f"{len(was)} -> {len(now)}")


def _listed(texts: list[str]) -> str:
    whole, more = ", ".join(texts), len(texts) - _NAMED
    if len(whole) <= _SHORT or more <= 0:
        return whole or "none"
    return f"{', '.join(texts[:_NAMED])} and {more} more"


def _texts(word: str, values: list[Any]) -> list[str]:
    texts = [_time(value) if word == _DATES else str(value) for value in values]
    # A time is that of all bands of a date.
    return list(dict.fromkeys(texts)) if word == _DATES or word.startswith(_MASK) else texts


def _time(seconds: Any) -> str:
    try:
        when = datetime.fromtimestamp(seconds, UTC)
    except (TypeError, ValueError, OverflowError, OSError):  # another program has written here
        return str(seconds)
    return when.strftime("%Y-%m-%d" if not (when.hour or when.minute or when.second) else "%Y-%m-%dT%H:%M:%SZ")


def _told(configuration: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    masks: dict[str, list[Any]] = {}
    for key, value in _flat(configuration).items():
        own = _own(key)
        found[own] = value
        if own.startswith("source.mask."):
            masks.setdefault(own, []).append(value)
    # The masks of dates say the same of most; of files each has its own.
    flat = found | {key: own[0] if own.count(own[0]) == len(own) else _joined(own) for key, own in masks.items()}
    mode, value = flat.pop("compress.bound", None), flat.pop("compress.value", None)
    bound = {} if mode is None else {f"compress.{mode}": True if value is None else value}
    return {_word(key): value for key, value in flat.items()} | bound


def _joined(values: list[Any]) -> list[Any]:
    return [one for value in values for one in (value if isinstance(value, list) else [value])]


def _own(key: str) -> str:
    """A key of the scene that features were made of is one like the others; so is one of the masks of dates."""
    front, _, rest = key.partition(".")
    inner = rest.partition(".")[0] in ("source", "denoise", "compress", "effort", "algorithms")
    return re.sub(r"^source\.mask\.\d+\.", "source.mask.", rest if front == "source" and inner else key)


def _word(key: str) -> str:
    return _WORDS.get(key, key.replace("features.bank.", "features."))


def _value(word: str, told: dict[str, Any]) -> str:
    value = told.get(word, _UNNUMBERED if word in _ALGORITHMS else _UNSAID.get(word))
    if isinstance(value, list):
        return _listed(_texts(word, value))
    if isinstance(value, float):
        return f"{value:g}"
    if value is None or isinstance(value, bool):
        return "none" if value is None else str(value).lower()
    return str(value)


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    return {
        name: leaf
        for key, inner in value.items()
        for name, leaf in _flat(inner, f"{prefix}.{key}" if prefix else str(key)).items()
    }
