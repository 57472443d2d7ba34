"""The marker: which step of which batch is running, left where a crash cannot take it away.

The orchestrator gives each worker a file and reads it after the worker's death. One ``pwrite`` a step and batch, about
a microsecond, and nothing when there is no file.
"""

from __future__ import annotations

import os
import struct

from wallaroo._protocol import WHOLE
from wallaroo.worker._descriptors import move_out_of_reach
from wallaroo.worker._forked import leave_if_child

_RECORD = struct.Struct("<QIIII")
_IDLE = 0
_IN_STEP = 1


class Marker:
    """Writes the record ``batch: u64, node, phase, origin, value: u32``, little-endian, at the start of the file.

    Args:
        fd: Descriptor of the file, or ``None`` for no file.
    """

    def __init__(self, fd: int | None) -> None:
        self._fd = fd

    @classmethod
    def from_fd(cls, fd: int | None) -> Marker:
        """Take over the inherited descriptor ``fd``. Children that user code forks leave no marks."""
        if fd is None:
            return cls(None)
        marker = cls(move_out_of_reach(fd))
        os.register_at_fork(after_in_child=marker._close)
        return marker

    def _close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def entering(self, batch: int, node: int, origin: int = WHOLE, value: int = WHOLE) -> None:
        """Leave the mark that ``node`` is about to run: on one message, or on the whole batch."""
        leave_if_child()
        if self._fd is not None:
            os.pwrite(self._fd, _RECORD.pack(batch, node, _IN_STEP, origin, value), 0)

    def idle(self, batch: int) -> None:
        """Leave the mark that ``batch`` is over."""
        if self._fd is not None:
            os.pwrite(self._fd, _RECORD.pack(batch, 0, _IDLE, WHOLE, WHOLE), 0)
