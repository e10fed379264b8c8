"""Numbers as a reader wants them: bytes, seconds, ratios, rates, and nested options as rows of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.report.data import Noise, ReportData, Run, Source, Stage
from pipeline.report.svg import number


def size(count: float) -> str:
    """Bytes in decimal units."""
    for power, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= power:
            return f"{number(count / power)} {unit}"
    return f"{count:.0f} B"


def duration(seconds: float) -> str:
    """Seconds, with minutes and hours where they are many."""
    if 0 < seconds < 0.01:
        return "< 0.01 s"
    if seconds < 60:
        return f"{number(seconds)} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def ratio(raw: int, stored: int) -> str:
    """How many times smaller the store is."""
    return f"{raw / stored:,.1f}×" if stored > 0 else "–"


def decibels(value: float | None) -> str:
    """A level in dB, one digit."""
    if value is None or np.isnan(value):
        return "–"
    return f"{value:.1f} dB".replace("-", "−") if np.isfinite(value) else "∞ dB"


def noise_reduction(noise: Noise) -> float | None:
    """Median over the bands of 20·log10(σ before / σ after), in dB; None where σ after is not known."""
    if noise.sigma_after is None:
        return None
    good = (noise.sigma > 0) & (noise.sigma_after > 0)
    if not good.any():
        return None
    return float(np.median(20 * np.log10(noise.sigma[good] / noise.sigma_after[good])))


def key_figures(data: ReportData) -> list[tuple[str, str, str]]:
    """The header's figures: (what, figure, remark)."""
    figures = []
    storage, noise = data.storage, data.noise
    if storage is not None:
        sizes = f"{size(storage.raw_bytes)} raw, {size(storage.stored_bytes)} stored"
        figures.append(("Compression", ratio(storage.raw_bytes, storage.stored_bytes), sizes))
        asked = f"asked for: {storage.requested}" if storage.requested else "of what was stored"
        figures.append(("Signal to noise", decibels(storage.snr), asked))
    if noise is not None:
        figures.append(_noise_figure(noise))
    resumed = f", {data.resumed:,} done before" if data.resumed else ""
    tile = f"of {data.tile} × {data.tile} pixels" if data.tile else ""
    figures.append(("Tiles", f"{data.tiles:,}", (tile + resumed).removeprefix(", ")))
    if data.wall_seconds is not None:
        compiled = "; kernels were compiled first, once on a machine" if data.compiled else ""
        stages = f"{len(data.stages)} stage{'s' * (len(data.stages) != 1)}"
        figures.append(("Wall time", duration(data.wall_seconds), f"{stages}{compiled}; without rasters and this page"))
    return figures


def _noise_figure(noise: Noise) -> tuple[str, str, str]:
    reduction = noise_reduction(noise)
    if reduction is not None and reduction < 0 and noise.lossy:
        return "Noise after storing", f"{10 ** (-reduction / 20):.1f}×", _beside_noise(noise)
    if reduction is not None:
        remark = "median of the bands" + ", the error of storing counted as noise" * noise.lossy
        return "Noise reduction", decibels(reduction), remark
    good = (noise.std > 0) & np.isfinite(noise.sigma)
    if not good.any():
        return "Noise found", "–", "no band with spread"
    share = float(np.median(noise.sigma[good] / noise.std[good]))
    return "Noise found", f"{number(100 * share)} %", "of a band's spread, median"


def _beside_noise(noise: Noise) -> str:
    """What the noise after storing is a multiple of, and how the error of storing compares with it."""
    remark = "what it was before, median of the bands: "
    good = (noise.sigma > 0) & np.isfinite(noise.sigma)
    assert noise.stored_error is not None
    share = float(np.nanmedian(noise.stored_error[good] / noise.sigma[good]))
    if share > 1:
        return remark + "the bound is coarser than the noise"
    return remark + f"the error of storing is {number(share)} times the noise"


def source_rows(source: Source, step: int) -> list[tuple[str, str]]:
    """The scene's facts as rows of a table."""
    bands, height, width = source.shape
    pixel = source.pixel_size
    return [
        ("Scene", source.path),
        ("Size", f"{bands} band{'s' * (bands != 1)}, {height:,} rows, {width:,} columns"),
        ("Data type", source.dtype),
        ("CRS", source.crs or "none"),
        (
            "Pixel size",
            "unknown" if pixel is None else f"{number(pixel[0], 6)} × {number(pixel[1], 6)} (CRS units)",
        ),
        ("Nodata value", _nodata(source.nodata)),
        ("Pictures show", "every pixel" if step == 1 else f"one pixel of {step} × {step}, not averaged"),
    ]


def _nodata(value: float | None) -> str:
    if value is None:
        return "none"
    return "NaN" if np.isnan(value) else number(value, 8)


def option_rows(options: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested options as (dotted name, value), in the order given."""
    rows: list[tuple[str, str]] = []
    for name, value in options.items():
        if isinstance(value, Mapping) and value:
            rows += option_rows(value, f"{prefix}{name}.")
        else:
            rows.append((f"{prefix}{name}", _plain(value)))
    return rows


def stage_row(stage: Stage, total_seconds: float) -> dict[str, str]:
    """One line of the stage table."""
    moved = stage.bytes_in + stage.bytes_out
    timed = stage.seconds > 0
    core = stage.cpu_seconds or stage.seconds
    return {
        "name": stage.name,
        "share": f"{100 * stage.seconds / total_seconds:.1f}" if total_seconds > 0 else "0",
        "seconds": duration(stage.seconds),
        "tiles": f"{stage.tiles:,}",
        "bytes_in": size(stage.bytes_in),
        "bytes_out": size(stage.bytes_out),
        "rate": f"{size(stage.bytes_in / stage.seconds)}/s" if timed and stage.bytes_in else "–",
        "flops": f"{number(stage.flops / core / 1e9)} GFLOP/s" if timed and stage.flops else "–",
        "intensity": f"{number(stage.flops / moved)} FLOP/B" if stage.flops and moved else "–",
    }


def history_rows(runs: Sequence[Run], command: str) -> list[dict[str, str]]:
    """One line for each run; its command where it is not the last one's."""
    return [
        {
            "started": run.started.replace("T", " ").removesuffix("Z"),
            "status": run.status,
            "computed": f"{run.computed:,}",
            "found": f"{run.found:,}",
            "failures": f"{run.failures:,}",
            "seconds": duration(max(0.0, run.seconds)),
            "command": "the one above" if run.command == command else run.command,
        }
        for run in runs
    ]


def _plain(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(_plain(item) for item in value) or "none"
    return "none" if value == {} else str(value)
