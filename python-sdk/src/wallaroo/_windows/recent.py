"""Steps that keep a key's recent messages: ``dedup(within=...)``.

The orchestrator treats them as windows: it wakes a key when a message is no longer recent. It is told of windows of a
kind that it knows; what they hold is the workers' own business.
"""

from __future__ import annotations

from typing import Any, Callable

from wallaroo._windows.aggregations import BuiltInAggregation
from wallaroo._windows.windows import TimeWindows, WindowStep


class RecentIdentities(TimeWindows):
    """What identifies a key's messages, for a duration after each.

    Args:
        within: Nanoseconds.
    """

    call: str = "dedup"

    def __init__(self, within: int) -> None:
        super().__init__(0, "drop")
        self.within = within

    def describe(self) -> dict[str, Any]:
        """Return the ``window`` map of the topology."""
        return {"kind": "session", "gap": self.within, "delay": self.delay, "on_late": self.on_late}


class Dedup(BuiltInAggregation[Any, Any]):
    """Says what identifies a message, and gives the first with its key."""

    def update(self, data: Any, accumulator: Any, /) -> Any:
        """Return what identifies a message."""
        assert self.calls is not None, "it is made with a function"
        return self.calls(data)

    def output(self, key: Any, accumulator: Any, /) -> Any:
        """Return a message with its key."""
        return key, accumulator


def recent_dedup(where: str, name: str, identity_of: Callable[[Any], Any], within: int) -> WindowStep[Any, Any]:
    """Return the step that gives a message unless one with the same identity came less than ``within`` before it."""
    return WindowStep(RecentIdentities(within), Dedup("dedup", identity_of), where=where, name=name)
