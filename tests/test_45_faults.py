"""A few of the random schedules of `make faults`, and that its verdict would notice."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.damage import Damage, apply, by_final_name, tile_of
from tests.faults.jobs import Reference, essence
from tests.faults.play import Stage
from tests.faults.schedule import KILL, Act, Schedule, Stroke, draw
from tests.faults.verdict import about_the_end, after_stop, at_the_end

CHUNK = "s/scene.zarr/scene/c/0/1/2"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Two jobs, a small disk, drivers, and a cluster where it is asked for."""
    stage = Stage(tmp_path_factory.mktemp("faults") / "stage", ("plain", "many"))
    yield stage
    assert stage.close() == []


def _stroke(victim: str, moment: str, when: float) -> Stroke:
    return Stroke(victim, 0 if victim == "disk" else KILL, moment, when, 0.0, 0)


def _schedule(place: str, *acts: tuple[Stroke, ...], job: str = "plain") -> Schedule:
    return Schedule(0, 0, job, tuple(Act(place, 2, strokes, ()) for strokes in acts), place)


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.parametrize("number", range(2))
def test_random_schedules_in_threads_end_with_the_same_bytes(stage: Stage, number: int) -> None:
    outcome = stage.play(draw(45, number, ("threads",)))
    assert not outcome.complaints, outcome.said


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.parametrize("small", [True, False])
def test_a_full_disk_is_one_line_and_the_run_goes_on_when_there_is_room(
    stage: Stage, small: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if small and not stage.disk.mounted:
        pytest.skip("no tmpfs can be mounted here: only the size of files can be bounded")
    monkeypatch.setattr(stage.disk, "mounted", small)
    strokes = [(_stroke("disk", "clock", part),) for part in (0.05, 0.5)]
    outcome = stage.play(_schedule("threads", *strokes))
    assert not outcome.complaints, outcome.said
    assert [code in (1, 3) for code in outcome.codes] == [True, True, False]


@pytest.mark.cluster
@pytest.mark.slow
def test_workers_driver_and_scheduler_may_be_killed(stage: Stage) -> None:
    acts = (
        (_stroke("worker", "tiles", 0.1), _stroke("driver", "tiles", 0.4)),
        (_stroke("scheduler", "tiles", 0.1),),
    )
    outcome = stage.play(_schedule("cluster", *acts))
    assert not outcome.complaints, outcome.said
    assert outcome.codes[:1] + outcome.codes[-1:] == [-KILL, 0]
    assert outcome.codes[1] in (1, 3)


@pytest.mark.cluster
@pytest.mark.slow
def test_local_workers_die_with_their_driver(stage: Stage) -> None:
    outcome = stage.play(_schedule("processes", (_stroke("driver", "tiles", 0.2),), job="many"))
    assert not outcome.complaints, outcome.said


def _finished(folder: Path) -> Reference:
    """Outputs of one chunk and a receipt, and what they are to be."""
    (folder / CHUNK).parent.mkdir(parents=True)
    (folder / CHUNK).write_bytes(b"a chunk and its sum")
    (folder / "s/receipt.json").write_bytes(b'{"status": "done", "seconds": 3}')
    files = {CHUNK: b"a chunk and its sum", "s/receipt.json": b'{"status": "done"}'}
    return Reference("job", folder, files)


def test_the_verdict_on_finished_outputs(tmp_path: Path) -> None:
    reference = _finished(tmp_path)
    assert at_the_end(tmp_path, reference) == []
    (tmp_path / CHUNK).write_bytes(b"a chunk and its bum")
    (tmp_path / "s/more").write_bytes(b"")
    assert at_the_end(tmp_path, reference) == ["s/more is left over", f"{CHUNK} differs"]
    (tmp_path / CHUNK).unlink()
    assert f"{CHUNK} is missing" in at_the_end(tmp_path, reference)


def test_the_verdict_on_what_a_stopped_run_left(tmp_path: Path) -> None:
    reference, broken = _finished(tmp_path), set[str]()
    assert after_stop(tmp_path, reference, broken) == []
    apply(Damage("cut", 0.0, 0.5), tmp_path)
    assert after_stop(tmp_path, reference, broken) == [f"{CHUNK} looks whole and is not"]
    assert after_stop(tmp_path, reference, {CHUNK}) == []
    (tmp_path / CHUNK).unlink()
    assert after_stop(tmp_path, reference, broken) == [f"{CHUNK} is missing of a store with its own name"]
    shutil.move(tmp_path / "s/scene.zarr", tmp_path / "s/scene.zarr.partial")
    assert after_stop(tmp_path, reference, broken) == []
    words = "import fcntl, sys, time; f = open(sys.argv[1], 'w'); fcntl.flock(f, 2); print(flush=True); time.sleep(60)"
    lock = tmp_path / "s/.running"
    with subprocess.Popen([sys.executable, "-c", words, str(lock)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert after_stop(tmp_path, reference, broken) == [f"{lock} is held by nobody we know"]
        holder.kill()


@pytest.mark.parametrize(
    ("code", "stderr", "complaints"),
    [
        (0, "", []),
        (3, "Error: s: the disk is full\n", []),
        (1, "", ["exit 1 without a line that says why"]),
        (1, "Error: unexpected KeyError: x\n", ["a bug of ours"]),
        (-9, "", ["exit -9"]),
        (None, "", ["the driver hung"]),
    ],
)
def test_the_verdict_on_a_driver(code: int | None, stderr: str, complaints: list[str]) -> None:
    assert about_the_end(code, stderr, killed=False) == complaints


def test_damage_is_named_by_the_tile_that_has_to_be_computed_again(tmp_path: Path) -> None:
    path = tmp_path / "s/scene.zarr.partial/valid/c/1/2"
    assert by_final_name(path, tmp_path) == "s/scene.zarr/valid/c/1/2"
    assert tile_of(CHUNK) == tile_of("s/scene.zarr/valid/c/1/2") == ("s", "scene", "1.2")
    assert tile_of("s/features.zarr.sums/features/c/0/1/2") == ("s", "sums", "1.2")
    assert tile_of("s/scene.zarr/x/c/0") is None


def test_a_schedule_is_decided_by_its_seed_and_number() -> None:
    assert draw(3, 8) == draw(3, 8)
    assert len({draw(3, number) for number in range(50)}) == 50


def test_times_do_not_count_and_half_a_page_does() -> None:
    assert essence("receipt.json", b'{"seconds": 1, "tiles": 2}') == essence("receipt.json", b'{"tiles": 2}')
    with pytest.raises(ValueError, match="half"):
        essence("report.html", b"<html><body>")
    assert essence("0", os.urandom(4)) != essence("0", b"")
