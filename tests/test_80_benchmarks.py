"""The benchmarks run: each on tiny input, in a process of its own, as `make bench` starts them."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import BENCHMARKS

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_prints_a_table(name: str) -> None:
    command = [sys.executable, "-m", "benchmarks", name, "--smoke"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    assert len(rows) >= 2
    assert all(len(row.split("|")) == len(rows[0].split("|")) for row in rows)
    assert any(character.isdigit() for character in rows[1])


def test_an_unknown_benchmark_is_refused() -> None:
    command = [sys.executable, "-m", "benchmarks", "nothing"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 2
    assert "denoise-gain" in done.stderr
