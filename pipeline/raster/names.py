"""Names: of a scene from its path, of bands from their files, and orders that people expect."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePath

from pipeline.errors import ConfigError
from pipeline.storage import Place

_SHOWN, _FIRST, _ALIKE = 16, 8, 3
"""Names of bands that a line has room for, those of more that it shows, and those of one band on several dates."""
_SEPARATORS = re.compile(r"[_\-. ]+")


def is_cog(path: Place) -> bool:
    """Whether an output of this name is a COG."""
    return path.suffix.lower() in (".tif", ".tiff")


def scene_name(path: str) -> str:
    """The last part of any GDAL path without its ending, made safe: it becomes a folder's name."""
    last = path.rstrip("/").split("?")[0].rsplit(":", 1)[-1].strip('"')
    return safe_name(PurePath(last).stem)


def safe_name(text: str) -> str:
    """Letters, digits, `_`, `-` and `.`, not beginning with a dot; `scene` where nothing is left."""
    return re.sub(r"[^\w.\-]+", "_", text).lstrip(".") or "scene"


def natural_key(text: str) -> tuple[tuple[int, int, str], ...]:
    """Sorts B2 before B10, and B08, B8A, B09 as Sentinel-2 counts them."""
    parts = re.findall(r"\d+|\D+", text.lower())
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts)


def band_names(descriptions: Sequence[str | None]) -> tuple[str, ...]:
    """The descriptions, `band_1` and so on where there is none, made unique by `_2`, `_3`."""
    names = [text.strip() if text and text.strip() else f"band_{n}" for n, text in enumerate(descriptions, 1)]
    return tuple(unique(names))


def descriptions(names: Sequence[str], described: bool = False) -> tuple[str | None, ...]:
    """The names as a file has them: None for `band_N` of band N, unless the source has it so."""
    return tuple(None if name == f"band_{n}" and not described else name for n, name in enumerate(names, 1))


def unique(names: Sequence[str]) -> Iterator[str]:
    """The names, a later twin with `_2`, `_3` behind it."""
    given, used = set(names), set[str]()
    for name in names:
        new, number = name, 2
        while new in used or (new != name and new in given):
            new, number = f"{name}_{number}", number + 1
        used.add(new)
        yield new


def shared_front(texts: Sequence[Sequence[str]]) -> int:
    """How many of the first letters, or words, all texts share."""
    count = 0
    for letters in zip(*texts, strict=False):
        if len(set(letters)) > 1:
            break
        count += 1
    return count


def file_labels(paths: Sequence[str]) -> list[str]:
    """What tells the files apart: their stems without the words that all of them begin or end with."""
    words = [_SEPARATORS.split(PurePath(path).stem) for path in paths]
    if len(words) < 2:
        return [scene_name(path) for path in paths]
    front = shared_front(words)
    back = shared_front([parts[front:][::-1] for parts in words])
    labels = ["_".join(parts[front : len(parts) - back]) for parts in words]
    return [label or scene_name(path) for label, path in zip(labels, paths, strict=True)]


def _there(names: Sequence[str], wrong: Sequence[str] = ()) -> str:
    """Which bands there are; of many the first few, and before them those that a name that is wrong ends."""
    for name in wrong:
        dated = [there for there in names if there.endswith((f" {name}", f"_{name}"))]
        if len(dated) > 1:
            more = ", ..." if len(dated) > _ALIKE else ""
            return f"there are {len(dated)} of {name}: {', '.join(dated[:_ALIKE])}{more}"
    listed = [f"{number} {name}" for number, name in enumerate(names, 1)]
    if len(listed) <= _SHOWN:
        return f"there are {', '.join(listed)}"
    return f"there are {', '.join(listed[:_FIRST])} and {len(listed) - _FIRST} more, to {listed[-1]}"


def choose(
    names: Sequence[str], bidx: Sequence[int] | None, bands: Sequence[str] | None, where: str
) -> tuple[int, ...]:
    """Positions, from 0, of the bands asked for by number (from 1) or by name; all of them by default.

    Raises:
        ConfigError: there is no such band, or both ways are used.
    """
    if bidx is not None and bands is not None:
        raise ConfigError(f"{where}: choose bands by number or by name, not both")
    if bidx is not None:
        wrong = [str(number) for number in bidx if not 1 <= number <= len(names)]
        chosen = [number - 1 for number in bidx]
    elif bands is not None:
        wrong = [name for name in bands if name not in names]
        chosen = [names.index(name) for name in bands if name in names]
    else:
        return tuple(range(len(names)))
    if wrong:
        raise ConfigError(f"{where}: no band {', '.join(wrong)}; {_there(names, wrong)}")
    if not chosen or len(set(chosen)) != len(chosen):
        raise ConfigError(f"{where}: choose at least one band, and each once; {_there(names)}")
    return tuple(chosen)
