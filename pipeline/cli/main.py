"""terrasketch: the command. Parses, calls one function of a lower floor, prints; errors are one line each.

Exit codes: 0 done, 1 the job failed, 2 wrong usage, 3 done but some scenes or tiles failed, 130 interrupted.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module

import click

from pipeline import __version__
from pipeline.cli.completion import light
from pipeline.cli.usage import usage
from pipeline.errors import TerrasketchError
from pipeline.untrusted import one_line, printable

# A command's module is imported when it is asked for: `--help` and usage errors answer without loading GDAL and Dask.
_COMMANDS = {
    "denoise": (
        "denoise",
        "Remove the noise of a scene: blockwise randomized SVD, noise and rank found by itself.",
    ),
    "compress": ("compress", "Compress a scene into low-rank factors inside Zarr v3."),
    "decompress": ("compress", "Write a compressed store as a COG."),
    "fit": ("features", "Fit a bank of filters on one or more scenes."),
    "features": ("features", "Compute the convolutional features of a scene."),
    "similar": ("answers", "Find where a scene looks like given places: cosine over features."),
    "cluster": ("answers", "Sort the cells of a scene into groups that are alike, in colours."),
    "anomaly": ("answers", "Find what is unlike its surroundings, such as ships on water."),
    "regress": ("answers", "Predict labels over a scene, judged on blocks that were not seen."),
    "run": ("run", "Run a workflow: denoise, compress, features and reports of one or many scenes."),
    "plan": ("plan", "Print what a workflow will cost: tiles, bytes, memory, FLOPs, arithmetic intensity."),
    "inspect": ("inspect", "Show what a scene, store or bank holds."),
    "compare": ("inspect", "Compare two scenes: rmse, snr, psnr, ssim, sam, max error."),
}


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports them when called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            near = get_close_matches(cmd_name, _COMMANDS, n=1)
            if near:
                ctx.fail(f"No such command '{cmd_name}'; did you mean {near[0]}?")
            return None
        if ctx.resilient_parsing:  # of a shell that completes a word, at every TAB
            return light(cmd_name, _COMMANDS[cmd_name][1])
        command: click.Command = getattr(import_module(f"pipeline.cli.{_COMMANDS[cmd_name][0]}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="terrasketch")
def commands() -> None:
    """Denoise, compress and featurise multispectral and hyperspectral scenes, tile by tile.

    \b
    Example:
      terrasketch run workflows/scene.yaml my_scene.tif --out out/mine

    \b
    Completion, for bash (or zsh, fish):
      eval "$(_TERRASKETCH_COMPLETE=bash_source terrasketch)"
    """


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code; never a traceback, unless -v asks for it."""
    words = list(sys.argv[1:] if args is None else args)
    sys.unraisablehook = _unraisable
    try:
        code = commands.main(words, prog_name="terrasketch", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(printable(error.format_message()))
        sys.exit(2)
    except click.ClickException as error:
        _fail(usage(error, words), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted", 130)
    except TerrasketchError as error:
        _fail(str(error), error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except MemoryError:
        _fail("out of memory; give a smaller --tile, or fewer --workers", 1)
    except Exception as error:
        if "-v" in words or "--verbose" in words:
            traceback.print_exc()
        _fail(f"unexpected {type(error).__name__}: {error} (a bug of ours; -v shows where)", 1)


def _unraisable(fault: sys.UnraisableHookArgs) -> None:
    """Say nothing of a message of GDAL about a damaged file that rasterio cannot log, as it is no UTF-8."""
    if fault.object != "rasterio._env.log_error":
        sys.__unraisablehook__(fault)


def _fail(message: str, code: int) -> None:
    click.echo(f"Error: {one_line(message)}", err=True)
    sys.exit(code)
