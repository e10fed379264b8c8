"""python -m tests.fuzz --minutes M [--door NAME] [--seed N] [--keep FOLDER]: ever new seeds, in worker processes.

A worker may hold MOST_BYTES beyond what it holds at its start (RLIMIT_AS). What it could not bear is kept in FOLDER
with its traceback; a worker that dies is replaced, and its last file kept too.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.doors import doors
from tests.fuzz.honest import make
from tests.fuzz.run import case

MOST_BYTES = 3 << 30
BATCH = 50


def main() -> int:
    """Run until the time is over; 1 where anything was found."""
    words = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    words.add_argument("--minutes", type=float, default=1.0)
    words.add_argument("--door", help="the name of one door; all by default")
    words.add_argument("--seed", type=int, default=0, help="the first seed")
    words.add_argument("--keep", type=Path, default=Path("out/fuzz"), help="folder of what is found")
    given = words.parse_args()
    chosen = [door for door in doors() if given.door in (None, door.name)]
    if not chosen:
        words.error(f"no door {given.door}; there are {', '.join(door.name for door in doors())}")
    seed, cases = given.seed, dict.fromkeys((door.name for door in chosen), 0)
    with tempfile.TemporaryDirectory() as temporary:
        honest = make(Path(temporary))
        for door in chosen:  # kernels are compiled, and libraries loaded, before memory is limited
            case(door, honest, 0)
        end = time.monotonic() + 60 * given.minutes
        while time.monotonic() < end:
            for number, door in enumerate(chosen):
                if time.monotonic() < end:
                    _batch(number, door.name, honest, range(seed, seed + BATCH), given.keep)
                    cases[door.name] += BATCH
            seed += BATCH
    found = sorted(path.name for path in given.keep.glob("*.txt")) if given.keep.is_dir() else []
    print(", ".join(f"{name}: {count}" for name, count in cases.items()))
    print(f"{sum(cases.values())} cases, {len(found)} kept in {given.keep}: {' '.join(found)}")
    return 1 if found else 0


def _batch(number: int, name: str, honest: Path, seeds: range, keep: Path) -> None:
    """Some seeds of one door in a child of their own, on a copy of the honest files."""
    door = next(door for door in doors() if door.name == name)
    folder = honest.parent / f"{honest.name}-{number}"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(honest, folder)
    marker = folder / "seed"
    child = os.fork()
    if child == 0:
        _limit()
        for seed in seeds:
            marker.write_text(str(seed))
            damaged, wrong = case(door, folder, seed)
            if wrong:
                _keep(keep, name, seed, damaged, wrong)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if status:
        damaged = (folder / door.file).read_bytes()
        _keep(keep, name, int(marker.read_text()), damaged, f"the process died: wait status {status}")
    shutil.rmtree(folder, ignore_errors=True)


def _limit() -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MOST_BYTES, used + MOST_BYTES))


def _keep(keep: Path, name: str, seed: int, damaged: bytes, wrong: str) -> None:
    keep.mkdir(parents=True, exist_ok=True)
    stem = f"{name.replace(' ', '-')}-{seed}"
    (keep / f"{stem}.bin").write_bytes(damaged)
    (keep / f"{stem}.txt").write_text(wrong)


sys.exit(main())
