"""What must hold after every stop, and at the end: nothing looks whole and is not, nothing is lost, nobody is left."""

from __future__ import annotations

import fcntl
from pathlib import Path

from tests.faults.damage import by_final_name
from tests.faults.jobs import Reference, essence, outputs

_LATE = ("receipt.json", "run.json", "collection.json", "item.json")
"""Failed runs leave them too, of what was done until then, and items are tied to the collection at the end; only the
last have to be the reference's."""


def after_stop(out: Path, reference: Reference, broken: set[str]) -> list[str]:
    """Complaints about what a stopped run left; chunks in `broken` that are whole again are taken out of it."""
    found = {by_final_name(path, out): path for path in out.rglob("*") if path.is_file()}
    complaints = []
    for name, wanted in reference.files.items():
        path = found.get(name)
        if path is None:
            continue
        try:
            same = essence(path.name, path.read_bytes()) == wanted
        except ValueError:
            same = False
            complaints.append(f"{name} is half a file")
        if same:
            broken.discard(name)
        elif name not in broken and path.name not in _LATE:
            complaints.append(f"{name} looks whole and is not")
    for store in [*out.glob("*/scene.zarr"), *out.glob("*/features.zarr")]:
        prefix = f"{store.relative_to(out)}/"
        lost = [name for name in reference.files if name.startswith(prefix) and name not in found]
        complaints += [f"{name} is missing of a store with its own name" for name in lost if name not in broken]
    return complaints + [f"{lock} is held by nobody we know" for lock in out.glob("*/.running") if _held(lock)]


def at_the_end(out: Path, reference: Reference) -> list[str]:
    """Complaints about the finished outputs: every file of the reference, with its bytes, and no other."""
    found = outputs(out)
    complaints = [f"{name} is missing" for name in reference.files.keys() - found.keys()]
    complaints += [f"{name} is left over" for name in found.keys() - reference.files.keys()]
    both = reference.files.keys() & found.keys()
    return complaints + [f"{name} differs" for name in sorted(both) if found[name] != reference.files[name]]


def about_the_end(code: int | None, stderr: str, killed: bool) -> list[str]:
    """Complaints about how a driver ended: its code, and one clear line."""
    if code is None:
        return ["the driver hung"]
    complaints = ["a traceback"] if "Traceback" in stderr else []
    complaints += ["a bug of ours"] if "unexpected" in stderr else []
    if code in (1, 3, 130) and not [line for line in stderr.splitlines() if line.startswith("Error: ")]:
        complaints.append(f"exit {code} without a line that says why")
    allowed = (0, 1, 3, 130, -9, -15) if killed else (0, 1, 3, 130)
    return complaints + ([f"exit {code}"] if code not in allowed else [])


def _held(lock: Path) -> bool:
    with lock.open("r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False
