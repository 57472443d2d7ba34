"""Steps that keep a key's recent messages: what they keep, what they give, and when they forget.

Whether a message is still recent depends on the watermark it meets, and not on whether its timer has come: so what is
given does not depend on how the stream was cut into batches.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from wallaroo._codec.key_tags import untagged
from wallaroo._codec.protocol import END
from wallaroo._steps.running import without_hash
from wallaroo._windows.recent import RecentIdentities
from wallaroo._windows.windows import WindowStep
from wallaroo.worker._depth_first import Position, Push
from wallaroo.worker._open_windows import StepWindows, Window
from wallaroo.worker._state import StateTable

FORGET_LATER = 8
"""A key is woken to forget an eighth of the duration later: then one timer does for many messages."""


class SeenLately:
    """When messages of a key came first, by what identifies them. Pickled into snapshots."""

    __slots__ = ("times", "told")

    def __init__(self) -> None:
        # About in the order of the times.
        self.times: dict[Hashable, int] = {}
        self.told: int | None = None

    def is_empty(self) -> bool:
        """Whether it is as good as a new one."""
        return not self.times


class RecentDedup(StepWindows):
    """Gives a message unless one with the same identity came less than a duration before it, or after it."""

    closed_by = "time"

    def __init__(
        self, node: int, step: WindowStep[Any, Any], table: StateTable, delay_above: int, recent: RecentIdentities
    ) -> None:
        super().__init__(node, step, table, delay_above)
        self._within = recent.within

    def _take(self, opened: Any, value: Any, below: Push, place: Position) -> None:
        identity = self._step.update(value, None)
        times: dict[Hashable, int] = opened.times
        try:
            first = times.get(identity)
        except TypeError:
            raise without_hash(identity) from None
        time, within = place.time, self._within
        if first is not None and abs(time - first) < within and place.watermark < first + within:
            return
        if (first is None or time > first) and place.watermark < time + within:
            times.pop(identity, None)
            times[identity] = time
        below(self._step.output(untagged(place.key), value))

    def _take_complete(self, opened: Any, watermark: int) -> list[Window]:
        """Forget what is not recent. It gives nothing."""
        times: dict[Hashable, int] = opened.times
        while times:
            identity = next(iter(times))
            if times[identity] + self._within > watermark:
                break
            del times[identity]
        return []

    def next_deadline(self, key: Any) -> int | None:
        """Return the watermark of the stage at which a key is to be woken next, or ``None``."""
        opened = self._table.live.get(key)
        if opened is None or not opened.times:
            return None
        first: int = next(iter(opened.times.values()))
        return min(first + self._within + self._within // FORGET_LATER + self._delay_above, END)

    def _deadline(self, window: Window) -> int:
        raise AssertionError("it has no windows")
