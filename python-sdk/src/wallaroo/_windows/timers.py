"""Timers of a key in a step with state, by their tags."""

from __future__ import annotations

from heapq import heapify, heappop, heappush

_FEW = 8
"""Timers that were moved or cancelled are forgotten once there are more of them than of others, and than this."""


class Timers:
    """The timers of a key: at most one of each tag. Pickled into snapshots.

    Times are in nanoseconds since the Unix epoch. Of equal times, the one that was set first comes first.

    Example:
        >>> timers = Timers()
        >>> timers.set("remind", 30)
        >>> timers.set(None, 20)
        >>> timers.set("remind", 10)
        >>> timers.first()
        (10, 'remind')
        >>> timers.cancel("remind")
        >>> timers.first()
        (20, None)
    """

    __slots__ = ("_by_tag", "_number", "_queue")

    def __init__(self) -> None:
        # The time of each, and when it was set: as the how manyth.
        self._by_tag: dict[str | None, tuple[int, int]] = {}
        # With those that have been moved or cancelled since.
        self._queue: list[tuple[int, int, str | None]] = []
        self._number = 0

    def __len__(self) -> int:
        return len(self._by_tag)

    def set(self, tag: str | None, time: int) -> None:
        """Set the timer of a tag, in place of any that it has."""
        self._number += 1
        self._by_tag[tag] = time, self._number
        if len(self._queue) >= 2 * len(self._by_tag) + _FEW:
            self._queue = [(*placed, tag) for tag, placed in self._by_tag.items()]
            heapify(self._queue)
        else:
            heappush(self._queue, (time, self._number, tag))

    def cancel(self, tag: str | None) -> None:
        """Take the timer of a tag back, if there is one."""
        self._by_tag.pop(tag, None)

    def first(self) -> tuple[int, str | None] | None:
        """Return time and tag of the first timer, or ``None``."""
        queue, by_tag = self._queue, self._by_tag
        while queue:
            time, number, tag = queue[0]
            if by_tag.get(tag) == (time, number):
                return time, tag
            heappop(queue)
        return None

    def __getstate__(self) -> list[tuple[str | None, int]]:
        in_order = sorted(self._by_tag.items(), key=lambda item: item[1][1])
        return [(tag, time) for tag, (time, _) in in_order]

    def __setstate__(self, saved: list[tuple[str | None, int]]) -> None:
        self.__init__()  # type: ignore[misc]
        for tag, time in saved:
            self.set(tag, time)
