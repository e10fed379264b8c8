"""terrasketch run and plan."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import click

from pipeline.cli import options
from pipeline.cli.printing import table
from pipeline.cli.progress import crew, print_bytes
from pipeline.cli.sources import given
from pipeline.cli.tally import SOME_FAILED, Tally
from pipeline.cli.totals import Totals
from pipeline.cluster import cores
from pipeline.config import Workflow, load_workflow
from pipeline.errors import OutputError, SourceError
from pipeline.flow.sources import name_scenes
from pipeline.flow.summary import unfinished
from pipeline.plan import ScenePlan, plan_scene
from pipeline.run import run_workflow


@click.command()
@click.argument("workflow", type=click.Path(path_type=Path))
@click.argument("src", nargs=-1)
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Folder of the outputs.")
@click.option("--retry-failed", is_flag=True, help="Run only the scenes of --out that failed or were never begun.")
@options.together(options.placing, options.overwrite, options.watching)
def run(
    workflow: Path,
    src: tuple[str, ...],
    out: Path | None,
    retry_failed: bool,
    scheduler: str | None,
    workers: int | None,
    overwrite: bool,
    as_json: bool,
    verbose: bool,
    quiet: bool,
) -> None:
    """Run WORKFLOW.yaml on the scenes it names, or on SRC: rasters, folders, quoted patterns, STAC items, item
    collections and catalogues (- reads paths, or a STAC search's result, from stdin).

    An interrupted or failed run goes on where it stopped when the same command is given again.

    \b
    Example:
      terrasketch run workflows/scene.yaml scene.tif --out out/scene --workers 2
      terrasketch run workflows/scene.yaml 'scenes/**/*.tif' --out out/all
      terrasketch run workflows/scene.yaml --out out/all --retry-failed
      stac-client search ... | terrasketch run workflows/scene.yaml - --out out/found
    """
    job = _override(load_workflow(workflow), src, out, scheduler, workers, keep=True)
    scenes, already = _scenes(job, bool(src), retry_failed)
    with Tally(as_json) as tally:
        if scenes:
            with crew(job.run.scheduler, job.run.workers, verbose, quiet) as team:
                command = shlex.join(["terrasketch", *sys.argv[1:]])
                try:
                    for receipt in run_workflow(job, team, command, overwrite=overwrite, scenes=scenes):
                        tally.add(receipt, job)
                except OutputError:  # of the collection: the scenes are there
                    tally.close(job.out, already)
                    raise
        code = tally.close(job.out, already)
    sys.exit(code)


def _scenes(job: Workflow, named: bool, retry_failed: bool) -> tuple[dict[str, list[str]], int]:
    """The scenes to run, and how many need not be run again."""
    if not retry_failed:
        return name_scenes(job.sources, job.out), 0
    scenes = name_scenes(job.sources, job.out) if named else {}
    return unfinished(job.out, scenes, job.model_dump())


@click.command()
@click.argument("workflow", type=click.Path(path_type=Path))
@click.argument("src", nargs=-1)
@options.together(options.placing, options.as_json)
def plan(workflow: Path, src: tuple[str, ...], scheduler: str | None, workers: int | None, as_json: bool) -> None:
    """Print what WORKFLOW.yaml will cost on its scenes, or on SRC, before anything runs.

    \b
    Example:
      terrasketch plan workflows/scene.yaml scene.tif --workers 4
    """
    job = _override(load_workflow(workflow), src, None, scheduler, workers)
    scenes = name_scenes(job.sources, job.out)
    total, many, failed = Totals(), len(scenes) > 1, False
    for name, paths in scenes.items():
        try:
            scene = plan_scene(name, paths, job, job.run.workers or cores(), many=many)
        except SourceError as error:  # its run would fail, and the others' not
            if not many:
                raise
            failed = True
            click.echo(f"Error: {name}: {' '.join(str(error).split())}", err=True)
            continue
        total.add(scene)
        before = ", " if total.scenes > 1 else '{"scenes": ['
        click.echo(before + json.dumps(scene.to_json()) if as_json else _print_plan(scene), nl=not as_json)
    if as_json:
        click.echo(("" if total.scenes else '{"scenes": [') + f'], "total": {json.dumps(total.to_json())}}}')
    elif many:
        click.echo(str(total))
    if failed:
        sys.exit(SOME_FAILED if total.scenes else 1)


def _override(
    workflow: Workflow,
    src: tuple[str, ...],
    out: Path | None,
    scheduler: str | None,
    workers: int | None,
    *,
    keep: bool = False,
) -> Workflow:
    """The words of the command line win over the file's. A search on standard input may be kept with the outputs."""
    update: dict[str, Any] = {}
    if out is not None:
        update["out"] = str(out.resolve())
    if src:
        update["sources"] = given(src, Path(update.get("out", workflow.out)) if keep else None)
    placing = {"scheduler": scheduler, "workers": workers}
    update["run"] = workflow.run.model_copy(update={key: value for key, value in placing.items() if value is not None})
    return workflow.model_copy(update=update)


def _print_plan(scene: ScenePlan) -> str:
    bands, height, width = scene.shape
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
    lines = [f"{scene.name}: {bands} x {height} x {width} {scene.dtype} (band x y x x), tiles of {scene.tile}"]
    lines += [table(head, rows), ""]
    if scene.products:
        lines += [
            table(
                ["GEMM of the features", "m", "n", "k", "GFLOP", "FLOP/byte", "panel rows", "m x n x k parts"],
                scene.products,
            ),
            "",
        ]
    lines += scene.notes
    lines.append(f"peak memory: {print_bytes(scene.memory)} ({scene.workers} tasks at a time in one process)")
    return "\n".join(lines)
