"""What a step with state is told beside the message: the key, the time, and the timers of the key."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Generic, NoReturn, Protocol, TypeVar

from wallaroo._steps.durations import Duration, in_nanoseconds
from wallaroo._windows.windowed import window_time

K_co = TypeVar("K_co", covariant=True)

FARTHEST = 2**61
"""Nanoseconds, 73 years: how far ahead a timer may be."""

_EPOCH = window_time(0)
_MICROSECOND = timedelta(microseconds=1)


class Kept(Protocol):
    """A state with its timers."""

    def set_timer(self, tag: str | None, time: int) -> None:
        """Set the timer of a tag."""

    def cancel_timer(self, tag: str | None) -> None:
        """Take the timer of a tag back."""

    def drop(self) -> None:
        """Drop the state and all its timers."""


class Context(Generic[K_co]):
    r"""The third argument of the function of :meth:`Pipeline.stateful`, and the second of its ``on_timer``.

    It is good for one call, and cannot be pickled.

    Attributes:
        key: The key of the state; ``None`` where no ``key_by`` comes before.
        tag: In ``on_timer``, the name of the timer; ``None`` for the one without a name, and in a function of a
            message.

    Example:
        >>> from datetime import timedelta
        >>> import wallaroo, wallaroo.testing
        >>> class Door:
        ...     opened = None
        >>> def watch(line: str, door: Door, ctx: wallaroo.Context[str]) -> None:
        ...     if line.endswith("open"):
        ...         door.opened = ctx.now
        ...         ctx.set_timer(timedelta(minutes=5))
        ...     else:
        ...         ctx.delete_state()
        >>> def warn(door: Door, ctx: wallaroo.Context[str]) -> str:
        ...     return f"{ctx.key} has been open since {door.opened:%H:%M}"
        >>> lines = wallaroo.source("doors", wallaroo.stdin(wallaroo.lines())).key_by(lambda line: line.split()[0])
        >>> warnings = lines.stateful(watch, Door, on_timer=warn)
        >>> app = wallaroo.application("doors", warnings.sink(wallaroo.stdout(wallaroo.lines())))
        >>> doors = wallaroo.testing.InProcess(app)
        >>> doors.send(["front open", "back open"])
        >>> doors.advance(timedelta(minutes=2))
        >>> doors.send(["back closed"])
        >>> doors.advance(timedelta(minutes=3))
        >>> doors.outcome.lines
        ['front has been open since 00:00']
    """

    __slots__ = ("_call", "_kept", "_time", "key", "tag")

    def __init__(self, kept: Kept, key: Any, time: int, call: str, tag: str | None = None) -> None:
        self._kept = kept
        self._time = time
        # "f", "on_timer", or "" where the step has no on_timer.
        self._call = call
        self.key: K_co = key
        self.tag: str | None = tag

    @property
    def now(self) -> datetime:
        """The time by which timers run, in UTC, to the microsecond.

        In a function of a message that is when the message happened, or how far time had come by then, if that is
        later. In ``on_timer`` it is the time for which the timer was set. Time is event time, or the time of arrival
        where the source has no ``event_time``.
        """
        return window_time(self._time)

    @property
    def window(self) -> None:
        """``None``: the state belongs to the key, and to no window."""
        return

    def set_timer(self, when: datetime | Duration, tag: str | None = None) -> None:
        """Have ``on_timer`` called when time has come so far, once, with the state that the key has by then.

        It is called before any message of the key that comes later. A timer keeps its state: ``ttl`` counts from the
        last one on. A drain, the end of the sources, and a run that is suspended call no timer.

        Args:
            when: A ``datetime`` with a time zone; or a ``timedelta`` or nanoseconds after ``now``. For a time that has
                passed it is called after this message. In ``on_timer`` it must be later than ``now``.
            tag: Names the timer. A key has one timer of each name, and one without: if it is set again, it is moved.

        Raises:
            TypeError: ``when`` is no time and no duration, or ``tag`` no ``str``.
            ValueError: The step has no ``on_timer``; or ``when`` has no time zone, is negative, is more than 73 years
                after ``now``, or in ``on_timer`` is no later than it.
        """
        if not self._call:
            raise ValueError("set_timer: the step has no on_timer to call; give stateful(..., on_timer=f)")
        if tag is not None and not isinstance(tag, str):
            raise TypeError(f"set_timer: tag is of type {type(tag).__name__}, not a str")
        time = self._time_of(when)
        if time - self._time > FARTHEST:
            raise ValueError(f"set_timer: {when!r} is more than 73 years after ctx.now, {self.now}")
        if self._call == "on_timer" and time <= self._time:
            raise ValueError(
                f"set_timer: {when!r} is no later than ctx.now, {self.now}; a timer that on_timer sets must be, or it"
                " would be called for ever"
            )
        self._kept.set_timer(tag, max(time, self._time))

    def cancel_timer(self, tag: str | None = None) -> None:
        """Take a timer back, if there is one of that name.

        Args:
            tag: As for :meth:`set_timer`.
        """
        self._kept.cancel_timer(tag)

    def delete_state(self) -> None:
        """Drop the state of the key, and its timers. The next message of the key finds a new state.

        Nothing is kept of the key any more, unless a timer is set after that.
        """
        self._kept.drop()

    def _time_of(self, when: Any) -> int:
        if isinstance(when, datetime):
            if when.utcoffset() is None:
                raise ValueError(
                    "set_timer: the datetime has no time zone; say which, as with"
                    " .replace(tzinfo=datetime.timezone.utc), or add to ctx.now"
                )
            return (when - _EPOCH) // _MICROSECOND * 1_000
        after = in_nanoseconds(when)
        if type(after) is not int:
            raise TypeError(
                f"set_timer: the time is of type {type(when).__name__}; give a datetime with a time zone, or a"
                " timedelta or nanoseconds after ctx.now"
            )
        if after < 0:
            raise ValueError(f"set_timer: {when!r} is negative; give how long after ctx.now, or a datetime")
        return self._time + after

    def __repr__(self) -> str:
        return f"Context(key={self.key!r}, now={self.now}, tag={self.tag!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("ctx is good for one call and cannot be kept in a state; keep ctx.key or ctx.now")
