"""What click says of wrong words, in ours: which argument is missing, by its part, and what number is wanted."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

_NO_NUMBER = re.compile(r"(.*) is not a valid (float|integer)(?: range)?\.?$", re.DOTALL)
_UNITS = {
    "snr": "of dB",
    "rmse": "in data units",
    "max_error": "in data units",
    "nodata": "in data units",
    "resolution": "in units of the CRS",
    "block": "in units of the CRS",
    "gap": "in units of the CRS",
    "bandwidth": "of MB a second",
}


def usage(error: click.ClickException, words: Sequence[str]) -> str:
    """The message of an error, without `Error:`; `words` are those of the command line."""
    context: Any = getattr(error, "ctx", None)
    hint = f" (see {context.command_path} --help)" if context is not None else ""
    message = error.format_message()
    if isinstance(error, click.MissingParameter):
        message = _missing(error, words) or message
    elif isinstance(error, click.NoSuchOption) and context is not None and context.info_name in ("run", "plan"):
        message = _in_workflow(error.option_name) or message
    elif isinstance(error, click.NoSuchOption) and context is not None and error.option_name in ("--stack", "--times"):
        makers = "compress" if context.info_name == "decompress" else "denoise or compress"
        dates = f"{makers} --stack makes one scene of dates: give {context.info_name} its store"
        message = f"No such option '{error.option_name}'; {dates}"
    elif isinstance(error, click.BadParameter) and (found := _NO_NUMBER.match(message)):
        unit = _UNITS.get((error.param.name if error.param else None) or "", "")
        wanted = "a whole number" if found[2] == "integer" else "a number"
        message = f"{found[1]} is no number; give {f'{wanted} {unit}'.rstrip()}"
    return f"{message}{hint}"


def _in_workflow(option: str) -> str | None:
    """Where in a workflow that is said which `run` and `plan` do not take as an option."""
    key = option.lstrip("-").replace("-", "_")
    workflow = import_module("pipeline.config.models").Workflow  # which takes long to import
    for section, field in workflow.model_fields.items():
        known = getattr(type(field.default), "model_fields", {})
        if key in known:
            return f"No such option '{option}'; the workflow says it: {section}: {{{key}: ...}}"
    return None


def _missing(error: click.MissingParameter, words: Sequence[str]) -> str | None:
    """Of SRC... DST click takes a lone word for DST, whatever it names."""
    context, name = error.ctx, error.param.name if error.param else None
    arguments = [one for one in context.command.params if isinstance(one, click.Argument)] if context else []
    if context is None or name != "src" or [one.name for one in arguments] != ["src", "dst"]:
        return None
    source, target = (one.make_metavar(context) for one in arguments)
    given, _, _ = context.command.make_parser(context).parse_args([*words[words.index(context.info_name or "") + 1 :]])
    alone = given.get("dst")
    if not isinstance(alone, str):
        return f"Missing arguments {source} {target}: what to read, and where to write"
    if alone == "-" or "://" in alone or os.path.exists(alone):
        return f"Missing argument {target}: where to write; got {alone} alone, which is SRC"
    return f"Missing argument {source}: what to read; got {alone} alone, and no such file; give {source} {target}"
