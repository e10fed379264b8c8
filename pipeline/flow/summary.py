"""OUT/run.json: what became of every scene that was written to one folder of outputs, a line each.

It names all scenes from the start, so that whoever comes later knows which were never begun. The receipts in the
scenes' folders are the truth; a run that was killed has them, and an old summary.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError, OutputError, TerrasketchError
from pipeline.flow.journal import configuration_hash
from pipeline.flow.paperwork import plain, write_text
from pipeline.flow.receipts import SceneReceipt
from pipeline.raster.gdal_names import absolute_name
from pipeline.storage import Place, place

SUMMARY = "run.json"
DONE = ("done", "complete")
_SECTIONS = ("read", "denoise", "compress", "features", "write")
_SAVE_EVERY = 30.0
"""Seconds, at least, between two times that the summary is written while scenes are worked on."""


class Summary:
    """The scenes of one run among those that earlier runs left in the same folder."""

    def __init__(self, out: str, scenes: dict[str, list[str]], options: dict[str, Any], command: str) -> None:
        self._path = place(out) / SUMMARY
        self._command = command
        self._key = workflow_key(options)
        self._wanted = len(scenes) > 1 or self._path.is_file()
        self._scenes: dict[str, dict[str, Any]] = {
            name: {
                "name": name,
                "status": "waiting",
                "workflow": self._key,
                "inputs": [*map(_absolute, paths)],
                "failure": None,
            }
            for name, paths in scenes.items()
        }
        self._earlier: dict[str, dict[str, Any]] | None = None
        self._saved = 0.0
        self.undated: list[str] = []
        """Names of the scenes whose items were written without a date."""

    def record(self, receipt: SceneReceipt) -> None:
        """What became of a scene; it is on disk a little later. Of one that was refused, what was told before."""
        first = receipt.failed[0] if receipt.failed else None
        told = {"status": receipt.status, "failure": first}
        if receipt.status == "refused":
            told = (self._earlier or {}).get(receipt.name) or as_left(receipt) or told | {"status": "failed"}
        self._scenes[receipt.name] |= told
        self.undated += [receipt.name] if receipt.facts.get("undated") else []
        if time.monotonic() - self._saved > _SAVE_EVERY:
            self.save()

    def where(self, scene: str, stopped: BaseException) -> str:
        """What a run that was stopped at a scene says of it; of many, which scene it was and how many are finished."""
        if len(self._scenes) < 2:
            return str(stopped)
        done = sum(told.get("status") in ("done", "complete") for told in self._scenes.values())
        return f"{scene}: {stopped}, {done} of {len(self._scenes)} scenes finished"

    def save(self) -> None:
        """Write the summary, where there are many scenes or there is one already.

        Raises:
            OutputError: it cannot be written.
        """
        if not self._wanted:
            return
        there = read_summary(self._path.parent)
        self._earlier = there if self._earlier is None else self._earlier
        scenes = there | self._scenes
        counts: dict[str, int] = {}
        for scene in scenes.values():
            counts[scene["status"]] = counts.get(scene["status"], 0) + 1
        head = json.dumps({"command": self._command, "counts": counts}, indent=2).removesuffix("\n}")
        lines = ",\n".join("    " + json.dumps(plain(scene)) for scene in scenes.values())
        write_text(self._path, f'{head},\n  "scenes": [\n{lines}\n  ]\n}}\n')
        self._saved = time.monotonic()


def to_be_retried(receipt: SceneReceipt, options: dict[str, Any]) -> bool:
    """Whether a scene that was refused is one that --retry-failed runs: its run under this workflow had failed."""
    left = as_left(receipt) if receipt.status == "refused" else None
    return left is not None and left["status"] not in DONE and left["workflow"] == workflow_key(options)


def as_left(receipt: SceneReceipt) -> dict[str, Any] | None:
    """What the receipt in a scene's folder tells of an earlier run, which had no summary; None without one."""
    try:
        left = json.loads((place(receipt.folder) / "receipt.json").read_text("utf-8"))
        first = left["failed"][0] if left["failed"] else None
        return {"status": str(left["status"]), "workflow": workflow_key(left["options"]), "failure": first}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def workflow_key(options: dict[str, Any]) -> str:
    """A short hash of what decides the outputs of a workflow."""
    return configuration_hash({name: plain(options.get(name)) for name in _SECTIONS})[:12]


def read_summary(out: Place) -> dict[str, dict[str, Any]]:
    """The scenes of a summary by their names; none where there is no summary, or none that can be read."""
    try:
        scenes = json.loads((out / SUMMARY).read_text("utf-8"))["scenes"]
        return {str(scene["name"]): _checked(scene) for scene in scenes}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise OutputError(f"{out / SUMMARY}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise OutputError(f"{out / SUMMARY} is no summary of a run ({error}); remove it and run again") from error


def _checked(scene: dict[str, Any]) -> dict[str, Any]:
    name, inputs = scene["name"], scene["inputs"]
    if not isinstance(name, str) or Path(name).name != name or name in ("", ".."):
        raise ValueError(f"{name!r} is no name of a scene")
    if not isinstance(inputs, list) or not inputs or not all(isinstance(path, str) for path in inputs):
        raise ValueError(f"the inputs of {name} are no list of paths")
    return {key: scene.get(key) for key in ("name", "status", "workflow", "inputs", "failure")}


def unfinished(out: str, scenes: dict[str, list[str]], options: dict[str, Any]) -> tuple[dict[str, list[str]], int]:
    """Of these scenes, or of all that the summary names where there are none: those that failed or were never begun
    under this workflow; and how many are done.

    Raises:
        ConfigError: there are no scenes, or those of the summary were run with other options.
    """
    folder, key = place(out), workflow_key(options)
    earlier = read_summary(folder)
    if not scenes:
        scenes = {name: list(scene["inputs"]) for name, scene in earlier.items() if scene["workflow"] == key}
        if not scenes:
            why = "all its scenes were run with other options" if earlier else "there is none"
            raise ConfigError(f"{folder / SUMMARY}: {why}; run the workflow without --retry-failed")
    left = {name: paths for name, paths in scenes.items() if not _is_done(folder / name, earlier.get(name), paths, key)}
    return left, len(scenes) - len(left)


def _is_done(folder: Place, scene: dict[str, Any] | None, inputs: list[str], key: str) -> bool:
    if scene is not None and scene["workflow"] == key and scene["status"] != "waiting":
        return scene["status"] in DONE
    try:
        receipt = json.loads((folder / "receipt.json").read_text("utf-8"))
        same = [*map(_absolute, receipt["inputs"])] == [*map(_absolute, inputs)] and workflow_key(
            receipt["options"]
        ) == key
        return bool(same and receipt["status"] in DONE)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _absolute(path: str) -> str:
    """As `absolute_name`, of a plain path to what is gone too."""
    plain = ":" not in path and not path.startswith(("/", "<"))
    return str(Path(path).absolute()) if plain else absolute_name(path)


def remember(summary: Summary, receipt: SceneReceipt, note: Any) -> None:
    """Record a scene; a summary that cannot be written is said and stops nobody."""
    try:
        summary.record(receipt)
    except TerrasketchError as error:
        note(str(error))
