"""TAB in a shell: every word of every command, fast, and the one line that switches it on."""

import json
import os
import shutil
import subprocess
import sys

import click
import pytest

from pipeline.cli.completion import TABLE, describe
from pipeline.cli.main import _COMMANDS, commands

ANEW = """
from pathlib import Path; import tests.test_70_completion as t; t.TABLE.write_text(t.table())
"""
"""python -c "..." writes the table anew."""
CODE = """
import atexit, sys
def told():
    print({'rasterio', 'dask', 'numba', 'xarray', 'numpy'} & set(sys.modules), file=sys.stderr)
atexit.register(told)
from pipeline.cli.main import main
main()
"""


def table() -> str:
    """The table as the commands are."""
    context = click.Context(commands)
    facts = {name: describe(commands.get_command(context, name)) for name in _COMMANDS}
    lines = ",\n".join(f" {json.dumps(name)}: {json.dumps(facts[name])}" for name in facts)
    return "{\n" + lines + "\n}\n"


def test_the_table_is_what_the_commands_are() -> None:
    assert TABLE.read_text() == table(), f"write it anew: python -c '{ANEW.strip()}'"


def complete(*words: str) -> tuple[list[str], str]:
    """What bash is offered for the last word, and the heavy packages that were imported for it."""
    line = ["terrasketch", *words]
    variables = {
        "_TERRASKETCH_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(line),
        "COMP_CWORD": str(len(line) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, env=os.environ | variables, check=True
    )
    return [found.rpartition(",")[2] for found in done.stdout.splitlines()], done.stderr.strip()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("denoise", "--q"), ["--quality", "--quiet"]),
        (("denoise", "a.tif", "b.tif", "--quality", ""), ["none", "fast", "quality"]),
        (("deno",), ["denoise"]),
        (("run", "--sched"), ["--scheduler"]),
    ],
)
def test_words_are_completed_without_gdal_and_dask(words: tuple[str, ...], expected: list[str]) -> None:
    assert complete(*words) == (expected, "set()")


def test_files_are_completed_as_files() -> None:
    variables = {"_TERRASKETCH_COMPLETE": "bash_complete", "COMP_WORDS": "terrasketch denoise sc", "COMP_CWORD": "2"}
    words = [sys.executable, "-c", "from pipeline.cli.main import main; main()"]
    done = subprocess.run(words, capture_output=True, text=True, env=os.environ | variables, check=True)
    assert done.stdout == "file,sc\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_one_line_gives_a_script(shell: str) -> None:
    if shell == "bash" and shutil.which("bash") is None:
        pytest.skip("click asks bash for its version, and there is no bash")
    words = [sys.executable, "-c", "from pipeline.cli.main import main; main()"]
    variables = {"_TERRASKETCH_COMPLETE": f"{shell}_source"}
    done = subprocess.run(words, capture_output=True, text=True, env=os.environ | variables, check=True)
    assert "_TERRASKETCH_COMPLETE" in done.stdout
