"""Joins in a worker: which messages of two sides are paired, and which are given without another.

A message is an open window: it begins at its time and ends when no other can be paired with it. Its accumulator is the
side and the message. ``count`` is 1 while it would be given without another, and else 0, for which nothing is given.

A pair is given at once, unless messages of its key without another are due and their timer has not come. Then it waits
behind them: so the order of what is given for a key does not depend on how the stream was cut into batches.

Whether a message can still be paired depends on the watermark, and not on whether its timer has come: so pairs do not
depend on how the stream was cut into batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from wallaroo._codec.copies import copy_of
from wallaroo._codec.key_tags import untagged
from wallaroo._codec.protocol import END
from wallaroo._windows.joins import LEFT, PAIR, JoinAll, JoinWithin
from wallaroo._windows.windows import WindowStep
from wallaroo.worker._depth_first import Position, Push, to_none
from wallaroo.worker._open_windows import StepWindows, Window, first_after
from wallaroo.worker._recent import FORGET_LATER
from wallaroo.worker._state import StateTable


class Joined(StepWindows):
    """What joins have in common."""

    _kept: tuple[int, ...]

    def _message(self, value: Any) -> Any:
        return value[2]

    def _pairs(self, met: list[Window], marked: Any, time: int) -> Iterator[tuple[int, tuple[Any, Any]]]:
        """Return the pairs of a message with those it has met, and the time of each."""
        side, message = self._step.update(marked, None)
        for window in met:
            # What is kept must not be changed by the steps below.
            own, other = copy_of(message), copy_of(window.accumulator[1])
            yield max(time, window.start), (own, other) if side == LEFT else (other, own)

    def _give_pairs(self, met: list[Window], marked: Any, below: Push, place: Position) -> None:
        if below is to_none or not met:
            return
        time, key = place.time, untagged(place.key)
        for pair_time, pair in self._pairs(met, marked, time):
            place.time = pair_time
            below((key, pair))
        place.time = time

    def _opened(self, start: int, end: int, marked: Any, met: list[Window]) -> Window:
        """Return the window of a message, which has met others."""
        window = Window(start, end, self._step.update(marked, None))
        window.count = int(not met and marked[0] in self._kept)
        for other in met:
            other.count = 0
        return window


class JoinedWithin(Joined):
    """Pairs messages between whose times a duration lies, at most."""

    closed_by = "time"

    def __init__(
        self, node: int, step: WindowStep[Any, Any], table: StateTable, delay_above: int, windows: JoinWithin
    ) -> None:
        super().__init__(node, step, table, delay_above)
        self._within, self._delay, self._kept = windows.within, windows.delay, windows.kept
        # Where nothing is given at the end of a message's time, a key need not be woken for each.
        self._wait = self._delay + (0 if self._kept else self._within // FORGET_LATER)

    def _take(self, opened: Any, value: Any, below: Push, place: Position) -> None:
        time, watermark, windows = place.time, place.watermark, opened.windows
        last = time + self._within
        if last + 1 + self._delay <= watermark:
            self._late(value[2], place)
            return
        # Windows are in the order of their ends, which is that of their starts. One that began at time - within or
        # later ends after time.
        first = first_after(windows, max(time, watermark - self._delay))
        met = []
        for window in islice(windows, first, None):
            if window.start > last:
                break
            if window.accumulator[0] != value[0]:
                met.append(window)
        window = self._opened(time, last + 1, value, met)
        position = len(windows)
        while position > 0 and windows[position - 1].end > window.end:
            position -= 1
        windows.insert(position, window)
        due = self._count_due(windows, watermark)
        if due == 0:
            self._give_pairs(met, value, below, place)
        else:
            waiting = [Window(at, watermark - self._wait, (PAIR, pair)) for at, pair in self._pairs(met, value, time)]
            for window in waiting:
                window.count = 1
            windows[due:due] = waiting

    def _count_due(self, windows: list[Window], watermark: int) -> int:
        """Return how many windows are complete, or 0 if none of them gives anything."""
        if not self._kept or self._deadline(windows[0]) > watermark:
            return 0
        due = first_after(windows, watermark - self._wait)
        return due if any(window.count for window in windows[:due]) else 0

    def _time(self, window: Window, watermark: int) -> int:
        return window.start if window.accumulator[0] == PAIR else super()._time(window, watermark)

    def _deadline(self, window: Window) -> int:
        return window.end + self._wait


class JoinedAll(Joined):
    """Pairs all messages of a key. Those without another are given when the sources have ended."""

    closed_by = "time"

    def __init__(
        self, node: int, step: WindowStep[Any, Any], table: StateTable, delay_above: int, windows: JoinAll
    ) -> None:
        super().__init__(node, step, table, delay_above)
        self._kept = windows.kept

    def _take(self, opened: Any, value: Any, below: Push, place: Position) -> None:
        met = [window for window in opened.windows if window.accumulator[0] != value[0]]
        opened.windows.append(self._opened(place.time, place.time + 1, value, met))
        self._give_pairs(met, value, below, place)

    def _deadline(self, window: Window) -> int:
        return END

    def _time(self, window: Window, watermark: int) -> int:
        # When it is given: windows of time below are complete up to the watermark.
        return max(window.end - 1, watermark)
