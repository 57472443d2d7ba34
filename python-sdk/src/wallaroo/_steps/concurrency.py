"""How the calls of an async step are made: how many at once, how long one may take, when it is tried again."""

from __future__ import annotations

from typing import Any, NamedTuple

from wallaroo._errors import WallarooParameterError
from wallaroo._steps.durations import in_nanoseconds
from wallaroo._steps.filling import Fill
from wallaroo._steps.objects import shown_type

_MOST = 8192
"""Messages in a batch that the orchestrator forms, at most: more calls are never under way."""

_LEAST = 1_000_000
"""Nanoseconds. Who writes less has meant seconds."""

_ROUNDS, _ROUNDS_OF_KEYS = 4, 16
"""A batch may hold so many times the messages that are under way at once.

A batch is over when its last call is, so that a worker idles at its end. 6,000 calls of 50 ms on average, exponentially
distributed, took two workers 15 s in batches of one round, 9 s in batches of two and 6 s in batches of four. Where
messages have keys, the batches above make a sixteenth of what may wait here: batches of a round take 16.
"""


class Concurrency(NamedTuple):
    """The options of ``map_async``. Times are in seconds, for ``asyncio``."""

    calls: int
    timeout: float | None
    backoff: float
    ordered: bool

    def fill(self, *, keyed: bool) -> Fill:
        """Return how many messages a batch may hold, whatever they cost. It waits for none of them."""
        return Fill(min(self.calls * (_ROUNDS_OF_KEYS if keyed else _ROUNDS), _MOST), 0)


def concurrency_of(where: str, calls: Any, timeout: Any, backoff: Any, ordered: Any) -> Concurrency:
    """Return the options, checked.

    Args:
        where: The call, for errors.
        calls: Calls that are under way at once in a worker, at most.
        timeout: Of one attempt: nanoseconds, a ``timedelta``, or ``None``.
        backoff: Before the first retry: nanoseconds or a ``timedelta``.
        ordered: Whether results are in the order of the messages.

    Raises:
        WallarooParameterError: An argument is unusable.
    """
    if type(calls) is not int or not 1 <= calls <= _MOST:
        raise WallarooParameterError(
            f"{where}: concurrency is a number of calls, 1 to {_MOST}, not {_shown(calls)}",
            hint="for example concurrency=50",
        )
    if type(ordered) is not bool:
        raise WallarooParameterError(
            f"{where}: ordered is {_shown(ordered)}", hint="give ordered=False if results may come in any order"
        )
    limit = None if timeout is None else _seconds(where, "timeout", timeout, "seconds(2)")
    pause = 0.0 if in_nanoseconds(backoff) == 0 else _seconds(where, "backoff", backoff, "milliseconds(100)")
    return Concurrency(calls, limit, pause, ordered)


def _seconds(where: str, name: str, duration: Any, example: str) -> float:
    nanoseconds = in_nanoseconds(duration)
    if type(nanoseconds) is not int or nanoseconds < 0:
        raise WallarooParameterError(
            f"{where}: {name} is a timedelta or a whole number of nanoseconds, not {_shown(duration)}",
            hint=f"for example {name}={example}",
        )
    if nanoseconds < _LEAST:
        raise WallarooParameterError(
            f"{where}: {name}={duration!r} is less than a millisecond: durations are in nanoseconds",
            hint=f"for example {name}={example}",
        )
    return nanoseconds / 1_000_000_000


def _shown(given: Any) -> str:
    return repr(given) if given is None or isinstance(given, (int, float, str)) else shown_type(given)
