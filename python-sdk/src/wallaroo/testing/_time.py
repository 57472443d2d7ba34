"""Time in one process: watermarks and timers, as the orchestrator's ``engine/time`` keeps them.

It is simpler here: nothing is under way when time advances, since every message has gone as far as it can.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from heapq import heappop, heappush
from time import time_ns
from typing import Any

from wallaroo._codec.keys import key_from_wire
from wallaroo._codec.protocol import BEGINNING, END
from wallaroo._pipeline.topology import Application, SourceNode, WindowNode
from wallaroo.testing._plan import PlannedStage


class StageTimes:
    """How far time has come at every stage, and which keys wait for it.

    Args:
        application: Its sources may have event times.
        stages: By what they begin at.
        idle_after: After so many nanoseconds without a message, a source with event times holds others back no more.
    """

    def __init__(self, application: Application, stages: Sequence[PlannedStage], idle_after: int) -> None:
        self._idle_after = idle_after
        self._feeders = {
            stage.root: [above.root for above in stages if stage.root in above.outlets]
            for stage in stages
            if stage.kind == "groups"
        }
        self._delays = {stage.root: _delay(application, stage) for stage in stages}
        self._by_event_time = {
            root
            for root, node in enumerate(application.nodes)
            if isinstance(node, SourceNode) and node.source.has_event_times
        }
        # The watermark of what has come in at a source with event times, and of a keyed stage: the last before the end.
        self._watermarks = {stage.root: BEGINNING for stage in stages}
        # Sources that have ended, and keyed stages that get nothing more.
        self._ended: set[int] = set()
        self._timers = {root: _Timers() for root in self._feeders}
        # By the clock: when a source with event times was last given anything.
        self._active = dict.fromkeys(self._by_event_time, 0)
        # Keyed stages to which only silent sources lead, and some that have ended.
        self._silent: set[int] = set()
        self.clock = 0
        self.late = 0

    def of_batch(self, root: int, given: Any) -> list[int]:
        """Return the ``times`` of a batch: of arrival, or the watermark of a keyed stage."""
        if root in self._feeders:
            return [len(given) // 4, self._watermarks[root]]
        # The clock of a test begins in 1970. max_ahead compares event times with the machine's clock.
        begin = time_ns() if root in self._by_event_time else 0
        return [given if isinstance(given, int) else len(given), begin + self.clock]

    def hear(self, root: int, timing: list[Any] | None) -> None:
        """Take in what the result of a batch says of time."""
        if timing is None:
            return
        reached, late, timers = timing
        self.late += late
        if root in self._active:
            self._active[root] = self.clock
        if reached is not None:
            self._watermarks[root] = max(self._watermarks[root], reached)
        for key, deadline in zip(timers[0::2], timers[1::2]):
            self._timers[root].set(key_from_wire(key), deadline)

    def end(self, root: int) -> None:
        """Take note that a source has ended."""
        self._ended.add(root)

    def due(self) -> tuple[int, Any, int] | None:
        """Move time on, and return the next stage and key to be woken, and the watermark there."""
        for root, feeders in self._feeders.items():
            left = [feeder for feeder in feeders if feeder not in self._ended]
            running = [feeder for feeder in left if not self._is_silent(feeder)]
            # Where no feeder is running, none holds another back.
            last = min(map(self._below, running)) if running else max(map(self._below, feeders))
            self._watermarks[root] = max(self._watermarks[root], last)
            (self._silent.add if left and not running else self._silent.discard)(root)
            due = self._take_due(root, self._watermarks[root])
            # A silent source has not ended.
            if due is None and not left:
                # All that is complete by then has been given.
                self._ended.add(root)
                due = self._take_due(root, END)
            if due is not None:
                return due
        return None

    def _is_silent(self, root: int) -> bool:
        return root in self._silent or (root in self._active and self.clock - self._active[root] > self._idle_after)

    def _take_due(self, root: int, watermark: int) -> tuple[int, Any, int] | None:
        due = self._timers[root].take_due(watermark)
        return None if due is None else (root, due[0], watermark)

    def _below(self, root: int) -> int:
        """Return the watermark of what leaves a stage, or the last one before the end."""
        if root in self._feeders:
            watermark = self._watermarks[root]
            return watermark if watermark == BEGINNING else watermark - self._delays[root]
        return self._watermarks[root] if root in self._by_event_time else self.clock


class _Timers:
    """The timers of a stage: one a key, the earliest first, and of equal ones that which was set first."""

    def __init__(self) -> None:
        self._set: dict[Any, tuple[int, int]] = {}
        # What was set, with timers that have been replaced or taken back since.
        self._queue: list[tuple[int, int, Any]] = []
        self._numbers = itertools.count()

    def set(self, key: Any, deadline: int | None) -> None:
        """Set the timer of a key, or take it back."""
        self._set.pop(key, None)
        if deadline is not None:
            number = next(self._numbers)
            self._set[key] = deadline, number
            heappush(self._queue, (deadline, number, key))

    def take_due(self, watermark: int) -> tuple[Any] | None:
        """Take out the first timer, if it is due, and return its key."""
        while self._queue and self._queue[0][0] <= watermark:
            deadline, number, key = heappop(self._queue)
            if self._set.get(key) == (deadline, number):
                del self._set[key]
                return (key,)
        return None


def _delay(application: Application, stage: PlannedStage) -> int:
    below = set(application.children(stage.root))
    seen: set[int] = set()
    delay = 0
    while below:
        node_id = below.pop()
        node = application.nodes[node_id]
        if node_id not in seen and node_id not in stage.outlets:
            seen.add(node_id)
            below.update(application.children(node_id))
            delay += node.step.delay if isinstance(node, WindowNode) else 0
    return delay
