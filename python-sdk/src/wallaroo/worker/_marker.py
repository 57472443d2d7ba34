"""The marker: which step of which batch is running, left where a crash cannot take it away.

The orchestrator gives each worker a file and reads it after the worker's death. The worker maps it into memory: a mark
is three stores, which the kernel keeps whatever ends the process. A ``pwrite`` in their place was a third of a worker's
time when messages came one by one.

A worker killed between two of the stores leaves them in this order, and so never a false mark: while a batch is begun
the record says idle until all of it is there; later its step and its message change in one store each.
"""

from __future__ import annotations

import mmap
import os
from typing import Any

from wallaroo._codec.protocol import WHOLE, packed_key
from wallaroo.worker._forked import in_child, leave_if_child

_SIZE = 48 + (1 << 16)
_BATCH, _STEP, _MESSAGE, _PROGRESS, _KEY_BYTES, _WITHDRAWN = range(6)
_IDLE = 0
_IN_STEP = 1 << 32
_SAVING = 2 << 32
_LOADING = 3 << 32
_KEY = 48
"""Where the bytes of a key begin."""


class Marker:
    """Writes the record of spec/protocol.md.

    It has six words of 64 bits, and the table and the key of the state that is being saved or loaded.

    Args:
        fd: Descriptor of the file, or ``None`` for no file.
    """

    def __init__(self, fd: int | None) -> None:
        # Without a file, words that nobody looks at.
        memory: mmap.mmap | bytearray = bytearray(_SIZE)
        if fd is not None:
            if os.fstat(fd).st_size < _SIZE:
                os.ftruncate(fd, _SIZE)
            memory = mmap.mmap(fd, _SIZE)
        self._words = memoryview(memory).cast("Q")
        self._bytes = self._words.cast("B")
        self._touched = 0

    @classmethod
    def from_fd(cls, fd: int | None) -> Marker:
        """Take over the inherited descriptor ``fd``. Children that user code forks leave no marks."""
        if fd is None:
            return cls(None)
        marker = cls(fd)
        os.close(fd)
        os.register_at_fork(after_in_child=marker._leave_alone)
        return marker

    def _leave_alone(self) -> None:
        # Kept, not closed: user code may have closed the descriptor that goes with it and have another of that number.
        self._mapped = self._words
        self._words = memoryview(bytearray(_SIZE)).cast("Q")
        self._bytes = self._words.cast("B")

    def entering(self, batch: int, node: int, origin: int = WHOLE, value: int = WHOLE) -> None:
        """Leave the mark that ``node`` is about to run: on one message, or on the whole batch."""
        if in_child:
            leave_if_child()
        words = self._words
        words[_MESSAGE] = value << 32 | origin
        words[_BATCH] = batch
        words[_STEP] = _IN_STEP | node

    def idle(self, batch: int) -> None:
        """Leave the mark that ``batch`` is over."""
        self._words[_STEP] = _IDLE
        self._words[_BATCH] = batch

    def saving(self, table: str, key: Any) -> None:
        """Leave the mark that the state of ``key`` is about to be pickled. One too long for the file is not named."""
        self._touching(table, key, _SAVING)

    def saved(self) -> None:
        """Leave the mark that nothing is being pickled."""
        self._words[_STEP] = _IDLE

    def loading(self, table: str, key: Any) -> tuple[int, int]:
        """Leave the mark that the state of ``key`` is about to be unpickled. Return the mark that was there before."""
        words = self._words
        before = words[_MESSAGE], words[_STEP]
        self._touching(table, key, _LOADING)
        return before

    def loaded(self, before: tuple[int, int]) -> None:
        """Leave the mark again that was there before a state was unpickled."""
        words = self._words
        words[_STEP] = _IDLE
        words[_MESSAGE], words[_STEP] = before

    def _touching(self, table: str, key: Any, phase: int) -> None:
        encoded = packed_key((table, key))
        if len(encoded) > _SIZE - _KEY:
            encoded = b""
        words = self._words
        words[_STEP] = _IDLE
        words[_KEY_BYTES] = len(encoded)
        self._bytes[_KEY : _KEY + len(encoded)] = encoded
        self._touched += 1
        words[_MESSAGE] = self._touched
        words[_STEP] = phase

    def is_withdrawn(self, batch: int) -> bool:
        """Whether the orchestrator has given ``batch`` to another worker."""
        return self._words[_WITHDRAWN] == batch

    def node(self) -> int | None:
        """Return the node that is marked as running; ``None`` if there is none."""
        step = self._words[_STEP]
        return step & 0xFFFFFFFF if step & _IN_STEP else None

    def marks(self) -> tuple[int, ...]:
        """Return the words that say what is running."""
        words = self._words
        return words[_BATCH], words[_STEP], words[_MESSAGE]

    def is_running(self) -> bool:
        """Whether the mark says that a step runs."""
        return self._words[_STEP] != _IDLE

    def moved(self) -> None:
        """Leave the sign that the main thread has moved on."""
        self._words[_PROGRESS] += 1
