"""Which scheduler is meant: the caller's word, else what Dask's environment or configuration says, else threads."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import dask

from pipeline.errors import ConfigError

VARIABLE = "DASK_SCHEDULER_ADDRESS"
_HOST_AND_PORT = re.compile(r"[\w.-]+:\d{1,5}")


@dataclass(frozen=True)
class Where:
    """`threads`, `processes`, an address, or the path of a scheduler file; and who said so."""

    word: str
    said_by: str = "--scheduler"

    @property
    def is_file(self) -> bool:
        """Whether the word is a scheduler file's path."""
        return "://" not in self.word and (self.word.endswith(".json") or Path(self.word).is_file())

    @property
    def is_address(self) -> bool:
        """Whether the word is an address that Dask knows how to connect to; host:port is tcp://host:port."""
        return "://" in self.word or _HOST_AND_PORT.fullmatch(self.word) is not None


def where(scheduler: str | None = None) -> Where:
    """What to open, of `--scheduler` or the workflow's `run.scheduler`, or where neither says anything, as Dask's own
    programs find it.

    Raises:
        ConfigError: the word is none that can be opened.
    """
    chosen = _chosen(scheduler)
    if not (chosen.word in ("threads", "processes") or chosen.is_file or chosen.is_address):
        raise ConfigError(
            f"{chosen.said_by} {chosen.word}: not a scheduler; give threads, processes, an address such as "
            "tcp://host:8786, or a scheduler file ending in .json"
        )
    if chosen.word.startswith(("http://", "https://")):
        raise ConfigError(
            f"{chosen.said_by} {chosen.word}: a web page, not a scheduler; give its address, such as tcp://host:8786"
        )
    return chosen


def _chosen(scheduler: str | None) -> Where:
    if scheduler is not None:
        return Where(scheduler)
    if os.environ.get(VARIABLE):
        return Where(os.environ[VARIABLE], VARIABLE)
    configured = dask.config.get("scheduler-address", None)
    return Where(str(configured), "scheduler-address of Dask's configuration") if configured else Where("threads")
