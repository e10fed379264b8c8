"""docs/guide.md says what happens: its blocks run in order, and print what stands behind # ->. Links lead somewhere."""

from __future__ import annotations

import contextlib
import io
import pydoc
import re
import shutil
from pathlib import Path

import click
import pytest

from pipeline.cli.main import _COMMANDS, commands

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "guide.md").read_text(), re.MULTILINE | re.DOTALL)
PAGES = ["guide.md", "questions.md"]


def told(block: str) -> list[str]:
    """What a block says that it prints."""
    return [line.removeprefix("# ->").strip() for line in block.splitlines() if line.startswith("# ->")]


def test_the_guide_s_code_prints_what_it_says(
    sample_scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sample_data").mkdir()
    shutil.copy(sample_scene, tmp_path / "sample_data")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in BLOCKS:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(block, "guide.md", "exec"), names)
        assert printed.getvalue().splitlines() == told(block), block
    assert sum(len(told(block)) for block in BLOCKS) > 10


def anchor(title: str) -> str:
    """The anchor of a heading, as GitHub and mkdocs make it."""
    return re.sub(r"[^\w -]", "", title.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", (ROOT / "docs" / page).read_text()):
        file, _, part = target.partition("#")
        text = (ROOT / "docs" / (file or page)).read_text()
        headings = {anchor(line.lstrip("#")) for line in text.splitlines() if line.startswith("#")}
        assert not part or part in headings, target


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_options_are_real(page: str) -> None:
    text = (ROOT / "docs" / page).read_text()
    context = click.Context(commands)
    known = {word for name in _COMMANDS for one in commands.get_command(context, name).params for word in one.opts}
    assert set(re.findall(r"`terrasketch (\w+)", text)) <= set(_COMMANDS)
    assert set(re.findall(r"(?<![\w-])--[a-z][\w-]*", text)) <= known


@pytest.mark.parametrize(
    "target", re.findall(r"^::: (\S+)$", (ROOT / "docs" / "reference.md").read_text(), re.MULTILINE)
)
def test_the_reference_names_what_is_there_and_told(target: str) -> None:
    assert (pydoc.locate(target).__doc__ or "").strip()


def test_every_page_is_in_the_navigation() -> None:
    text = (ROOT / "mkdocs.yml").read_text()
    listed = set(re.findall(r": docs/(\S+\.md)$", text, re.MULTILINE))
    assert listed == {path.name for path in (ROOT / "docs").glob("*.md")}
