"""The list of dependencies in docs is the one of pyproject.toml: names, lower bounds, extras, licences."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
FREE = re.compile(r"\b(BSD|MIT|Apache|0BSD|ISC|Zlib|MPL|GPL-3|PSF|non-commercial)", re.IGNORECASE)
COPYLEFT = re.compile(r"GPL|MPL|non-commercial", re.IGNORECASE)


def bound(requirement: str) -> tuple[str, str]:
    name, _, least = requirement.partition(">=")
    return re.sub(r"\[.*\]", "", name).lower().replace("_", "-"), least or "any"


def listed(columns: int) -> dict[str, list[str]]:
    """Rows of the tables of docs with so many columns, by name."""
    rows = [line.strip("|").split("|") for line in (ROOT / "docs/dependencies.md").read_text().splitlines()]
    cells = [[cell.strip() for cell in row] for row in rows if len(row) == columns]
    return {row[0]: row for row in cells if row[0] not in ("distribution", "---")}


def test_every_dependency_is_listed_with_its_lower_bound():
    assert {name: row[1] for name, row in listed(4).items()} == dict(map(bound, PROJECT["dependencies"]))


def test_every_extra_is_listed():
    wanted: dict[str, tuple[str, set[str]]] = {}
    for extra, requirements in PROJECT["optional-dependencies"].items():
        for name, least in map(bound, requirements):
            wanted.setdefault(name, (least, set()))[1].add(extra)
            assert wanted[name][0] == least
    assert {name: (row[1], set(row[2].split(", "))) for name, row in listed(5).items()} == wanted


@pytest.mark.parametrize("name", [*listed(4), *listed(5)])
def test_licences_are_those_of_the_metadata(name):
    row = listed(4).get(name) or listed(5)[name]
    stated = row[2] if len(row) == 4 else row[3]
    assert FREE.search(stated)
    try:
        metadata = importlib.metadata.metadata(name)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{name} is not installed")
    classifiers = [text for text in metadata.get_all("Classifier") or [] if text.startswith("License ::")]
    told = " ".join([metadata.get("License-Expression") or "", *classifiers, (metadata.get("License") or "")[:100]])
    assert bool(COPYLEFT.search(told)) == bool(COPYLEFT.search(stated)), told
    first = re.match(r"[A-Za-z]+", stated)[0].lower()
    assert first in told.lower(), told


def test_what_runs_is_not_copyleft():
    assert not [name for name, row in listed(4).items() if COPYLEFT.search(row[2])]
    extras = {name: row for name, row in listed(5).items() if {"cluster", "cloud"} & set(row[2].split(", "))}
    assert extras
    assert not [name for name, row in extras.items() if COPYLEFT.search(row[3])]
