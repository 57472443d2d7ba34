"""How full the batches of a step are to be: ``max_batch=`` and ``max_wait=``."""

from __future__ import annotations

from typing import Any, NamedTuple

from wallaroo._errors import WallarooParameterError
from wallaroo._steps.durations import in_nanoseconds
from wallaroo._steps.objects import shown_type

_MOST = 8192
"""Messages in a batch that the orchestrator forms, at most."""

_LONGEST = 1 << 62
"""Nanoseconds."""


class Fill(NamedTuple):
    """For how much batches wait: so many ``messages``, or until the first has waited for ``wait`` nanoseconds."""

    messages: int
    wait: int

    def describe(self) -> dict[str, int]:
        """Return the map of the topology."""
        return {"messages": self.messages, "wait": self.wait}


def fill_of(where: str, max_batch: Any, max_wait: Any) -> Fill | None:
    """Return what a step's batches wait for; nothing without ``max_wait``.

    Args:
        where: The call, for errors.
        max_batch: Messages in one call, at most, or ``None``.
        max_wait: Nanoseconds or a ``timedelta``, or ``None``.

    Raises:
        WallarooParameterError: An argument is unusable.
    """
    if max_batch is not None and (type(max_batch) is not int or max_batch < 1):
        given = repr(max_batch) if type(max_batch) is int else shown_type(max_batch)
        raise WallarooParameterError(
            f"{where}: max_batch is a number of messages, 1 or more, not {given}",
            hint="for example max_batch=64",
        )
    if max_wait is None:
        return None
    nanoseconds = in_nanoseconds(max_wait)
    if type(nanoseconds) is not int or not 0 <= nanoseconds < _LONGEST:
        given = repr(max_wait) if type(nanoseconds) is int else shown_type(max_wait)
        raise WallarooParameterError(
            f"{where}: max_wait is a timedelta or a whole number of nanoseconds, 0 or more, not {given}",
            hint="for example max_wait=milliseconds(50)",
        )
    return Fill(min(max_batch or _MOST, _MOST), nanoseconds)
