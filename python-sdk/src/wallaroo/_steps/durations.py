"""Durations: whole numbers of nanoseconds, functions that make them of other units, and ``timedelta``."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Callable, Union

from wallaroo._errors import WallarooParameterError

Duration = Union[int, timedelta]
"""Nanoseconds, or a ``timedelta``."""

_MICROSECOND = timedelta(microseconds=1)


def in_nanoseconds(duration: Any) -> Any:
    """Return a ``timedelta`` in nanoseconds; anything else as it is."""
    return duration // _MICROSECOND * 1_000 if isinstance(duration, timedelta) else duration


def _unit(name: str, nanoseconds_each: int) -> Callable[[int], int]:
    def of(count: int) -> int:
        if type(count) is not int:
            raise WallarooParameterError(
                f"{name}({count!r}): durations are whole numbers",
                hint="use a smaller unit, for example milliseconds(500)",
            )
        return count * nanoseconds_each

    of.__name__ = of.__qualname__ = name
    of.__doc__ = f"""Return ``count`` {name} in nanoseconds, the unit of all durations.

    Args:
        count: A whole number.

    Raises:
        WallarooParameterError: It is not an ``int``.

    Example:
        >>> {name}(5)
        {5 * nanoseconds_each}
    """
    return of


nanoseconds = _unit("nanoseconds", 1)
microseconds = _unit("microseconds", 1_000)
milliseconds = _unit("milliseconds", 1_000_000)
seconds = _unit("seconds", 1_000_000_000)
minutes = _unit("minutes", 60_000_000_000)
hours = _unit("hours", 3_600_000_000_000)
