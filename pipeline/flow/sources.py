"""Sources as people give them -> scenes, each with its folder's name and the paths that `open_scene` takes.

A pattern ('scenes/**/*.tif'), a folder and a catalogue may be many scenes; a list of files is one. Nothing is opened
but catalogues, and of the files in folders their headers.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from glob import has_magic, iglob
from pathlib import Path

from pipeline.errors import ConfigError
from pipeline.flow.outputs import Below
from pipeline.flow.paperwork import counted
from pipeline.flow.read import is_store
from pipeline.raster.catalogue import members
from pipeline.raster.folders import RASTER_ENDINGS, check_no_output, scenes_in
from pipeline.raster.gdal import is_remote
from pipeline.raster.names import natural_key
from pipeline.raster.stac_json import is_stac, is_url, split_reference
from pipeline.storage import at_home, check_named

_NOTHING = Below()
_NAME_THEM = "name the scenes that it was made of"
_KNOWN = RASTER_ENDINGS | {".json", ".geojson"}


@dataclass(frozen=True)
class Found:
    """One scene: what to open, and names its folder may have, the best first."""

    paths: list[str]
    names: tuple[str, ...]


class NoMatch(ConfigError):
    """A pattern that matches nothing."""


def name_scenes(
    sources: Sequence[str | Sequence[str]],
    out: str | None = None,
    *,
    dates: bool = False,
    warn: Callable[[str], None] | None = None,
) -> dict[str, list[str]]:
    """The paths of each scene under the name of its folder: the stem of its (first) path, or the id of its STAC item.

    Where two scenes of patterns, folders or catalogues would share a name, the folders they come from are put before
    it. The same scene given twice is one. What runs wrote into `out` is no input, other files there are. With `dates`,
    all that one source names are the dates of one scene, whose name ends in -stack. Of several sources a pattern that
    matches nothing is left out, and `warn` told, as a file that is missing fails its own scene alone.

    Raises:
        ConfigError: there are no scenes, a pattern matches nothing (no source does, where there is `warn`), two would
            have the same name, or one's outputs would lie in its own folder.
        SourceError: a folder or a catalogue cannot be read, or holds no scene.
    """
    if not sources:
        raise ConfigError("no scenes to run; name some in the workflow's `sources`, on the command line, or by -")
    find = _dates_of if dates else find_scenes
    made = Below(out)
    found: dict[tuple[str, ...], Found] = {}
    nothing: list[NoMatch] = []
    for source in sources:
        try:
            found |= {_identity(scene): scene for scene in find(source, made)}
        except NoMatch as error:
            if warn is None or len(sources) == 1 or not isinstance(source, str):  # of a list: a part of a scene lacks
                raise
            nothing.append(error)
    scenes = list(found.values())
    if nothing and not scenes:
        raise nothing[0]
    if warn is not None:
        for missed in nothing:
            warn(f"{missed}; the other sources are taken")
    if not scenes:
        raise ConfigError(f"every scene of {', '.join(map(str, sources))} is an output of a run in {out}; {_NAME_THEM}")
    depth = dict.fromkeys(range(len(scenes)), 0)
    while clashing := _clashes(scenes, depth):
        longer = [number for number in clashing if depth[number] + 1 < len(scenes[number].names)]
        if not longer:
            one, two = (scenes[number] for number in clashing[:2])
            raise ConfigError(
                f"{one.paths[0]} and {two.paths[0]} would both be written to {one.names[-1]}/; "
                "give them by one quoted pattern ('*/NAME.tif'), which names them by their folders, or run them with "
                "two --out"
            )
        for number in longer:
            depth[number] += 1
    named = {scene.names[depth[number]]: scene.paths for number, scene in enumerate(scenes)}
    for name, paths in named.items():
        if out is not None and not is_url(out) and Path(out, name).absolute() in map(_folder, paths):
            raise ConfigError(f"{Path(out, name)} is a scene, and its outputs would lie in it; give another --out")
    return named


def _folder(path: str) -> Path | None:
    """A path that is the folder of a scene's files, absolute."""
    return Path(path).absolute() if not is_url(path) and Path(path).is_dir() and not is_store(path) else None


def _identity(scene: Found) -> tuple[str, ...]:
    """What two ways to spell one scene have in common: its name, and the real paths of what is on this machine."""
    return scene.names[0], *map(_real, scene.paths)


def _real(path: str) -> str:
    file, item = split_reference(path)
    if is_url(file) or not os.path.exists(file):
        return path
    return os.path.realpath(file) + ("" if item is None else f"#{item}")


def find_scenes(source: str | Sequence[str], made: Below = _NOTHING) -> Iterator[Found]:
    """The scenes of one source, in order.

    Raises:
        ConfigError: a pattern matches nothing, or a path is empty.
        SourceError: a folder or a catalogue cannot be read, holds no scene, or outputs of a run.
    """
    source = at_home(source) if isinstance(source, str) else [at_home(part) for part in source]
    for part in [source] if isinstance(source, str) else source:
        check_named(part)
    if not isinstance(source, str):
        paths = [path for part in source for path in (_matches(part, made) if is_pattern(part) else [part])]
        yield Found(paths, (folder_name(paths[0]),))
    elif is_pattern(source):
        root = _root(source)
        for path in _matches(source, made):
            for scene in _of_path(path, made):
                yield Found(scene.paths, (*scene.names, _below(root, scene.paths[0])))
    else:
        yield from _of_path(source, made)


def _dates_of(source: str | Sequence[str], made: Below) -> Iterator[Found]:
    """All scenes of one source, and of each part of a list, as dates of one scene."""
    parts = [source] if isinstance(source, str) else source
    scenes = [scene for part in parts for scene in find_scenes(part, made)]
    if scenes:
        paths = [path for scene in scenes for path in scene.paths]
        yield Found(paths, tuple(f"{name}-stack" for name in scenes[0].names))


def folder_name(path: str) -> str:
    """The stem of a path in characters that any file system takes."""
    stem = Path(path.rstrip("/")).name
    return re.sub(r"[^\w.+-]", "_", stem.rsplit(".", 1)[0] if "." in stem[1:] else stem).strip(".") or "scene"


def is_pattern(text: str) -> bool:
    """True where *, ? or [ stand for other letters, and are not those of a file or an address.

    Raises:
        ConfigError: it is a pattern of an address, which cannot be listed.
    """
    if not has_magic(text) or text.startswith("<") or Path(text).exists():
        return False
    if is_remote(text) or text.startswith("/vsi"):
        if "*" in text.split("?")[0]:
            raise ConfigError(
                f"{text}: patterns are for files on this machine; give the addresses, or a STAC catalogue"
            )
        return False
    if re.match(r"^[A-Z][A-Z0-9_]+:", text):  # GDAL's own: NETCDF:"file.nc":variable
        return False
    return not re.match(r"^[a-z+]+://[^*?[]+\?", text)  # vrt://scene.tif?bands=1,2


def _of_path(path: str, made: Below) -> Iterator[Found]:
    if is_stac(path):
        for member in members(path):
            yield Found([member.reference], member.names or (folder_name(path),))
        return
    folder = Path(path)
    if not folder.is_dir() or is_store(path):
        yield Found([path], (folder_name(path),))
        return
    for scene in scenes_in(folder, made):
        if scene == folder:
            check_no_output(folder)
            yield Found([path], (folder_name(path),))
        elif scene not in made:
            longer = _below(folder, str(scene))
            yield from (Found(part.paths, (*part.names, longer)) for part in _inside(scene))


def _inside(path: Path) -> Iterator[Found]:
    """A scene that a folder holds; or the catalogue of it."""
    if is_stac(str(path)):
        yield from _of_path(str(path), _NOTHING)
    else:
        check_no_output(path)
        yield Found([str(path)], (folder_name(str(path)),))


def _matches(pattern: str, made: Below) -> list[str]:
    """What the pattern stands for, in the order people expect, sidecar files and what runs made left out."""
    named = not has_magic(Path(pattern).suffix) and Path(pattern).suffix != ""
    paths = [
        path
        for path in iglob(pattern, recursive=True)
        if named or Path(path).is_dir() or Path(path).suffix.lower() in _KNOWN
    ]
    if "**" in pattern and not named:  # every folder on the way would be a match
        paths = [path for path in paths if not Path(path).is_dir() or is_store(path)]
    if not paths:
        raise NoMatch(f"{pattern} matches no scene; is the pattern right, and seen from the right folder?")
    scenes = [path for path in paths if Path(path) not in made]
    if not scenes:
        raise ConfigError(
            f"{pattern} matches {counted(len(paths), 'path')}, and nothing but outputs of a run in {made.out}; "
            + _NAME_THEM
        )
    return sorted(scenes, key=lambda path: tuple(map(natural_key, Path(path).parts)))


def _root(pattern: str) -> Path:
    """The folders of a pattern before its first sign."""
    parts = Path(pattern).parts
    fixed = next(number for number, part in enumerate(parts) if has_magic(part))
    return Path(*parts[:fixed])


def _below(root: Path, path: str) -> str:
    """The folders between and the stem as one name."""
    file = Path(path)
    parts = file.relative_to(root).parts if file.is_relative_to(root) else file.parts[-2:]
    return "_".join(folder_name(part) if part == parts[-1] else re.sub(r"[^\w.+-]", "_", part) for part in parts)


def _clashes(scenes: list[Found], depth: dict[int, int]) -> list[int]:
    """The numbers of the scenes whose names, at this depth, are not theirs alone."""
    names = [scene.names[depth[number]] for number, scene in enumerate(scenes)]
    counts = Counter(names)
    return sorted((number for number, name in enumerate(names) if counts[name] > 1), key=lambda number: names[number])
