"""terrasketch plan."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from pipeline.cli import options
from pipeline.cli.printing import table
from pipeline.cli.progress import print_bytes, print_warning
from pipeline.cli.run import override
from pipeline.cli.tally import SOME_FAILED
from pipeline.cli.totals import Totals
from pipeline.cluster import where
from pipeline.config import Workflow, load_workflow
from pipeline.errors import ConfigError, SourceError
from pipeline.flow.paperwork import counted
from pipeline.flow.sources import name_scenes
from pipeline.machine import cores
from pipeline.plan import (
    Campaign,
    Rates,
    ScenePlan,
    calibrate,
    default_rates,
    plan_campaign,
    plan_scene,
    rates_of_receipt,
)
from pipeline.untrusted import one_line, printable


@click.command()
@click.argument("workflow", type=click.Path(path_type=Path))
@click.argument("src", nargs=-1)
@click.option("--scenes", type=click.IntRange(1), metavar="N", help="So many scenes like this one: time and bytes.")
@click.option("--drivers", type=click.IntRange(1), default=1, metavar="N", help="Runs at a time, sharing the workers.")
@click.option("--rates", type=click.Path(path_type=Path), metavar="RECEIPT", help="Rates of the receipt.json of a run.")
@click.option("--calibrate", "measure", is_flag=True, help="Measure rates on the middle of the scene first.")
@click.option("--bandwidth", type=click.FloatRange(0, min_open=True), metavar="MB/S", help="What storage can do.")
@options.together(options.stacking, options.masking, options.placing, options.as_json, options.tracing)
def plan(
    workflow: Path,
    src: tuple[str, ...],
    scenes: int | None,
    drivers: int,
    rates: Path | None,
    measure: bool,
    bandwidth: float | None,
    scheduler: str | None,
    workers: int | None,
    as_json: bool,
    **reading: Any,
) -> None:
    """Print what WORKFLOW.yaml will cost on its scenes, or on SRC, before anything runs.

    \b
    Example:
      terrasketch plan workflows/scene.yaml scene.tif --workers 4
      terrasketch plan workflows/scene.yaml scene.tif --scenes 10000 --workers 500 --calibrate
    """
    job = override(load_workflow(workflow, print_warning if src else None), src, None, scheduler, workers, reading)
    where(job.run.scheduler)  # what `run` would not open is planned no more than it runs
    count = job.run.workers or cores()
    named = name_scenes(job.sources, job.out, dates=job.read.stack, warn=print_warning)
    if scenes is None:
        if measure or rates or bandwidth or drivers > 1:
            raise ConfigError(
                "--drivers, --rates, --calibrate and --bandwidth are of --scenes N; give that, 1 for one scene"
            )
        sys.exit(_each(job, named, count, as_json))
    if len(named) != 1:
        raise ConfigError(f"--scenes wants one scene that stands for all, got {len(named)}; name it after the workflow")
    [(name, paths)] = named.items()
    scene = plan_scene(name, paths, job, 1, many=scenes > 1)
    megabytes = bandwidth * 1e6 if bandwidth else None
    campaign = plan_campaign(scene, _rates(job, scene, paths, rates, measure), scenes, count, drivers, megabytes)
    if as_json:
        click.echo(json.dumps({"scenes": [scene.to_json()], "campaign": campaign.to_json()}))
    else:
        click.echo(printable(_print_campaign(scene, campaign)))


def _each(job: Workflow, named: Mapping[str, list[str]], workers: int, as_json: bool) -> int:
    """Print the plan of every scene, and their sum; the exit code."""
    total, many, failed = Totals(), len(named) > 1, False
    for name, paths in named.items():
        try:
            scene = plan_scene(name, paths, job, workers, many=many)
        except SourceError as error:  # its run would fail, and the others' not
            if not many:
                raise
            failed = True
            click.echo(f"Error: {one_line(f'{name}: {error}')}", err=True)
            continue
        total.add(scene)
        before = ", " if total.scenes > 1 else '{"scenes": ['
        click.echo(before + json.dumps(scene.to_json()) if as_json else printable(_print_plan(scene)), nl=not as_json)
    if as_json:
        click.echo(("" if total.scenes else '{"scenes": [') + f'], "total": {json.dumps(total.to_json())}}}')
    elif many:
        click.echo(str(total))
    if not failed:
        return 0
    return SOME_FAILED if total.scenes else 1


def _rates(job: Workflow, scene: ScenePlan, paths: list[str], receipt: Path | None, measure: bool) -> Rates:
    """From the best that there is: a run, a piece of the scene, the package."""
    if receipt is not None and measure:
        raise ConfigError("give one of --rates and --calibrate")
    if receipt is not None:
        return rates_of_receipt(receipt)
    return calibrate(paths, job) if measure else default_rates(job, scene)


def _print_plan(scene: ScenePlan) -> str:
    head = ["stage", "tiles", "tasks", "halo", "read", "written <=", "GFLOP", "FLOP/byte", "memory/task"]
    rows = [
        [
            stage.name,
            str(stage.tiles),
            str(stage.tasks),
            str(stage.halo),
            print_bytes(stage.bytes_in),
            print_bytes(stage.bytes_out),
            f"{stage.flops / 1e9:.1f}",
            f"{stage.intensity:.1f}",
            print_bytes(stage.task_memory),
        ]
        for stage in scene.stages
    ]
    lines = [_title(scene), table(head, rows), ""]
    if scene.products:
        lines += [
            table(
                ["GEMM of the features", "m", "n", "k", "GFLOP", "FLOP/byte", "panel rows", "m x n x k parts"],
                scene.products,
            ),
            "",
        ]
    lines += scene.notes
    lines.append(
        f"written, at most: {print_bytes(scene.bytes_out)}, of which {print_bytes(scene.beside)} beside the stores "
        "(rasters, bank, report, item)"
    )
    lines.append(
        f"peak memory: {print_bytes(scene.memory)} ({counted(scene.workers, 'task')} at a time in one process), or "
        f"{print_bytes(scene.worker_memory)} a worker of one thread and {print_bytes(scene.driver_memory)} the run"
    )
    return "\n".join(lines)


def _title(scene: ScenePlan) -> str:
    bands, height, width = scene.shape
    return f"{scene.name}: {bands} x {height} x {width} {scene.dtype} (band x y x x), tiles of {scene.tile}"


def _print_campaign(scene: ScenePlan, campaign: Campaign) -> str:
    head = ["of one scene", "core s", "by the clock, s", "workers", "storage", "driver", "limit", "read", "written"]
    rows = [
        [
            stage.name,
            f"{stage.core_seconds:.1f}",
            f"{stage.seconds:.1f}",
            f"{stage.compute:.1f}",
            f"{stage.storage:.1f}" if stage.storage else "-",
            f"{stage.driver:.1f}",
            stage.limit,
            print_bytes(stage.bytes_in),
            print_bytes(stage.bytes_out),
        ]
        for stage in campaign.stages
    ]
    for name, seconds in (("before, alone", campaign.alone_seconds), ("finish, beside", campaign.finish_seconds)):
        rows.append([name, f"{seconds:.1f}", f"{seconds:.1f}", "-", "-", f"{seconds:.1f}", "driver", "-", "-"])
    runs = f"{counted(campaign.drivers, 'run')} at a time"
    lines = [
        _title(scene),
        f"rates: {campaign.origin}",
        *campaign.notes,
        "",
        table(head, rows),
        "",
        f"{counted(campaign.scenes, 'scene')} on {counted(campaign.workers, 'worker')}, {runs}: "
        f"{_hours(campaign.seconds)}, most of it for the {campaign.limit}",
        f"core hours:    {campaign.core_hours:.1f}, in {counted(campaign.tasks, 'task')}; the workers work "
        f"{campaign.utilisation:.0%} of the time",
        f"bytes:         {print_bytes(campaign.bytes_in)} read, {print_bytes(campaign.bytes_out)} written; "
        f"storage must do {print_bytes(campaign.bandwidth)}/s while the maps run",
        f"memory:        {print_bytes(campaign.worker_memory)} a worker of one thread, "
        f"{print_bytes(campaign.driver_memory)} a run",
    ]
    if campaign.drivers_wanted > campaign.drivers:
        fewer = ", or no rasters (write: {cog: []})" if campaign.finish_seconds >= campaign.scene_seconds else ""
        lines.append(f"remedy:        a run cannot keep its workers busy; --drivers {campaign.drivers_wanted}{fewer}")
    return "\n".join(lines)


def _hours(seconds: float) -> str:
    """A time by the clock for people."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
