"""Dask's performance report of a run, as one page of HTML that needs no network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pipeline.cluster.versions import has_bokeh
from pipeline.errors import ClusterError, ConfigError, OutputError
from pipeline.storage import followed


def check_report(path: Path, scheduler: str) -> None:
    """Refuse a report that cannot be had before anything runs.

    Raises:
        ConfigError: threads have none, or it would be no page.
        OutputError: its folder does not exist.
    """
    if scheduler == "threads":
        raise ConfigError(
            f"--performance-report {path}: Dask reports on its own workers; give --scheduler processes or an address"
        )
    if path.suffix not in (".html", ".htm"):
        raise ConfigError(f"--performance-report {path}: the report is a page; give a name ending in .html")
    if not path.absolute().parent.is_dir():
        raise OutputError(f"{path}: its folder does not exist; make it first")


@contextmanager
def performance_report(dask: Any, client: Any, path: Path | None) -> Iterator[None]:
    """Report on what runs inside, also where it fails or is stopped; an earlier report is replaced.

    Raises:
        ClusterError: the scheduler cannot draw.
        OutputError: the report cannot be written.
    """
    if path is None:
        yield
        return
    if not client.run_on_scheduler(has_bokeh):
        raise ClusterError(f"--performance-report {path}: the scheduler has no bokeh; install it there")
    path = followed(path)
    partial = path.with_name(path.name + ".partial")
    report = dask.performance_report(filename=str(partial), mode="inline")
    report.__enter__()
    try:
        yield
    except BaseException:
        with suppress(Exception):  # the first error is the one to tell
            _finish(report, partial, path)
        raise
    _finish(report, partial, path)


def _finish(report: Any, partial: Path, path: Path) -> None:
    try:
        report.__exit__(None, None, None)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OutputError(f"{path}: the report cannot be written: {error.strerror or error}") from error
