"""What a byte of a scene costs: measured on a run, or on a piece of the scene, or else as it was measured once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.config import Workflow
from pipeline.errors import ConfigError
from pipeline.plan.model import ScenePlan

ALONE = 3.0
"""Seconds, about, that a process takes before the maps: opening, a bank."""
TASK_SECONDS = 3e-3
"""Of driver and scheduler for one task: `make scale`, docs/benchmarks.md."""
_DENOISE = {"none": 4e-9, "fast": 110e-9, "quality": 320e-9}
_CODE = {"fast": 15e-9, "best": 60e-9}
_LOSSLESS = {"fast": 26e-9, "best": 180e-9}
"""Seconds a byte of uint16, tiles of 256 with their halo: docs/benchmarks.md, "A full scene" and "The codec"."""
_FLOPS = 25e9
"""FLOP a second of features, pooling and writing counted."""
_RASTERS, _REPORT = 110e-9, 20e-9
_STORED, _PRODUCTS = 0.1, 3.0
_MEASURED = "the package's own: Sentinel-2, 10 bands of uint16, a core of x86-64 with AVX-512 at 2.8 GHz"


@dataclass(frozen=True)
class StageRate:
    """One map, over bytes of raw pixels: seconds of a core, and bytes stored, for each."""

    seconds: float
    stored: float


@dataclass(frozen=True)
class Rates:
    """What is needed to tell the time of a scene from its size; where from, in words."""

    origin: str
    stages: Mapping[str, StageRate]
    alone: float = ALONE
    """Seconds of one process for a scene before its maps, while workers wait."""
    finish: float = _RASTERS + _REPORT
    """Seconds of one process for each raw byte: rasters and report, beside the maps of the next scene."""
    products: float = 0.0
    """Bytes of rasters and reports for each raw byte."""
    task: float = TASK_SECONDS
    """Seconds of driver and scheduler for each task."""
    notes: list[str] = field(default_factory=list)


def default_rates(workflow: Workflow, scene: ScenePlan) -> Rates:
    """Rates of the options of a workflow, to be used where nothing was measured."""
    raw = scene.raw_bytes
    code = _LOSSLESS if workflow.compress.lossless else _CODE
    first = StageRate(_DENOISE[workflow.denoise.quality] + code[workflow.compress.effort], _STORED)
    stages = {scene.stages[0].name: first}
    for stage in scene.stages[1:]:
        stages[stage.name] = StageRate(stage.flops / _FLOPS / raw, stage.bytes_out / raw)
    note = "these rates are not of your machine or scene: give --calibrate, or --rates RECEIPT.json of an earlier run"
    finish = _RASTERS * bool(workflow.write.cog) + _REPORT * workflow.write.report
    products = min(_PRODUCTS if workflow.write.cog else 0.0, scene.beside / raw)
    return Rates(_MEASURED, stages, ALONE, finish, products, notes=[note])


def rates_of_receipt(path: Path) -> Rates:
    """Rates of a run, of its receipt.json.

    Raises:
        ConfigError: it is no receipt, or of a run that was resumed or failed: its seconds are not of all tiles.
    """
    try:
        receipt = json.loads(path.read_text(encoding="utf-8"))
        return rates_of(receipt, f"the receipt {path}")
    except ConfigError:
        raise
    except OSError as error:
        raise ConfigError(f"--rates {path}: cannot be read: {error.strerror}; give a receipt.json") from error
    except (ValueError, LookupError, TypeError, AttributeError, ZeroDivisionError) as error:
        raise ConfigError(f"--rates {path}: is no receipt of a run of this version; give its receipt.json") from error


def rates_of(receipt: dict[str, Any], origin: str, small: dict[str, Any] | None = None) -> Rates:
    """Rates of a receipt as JSON; with that of a `small` scene, what any finish takes does not grow with the scene.

    Raises:
        ConfigError: tiles were there already, or some failed.
        LookupError, TypeError, ZeroDivisionError: it is no receipt.
    """
    stages = receipt["stages"]
    if receipt["status"] != "done" or any(stage["resumed"] for stage in stages):
        raise ConfigError(f"{origin} is of a run that failed or was resumed; give that of a whole run")
    raw = float(stages[0]["raw_bytes"])
    finish = float(receipt["finish_seconds"])
    alone = float(receipt["seconds"]) - finish - sum(float(stage["seconds"]) for stage in stages)
    if small is not None:
        less, lasted = float(small["stages"][0]["raw_bytes"]), float(small["finish_seconds"])
        finish = raw * max(0.0, finish - lasted) / (raw - less) if raw > less else finish
    products = sum(size for name, size in receipt["outputs"].items() if not name.endswith(".zarr"))
    return Rates(
        origin,
        {stage["name"]: StageRate(stage["cpu_seconds"] / raw, stage["stored_bytes"] / raw) for stage in stages},
        alone,
        finish / raw,
        products / raw,
    )
