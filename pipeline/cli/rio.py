"""rio terrasketch: the same commands, from rasterio's own command line.

The entry point in the group `rasterio.rio_plugins`; every `rio` imports it, so it stays as light as main.py.
"""

from __future__ import annotations

from typing import Any

import click

from pipeline import __version__
from pipeline.cli.main import LazyGroup, commands
from pipeline.errors import TerrasketchError
from pipeline.untrusted import one_line


class _Failure(click.ClickException):
    """An error of ours in click's form: one line, with our exit code."""

    def __init__(self, error: TerrasketchError) -> None:
        super().__init__(one_line(str(error)))
        self.exit_code = error.exit_code  # type: ignore[misc]


class RioGroup(LazyGroup):
    """The group under rio, which knows neither our errors nor what our commands return."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            code = super().invoke(ctx)
        except TerrasketchError as error:
            raise _Failure(error) from error
        if isinstance(code, int) and code:
            ctx.exit(code)
        return code


@click.group("terrasketch", cls=RioGroup, context_settings=commands.context_settings, help=commands.help)
@click.version_option(__version__, prog_name="terrasketch")
def terrasketch() -> None:
    """As `terrasketch`."""
