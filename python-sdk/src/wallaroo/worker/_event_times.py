"""When a message happened: what an ``event_time`` function returned, in nanoseconds since the Unix epoch."""

from __future__ import annotations

import math
from operator import index
from time import time_ns
from typing import Any, Callable

from wallaroo.worker._failures import StepContractError

_LARGEST_TIME = 2**62
"""Later, or as long before 1970, nothing can have happened: sums of a time and durations stay within 64 bits."""

_SECOND = 1_000_000_000

YEAR_1980 = 315_532_800 * _SECOND
"""Seconds, milliseconds and microseconds since 1970 are earlier if they are taken for nanoseconds."""


def checked_time(time: Any) -> int:
    """Return what an ``event_time`` function returned: nanoseconds.

    Raises:
        StepContractError: It is no time.
    """
    try:
        if isinstance(time, bool):
            raise TypeError
        nanoseconds = index(time)
    except TypeError:
        raise StepContractError(
            f"event_time returned {type(time).__name__}; return nanoseconds since the Unix epoch as an int"
        ) from None
    return _within_range(nanoseconds)


def time_converter() -> Callable[[Any], int]:
    """Return a function like :func:`checked_time` that also takes seconds as a ``float``, and a ``datetime``."""
    import datetime  # Imported here because most workers never need it, and importing it takes 1 ms.

    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)

    def convert(time: Any) -> int:
        if isinstance(time, float):
            # A float of this size cannot tell nanoseconds apart, so nothing is lost by the product.
            return _within_range(round(time * _SECOND) if math.isfinite(time) else time)
        if isinstance(time, datetime.datetime):
            if time.utcoffset() is None:
                raise StepContractError(
                    "event_time returned a datetime without a time zone; say which, as with"
                    " .replace(tzinfo=datetime.timezone.utc)"
                )
            passed = time - epoch
            return _within_range((passed.days * 86_400 + passed.seconds) * _SECOND + passed.microseconds * 1_000)
        if isinstance(time, bool) or not hasattr(time, "__index__"):
            raise StepContractError(
                f"event_time returned {type(time).__name__}; return a datetime with a time zone, or since the Unix"
                " epoch seconds as a float or nanoseconds as an int"
            )
        return checked_time(time)

    return convert


def _within_range(nanoseconds: Any) -> int:
    if not -_LARGEST_TIME < nanoseconds < _LARGEST_TIME:
        raise StepContractError(f"event_time returned {nanoseconds}, which is no time in nanoseconds")
    return int(nanoseconds)


def check_ahead(time: int, arrival: int, max_ahead: int) -> None:
    """Raise an error if an event time is too long after the message's arrival. All are in nanoseconds.

    The orchestrator's clock, by which messages arrive, stays as it was when the run began: it misses that the machine's
    clock was set, or that the machine was suspended. So the machine's clock may say that a time is right.

    Raises:
        StepContractError: It is too far ahead by both.
    """
    import datetime  # As above.

    ahead = time - max(arrival, time_ns())
    if ahead <= max_ahead:
        return
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
    since_epoch, by, most = (datetime.timedelta(microseconds=each // 1_000) for each in (time, ahead, max_ahead))
    raise StepContractError(
        f"event_time returned {epoch + since_epoch}, which is {by} after the message arrived, and max_ahead of the"
        f" source is {most}; give it more, or None, if the time is right"
    )


def warn_of_early_time(source: str, event_time: Callable[[Any], Any], time: int) -> None:
    """Warn that an event time is before 1980, at the function that returned it."""
    import warnings  # Imported here because most workers never need it.

    code = getattr(event_time, "__code__", None)
    warnings.warn_explicit(
        f"event_time of source {source!r} returned {time} nanoseconds, which is before 1980: an int is nanoseconds"
        " since the Unix epoch; return seconds as a float",
        UserWarning,
        code.co_filename if code is not None else "<event_time>",
        code.co_firstlineno if code is not None else 1,
    )
