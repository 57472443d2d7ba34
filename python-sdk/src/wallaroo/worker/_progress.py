"""Signs of life: a thread that reports, every now and then, whether the main thread has moved on.

A batch that is slow but moves on is not hung. To notice that, the loops over user code would have to count messages,
which costs more than the rest of a loop. Instead each loop leaves its iterator here. The thread asks the iterator how
many values are left, so that the loops pay nothing.
"""

from __future__ import annotations

from _thread import start_new_thread
from contextlib import suppress
from time import sleep
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from wallaroo.worker._marker import Marker

T = TypeVar("T")

_iterator: Any = iter([])
_steps = 0


def watched(values: list[T]) -> Iterator[T]:
    """Return an iterator of ``values``, and note that the main thread is about to loop over it."""
    global _iterator, _steps
    iterator = _iterator = iter(values)
    _steps += 1
    return iterator


def advance() -> None:
    """Note that the main thread has moved on, where it does not loop over a list."""
    global _steps
    _steps += 1


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
        start_new_thread(_report, (marker.marks, marker.moved, interval))


def _report(marks: Callable[[], tuple[int, ...]], moved: Callable[[], None], interval: float) -> None:
    seen: Any = None
    while True:
        sleep(interval)
        now = position(), marks()
        if now != seen:
            seen = now
            moved()
