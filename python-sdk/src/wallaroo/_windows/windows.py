"""Windows: steps that gather the values of a key and give one output for each window of them.

Two calls make a step: ``range_windows``, ``count_windows`` or ``session_windows`` says which values belong together,
and ``over`` how to aggregate them. Time is event time in nanoseconds since the Unix epoch: what the source's
``event_time`` function says of a message, or when the message arrived.
"""

from __future__ import annotations

from typing import Any, Callable, ClassVar, Generic, TypeVar, Union

from wallaroo._errors import WallarooParameterError
from wallaroo._steps.computations import Step
from wallaroo._steps.objects import as_object, class_name, method, step_name

In = TypeVar("In")
Accumulator = TypeVar("Accumulator")
Out = TypeVar("Out")

LONGEST = 2**61
"""Nanoseconds, 73 years: sums of a time and a few durations then stay within 64 bits."""

ON_LATE = ("drop", "dead-letter")


class Aggregation(Generic[In, Accumulator, Out]):
    """Aggregates the values of a window. Subclass it. The step is named by ``name()``, or else after the class.

    An accumulator must be picklable: it is pickled when its key is snapshotted.

    Example:
        >>> class Highest(Aggregation):
        ...     def initial_accumulator(self):
        ...         return []
        ...     def update(self, data, accumulator):
        ...         accumulator.append(data)
        ...     def combine(self, left, right):
        ...         return left + right
        ...     def output(self, key, accumulator):
        ...         return key, max(accumulator)
        >>> Highest().output("a", [1, 3, 2])
        ('a', 3)
    """

    def initial_accumulator(self) -> Accumulator:
        """Return the accumulator of a window without values."""
        raise NotImplementedError

    def update(self, data: In, accumulator: Accumulator, /) -> Accumulator | None:
        """Add a value to an accumulator.

        Args:
            data: The value.
            accumulator: The accumulator so far. It may be changed.

        Returns:
            The new accumulator, or ``None`` when it is the one given.
        """
        raise NotImplementedError

    def combine(self, left: Accumulator, right: Accumulator, /) -> Accumulator | None:
        """Join two accumulators, when a value closes the gap between two sessions.

        Args:
            left: The accumulator of the earlier session. It may be changed.
            right: The accumulator of the later one.

        Returns:
            The joined accumulator, or ``None`` when it is ``left``.
        """
        raise NotImplementedError

    def output(self, key: Any, accumulator: Accumulator, /) -> Out | None:
        """Make the output of a window that is complete.

        Args:
            key: The key whose window it is; ``None`` without a ``key_by``.
            accumulator: The accumulator of the window.

        Returns:
            The output, or ``None`` for no output.
        """
        raise NotImplementedError


AggregationLike = Union[Aggregation[In, Any, Out], Callable[[], Aggregation[In, Any, Out]]]
"""An aggregation, or a class of aggregations."""


class CountWindows:
    """Windows of a number of values in a row. Made by :func:`count_windows`."""

    call: ClassVar[str] = "count_windows"

    def __init__(self, count: int) -> None:
        self.count = count

    def describe(self) -> dict[str, Any]:
        """Return the ``window`` map of the topology."""
        return {"kind": "count", "count": self.count}

    def over(self, aggregation: AggregationLike[In, Out]) -> WindowStep[In, Out]:
        """Aggregate each window.

        Args:
            aggregation: A subclass of :class:`Aggregation`, or an instance of one.

        Returns:
            A step for :meth:`Pipeline.to`.

        Raises:
            WallarooParameterError: It lacks a method.

        Example:
            See :func:`count_windows`.
        """
        return WindowStep(self, aggregation)


class _TimeWindows:
    """The common part of windows of time."""

    call: ClassVar[str]

    def __init__(self, delay: int, on_late: str) -> None:
        self.delay = delay
        self.on_late = on_late

    def describe(self) -> dict[str, Any]:
        """Return the ``window`` map of the topology."""
        raise NotImplementedError

    def over(self, aggregation: AggregationLike[In, Out]) -> WindowStep[In, Out]:
        """Aggregate each window.

        Args:
            aggregation: A subclass of :class:`Aggregation`, or an instance of one.

        Returns:
            A step for :meth:`Pipeline.to`.

        Raises:
            WallarooParameterError: It lacks a method.

        Example:
            See :func:`range_windows`.
        """
        return WindowStep(self, aggregation)


class RangeWindows(_TimeWindows):
    """Windows of a range of time. Made by :func:`range_windows`."""

    call: ClassVar[str] = "range_windows"

    def __init__(self, range: int, slide: int, delay: int, on_late: str) -> None:
        super().__init__(delay, on_late)
        self.range = range
        self.slide = slide

    def with_slide(self, slide: int) -> RangeWindows:
        """Begin a window every ``slide`` nanoseconds. Windows overlap if that is less than their length.

        Args:
            slide: Nanoseconds, at most the length of a window.

        Raises:
            WallarooParameterError: ``slide`` is not such a number.

        Example:
            >>> from wallaroo import minutes, seconds
            >>> range_windows(minutes(1)).with_slide(seconds(20)).slide == seconds(20)
            True
        """
        _check_positive("range_windows(...).with_slide", slide)
        if slide > self.range:
            raise WallarooParameterError(
                f"range_windows({self.range}).with_slide({slide}): values between two windows would be in none",
                hint="give a slide of at most the length of a window",
            )
        return RangeWindows(self.range, slide, self.delay, self.on_late)

    def with_delay(self, delay: int) -> RangeWindows:
        """Wait ``delay`` nanoseconds of event time for values that are out of order.

        Args:
            delay: Nanoseconds by which the watermark must be past a window's end.

        Raises:
            WallarooParameterError: ``delay`` is not a duration.

        Example:
            >>> from wallaroo import minutes, seconds
            >>> range_windows(minutes(1)).with_delay(seconds(5)).delay == seconds(5)
            True
        """
        return RangeWindows(self.range, self.slide, _check_delay(self.call, delay), self.on_late)

    def describe(self) -> dict[str, Any]:
        """Return the ``window`` map of the topology."""
        return {
            "kind": "range",
            "range": self.range,
            "slide": self.slide,
            "delay": self.delay,
            "on_late": self.on_late,
        }


class SessionWindows(_TimeWindows):
    """Windows that end with a gap. Made by :func:`session_windows`."""

    call: ClassVar[str] = "session_windows"

    def __init__(self, gap: int, delay: int, on_late: str) -> None:
        super().__init__(delay, on_late)
        self.gap = gap

    def with_delay(self, delay: int) -> SessionWindows:
        """Wait ``delay`` nanoseconds of event time for values that are out of order.

        Args:
            delay: Nanoseconds by which the watermark must be past a session's end.

        Raises:
            WallarooParameterError: ``delay`` is not a duration.

        Example:
            >>> from wallaroo import minutes, seconds
            >>> session_windows(minutes(30)).with_delay(seconds(5)).delay == seconds(5)
            True
        """
        return SessionWindows(self.gap, _check_delay(self.call, delay), self.on_late)

    def describe(self) -> dict[str, Any]:
        """Return the ``window`` map of the topology."""
        return {"kind": "session", "gap": self.gap, "delay": self.delay, "on_late": self.on_late}


Windows = Union[CountWindows, _TimeWindows]

BARE_WINDOWS = (CountWindows, _TimeWindows)
"""The types of windows that nothing aggregates yet: no steps."""


def count_windows(count: int) -> CountWindows:
    """Gather ``count`` values of a key in a row. When the sources end, the last window of a key may have fewer.

    For windows of time below, the output of a window has the time at which it is given: no earlier value in the stream
    has a later time.

    Args:
        count: At least 1.

    Raises:
        WallarooParameterError: ``count`` is not such a number.

    Example:
        >>> class Sum(Aggregation):
        ...     def initial_accumulator(self):
        ...         return 0
        ...     def update(self, data, accumulator):
        ...         return accumulator + data
        ...     def output(self, key, accumulator):
        ...         return key, accumulator
        >>> count_windows(100).over(Sum).name
        'Sum'
    """
    _check_positive("count_windows", count)
    return CountWindows(count)


def range_windows(range: int, *, on_late: str = "drop") -> RangeWindows:
    """Gather the values of a key in ranges of event time, aligned to the Unix epoch.

    A window is complete when the watermark is past its end: every source that leads here has got as far, and the
    window's delay is over. It gives its output then, or when the sources end. A window without values gives no output.

    Args:
        range: Length of a window in nanoseconds.
        on_late: What happens to a value that comes when all its windows are complete. It is always counted;
            ``"dead-letter"`` also makes it a dead letter.

    Raises:
        WallarooParameterError: An argument is unusable.

    Example:
        >>> from wallaroo import minutes, seconds
        >>> class Sum(Aggregation):
        ...     def initial_accumulator(self):
        ...         return 0
        ...     def update(self, data, accumulator):
        ...         return accumulator + data
        ...     def output(self, key, accumulator):
        ...         return key, accumulator
        >>> every_minute = range_windows(minutes(5)).with_slide(minutes(1)).with_delay(seconds(10))
        >>> every_minute.over(Sum).name
        'Sum'
    """
    _check_positive("range_windows", range)
    return RangeWindows(range, range, 0, _check_on_late("range_windows", on_late))


def session_windows(gap: int, *, on_late: str = "drop") -> SessionWindows:
    """Gather the values of a key until no other comes for ``gap`` nanoseconds of event time.

    A value belongs to a session when less than ``gap`` lies between it and a value in it, before or after. One that
    closes the gap between two sessions joins them, with :meth:`Aggregation.combine`.

    Args:
        gap: Nanoseconds without a value that end a session.
        on_late: As for :func:`range_windows`.

    Raises:
        WallarooParameterError: An argument is unusable.

    Example:
        >>> from wallaroo import minutes
        >>> class Visits(Aggregation):
        ...     def initial_accumulator(self):
        ...         return []
        ...     def update(self, data, accumulator):
        ...         accumulator.append(data)
        ...     def combine(self, left, right):
        ...         return left + right
        ...     def output(self, key, accumulator):
        ...         return key, len(accumulator)
        >>> session_windows(minutes(30)).over(Visits).name
        'Visits'
    """
    _check_positive("session_windows", gap)
    return SessionWindows(gap, 0, _check_on_late("session_windows", on_late))


class WindowStep(Step[In, Out], Generic[In, Out]):
    """Windows with their aggregation. Made by ``over``.

    Args:
        windows: Which values belong together.
        aggregation: A class or an instance with the methods of :class:`Aggregation`.
    """

    needs_key: ClassVar[bool] = True
    """It has state, and so must stand below a ``key_by`` or ``collect``."""

    def __init__(self, windows: Windows, aggregation: AggregationLike[In, Out]) -> None:
        where = f"{windows.call}(...).over({getattr(aggregation, '__name__', class_name(aggregation))})"
        self._where = where
        self.windows = windows
        self.aggregation = as_object(where, aggregation, None)
        self.initial: Callable[[], Any] = method(where, self.aggregation, "initial_accumulator")
        self.update: Callable[[Any, Any], Any] = method(where, self.aggregation, "update", "data", "accumulator")
        self.output: Callable[[Any, Any], Any] = method(where, self.aggregation, "output", "key", "accumulator")
        self.combine: Callable[[Any, Any], Any] | None = None
        self._require("output", "key", "accumulator")
        self._require("update", "data", "accumulator")
        self._require("initial_accumulator")
        if isinstance(windows, SessionWindows):
            self.combine = method(where, self.aggregation, "combine", "left", "right")
            self._require("combine", "left", "right", why=", and sessions may be joined")
        self.name = step_name(where, self.aggregation)

    def _require(self, name: str, *parameters: str, why: str = "") -> None:
        """Raise an error if the aggregation has a method only from :class:`Aggregation`, where all of them raise."""
        if getattr(type(self.aggregation), name, None) is getattr(Aggregation, name):
            raise WallarooParameterError(
                f"{self._where}: {class_name(self.aggregation)} has no method {name}{why}",
                hint=f"define {name}({', '.join(('self', *parameters))}) in class {class_name(self.aggregation)}",
            )

    @property
    def is_timed(self) -> bool:
        """Whether its windows are windows of time."""
        return not isinstance(self.windows, CountWindows)

    @property
    def keeps_late(self) -> bool:
        """Whether late values become dead letters."""
        return not isinstance(self.windows, CountWindows) and self.windows.on_late == "dead-letter"

    @property
    def delay(self) -> int:
        """Nanoseconds for which it waits for values that are out of order."""
        return 0 if isinstance(self.windows, CountWindows) else self.windows.delay


def _check_positive(where: str, value: Any) -> None:
    if type(value) is not int or not 0 < value <= LONGEST:
        raise WallarooParameterError(
            f"{where}({value!r}): the argument must be a whole number from 1 to 2**61",
            hint="durations are in nanoseconds: wallaroo.seconds(10), for example",
        )


def _check_delay(call: str, delay: Any) -> int:
    if type(delay) is not int or not 0 <= delay <= LONGEST:
        raise WallarooParameterError(
            f"{call}(...).with_delay({delay!r}): the argument must be a whole number from 0 to 2**61",
            hint="durations are in nanoseconds: wallaroo.seconds(10), for example",
        )
    return delay


def _check_on_late(call: str, on_late: Any) -> str:
    if on_late not in ON_LATE:
        raise WallarooParameterError(
            f'{call}: on_late is {on_late!r}, which is neither "drop" nor "dead-letter"',
            hint="late values are counted in any case; with dead-letter they are kept too",
        )
    return str(on_late)
