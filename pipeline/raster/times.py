"""When a scene was taken, by the tags and the name of its file.

TIFF's own DateTime is when the image file was made (TIFF 6.0, section 8). Some makers of satellite images write the
time of acquisition there, others that of processing, programs that of the last change: alone it says no more than that
the scene was taken before.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import PurePath

TIME, BAND = "STACK_TIME", "STACK_BAND"
"""Tags of a band of a stack of dates: its time in ISO 8601, UTC, and what it is called on its date."""
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
ACQUIRED = ("ACQUISITIONDATETIME", "ACQUISITION_DATETIME", "DATETIME", "SENSING_TIME")
"""Tags of a file with its time of acquisition, the best first."""
_OF_FILE = ("TIFFTAG_DATETIME",)
_DATE = re.compile(
    r"(?<!\d)((?:19|20)\d\d)([-_]?)(0[1-9]|1[0-2])\2(0[1-9]|[12]\d|3[01])(?:[T_-]?([01]\d|2[0-3]):?([0-5]\d):?([0-5]\d))?(?!\d)"
)

_ACQUIRED_FIRST = re.compile(r"L[COTEM]0\d_|S1[A-D]_|S2[A-D]_MSIL")
"""Names of products (Landsat, Sentinel) with the time of acquisition first, then its end, or that of processing."""


def moment(text: str) -> datetime:
    """A time in ISO 8601, UTC where it says no other zone. Raises ValueError."""
    when = datetime.fromisoformat(text.strip())
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)


def iso(when: datetime) -> str:
    """A time in ISO 8601, to the second; it is of UTC."""
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def acquisition_time(tags: Mapping[str, str]) -> datetime | None:
    """The time of acquisition that the tags of a file tell, in UTC."""
    return _tagged(tags, ACQUIRED)


def file_time(tags: Mapping[str, str]) -> datetime | None:
    """When the file was made, by its tags; taken for UTC, as TIFF knows no time zones."""
    return _tagged(tags, _OF_FILE)


def named_times(name: str) -> list[datetime]:
    """The times in a name, in their order; makers put that of acquisition first."""
    found = []
    for year, _, month, day, *clock in _DATE.findall(name):
        try:
            hour, minute, second = (int(part or 0) for part in clock)
            found.append(datetime(int(year), int(month), int(day), hour, minute, second, tzinfo=UTC))
        except ValueError:  # the 31st of a shorter month
            continue
    return found


def holds_several_days(name: str) -> bool:
    """Whether the times in a name are of several days, and nothing says which is that of acquisition."""
    return len({time.date() for time in named_times(name)}) > 1 and not _ACQUIRED_FIRST.match(name)


def day_named(path: str) -> str | None:
    """The day, in ISO 8601, that the name of a file tells, or that of its folder; None where it tells several."""
    names = PurePath(path).name, PurePath(path).parent.name
    name = next((name for name in names if named_times(name)), "")
    return named_times(name)[0].date().isoformat() if name and not holds_several_days(name) else None


def undated(name: str) -> str:
    """A name without its times."""
    return _DATE.sub("", name)


def told_by(names: Sequence[str]) -> datetime | None:
    """When a scene was taken by the names of its files, where they say one day."""
    found = [times[0] for times in map(named_times, names) if times]
    if len({time.date() for time in found}) != 1 or any(map(holds_several_days, names)):
        return None
    return max(found)  # some names say the day alone


def taken(tags: Mapping[str, str], name: str) -> datetime | None:
    """When a scene was taken: by a tag that says so, or by that of the file where its name begins with the same day."""
    made, named = file_time(tags), named_times(name)
    confirmed = made if made and named and named[0].date() == made.date() else None
    return acquisition_time(tags) or confirmed


def _tagged(tags: Mapping[str, str], names: tuple[str, ...]) -> datetime | None:
    upper = {key.upper(): value for key, value in tags.items()}
    for tag in names:
        text = upper.get(tag, "").strip()
        try:
            # TIFF writes 2022:01:17 10:43:43
            time = datetime.fromisoformat(text.replace(":", "-", 2) if text[4:5] == ":" else text)
        except ValueError:
            continue
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    return None
