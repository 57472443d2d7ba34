"""Joins of two streams: what they keep of a key, and for how long.

Messages come as ``(side, key, message)``. The orchestrator treats a join as windows: it wakes a key when the time of a
message is over.
"""

from __future__ import annotations

from typing import Any, ClassVar

from wallaroo._errors import WallarooParameterError
from wallaroo._steps.durations import Duration
from wallaroo._windows.aggregations import BuiltInAggregation
from wallaroo._windows.windows import CountWindows, TimeWindows, WindowStep, check_delay, check_on_late, check_positive

LEFT, RIGHT, PAIR = 0, 1, 2
"""The sides. The left stream is the one whose ``join`` is called. A pair is kept where a side is while it waits."""

_KEPT = {"inner": (), "left": (LEFT,), "outer": (LEFT, RIGHT)}


class JoinWithin(TimeWindows):
    """Messages of a key that wait for others for a duration.

    Args:
        within: Nanoseconds between two messages that are joined, at most.
        kept: The sides whose messages are given without another.
        delay: Nanoseconds that a message waits longer, for others that are out of order.
        on_late: As for :func:`tumbling`.
    """

    call: str = "join"

    def __init__(self, within: int, kept: tuple[int, ...], delay: int, on_late: str) -> None:
        super().__init__(delay, on_late)
        self.within = within
        self.kept = kept

    def describe(self) -> dict[str, Any]:
        """Return the ``window`` map of the topology."""
        return {
            "kind": "range",
            "range": self.within,
            "slide": self.within,
            "delay": self.delay,
            "on_late": self.on_late,
        }


class JoinAll(CountWindows):
    """Messages of a key that wait for others until the sources end.

    Args:
        kept: The sides whose messages are given without another.
    """

    call: str = "join"
    within: ClassVar[None] = None

    def __init__(self, kept: tuple[int, ...]) -> None:
        super().__init__(1)
        self.kept = kept


class Join(BuiltInAggregation[Any, Any]):
    """Gives a message without another, or a pair that has waited."""

    def update(self, data: Any, accumulator: Any, /) -> Any:
        """Return what a join keeps of a message: its side, and the message."""
        return data[0], data[2]

    def output(self, key: Any, accumulator: Any, /) -> Any:
        """Return the pair."""
        side, message = accumulator
        if side == PAIR:
            return key, message
        return key, ((message, None) if side == LEFT else (None, message))


def join_step(
    where: str, name: str, within: Duration | None, how: str, delay: Duration, on_late: str
) -> WindowStep[Any, Any]:
    """Return the step that joins the messages of two sides.

    Raises:
        WallarooParameterError: An argument is unusable.
    """
    if how not in _KEPT:
        raise WallarooParameterError(
            f'{where}: how is {how!r}, none of "inner", "left" and "outer"', hint=_HINTS.get(how, _HINT)
        )
    kept, windows = _KEPT[how], None
    late = check_on_late(where, on_late)
    checked = check_delay(f"{where}: delay={delay!r}", delay)
    if within is not None:
        windows = JoinWithin(check_positive(f"{where}: within={within!r}", within), kept, checked, late)
    elif checked or late != "drop":
        raise WallarooParameterError(
            f"{where}: no message is late without within", hint="give within=, or leave delay and on_late out"
        )
    return WindowStep(windows or JoinAll(kept), Join("join"), where=where, name=name)


_HINT = '"inner" gives pairs alone, "left" also messages of the left stream without another, "outer" those of both'
_HINTS = {"right": 'swap the streams and write how="left"', "full": 'write how="outer"'}
