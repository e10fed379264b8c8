"""One damaged file through its door: a TerrasketchError in one line, or nothing at all; in time, in bounded memory."""

from __future__ import annotations

import signal
import traceback
import warnings
from pathlib import Path
from random import Random
from types import FrameType

from pipeline.errors import TerrasketchError
from pipeline.untrusted import one_line
from tests.fuzz.doors import Door

SECONDS = 60


class TooSlow(Exception):
    """A door that did not answer."""


def case(door: Door, folder: Path, seed: int) -> tuple[bytes, str | None]:
    """Damage the door's file by a seed, enter, and put the honest file back: the damaged bytes, and what was wrong."""
    path = folder / door.file
    honest = path.read_bytes()
    rng = Random(f"{door.name} {seed}")
    damaged = door.damage(honest, rng)
    before = signal.signal(signal.SIGALRM, _late)
    signal.alarm(SECONDS)
    try:
        path.write_bytes(damaged)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            door.enter(folder)
        return damaged, None
    except TerrasketchError as error:
        shown = one_line(str(error))
        return damaged, None if shown.isprintable() and shown else f"no line: {shown!r}"
    except BaseException:
        return damaged, traceback.format_exc()
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        path.write_bytes(honest)


def _late(_number: int, _frame: FrameType | None) -> None:
    raise TooSlow(f"no answer in {SECONDS} s")
