"""A few damaged files at every door, always the same ones; `python -m tests.fuzz --minutes M` goes on from there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.fuzz.doors import doors
from tests.fuzz.honest import make
from tests.fuzz.run import case

CASES = 20
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    return make(tmp_path_factory.mktemp("honest"))


# rasterio cannot log what GDAL says of names that are no UTF-8, and says so where nobody can catch it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("door", doors(), ids=lambda door: door.name)
def test_damaged_files_give_one_line_or_nothing(honest, door):
    for seed in range(CASES):
        _, wrong = case(door, honest, seed)
        assert wrong is None, f"python -m tests.fuzz --door '{door.name}' --seed {seed}: {wrong}"


def test_every_module_that_opens_files_is_a_door_of_the_docs():
    opens = re.compile(
        r"(?<!def )\bopen\(|\.open\(|read_bytes\(|read_text\(|read_file\(|read_json\(|open_array\(|DatasetReader\("
        r"|read_parquet\(|frombuffer\(|yaml\.parse|np\.load\(|ParseFromString\("
    )
    # Writers, and readers of bytes that another module of the list has read.
    inside = {"codec/layer_sections.py", "codec/context_decoder.py", "codec/entropy.py", "codec/rotation.py"}
    inside |= {"raster/files.py", "report/page.py", "cli/completion.py"}
    found = {
        path.relative_to(ROOT / "pipeline").as_posix()
        for path in (ROOT / "pipeline").rglob("*.py")
        if opens.search(path.read_text())
    }
    told = set(re.findall(r"`([a-z_]+(?:/[a-z_]+)?\.py)`", (ROOT / "docs" / "security.md").read_text()))
    assert not found - inside - told
