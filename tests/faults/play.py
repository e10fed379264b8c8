"""Plays a schedule: disturbed runs, damage between them, an undisturbed last run, and the verdict."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults import damage as damages
from tests.faults.counting import LENGTH, log_of
from tests.faults.disk import Disk
from tests.faults.jobs import TEXTS, Reference, computed, learn, write_jobs
from tests.faults.processes import WORKERS, Cluster, Nursery, children, linger, send
from tests.faults.schedule import DASK, KILL, Act, Schedule, Stroke
from tests.faults.verdict import about_the_end, after_stop, at_the_end

PATIENCE = 150.0
"""Seconds in which a driver must end, whatever was done to it: it waits a minute for workers."""
WINDOW = 3 * WORKERS
_AFTER_MAPS = (".denoised.tif.*.partial", "denoised.tif", "features.tif", "report.html", "item.json")


@dataclass
class Outcome:
    """What came of a schedule."""

    schedule: Schedule
    events: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    destroyed: int = 0
    """Tiles whose chunks we took away."""
    allowed: int = 0
    """Tiles in flight when somebody was killed."""
    recomputed: int = 0
    """Tiles begun more than once, less those we took away."""
    complaints: list[str] = field(default_factory=list)
    seconds: float = 0.0
    codes: list[int | None] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    """What drivers said on stderr, where it was not well."""

    def __str__(self) -> str:
        told = ", ".join(f"{count} {name}" for name, count in sorted(self.events.items()))
        verdict = "; ".join(self.complaints) or "same bytes"
        return (
            f"{self.schedule.seed}:{self.schedule.number:<4} {self.schedule.job:<6} {self.runs} runs "
            f"({' '.join(map(str, self.codes))}), recomputed {self.recomputed} of {self.allowed} in flight "
            f"+ {self.destroyed} destroyed, {self.seconds:.1f} s [{told}]: {verdict}"
        )


class Stage:
    """Where schedules are played: the jobs with their references, a disk, a nursery and a cluster."""

    def __init__(self, folder: Path, jobs: tuple[str, ...] = tuple(TEXTS)) -> None:
        self.folder = folder
        self.played = 0
        (folder / "logs").mkdir(parents=True)
        self.nursery = Nursery()
        self.cluster = Cluster(folder, self.nursery)
        self.disk = Disk(folder / "disk")
        try:
            paths = write_jobs(folder / "jobs")
            self.references = {name: self._undisturbed(name, paths[name]) for name in jobs}
        except BaseException:
            self.close()
            raise

    def close(self) -> list[int]:
        """End everybody; the processes that had to be killed."""
        left = self.cluster.stop()
        self.nursery.close()
        self.disk.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        return left

    def play(self, schedule: Schedule) -> Outcome:
        """Play one schedule."""
        outcome, start = Outcome(schedule), time.monotonic()
        reference = self.references.get(schedule.job) or next(iter(self.references.values()))
        self.played += 1
        home = self.folder / "disk" / f"{self.played}-{schedule.seed}-{schedule.number}"
        out, broken = home / "out", set[str]()
        home.mkdir()
        for act in schedule.acts:
            self._act(act, reference, out, broken, outcome)
        code, stderr = self._run(Act(schedule.last, 2, (), ()), reference, out, outcome)
        if code != 0:
            outcome.complaints.append(f"the last run ended with {code}: {stderr[-300:]}")
        outcome.complaints += at_the_end(out, reference)
        counts = computed(out)
        again = sum(counts.values()) - sum(reference.tiles.values())
        outcome.recomputed = max(0, again - outcome.destroyed)
        lost = [tile for tile in reference.tiles if counts.get(tile, 0) < 1]
        outcome.complaints += [f"{len(lost)} tiles were never computed"] if lost else []
        if outcome.recomputed > outcome.allowed:
            outcome.complaints.append("more was computed again than was in flight")
        if not outcome.complaints:
            shutil.rmtree(home)
            log_of(home).unlink()
        outcome.seconds = time.monotonic() - start
        return outcome

    def _undisturbed(self, name: str, workflow: Path) -> Reference:
        home = self.folder / "disk" / name
        home.mkdir()
        order = Reference(name, workflow).order(home / "out", "threads", 1)
        if self.nursery.here(order):
            raise RuntimeError(f"the undisturbed run of {name} failed")
        reference = learn(name, workflow, home / "out")
        shutil.rmtree(home)
        return reference

    def _act(self, act: Act, reference: Reference, out: Path, broken: set[str], outcome: Outcome) -> None:
        self._run(act, reference, out, outcome)
        outcome.complaints += after_stop(out, reference, broken)
        gone = set()
        for damage in act.damages:
            chunk = damages.apply(damage, out) if out.exists() else None
            if chunk is not None or damage.kind in ("junk", "forget"):
                outcome.events[damage.kind] += 1
            if chunk is not None:
                broken.add(chunk)
                gone.add(damages.tile_of(chunk))
        outcome.destroyed += sum(_cost(tile, reference) for tile in gone if tile is not None)

    def _run(self, act: Act, reference: Reference, out: Path, outcome: Outcome) -> tuple[int | None, str]:
        """One run with its strokes; how it ended, and what it said."""
        if act.place in DASK:
            left = self.cluster.ready(act.place == "nannies")
            outcome.complaints += [f"{len(left)} processes outlived their cluster"] if left else []
        full = [stroke for stroke in act.strokes if stroke.victim == "disk"]
        order = reference.order(out, str(self.cluster.file) if act.place in DASK else act.place, act.batch)
        order |= {word: str(self.folder / "logs" / f"{out.parent.name}.{word}") for word in ("stdout", "stderr")}
        for stroke in full:
            self._fill(stroke, order, reference, outcome)
        outcome.runs += 1
        self.nursery.start("driver", order)
        killed, code = self._strike(act, reference, out, outcome)
        self.disk.empty()
        if code is None:
            send(self.nursery.driver, KILL)
            self.nursery.ended(30.0)
        outcome.codes.append(code)
        outcome.events.update(["disk full" if code else "disk nearly full"] * len(full))
        stderr = Path(order["stderr"]).read_text(errors="replace")
        complaints = about_the_end(code, stderr, killed)
        outcome.complaints += complaints
        outcome.said += [stderr] if complaints else []
        left = linger([self.nursery.driver], 20.0)
        outcome.complaints += [f"{len(left)} processes outlived their driver"] if left else []
        return code, stderr

    def _fill(self, stroke: Stroke, order: dict[str, Any], reference: Reference, outcome: Outcome) -> None:
        size = sum(map(len, reference.files.values()))
        outcome.allowed += WINDOW
        if not self.disk.leave(int(stroke.when * 1.1 * size)):
            order["largest"] = int(4096 + stroke.when * max(map(len, reference.files.values())))

    def _strike(self, act: Act, reference: Reference, out: Path, outcome: Outcome) -> tuple[bool, int | None]:
        """Send the signals at their moments; whether the driver got one, and how it ended."""
        killed, start = False, time.monotonic()
        begun = _size(log_of(out.parent))
        for stroke in act.strokes:
            while stroke.victim != "disk":
                code = self.nursery.ended(0.002)
                if code is not None:
                    outcome.events["too late"] += 1
                    return killed, code
                if _due(stroke, reference, out, begun, time.monotonic() - start):
                    time.sleep(stroke.delay)
                    killed |= self._hit(stroke, act, outcome)
                    break
                if time.monotonic() - start > PATIENCE:
                    return killed, None
        code = self.nursery.ended(PATIENCE)
        if act.place in DASK:
            self.cluster.replace()
        return killed, code

    def _hit(self, stroke: Stroke, act: Act, outcome: Outcome) -> bool:
        pid: int | None
        if stroke.victim == "driver":
            pid = self.nursery.driver
        elif act.place == "processes":
            below = children(self.nursery.driver)
            pid = below[stroke.number % len(below)] if below else None
        else:
            pid = self.cluster.victim(stroke.victim, stroke.number)
        if pid is None or not send(pid, stroke.signal):
            outcome.events["too late"] += 1
            return False
        how = "kill" if stroke.signal == KILL else "term"
        outcome.events[f"{how} {stroke.victim}"] += 1
        outcome.allowed += WORKERS * act.batch if stroke.victim in ("driver", "scheduler") else act.batch
        if stroke.victim in ("nanny", "worker") and act.place in DASK:
            time.sleep(0.05)
            self.cluster.replace()
        return stroke.victim == "driver"


def _due(stroke: Stroke, reference: Reference, out: Path, begun: int, seconds: float) -> bool:
    """Whether the moment of a stroke has come."""
    if stroke.moment == "clock":
        return seconds > 3.0 * stroke.when
    if stroke.moment == "finish":
        name = _AFTER_MAPS[int(stroke.when * len(_AFTER_MAPS))]
        return any(out.glob(f"*/{name}"))
    lines = 2 * sum(reference.tiles.values()) * stroke.when
    return (_size(log_of(out.parent)) - begun) // LENGTH > lines


def _cost(tile: tuple[str, str, str], reference: Reference) -> int:
    """The tiles that have to be computed again where this one's chunk is gone: a mean is made of all of them."""
    scene, stage, _ = tile
    if stage == "features" and (scene, "mean", "0.0") in reference.tiles:
        return 1 + sum(1 for one in reference.tiles if one[:2] == (scene, "sums"))
    return 1


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
