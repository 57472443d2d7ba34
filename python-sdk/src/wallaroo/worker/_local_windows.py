"""Windows of the days of a time zone, which are 23 or 25 hours long where clocks change.

Windows have numbers: by the clocks of the zone, window ``n`` begins ``n`` slides and the offset after 1970.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Any

from wallaroo._windows.windowed import window_time
from wallaroo._windows.windows import RangeWindows, WindowStep
from wallaroo.worker._depth_first import Position, Push
from wallaroo.worker._open_windows import RangedWindows
from wallaroo.worker._state import StateTable

_SECOND = 1_000_000_000
_EPOCH = datetime(1970, 1, 1)  # By the clocks of any zone.
_MOST_KNOWN = 1_024


class LocalWindows(RangedWindows):
    """Ranges of days that begin by the clocks of a time zone."""

    def __init__(
        self,
        node: int,
        step: WindowStep[Any, Any],
        table: StateTable,
        delay_above: int,
        windows: RangeWindows,
        zone: tzinfo,
    ) -> None:
        super().__init__(node, step, table, delay_above, windows)
        self._zone = zone
        self._instant = lru_cache(_MOST_KNOWN)(self._find_instant)

    def _take(self, opened: Any, value: Any, below: Push, place: Position) -> None:
        complete = place.watermark - self._windows.delay
        found = [(start, end) for start, end in self._around(place.time) if end > complete]
        if not found:
            self._late(value, place)
            return
        for start, end in reversed(found):
            self._update(self._at(opened.windows, start, end), value, place)

    def _around(self, time: int) -> Iterator[tuple[int, int]]:
        """Return the windows that hold a time, the last first."""
        length, slide, offset = self._windows.range, self._windows.slide, self._windows.offset
        # By the clocks; where they are put back, they show the time of two instants.
        number = (time + self._ahead(time) - offset) // slide
        while self._instant((number + 1) * slide + offset) <= time:
            number += 1
        while self._instant(number * slide + offset) > time:
            number -= 1
        while (end := self._instant(number * slide + offset + length)) > time:
            yield self._instant(number * slide + offset), end
            number -= 1

    def _ahead(self, time: int) -> int:
        """Return how much the clocks are ahead of UTC at a time, in nanoseconds."""
        return _nanoseconds(datetime.fromtimestamp(time // _SECOND, self._zone).utcoffset())

    def _find_instant(self, local: int) -> int:
        """Return the time at which the clocks show ``local``, the first if there are two.

        Where clocks are put forward over it, it is when that happens.
        """
        shown = _EPOCH + timedelta(seconds=local // _SECOND)
        return local - _nanoseconds(shown.replace(tzinfo=self._zone).utcoffset())

    def _shown(self, time: int) -> datetime:
        return window_time(time).astimezone(self._zone)


def _nanoseconds(duration: timedelta | None) -> int:
    return 0 if duration is None else duration // timedelta(microseconds=1) * 1_000
