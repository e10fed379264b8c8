"""Play random schedules of kills, full disks and torn chunks; see docs/faults.md.

python -m tests.faults [--schedules N] [--seed S] [--first K] [--only K] [--places threads,cluster,nannies,processes]
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.faults.play import Outcome, Stage
from tests.faults.schedule import PLACES, draw


def main() -> int:
    """Play them, a line each; 1 where one of them left something to complain of."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__.splitlines()[0])
    parser.add_argument("--schedules", type=int, default=50, help="how many")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first")
    parser.add_argument("--only", type=int, help="play this one alone")
    parser.add_argument("--places", default=",".join(PLACES), help="some of them, parted by commas")
    words = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nobody is left behind
    numbers = range(words.first, words.first + words.schedules) if words.only is None else [words.only]
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    stage = Stage(folder)
    outcomes = []
    start = time.monotonic()
    try:
        for number in numbers:
            schedule = draw(words.seed, number, tuple(words.places.split(",")))
            if words.only is not None:
                print(*schedule.acts, sep="\n", flush=True)
            outcomes.append(stage.play(schedule))
            print(outcomes[-1], *outcomes[-1].said, sep="\n", flush=True)
    finally:
        left = stage.close()
        print(summary(outcomes, time.monotonic() - start))
    if left:
        print(f"{len(left)} processes of the cluster outlived it")
    return int(bool(left) or any(outcome.complaints for outcome in outcomes))


def summary(outcomes: list[Outcome], seconds: float) -> str:
    """The figures of docs/faults.md."""
    events: Counter[str] = sum((outcome.events for outcome in outcomes), Counter())
    lines = [f"{len(outcomes)} schedules, {sum(outcome.runs for outcome in outcomes)} runs, {seconds:.0f} s"]
    lines += [f"  {count:>5} {name}" for name, count in sorted(events.items())]
    for name in ("recomputed", "allowed", "destroyed"):
        lines.append(f"  {sum(getattr(outcome, name) for outcome in outcomes):>5} tiles {name}")
    bad = [outcome for outcome in outcomes if outcome.complaints]
    lines.append(f"  {len(bad)} schedules with complaints" + "".join(f"\n{outcome}" for outcome in bad))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
