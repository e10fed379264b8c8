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


class RioGroup(LazyGroup):
    """The group under rio, which does not know our errors."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except TerrasketchError as error:
            click.echo(f"Error: {one_line(str(error))}", err=True)
            ctx.exit(error.exit_code)


@click.group("terrasketch", cls=RioGroup, context_settings=commands.context_settings, help=commands.help)
@click.version_option(__version__, prog_name="terrasketch")
def terrasketch() -> None:
    """As `terrasketch`."""
