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
from pipeline.cli.progress import crew, print_bytes, stdin_lines
from pipeline.cluster import cores
from pipeline.config import Workflow, load_workflow
from pipeline.flow.paperwork import plain
from pipeline.flow.receipts import SceneReceipt
from pipeline.plan import ScenePlan, plan_scene
from pipeline.run import name_scenes, run_workflow

_SOME_FAILED = 3


@click.command()
@click.argument("workflow", type=click.Path(path_type=Path))
@click.argument("src", nargs=-1)
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Folder of the outputs.")
@options.together(options.stacking, options.masking, options.placing, options.overwrite, options.watching)
def run(
    workflow: Path,
    src: tuple[str, ...],
    out: Path | None,
    scheduler: str | None,
    workers: int | None,
    overwrite: bool,
    as_json: bool,
    verbose: bool,
    quiet: bool,
    **reading: Any,
) -> None:
    """Run WORKFLOW.yaml on the scenes it names, or on SRC (- reads paths from stdin).

    An interrupted or failed run goes on where it stopped when the same command is given again.

    \b
    Example:
      terrasketch run workflows/scene.yaml scene.tif --out out/scene --workers 2
    """
    job = _override(load_workflow(workflow), src, out, scheduler, workers, reading)
    name_scenes(job.sources, job.read.stack)
    with crew(job.run.scheduler, job.run.workers, verbose, quiet) as team:
        receipts = run_workflow(job, team, shlex.join(["terrasketch", *sys.argv[1:]]), overwrite=overwrite)
    if as_json:
        click.echo(
            json.dumps(plain({"scenes": [receipt.to_json(job.model_dump()) for receipt in receipts]}), allow_nan=False)
        )
    else:
        for receipt in receipts:
            click.echo(_summary(receipt))
    for receipt in receipts:
        for failure in receipt.failures:
            click.echo(f"Error: {receipt.name}: {failure}", err=True)
    sys.exit(_exit_code(receipts))


@click.command()
@click.argument("workflow", type=click.Path(path_type=Path))
@click.argument("src", nargs=-1)
@options.together(options.stacking, options.masking, options.placing, options.as_json)
def plan(
    workflow: Path,
    src: tuple[str, ...],
    scheduler: str | None,
    workers: int | None,
    as_json: bool,
    **reading: Any,
) -> None:
    """Print what WORKFLOW.yaml will cost on its scenes, or on SRC, before anything runs.

    \b
    Example:
      terrasketch plan workflows/scene.yaml scene.tif --workers 4
    """
    job = _override(load_workflow(workflow), src, None, scheduler, workers, reading)
    plans = [
        plan_scene(name, paths, job, job.run.workers or cores())
        for name, paths in name_scenes(job.sources, job.read.stack).items()
    ]
    if as_json:
        click.echo(json.dumps({"scenes": [scene.to_json() for scene in plans]}))
        return
    for scene in plans:
        click.echo(_print_plan(scene))


def _override(
    workflow: Workflow,
    src: tuple[str, ...],
    out: Path | None,
    scheduler: str | None,
    workers: int | None,
    reading: dict[str, Any],
) -> Workflow:
    """The words of the command line win over the file's."""
    update: dict[str, Any] = {}
    if src:
        update["sources"] = [path for word in src for path in (stdin_lines() if word == "-" else [word])]
    if out is not None:
        update["out"] = str(out.resolve())
    placing = {"scheduler": scheduler, "workers": workers}
    update["run"] = workflow.run.model_copy(update={key: value for key, value in placing.items() if value is not None})
    told = {key: value for key, value in reading.items() if value not in (None, False)}
    update["read"] = workflow.read.model_copy(update=told)
    if src and update["read"].stack:
        update["sources"] = [update["sources"]]
    return workflow.model_copy(update=update)


def _shown(folder: str) -> str:
    """A folder as the user would type it from here."""
    path, here = Path(folder), Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else folder


def _summary(receipt: SceneReceipt) -> str:
    folder = _shown(receipt.folder)
    if receipt.status == "complete":
        return f"{receipt.name}: the outputs are complete in {folder}"
    if receipt.status == "failed":
        return f"{receipt.name}: failed; what was computed is kept in {folder}"
    facts = receipt.facts
    words = [f"{receipt.name}: written to {folder}"]
    if facts.get("ratio"):
        snr = f" at {facts['snr']:.1f} dB" if facts.get("snr") is not None else ""
        words.append(
            f"  scene.zarr     {print_bytes(facts['stored_bytes'])}, {facts['ratio']:.1f} x smaller than raw{snr}"
        )
    for stage in receipt.stages:
        resumed = f", {stage.resumed} of them there already" if stage.resumed else ""
        words.append(f"  {stage.name:<19} {stage.tiles} tiles{resumed} in {stage.seconds:.1f} s")
    return "\n".join(words)


def _exit_code(receipts: list[SceneReceipt]) -> int:
    failed = [receipt for receipt in receipts if receipt.status == "failed"]
    if not failed:
        return 0
    nothing = len(failed) == len(receipts) and not any(stage.tiles for receipt in failed for stage in receipt.stages)
    return 1 if nothing else _SOME_FAILED


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
