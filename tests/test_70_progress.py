"""Bars of a run of many scenes: the last few are drawn, whatever the number of scenes."""

from __future__ import annotations

from pipeline.cli.progress import Terminal
from pipeline.flow.tasks import Failure, Receipt
from pipeline.grid import Window


def test_the_bars_of_many_scenes_do_not_pile_up() -> None:
    with Terminal(verbose=False, quiet=True) as terminal:
        for number in range(50):
            terminal.begin(f"stage {number}", 2)
            terminal.advance(Receipt(tiles=1, failed=1, failures=[Failure(1, Window(0, 1, 0, 1), "torn")]))
        bars = terminal._progress.tasks
        assert [bar.description for bar in bars] == [f"stage {number}" for number in range(46, 50)]
        assert all(bar.finished for bar in bars)
