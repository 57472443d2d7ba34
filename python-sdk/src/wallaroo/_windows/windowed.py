"""What is known of a window that gives a result, and the values that carry it."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from types import GenericAlias
from typing import TYPE_CHECKING, Any, Callable, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from typing import Literal

    ClosedBy = Literal["time", "gap", "count", "drain", "early"]

K = TypeVar("K")
V = TypeVar("V")

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class Window(NamedTuple):
    """A window that gives a result: what ``output(key, accumulator, window)`` of an aggregation is told.

    Attributes:
        start: In UTC, or in the time zone of the windows. It holds what happened from then on; of a number of values,
            the time of the earliest.
        end: As ``start``. It holds what happened before; of a number of values, the time of the latest. A session that
            is not complete may still be prolonged.
        closed_by: Why it is complete. ``"time"``: event time has passed its end. ``"gap"``: no further value came
            during the gap of a session. ``"count"``: it has its number of values. ``"drain"``: all sources have ended,
            or the run is drained, before any of that. ``"early"``: it is not complete; the result is of what came so
            far, because ``early=`` asks for it.

    Example:
        >>> import wallaroo
        >>> class Busiest(wallaroo.Aggregation):
        ...     def initial_accumulator(self):
        ...         return 0
        ...     def update(self, data, accumulator):
        ...         return accumulator + 1
        ...     def output(self, key, accumulator, window):
        ...         return f"{window.start:%H:%M} {key} {accumulator}" if window.closed_by == "time" else None
        >>> opened = wallaroo.Window(window_time(0), window_time(60_000_000_000), "time")
        >>> Busiest().output("a", 3, opened)
        '00:00 a 3'
    """

    start: datetime
    end: datetime
    closed_by: ClosedBy


if TYPE_CHECKING:

    class Windowed(NamedTuple, Generic[K, V]):
        """What an aggregation of windows gives: its value, with the key and what :class:`Window` says of the window."""

        key: K
        start: datetime
        end: datetime
        value: V
        closed_by: ClosedBy

else:

    class Windowed(NamedTuple):
        """What an aggregation of windows gives: its value, with the key and what :class:`Window` says of the window.

        Attributes:
            key: The key whose window it is; ``None`` without a ``key_by``.
            start: As for :class:`Window`.
            end: As for :class:`Window`.
            value: What the aggregation made of the window's values.
            closed_by: As for :class:`Window`.

        Example:
            >>> from datetime import datetime, timezone
            >>> noon = datetime(2024, 5, 1, 12, tzinfo=timezone.utc)
            >>> counted = Windowed("ada", noon, noon.replace(hour=13), 7, "time")
            >>> f"{counted.key}: {counted.value} from {counted.start:%H:%M} to {counted.end:%H:%M}"
            'ada: 7 from 12:00 to 13:00'
        """

        key: Any
        start: datetime
        end: datetime
        value: Any
        closed_by: str

        __class_getitem__ = classmethod(GenericAlias)


def window_time(nanoseconds: int) -> datetime:
    """Return a time since the Unix epoch in UTC. A ``datetime`` has microseconds; it is the last one before the time.

    Example:
        >>> window_time(1_500_000_000)
        datetime.datetime(1970, 1, 1, 0, 0, 1, 500000, tzinfo=datetime.timezone.utc)
    """
    return _EPOCH + timedelta(microseconds=nanoseconds // 1_000)


def windowed_output(output: Callable[..., Any], *, takes_window: bool) -> Callable[[Any, Any, Window], Any]:
    """Return what makes a :class:`Windowed` of an aggregation's output, unless that is ``None``."""

    def make(key: Any, accumulator: Any, window: Window) -> Windowed[Any, Any] | None:
        value = output(key, accumulator, window) if takes_window else output(key, accumulator)
        return None if value is None else Windowed(key, window.start, window.end, value, window.closed_by)

    return make
