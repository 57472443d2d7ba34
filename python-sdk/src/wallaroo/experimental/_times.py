"""Event times as a connector's frames carry them: whole milliseconds since the Unix epoch, 0 for none."""

from __future__ import annotations

import math
import warnings
from datetime import datetime, timedelta, timezone
from operator import index
from typing import Any, Union

SentTime = Union[datetime, float, int, None]
"""What :meth:`SourceConnector.write` takes as ``event_time``."""

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MILLISECOND = timedelta(milliseconds=1)
_YEAR_1980 = 315_532_800_000
# The worker's times are nanoseconds below 2**62: until 2116. Microseconds since 1970 are always more than this.
_END = 2**62 // 1_000_000
_AN_INT_IS = "an int is milliseconds since the Unix epoch; give a datetime, or seconds as a float"


def in_milliseconds(event_time: Any) -> int:
    """Return an event time as it is sent. A ``datetime`` without a time zone is taken as UTC.

    Raises:
        TypeError: It is not a time.
        ValueError: It is outside of the years that can be sent.

    Warns:
        UserWarning: It is before 1980.
    """
    milliseconds = _converted(event_time)
    if not -_END < milliseconds < _END:
        raise ValueError(f"event_time {event_time!r} is after the year 2115, or as long before 1970: {_AN_INT_IS}")
    if milliseconds and milliseconds < _YEAR_1980:
        # Of write(), encode() and this function, the caller of the first.
        warnings.warn(f"event_time {event_time!r} is before 1980: {_AN_INT_IS}", UserWarning, stacklevel=4)
    return milliseconds


def _converted(event_time: Any) -> int:
    if event_time is None:
        return 0
    if isinstance(event_time, datetime):
        if event_time.utcoffset() is None:
            event_time = event_time.replace(tzinfo=timezone.utc)
        since_epoch: timedelta = event_time - _EPOCH
        return since_epoch // _MILLISECOND
    if isinstance(event_time, float):
        if not math.isfinite(event_time):
            raise ValueError(f"event_time {event_time!r} is not a time")
        return round(event_time * 1_000)
    if isinstance(event_time, bool) or not hasattr(event_time, "__index__"):
        raise TypeError(
            f"event_time is {type(event_time).__name__}; give a datetime, or since the Unix epoch seconds as a float"
            " or milliseconds as an int"
        )
    return int(index(event_time))
