"""Random schedules: a seed and a number decide everything that is going to happen, but not the clock."""

from __future__ import annotations

import signal
from dataclasses import dataclass

import numpy as np

from tests.faults.damage import TO_CHUNKS, TO_FILES, Damage
from tests.faults.jobs import TEXTS

PLACES = {"threads": 0.44, "cluster": 0.48, "nannies": 0.05, "processes": 0.03}
"""Where runs are made; `cluster` has bare workers, `nannies` such as are started again."""
STROKES = {
    "threads": {"driver": 0.7, "disk": 0.3},
    "cluster": {"worker": 0.5, "driver": 0.25, "scheduler": 0.1, "disk": 0.15},
    "nannies": {"worker": 0.4, "nanny": 0.3, "driver": 0.15, "scheduler": 0.05, "disk": 0.1},
    "processes": {"driver": 0.6, "worker": 0.3, "disk": 0.1},
}
DASK = ("cluster", "nannies")
"""The places that have a scheduler of their own."""
KILL, TERM = int(signal.SIGKILL), int(signal.SIGTERM)
MOMENTS = {"tiles": 0.65, "finish": 0.2, "clock": 0.15}


@dataclass(frozen=True)
class Stroke:
    """Somebody is sent a signal, or the disk is full from the start."""

    victim: str
    signal: int
    moment: str
    """`tiles`: when a part `when` of all tiles has begun; `finish`: after the maps; `clock`: after seconds."""
    when: float
    delay: float
    number: int

    def __str__(self) -> str:
        how = {KILL: "kill", TERM: "term", 0: "full"}[self.signal]
        return f"{how} {self.victim} {self.moment} {self.when:.2f}" if self.signal else f"disk full {self.when:.2f}"


@dataclass(frozen=True)
class Act:
    """One run with its strokes, and what is done to the outputs after it."""

    place: str
    batch: int
    strokes: tuple[Stroke, ...]
    damages: tuple[Damage, ...]

    def __str__(self) -> str:
        told = [str(stroke) for stroke in self.strokes] + [damage.kind for damage in self.damages]
        return f"{self.place}/{self.batch}: {', '.join(told)}"


@dataclass(frozen=True)
class Schedule:
    """A job, its disturbed runs, and where the last one is made."""

    seed: int
    number: int
    job: str
    acts: tuple[Act, ...]
    last: str


def draw(seed: int, number: int, places: tuple[str, ...] = tuple(PLACES)) -> Schedule:
    """The schedule of a seed and a number."""
    rng = np.random.default_rng([seed, number])
    place = _choose(rng, {name: PLACES[name] for name in places})
    job = str(rng.choice(list(TEXTS)))
    acts = []
    for _ in range(int(rng.integers(1, 4 if place != "processes" else 3))):
        here = place if rng.random() < 0.8 or "threads" not in places else "threads"
        acts.append(_act(rng, here))
    return Schedule(seed, number, job, tuple(acts), place if rng.random() < 0.6 else "threads")


def _act(rng: np.random.Generator, place: str) -> Act:
    count = int(rng.integers(1, 4)) if place in DASK else 1
    strokes = sorted((_stroke(rng, place) for _ in range(count)), key=lambda stroke: (stroke.moment, stroke.when))
    if any(stroke.victim == "disk" for stroke in strokes):
        strokes = [next(stroke for stroke in strokes if stroke.victim == "disk")]
    return Act(place, int(rng.choice([1, 1, 2, 4])), tuple(strokes), tuple(_damages(rng)))


def _stroke(rng: np.random.Generator, place: str) -> Stroke:
    victim = _choose(rng, STROKES[place])
    moment = _choose(rng, MOMENTS)
    number = TERM if rng.random() < 0.2 else KILL
    when, delay = float(rng.random()), float(rng.random() ** 2 * 0.05)
    return Stroke(victim, 0 if victim == "disk" else number, moment, when, delay, int(rng.integers(0, 8)))


def _damages(rng: np.random.Generator) -> list[Damage]:
    kinds = rng.choice([*TO_CHUNKS, *TO_FILES], size=int(rng.integers(0, 4)))
    return [Damage(str(kind), float(rng.random()), float(rng.random())) for kind in kinds]


def _choose(rng: np.random.Generator, weights: dict[str, float]) -> str:
    shares = np.array(list(weights.values()))
    return str(rng.choice(list(weights), p=shares / shares.sum()))
