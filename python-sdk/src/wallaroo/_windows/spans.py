"""Windows of time for :meth:`Pipeline.window`, by the names that most know them by."""

from __future__ import annotations

from datetime import tzinfo
from typing import Any

from wallaroo._errors import WallarooParameterError
from wallaroo._steps.durations import Duration, in_nanoseconds
from wallaroo._windows.windows import (
    LONGEST,
    RangeWindows,
    SessionWindows,
    check_delay,
    check_on_late,
    check_positive,
    check_slide,
)


def tumbling(
    length: Duration,
    *,
    offset: Duration = 0,
    timezone: str | tzinfo | None = None,
    delay: Duration = 0,
    on_late: str = "drop",
) -> RangeWindows:
    """Windows of time that follow each other: each message is in one.

    A window is complete when the watermark is past its end: every source that leads here has got as far, and the
    window's delay is over. A window without messages gives nothing.

    Args:
        length: Of a window, in nanoseconds or as a ``timedelta``.
        offset: Windows begin so long after the Unix epoch, and every ``length`` before and after that. It may be
            negative.
        timezone: Days begin at midnight there, and are 23 or 25 hours long where clocks change: a name such as
            ``"Europe/Paris"``, or a ``tzinfo``. ``length`` is a number of days then. ``offset`` is by its clocks, and
            so are the ends of windows that are given. Without it everything is in UTC.
        delay: How long to wait in event time for messages that are out of order.
        on_late: What happens to a message that comes when all its windows are complete. It is always counted;
            ``"dead-letter"`` also makes it a dead letter.

    Raises:
        WallarooParameterError: An argument is unusable.

    Example:
        >>> from datetime import timedelta
        >>> tumbling(timedelta(days=1), offset=timedelta(hours=6)).describe()["range"]
        86400000000000
    """
    checked = check_positive(f"tumbling({length!r})", length)
    return _ranges("tumbling", checked, checked, offset, timezone, delay, on_late)


def sliding(
    length: Duration,
    every: Duration,
    *,
    offset: Duration = 0,
    timezone: str | tzinfo | None = None,
    delay: Duration = 0,
    on_late: str = "drop",
) -> RangeWindows:
    """Windows of time that overlap: one begins every so often, and each message is in all that are open.

    Args:
        length: Of a window, in nanoseconds or as a ``timedelta``.
        every: From the beginning of a window to that of the next; at most ``length``.
        offset: A window begins so long after the Unix epoch. It may be negative.
        timezone: As for :func:`tumbling`; ``every`` is a number of days too.
        delay: As for :func:`tumbling`.
        on_late: As for :func:`tumbling`.

    Raises:
        WallarooParameterError: An argument is unusable.

    Example:
        >>> from datetime import timedelta
        >>> sliding(timedelta(minutes=5), every=timedelta(minutes=1)).describe()["slide"]
        60000000000
    """
    checked = check_positive(f"sliding({length!r}, ...)", length)
    slide = check_positive(f"sliding(..., every={every!r})", every)
    check_slide(f"sliding({length!r}, every={every!r})", checked, slide)
    return _ranges("sliding", checked, slide, offset, timezone, delay, on_late)


def sessions(gap: Duration, *, delay: Duration = 0, on_late: str = "drop") -> SessionWindows:
    """Windows that end when a key has no message for some time.

    A message belongs to a session when less than ``gap`` lies between it and a message in it, before or after. One that
    closes the gap between two sessions joins them, with :meth:`Aggregation.combine`.

    Args:
        gap: Time without a message that ends a session, in nanoseconds or as a ``timedelta``.
        delay: As for :func:`tumbling`.
        on_late: As for :func:`tumbling`.

    Raises:
        WallarooParameterError: An argument is unusable.

    Example:
        >>> from datetime import timedelta
        >>> sessions(timedelta(minutes=30)).describe()["gap"]
        1800000000000
    """
    checked = check_positive(f"sessions({gap!r})", gap)
    made = SessionWindows(
        checked, check_delay(f"sessions(..., delay={delay!r})", delay), check_on_late("sessions", on_late)
    )
    made.call = "sessions"
    return made


def _ranges(call: str, length: int, slide: int, offset: Any, timezone: Any, delay: Any, on_late: Any) -> RangeWindows:
    moved = in_nanoseconds(offset)
    if type(moved) is not int or abs(moved) > LONGEST:
        raise WallarooParameterError(
            f"{call}(..., offset={offset!r}): the argument must be a whole number from -2**61 to 2**61",
            hint="durations are in nanoseconds: wallaroo.hours(6), for example; or a datetime.timedelta",
        )
    checked = check_delay(f"{call}(..., delay={delay!r})", delay)
    zone = None if timezone is None else _zone_of(call, timezone, length, slide)
    made = RangeWindows(length, slide, checked, check_on_late(call, on_late), moved % slide, zone)
    made.call = call
    return made


_DAY = 86_400_000_000_000


def _zone_of(call: str, timezone: Any, length: int, slide: int) -> tzinfo:
    where = f"{call}(..., timezone={timezone!r})"
    if length % _DAY or slide % _DAY:
        raise WallarooParameterError(
            f"{where}: a time zone is for windows of whole days",
            hint="leave timezone out, and move the windows with offset= if they begin within an hour of UTC",
        )
    if isinstance(timezone, tzinfo):
        return timezone
    from zoneinfo import ZoneInfo  # Imported here because most workers never need it.

    try:
        return ZoneInfo(timezone)
    except (KeyError, ValueError, OSError, TypeError, AttributeError):
        raise WallarooParameterError(
            f"{where}: there is no such time zone",
            hint='give a name such as "Europe/Paris", or a tzinfo; where the system knows none, install tzdata',
        ) from None
