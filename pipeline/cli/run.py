"""terrasketch run."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from pipeline.cli import options
from pipeline.cli.progress import crew, print_warning
from pipeline.cli.sources import given
from pipeline.cli.tally import Tally
from pipeline.config import Workflow, load_workflow
from pipeline.errors import ConfigError, TerrasketchError
from pipeline.flow.sources import name_scenes
from pipeline.flow.summary import unfinished
from pipeline.run import run_workflow
from pipeline.storage import Place, is_url, place


@click.command()
@click.argument("workflow", type=click.Path(path_type=Path))
@click.argument("src", nargs=-1)
@click.option("--out", type=options.output, metavar="DIR", help="Folder of the outputs.")
@click.option("--retry-failed", is_flag=True, help="Run only the scenes of --out that failed or were never begun.")
@options.together(options.stacking, options.masking, options.running, options.overwrite, options.watching)
def run(
    workflow: Path,
    src: tuple[str, ...],
    out: Place | None,
    retry_failed: bool,
    scheduler: str | None,
    workers: int | None,
    overwrite: bool,
    as_json: bool,
    verbose: bool,
    quiet: bool,
    **reading: Any,
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
    told = print_warning if src or retry_failed else None  # an empty one without scenes is an error, which says more
    job = override(load_workflow(workflow, told), src, out, scheduler, workers, reading, keep=True)
    if not is_url(job.out) and Path(job.out).exists() and not Path(job.out).is_dir():
        raise ConfigError(f"{job.out} is a file; --out, or `out` in the workflow, names a folder")
    scenes, already = _scenes(job, bool(src), retry_failed)
    with Tally(as_json, many=len(scenes) + already > 1) as tally:
        if scenes:
            with crew(job.run.scheduler, job.run.workers, verbose, quiet) as team:
                command = shlex.join(["terrasketch", *sys.argv[1:]])
                try:
                    for receipt in run_workflow(job, team, command, overwrite=overwrite, scenes=scenes):
                        tally.add(receipt, job)
                except TerrasketchError:  # what is done is said, whatever ends the run
                    tally.close(job.out, already)
                    raise
        code = tally.close(job.out, already)
    sys.exit(code)


def _scenes(job: Workflow, named: bool, retry_failed: bool) -> tuple[dict[str, list[str]], int]:
    """The scenes to run, and how many need not be run again."""
    if not retry_failed:
        return name_scenes(job.sources, job.out, dates=job.read.stack, warn=print_warning), 0
    scenes = name_scenes(job.sources, job.out, dates=job.read.stack, warn=print_warning) if named else {}
    return unfinished(job.out, scenes, job.model_dump())


def override(
    workflow: Workflow,
    src: tuple[str, ...],
    out: Place | None,
    scheduler: str | None,
    workers: int | None,
    reading: dict[str, Any],
    *,
    keep: bool = False,
) -> Workflow:
    """The words of the command line win over the file's. A search on standard input may be kept with the outputs."""
    update: dict[str, Any] = {}
    if out is not None:
        update["out"] = str(out.resolve())
    if src:
        update["sources"] = given(src, place(update.get("out", workflow.out)) if keep else None)
    placing = {"scheduler": scheduler, "workers": workers}
    update["run"] = workflow.run.model_copy(update={key: value for key, value in placing.items() if value is not None})
    told = {key: value for key, value in reading.items() if value not in (None, False)}
    update["read"] = workflow.read.model_copy(update=told)
    if src and update["read"].stack:
        update["sources"] = [update["sources"]]
    return workflow.model_copy(update=update)
