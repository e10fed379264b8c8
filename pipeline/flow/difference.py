"""What differs between two configurations of a store, in the words of a workflow: `compress.snr: 40 -> 35`."""

from __future__ import annotations

import re
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
_CONTENTS = (
    "the scene's CRS",
    "the scene's transform",
    "the scene's pixels",
    "the mask's pixels",
    "the bank's contents",
)


def differences(was: Any, now: Any) -> list[str]:
    """A line for each word that differs, in alphabetical order; of keys that no workflow has, the keys."""
    old, new = _told(was), _told(now)
    words = [
        word
        for word in sorted(old.keys() | new.keys())
        if old.get(word, _UNSAID.get(word)) != new.get(word, _UNSAID.get(word))
    ]
    # What is no longer denoised needs no algorithm of it: only where nothing else differs is the store an older one's.
    chosen = [word for word in words if word not in _ALGORITHMS or (word in old and word in new)]
    return [
        f"{word} changed" if word in _CONTENTS else f"{word}: {_value(word, old)} -> {_value(word, new)}"
        for word in chosen or words
    ]


def _told(configuration: Any) -> dict[str, Any]:
    flat = {_own(key): value for key, value in _flat(configuration).items()}
    mode, value = flat.pop("compress.bound", None), flat.pop("compress.value", None)
    bound = {} if mode is None else {f"compress.{mode}": True if value is None else value}
    return {_word(key): value for key, value in flat.items()} | bound


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
        return ", ".join(map(str, value)) or "none"
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
