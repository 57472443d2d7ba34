"""Signs of life: a thread that reports, every now and then, whether the main thread has moved on.

A batch that is slow but moves on is not hung. To notice that, the loops over user code would have to count messages,
which costs more than the rest of a loop. Instead each loop leaves its iterator here. The thread asks the iterator how
many values are left, so that the loops pay nothing.
"""

from __future__ import annotations

from _thread import start_new_thread
from bisect import bisect_right
from contextlib import suppress
from itertools import accumulate
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from wallaroo.worker._marker import Marker

T = TypeVar("T")

LONG = 0.5
"""Seconds at one message after which the worker stands still."""


class Standstill(NamedTuple):
    """Where the main thread stood still for long, in a loop.

    Args:
        batch: The batch that was running.
        group: The group of all values of the loop, if they have the same.
        values: How many values the loop has.
        left: Those of them that were still to come.
    """

    batch: int
    group: int | None
    values: int
    left: int

    def group_of(self, counts: list[int]) -> int:
        """Return the group, where ``counts`` are the values of each group of the batch."""
        if self.group is not None:
            return self.group
        return min(bisect_right(list(accumulate(counts)), self.values - self.left - 1), len(counts) - 1)


_iterator: Any = iter([])
_steps = 0
# How many values the iterator had at first, and the group that all of them are of, if that is so.
_NO_LOOP: tuple[int, int | None] = (0, None)
_loop = _NO_LOOP
_standstill: Standstill | None = None


def watched(values: list[T], group: int | None = None) -> Iterator[T]:
    """Return an iterator of ``values``, and note that the main thread is about to loop over it."""
    global _iterator, _loop, _steps
    iterator = _iterator = iter(values)
    _loop = len(values), group
    _steps += 1
    return iterator


def standstill() -> Standstill | None:
    """Return where the main thread last stood still."""
    return _standstill


def advance() -> None:
    """Note that the main thread has moved on, where it does not loop over a list."""
    global _loop, _steps
    _steps += 1
    _loop = _NO_LOOP


def position() -> tuple[int, int]:
    """Return what differs from the last time if the main thread has moved on since.

    The iterator is not kept: values must not be destroyed by the thread that reports.
    """
    return _steps, _iterator.__length_hint__()


def report_progress(marker: Marker, interval: float) -> None:
    """Start the thread: every ``interval`` seconds it tells the ``marker`` if the main thread has moved on.

    It is none of ``threading``'s, so user code does not see it. Without it, a batch has to be answered in time.
    """
    with suppress(RuntimeError):  # No thread may be started.
        start_new_thread(_report, (marker.marks, marker.moved, marker.is_running, interval))


def _report(
    marks: Callable[[], tuple[int, ...]], moved: Callable[[], None], is_running: Callable[[], bool], interval: float
) -> None:
    global _standstill
    seen: Any = None
    since = monotonic()
    while True:
        sleep(interval)
        now = position(), marks()
        if now != seen:
            seen = now
            since = monotonic()
            moved()
        elif monotonic() - since >= LONG and is_running():
            (_, left), (batch, *_), (count, group) = *now, _loop
            # Where no loop is watched, nobody knows which message it is.
            _standstill = Standstill(batch, group, count, left) if count else None
