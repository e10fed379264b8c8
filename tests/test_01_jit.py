"""Compiled kernels are kept on disk, and not beyond a change of any source of the package."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pipeline.jit

INNER = "from pipeline.jit import jit\n\n\n@jit\ndef inner(x):\n    return x + {number}\n"
IMPORTS = "from pipeline.inner import inner\nfrom pipeline.jit import jit\n\n\n"
OUTER = IMPORTS + "@jit\ndef outer(x):\n    return 10 * inner(x)\n"
ASK = """
from pipeline.jit import any_compiled
from pipeline.outer import outer
print(int(any_compiled()), outer(1), sum(outer.stats.cache_hits.values()))
"""


def ask(root: Path) -> list[int]:
    """Whether any is said to be compiled, what `outer(1)` gives in a process of its own, how often it was found."""
    environment = {**os.environ, "PYTHONPATH": str(root)}
    environment.pop("NUMBA_CACHE_DIR", None)
    done = subprocess.run(
        [sys.executable, "-c", ASK], cwd=root, env=environment, capture_output=True, text=True, check=True
    )
    return [int(word) for word in done.stdout.split()]


def ask_where_nothing_can_be_written(root: Path, temporary: Path, **variables: str) -> tuple[list[int], str]:
    """As `ask`, and what is said, of a package and a home that cannot be written (by root neither)."""
    caches = root / "pipeline" / "__pycache__"
    shutil.rmtree(caches, ignore_errors=True)
    caches.touch()
    kept = {name: value for name, value in os.environ.items() if name not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")}
    environment = kept | {"PYTHONPATH": str(root), "HOME": "/dev/null", "TMPDIR": str(temporary)} | variables
    program = ASK + "import numba\nassert numba.config.CACHE_DIR == " + repr(variables.get("NUMBA_CACHE_DIR", ""))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    caches.unlink()
    assert done.returncode == 0, done.stderr
    return [int(word) for word in done.stdout.split()], done.stderr


def small_package(folder: Path) -> Path:
    """A package of two kernels, one of which calls the other."""
    package = folder / "pipeline"
    package.mkdir()
    (package / "__init__.py").write_text("")
    shutil.copy(pipeline.jit.__file__, package / "jit.py")
    (package / "inner.py").write_text(INNER.format(number=1))
    (package / "outer.py").write_text(OUTER)
    return package


def test_a_kernel_is_kept_until_any_source_changes(tmp_path: Path) -> None:
    package = small_package(tmp_path)
    assert ask(tmp_path) == [0, 20, 0]
    assert ask(tmp_path) == [1, 20, 1]
    (package / "inner.py").write_text(INNER.format(number=7))
    assert ask(tmp_path) == [0, 80, 0]


def test_a_torn_index_is_none(tmp_path: Path) -> None:
    package = small_package(tmp_path)
    ask(tmp_path)
    for index in (package / "__pycache__").glob("*.nbi"):
        index.write_bytes(index.read_bytes()[:9])
    look = "import pipeline.outer; from pipeline.jit import any_compiled; print(any_compiled())"
    done = subprocess.run([sys.executable, "-c", look], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_kernels_are_kept_among_temporary_files_where_nothing_else_can_be_written(tmp_path: Path) -> None:
    small_package(tmp_path)
    answers, said = ask_where_nothing_can_be_written(tmp_path, tmp_path)
    assert answers == [0, 20, 0]
    assert said.count("\n") == said.count("NUMBA_CACHE_DIR") == 1
    assert ask_where_nothing_can_be_written(tmp_path, tmp_path)[0] == [1, 20, 1]
    (folder,) = tmp_path.glob("terrasketch-kernels-*")
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_others_can_write_is_not_trusted(tmp_path: Path) -> None:
    small_package(tmp_path)
    ask_where_nothing_can_be_written(tmp_path, tmp_path)
    (folder,) = tmp_path.glob("terrasketch-kernels-*")
    folder.chmod(0o777)
    answers, said = ask_where_nothing_can_be_written(tmp_path, tmp_path)
    assert (answers, "every process" in said) == ([0, 20, 0], True)
    folder.chmod(0o700)
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to("elsewhere")
    answers, said = ask_where_nothing_can_be_written(tmp_path, tmp_path)
    assert (answers, "every process" in said) == ([0, 20, 0], True)


def test_a_folder_that_is_named_takes_the_kernels_without_a_word(tmp_path: Path) -> None:
    small_package(tmp_path)
    answers, said = ask_where_nothing_can_be_written(tmp_path, tmp_path, NUMBA_CACHE_DIR=str(tmp_path / "kernels"))
    assert (answers, said) == ([0, 20, 0], "")
    assert not list(tmp_path.glob("terrasketch-kernels-*"))
