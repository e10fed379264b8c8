"""glibc as our tasks want it: few arenas, freed arrays kept in Dask's workers, and people's own word left alone."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

HEAPS = """
import ctypes, sys, threading
from pipeline.machine import few_arenas

done = few_arenas(int(sys.argv[1])) if len(sys.argv) > 2 else False
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
barrier = threading.Barrier(6)

def work():
    barrier.wait()
    for _ in range(50):
        libc.free(ctypes.c_void_p(libc.malloc(ctypes.c_size_t(5000))))
    barrier.wait()

threads = [threading.Thread(target=work) for _ in range(6)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
libc.fopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(libc.fopen(sys.argv[-1].encode(), b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
print(done, open(sys.argv[-1]).read().count("<heap nr="))
"""
pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a C library of another kind")


def script(code: str, *words: str, **environment: str) -> list[str]:
    """What a process prints that knows of no settings of malloc but these."""
    own = ("MALLOC_", "GLIBC_", "LD_PRELOAD")
    clean = {key: value for key, value in os.environ.items() if not key.startswith(own)}
    command = [sys.executable, "-c", code, *words]
    done = subprocess.run(command, env=clean | environment, capture_output=True, text=True, check=True)
    return done.stdout.split()


def heaps(path: Path, *words: str, **environment: str) -> list[str]:
    """Whether a process was told, and how many heaps six threads of it made."""
    return script(HEAPS, *words, str(path / "heaps.xml"), **environment)


def test_threads_share_arenas(tmp_path: Path) -> None:
    """Six threads make several heaps by themselves; told of four threads one, and of eight two."""
    told, many = heaps(tmp_path)
    assert (told, int(many) > 2) == ("False", True)
    assert heaps(tmp_path, "4") == ["True", "1"]
    assert heaps(tmp_path, "8") == ["True", "2"]


def test_the_environment_wins(tmp_path: Path) -> None:
    """Whoever has set the number of arenas keeps it."""
    assert heaps(tmp_path, "4", MALLOC_ARENA_MAX="3") == ["False", "3"]


FAULTS = """
import resource, sys
import numpy as np
from pipeline.machine import keep_freed

done = keep_freed() if len(sys.argv) > 1 else False
np.ones(1 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(100):
    np.ones(1 << 20)
print(done, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(*words: str, **environment: str) -> list[str]:
    """Whether a process was told, and how many pages were faulted in by a hundred arrays of 8 MB, one after another."""
    return script(FAULTS, *words, NUMPY_MADVISE_HUGEPAGE="0", **environment)


def test_workers_keep_what_was_freed() -> None:
    """Dask's setting faults every array in; told, the same memory is used again. Another setting is somebody's own."""
    nanny = {"MALLOC_TRIM_THRESHOLD_": "65536"}
    told, many = faults(**nanny)
    assert told == "False"
    told, few = faults("keep", **nanny)
    assert (told, 20 * int(few) < int(many)) == ("True", True)
    assert faults("keep", MALLOC_TRIM_THRESHOLD_="70000")[0] == "False"
    assert faults("keep")[0] == "False"


def test_what_is_free_goes_back_to_the_system() -> None:
    """Small arrays freed below one that lives stay in the heap, until it is told."""
    code = """
import os
import numpy as np
from pipeline.machine import give_back

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

arrays = [np.ones(1 << 13) for _ in range(2000)]
last = np.ones(1 << 13)
del arrays
before = resident()
print(give_back(), before - resident())
"""
    told, freed = script(code)
    assert (told, int(freed) > 100 << 20) == ("True", True)
