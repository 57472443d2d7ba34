"""Windows: steps that gather the values of a key and give one output for each window of them.

Two calls make a step: ``range_windows``, ``count_windows`` or ``session_windows`` says which values belong together,
and ``over`` how to aggregate them. Time is event time in nanoseconds since the Unix epoch: what the source's
``event_time`` function says of a message, or when the message arrived.
"""

from __future__ import annotations

from datetime import timedelta, tzinfo
from typing import Any, Callable, ClassVar, Generic, TypeVar, Union

from wallaroo._errors import WallarooParameterError
from wallaroo._steps.computations import Step
from wallaroo._steps.durations import Duration, in_nanoseconds
from wallaroo._steps.objects import as_object, check_name, class_name, method, step_name, takes
from wallaroo._windows.windowed import windowed_output

In = TypeVar("In")
Accumulator = TypeVar("Accumulator")
Out = TypeVar("Out")
In_contra = TypeVar("In_contra", contravariant=True)
Out_co = TypeVar("Out_co", covariant=True)

LONGEST = 2**61
"""Nanoseconds, 73 years: sums of a time and a few durations then stay within 64 bits."""

ON_LATE = ("drop", "dead-letter")

_OUTPUT_OF_WINDOW = ("key", "accumulator", "window")


class Aggregation(Generic[In_contra, Accumulator, Out_co]):
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

    def update(self, data: In_contra, accumulator: Accumulator, /) -> Accumulator | None:
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

    def output(self, key: Any, accumulator: Any, /, *window: Any, **_: Any) -> Out_co | None:
        """Make the output of a window that is complete.

        Args:
            key: The key whose window it is; ``None`` without a ``key_by``.
            accumulator: The accumulator of the window.
            *window: A subclass may define a third argument ``window``. It is given the :class:`Window`: when it begins
                and ends, and why it is complete.

        Returns:
            The output, or ``None`` for no output.
        """
        raise NotImplementedError


AggregationLike = Union[Aggregation[In, Any, Out], Callable[[], Aggregation[In, Any, Out]]]
"""An aggregation, or a class of aggregations."""


class CountWindows:
    """Windows of a number of values in a row. Made by :func:`count_windows`."""

    call: str = "count_windows"

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


class TimeWindows:
    """The common part of windows of time."""

    call: str

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


class RangeWindows(TimeWindows):
    """Windows of a range of time. Made by :func:`range_windows`."""

    call: str = "range_windows"

    def __init__(
        self, range: int, slide: int, delay: int, on_late: str, offset: int = 0, zone: tzinfo | None = None
    ) -> None:
        super().__init__(delay, on_late)
        self.range = range
        self.slide = slide
        # A window begins at this time, and every ``slide`` before and after it.
        self.offset = offset
        # Windows of days of this time zone; ``None``: UTC.
        self.zone = zone

    def with_slide(self, slide: Duration) -> RangeWindows:
        """Begin a window every ``slide`` nanoseconds. Windows overlap if that is less than their length.

        Args:
            slide: Nanoseconds or a ``timedelta``, at most the length of a window.

        Raises:
            WallarooParameterError: ``slide`` is not such a number.

        Example:
            >>> from wallaroo import minutes, seconds
            >>> range_windows(minutes(1)).with_slide(seconds(20)).slide == seconds(20)
            True
        """
        checked = check_positive(f"range_windows(...).with_slide({slide!r})", slide)
        check_slide(f"range_windows({self.range}).with_slide({checked})", self.range, checked)
        return RangeWindows(self.range, checked, self.delay, self.on_late, self.offset, self.zone)

    def with_delay(self, delay: Duration) -> RangeWindows:
        """Wait ``delay`` nanoseconds of event time for values that are out of order.

        Args:
            delay: Nanoseconds, or a ``timedelta``, by which the watermark must be past a window's end.

        Raises:
            WallarooParameterError: ``delay`` is not a duration.

        Example:
            >>> from wallaroo import minutes, seconds
            >>> range_windows(minutes(1)).with_delay(seconds(5)).delay == seconds(5)
            True
        """
        checked = check_delay(f"{self.call}(...).with_delay({delay!r})", delay)
        return RangeWindows(self.range, self.slide, checked, self.on_late, self.offset, self.zone)

    def describe(self) -> dict[str, Any]:
        """Return the ``window`` map of the topology. The offset is the workers' own business."""
        return {
            "kind": "range",
            "range": self.range,
            "slide": self.slide,
            "delay": self.delay,
            "on_late": self.on_late,
        }


class SessionWindows(TimeWindows):
    """Windows that end with a gap. Made by :func:`session_windows`."""

    call: str = "session_windows"

    def __init__(self, gap: int, delay: int, on_late: str) -> None:
        super().__init__(delay, on_late)
        self.gap = gap

    def with_delay(self, delay: Duration) -> SessionWindows:
        """Wait ``delay`` nanoseconds of event time for values that are out of order.

        Args:
            delay: Nanoseconds, or a ``timedelta``, by which the watermark must be past a session's end.

        Raises:
            WallarooParameterError: ``delay`` is not a duration.

        Example:
            >>> from wallaroo import minutes, seconds
            >>> session_windows(minutes(30)).with_delay(seconds(5)).delay == seconds(5)
            True
        """
        return SessionWindows(self.gap, check_delay(f"{self.call}(...).with_delay({delay!r})", delay), self.on_late)

    def describe(self) -> dict[str, Any]:
        """Return the ``window`` map of the topology."""
        return {"kind": "session", "gap": self.gap, "delay": self.delay, "on_late": self.on_late}


Windows = Union[CountWindows, TimeWindows]

BARE_WINDOWS = (CountWindows, TimeWindows)
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
    if isinstance(count, timedelta):
        raise WallarooParameterError(
            f"count_windows({count!r}): the argument is a duration, and windows of a number of values are counted",
            hint="give the number of values, or use tumbling for windows of time",
        )
    return CountWindows(check_positive(f"count_windows({count!r})", count))


def range_windows(range: Duration, *, on_late: str = "drop") -> RangeWindows:
    """Gather the values of a key in ranges of event time, aligned to the Unix epoch.

    A window is complete when the watermark is past its end: every source that leads here has got as far, and the
    window's delay is over. It gives its output then, or when the sources end. A window without values gives no output.

    Args:
        range: Length of a window in nanoseconds, or as a ``timedelta``.
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
    length = check_positive(f"range_windows({range!r})", range)
    return RangeWindows(length, length, 0, check_on_late("range_windows", on_late))


def session_windows(gap: Duration, *, on_late: str = "drop") -> SessionWindows:
    """Gather the values of a key until no other comes for ``gap`` nanoseconds of event time.

    A value belongs to a session when less than ``gap`` lies between it and a value in it, before or after. One that
    closes the gap between two sessions joins them, with :meth:`Aggregation.combine`.

    Args:
        gap: Nanoseconds or a ``timedelta`` without a value that end a session.
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
    return SessionWindows(
        check_positive(f"session_windows({gap!r})", gap), 0, check_on_late("session_windows", on_late)
    )


class WindowStep(Step[In, Out], Generic[In, Out]):
    """Windows with their aggregation. Made by ``over``.

    Args:
        windows: Which values belong together.
        aggregation: A class or an instance with the methods of :class:`Aggregation`.
        where: Its place, for errors; where ``over`` was called, if it is left out.
        name: Its name; the aggregation's, if it is left out.
        windowed: Whether the output is made a :class:`Windowed`.
        early: Nanoseconds between two results of a window that is not complete; ``None`` for no such results.
    """

    needs_key: ClassVar[bool] = True
    """It has state, and so must stand below a ``key_by`` or ``collect``."""

    def __init__(
        self,
        windows: Windows,
        aggregation: AggregationLike[In, Any],
        *,
        where: str | None = None,
        name: str | None = None,
        windowed: bool = False,
        early: int | None = None,
    ) -> None:
        if where is None:
            where = f"{windows.call}(...).over({getattr(aggregation, '__name__', class_name(aggregation))})"
        self._where = where
        self.windows = windows
        self.early = early
        self.aggregation = as_object(where, aggregation, None)
        self.initial: Callable[[], Any] = method(where, self.aggregation, "initial_accumulator")
        self.update: Callable[[Any, Any], Any] = method(where, self.aggregation, "update", "data", "accumulator")
        self.takes_window = takes(getattr(self.aggregation, "output", None), *_OUTPUT_OF_WINDOW)
        parameters = _OUTPUT_OF_WINDOW if self.takes_window else _OUTPUT_OF_WINDOW[:2]
        self.output: Callable[..., Any] = method(where, self.aggregation, "output", *parameters)
        self.combine: Callable[[Any, Any], Any] | None = None
        self._require("output", "key", "accumulator")
        self._require("update", "data", "accumulator")
        self._require("initial_accumulator")
        if isinstance(windows, SessionWindows):
            self.combine = method(where, self.aggregation, "combine", "left", "right")
            self._require("combine", "left", "right", why=", and sessions may be joined")
        self.name = step_name(where, self.aggregation) if name is None else check_name(f"{where}: name", name)
        if windowed:
            self.output, self.takes_window = windowed_output(self.output, takes_window=self.takes_window), True

    def _require(self, name: str, *parameters: str, why: str = "") -> None:
        """Raise an error if the aggregation has a method only from :class:`Aggregation`, where all of them raise."""
        if getattr(type(self.aggregation), name, None) is getattr(Aggregation, name):
            raise WallarooParameterError(
                f"{self._where}: {class_name(self.aggregation)} has no method {name}{why}",
                hint=f"define {name}({', '.join(('self', *parameters))}) in class {class_name(self.aggregation)}",
            )

    @property
    def is_timed(self) -> bool:
        """Whether its values need times: its windows are windows of time, or their bounds are asked for."""
        return self.takes_window or not isinstance(self.windows, CountWindows)

    @property
    def keeps_late(self) -> bool:
        """Whether late values become dead letters."""
        return not isinstance(self.windows, CountWindows) and self.windows.on_late == "dead-letter"

    @property
    def delay(self) -> int:
        """Nanoseconds for which it waits for values that are out of order."""
        return 0 if isinstance(self.windows, CountWindows) else self.windows.delay


_A_DURATION = "durations are in nanoseconds: wallaroo.seconds(10), for example; or a datetime.timedelta"


def check_positive(where: str, value: Any) -> int:
    """Return a number of values, or a duration in nanoseconds.

    Raises:
        WallarooParameterError: It is not positive, or longer than :data:`LONGEST`.
    """
    checked = in_nanoseconds(value)
    if type(checked) is not int or not 0 < checked <= LONGEST:
        raise WallarooParameterError(f"{where}: the argument must be a whole number from 1 to 2**61", hint=_A_DURATION)
    return checked


def check_delay(where: str, delay: Any) -> int:
    """Return a delay in nanoseconds.

    Raises:
        WallarooParameterError: It is negative, or longer than :data:`LONGEST`.
    """
    checked = in_nanoseconds(delay)
    if type(checked) is not int or not 0 <= checked <= LONGEST:
        raise WallarooParameterError(f"{where}: the argument must be a whole number from 0 to 2**61", hint=_A_DURATION)
    return checked


def check_slide(where: str, length: int, slide: int) -> None:
    """Raise an error unless windows follow each other without a gap.

    Raises:
        WallarooParameterError: They do not.
    """
    if slide > length:
        raise WallarooParameterError(
            f"{where}: values between two windows would be in none",
            hint="give a slide of at most the length of a window",
        )


def check_early(where: str, windows: Windows, early: Any) -> int:
    """Return how often windows give results before they are complete, in nanoseconds.

    Raises:
        WallarooParameterError: It is no duration, or no such result would ever come.
    """
    where = f"{where}: early={early!r}"
    checked = check_positive(where, early)
    if isinstance(windows, CountWindows):
        raise WallarooParameterError(
            f"{where} is a time, and {windows.call} end with a number of messages",
            hint="leave early out, or use tumbling, sliding or sessions",
        )
    if isinstance(windows, RangeWindows) and checked >= windows.range + windows.delay:
        raise WallarooParameterError(
            f"{where} is no shorter than a window, which is complete by then",
            hint="give a part of the window's length, or leave early out",
        )
    return checked


def check_on_late(call: str, on_late: Any) -> str:
    """Return ``on_late``.

    Raises:
        WallarooParameterError: It is neither ``"drop"`` nor ``"dead-letter"``.
    """
    if on_late not in ON_LATE:
        raise WallarooParameterError(
            f'{call}: on_late is {on_late!r}, which is neither "drop" nor "dead-letter"',
            hint="late values are counted in any case; with dead-letter they are kept too",
        )
    return str(on_late)
