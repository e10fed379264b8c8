"""Shell completion without GDAL and Dask: the words of all commands from a table that lies beside.

A test holds the table and the commands together, and says how it is written anew.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

TABLE = Path(__file__).with_name("completion.json")
_FILES = ("FILE", "RECEIPT", "DST", "SRC")


def describe(command: click.Command) -> list[dict[str, Any]]:
    """The parameters of a command, as far as completion needs them, in JSON's types."""
    return [_describe(parameter) for parameter in command.params]


def _describe(parameter: click.Parameter) -> dict[str, Any]:
    words = parameter.type.choices if isinstance(parameter.type, click.Choice) else None
    found: dict[str, Any] = {"names": [parameter.name or "", *parameter.opts, *parameter.secondary_opts]}
    if isinstance(parameter, click.Option):
        files = isinstance(parameter.type, click.Path) or any(word in (parameter.metavar or "") for word in _FILES)
        found |= {"help": parameter.help or "", "flag": parameter.is_flag, "multiple": parameter.multiple}
        found["type"] = list(words) if words else "file" if files else "text"
    else:
        found = {"names": [parameter.name or ""], "nargs": parameter.nargs, "type": list(words) if words else "file"}
    return found


def light(name: str, text: str) -> click.Command:
    """A command that can be completed and not be run; `text` is what it is for."""
    facts = json.loads(TABLE.read_text())[name]
    return click.Command(name, help=text, params=[_parameter(fact) for fact in facts])


def _parameter(fact: dict[str, Any]) -> click.Parameter:
    kinds: dict[str, click.ParamType[Any]] = {"file": click.Path(), "text": click.STRING}
    kind = click.Choice(fact["type"]) if isinstance(fact["type"], list) else kinds[fact["type"]]
    if "nargs" in fact:
        return click.Argument(fact["names"], nargs=fact["nargs"], type=kind)
    if fact["flag"]:
        return click.Option(fact["names"], is_flag=True, help=fact["help"])
    return click.Option(fact["names"], multiple=fact["multiple"], type=kind, help=fact["help"])
