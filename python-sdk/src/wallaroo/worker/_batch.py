"""One batch on its way through a stage."""

from __future__ import annotations

import gc
import os
import sys
from typing import Any, NamedTuple

from wallaroo._codec.protocol import CAREFUL, DISCARD, WHOLE, Batch
from wallaroo._codec.values import ValueCodec
from wallaroo.worker._descriptors import are_intact
from wallaroo.worker._failures import FailureFields, failure, payload_of
from wallaroo.worker._forked import iterates, leave_if_child
from wallaroo.worker._marker import Marker

CLOSED_ITS_CONNECTION = 71
"""Exit code of a worker whose connection user code has closed."""

_YOUNG = 1
# PyPy collects everything, whatever it is asked for: tens of milliseconds a message.
_COLLECTS_THE_YOUNG = sys.implementation.name == "cpython"
"""The oldest generation that is collected: what a message has made is younger."""

_NONE: frozenset[tuple[int, int]] = frozenset()


class UnreadGroup(NamedTuple):
    """Stands for the values of a group that could not be read."""

    size_in_bytes: int
    codec: int


class BatchRun:
    """The part of a running batch that all steps share, and its failures so far.

    Args:
        message: The batch.
        codec: Encodes the value a failing step was given.
        marker: Told before each step.
    """

    def __init__(self, message: Batch, codec: ValueCodec, marker: Marker) -> None:
        self.batch = message.batch
        self.discard = bool(message.flags & DISCARD)
        self.careful = bool(message.flags & CAREFUL)
        self.skip = frozenset(zip(message.skip[0::2], message.skip[1::2])) if message.skip else _NONE
        self.failures: list[FailureFields] = []
        # The key of each group of a keyed stage; empty in others, where values have no key yet.
        self.keys: list[Any] = []
        # Times for windows, and what windows report.
        self.times = message.times
        self.time: int | None = None
        self.late = 0
        self.timers: list[tuple[Any, int | None]] = []
        # The group at which the worker stood still.
        self.slow: int | None = None
        self._codec = codec
        self._marker = marker
        self._origin = self._value = WHOLE

    def at(self, origin: int, value: int) -> None:
        """Go on to one message of a batch that is run message by message."""
        self._origin, self._value = origin, value

    @property
    def noted(self) -> tuple[int, int]:
        """The message that was gone on to, as for :meth:`at`."""
        return self._origin, self._value

    def enter(self, node: int, *lists: list[Any]) -> None:
        """Mark that ``node`` is about to run, in a loop over ``lists``."""
        iterates(*lists)
        self._marker.entering(self.batch, node, self._origin, self._value)

    def survived(self) -> None:
        """Look at what a step has done to the worker, while the mark names it and its message: in careful batches.

        Objects that it left behind are destroyed now, on CPython. If it has closed the worker's connection, the worker
        ends here: later nobody could say which message it was.
        """
        if _COLLECTS_THE_YOUNG:
            gc.collect(_YOUNG)
        if not are_intact():
            os._exit(CLOSED_ITS_CONNECTION)

    def fail(self, node: int, origin: int, error: BaseException, value: Any, key: Any = None) -> None:
        """Record that ``node`` could not process ``value``, which came of the frame or group ``origin``."""
        leave_if_child(error)
        if not self.discard:
            self._record(node, origin, key, error, value, payload_of(self._codec, value))

    def fail_frame(self, node: int, origin: int, error: BaseException, frame: bytes) -> None:
        """Record that the decoder ``node`` could not read ``frame``, which the orchestrator has."""
        leave_if_child(error)
        if not self.discard:
            self._record(node, origin, None, error, frame, (0, b""))

    def fail_group(self, node: int, group: int, error: BaseException, codec: int, values: bytes) -> None:
        """Record that the values of a whole group could not be read; they go along as they came."""
        leave_if_child(error)
        if not self.discard:
            unread = UnreadGroup(len(values), codec)
            self.failures.append(failure(node, group, self.keys[group], error, unread, (codec, values)))

    def _record(self, node: int, origin: int, key: Any, error: BaseException, value: Any, payload: Any) -> None:
        if key is None and self.keys:
            key = self.keys[origin]
        self.failures.append(failure(node, origin, key, error, value, payload))
