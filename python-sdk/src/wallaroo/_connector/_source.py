"""Runs the user's source: each partition in a thread and on a connection of its own."""

from __future__ import annotations

import copy
import os
import select
import socket
import struct
import threading
from collections import deque
from typing import Any

from wallaroo._connector._calls import Calls
from wallaroo._connector._positions import pack_position, packer, unpack_position
from wallaroo._steps.objects import shown_type
from wallaroo.worker._failures import user_traceback
from wallaroo.worker._log_levels import write_error

_VERSION = 1
_HELLO, _WELCOME, _ACKNOWLEDGED, _ERROR, _MARKED = 1, 3, 4, 5, 6
_HEADER = struct.Struct(">IB")
_MESSAGE = struct.Struct(">IBI")
_WELCOME_BODY = struct.Struct(">QQI")

LIMIT = 1000
"""Messages of one read, at most."""
_TIMEOUT = 0.5
"""Seconds that a read may wait while everything is acknowledged."""
_SHORT_TIMEOUT = 0.02
"""Seconds that a read may wait while something is not."""
_WHOLE = "whole"
"""The stream of a source that has no partitions by name: a stream must have one."""


class SourceRun:
    """Runs a source until all its partitions have ended, or the orchestrator reads no more.

    Args:
        config: Of the source.
        address: Of the socket at which the orchestrator listens.
    """

    def __init__(self, config: Any, address: str) -> None:
        self._config = config
        self._address = address

    def run(self) -> None:
        """Read all partitions.

        Raises:
            Exception: What the user's code has raised in ``partitions``. What it raises elsewhere ends the process.
        """
        calls = Calls()
        names = check_names(calls.call(self._config.connector.partitions))
        calls.close()
        threads = [threading.Thread(target=self._read, args=(name,), name=f"partition {name}") for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _read(self, name: str) -> None:
        try:
            Partition(name, copy.copy(self._config.connector), self._config, self._address).run()
        except BaseException as error:  # noqa: BLE001 - the user's
            write_error(f"partition {name!r}: {user_traceback(error) or repr(error)}")
            # The other partitions begin again, too: what they have sent is kept.
            os._exit(1)


def check_names(given: Any) -> list[str]:
    """Return the names of partitions.

    Raises:
        TypeError: They are not a list of ``str``.
        ValueError: One is too long, or comes twice.
    """
    if isinstance(given, (str, bytes)):
        raise TypeError(f"partitions() returned {given!r}, which is one name: it returns a list of names")
    names = list(given)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"partitions() returned {name!r}, which is {shown_type(name)}; a partition's name is a str")
        if len(name.encode()) > 255:
            raise ValueError(
                f"partitions() returned a name of {len(name.encode())} bytes, and 255 are possible: {name}"
            )
    if len({name or _WHOLE for name in names}) < len(names):
        same = f" ({_WHOLE!r} is how the log names the partition '')" if "" in names and _WHOLE in names else ""
        raise ValueError(f"partitions() returned a name twice: {names}{same}")
    return names


class Partition:
    """One partition that is read.

    Args:
        name: Its name.
        source: A copy of the user's object.
        config: Of the source.
        address: Of the socket at which the orchestrator listens.
    """

    def __init__(self, name: str, source: Any, config: Any, address: str) -> None:
        self._name, self._source, self._config = name, source, config
        self._calls, self._pack = Calls(), packer()
        self._socket = socket.socket(socket.AF_UNIX)
        self._address = address
        # What was sent and is not acknowledged: how many messages of the partition are behind each mark, and the bytes.
        self._sent: deque[tuple[int, bytes, int]] = deque()
        self._unacknowledged = 0
        self._count = self._acknowledged = self._credit = 0
        self._heard = b""
        self._is_over = False

    def run(self) -> None:
        """Read it until it ends, and wait until all of it is acknowledged; or until the orchestrator reads no more.

        Raises:
            Exception: What the user's code has raised.
        """
        mark = self._greet()
        if mark is None:
            return
        self._calls.call(self._source.open, self._name, unpack_position(mark))
        while not self._is_over and self._read():
            self._listen(wait=self._unacknowledged >= self._credit)
        if not self._is_over:
            self._socket.shutdown(socket.SHUT_WR)
        while not self._is_over:
            self._listen(wait=True)
        self._calls.call(self._source.close)
        self._calls.close()
        self._socket.close()

    def _greet(self) -> bytes | None:
        """Say which partition this is, and return the mark of the last message that was received.

        ``None``: the orchestrator reads no more.
        """
        name = (self._name or _WHOLE).encode()
        try:
            self._socket.connect(self._address)
            self._socket.sendall(_HEADER.pack(len(name) + 1, _HELLO) + bytes([_VERSION]) + name)
        except (ConnectionRefusedError, BrokenPipeError, ConnectionResetError):
            return None
        while (frame := self._frame()) is None:
            self._receive()
            if self._is_over:
                return None
        kind, body = frame
        if kind != _WELCOME:
            raise ConnectionError(body.decode("utf-8", "replace"))
        self._count, self._acknowledged, self._credit = _WELCOME_BODY.unpack_from(body)
        mark = body[_WELCOME_BODY.size :]
        if mark:
            # An earlier process has sent these. It may have ended before it was told that they are durable.
            self._sent.append((self._count, mark, 0))
        return mark

    def _read(self) -> bool:
        """Send the next messages. Return whether there may be more."""
        timeout = _SHORT_TIMEOUT if self._acknowledged < self._count else _TIMEOUT
        messages = self._calls.call(self._source.read, LIMIT, timeout)
        if messages is None:
            return False
        to_payload, head, pack, sent = self._config.to_payload, _MESSAGE.pack, self._pack, self._sent
        count = self._count
        parts: list[bytes] = []
        size = 0
        for given in messages:
            try:
                message, position = given
            except (TypeError, ValueError):
                raise TypeError(f"read() returned {given!r} as a message and its position") from None
            payload, mark = to_payload(message), pack_position(position, pack)
            weight = len(payload) + len(mark)
            parts += (head(4 + weight, _MARKED, len(mark)), payload, mark)
            count += 1
            size += weight
            sent.append((count, mark, weight))
        self._count = count
        self._unacknowledged += size
        if parts:
            self._send(b"".join(parts))
        return True

    def _send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            # It reads no more. What it has received it may still acknowledge.
            self._listen(wait=True)

    def _listen(self, wait: bool) -> None:
        """Take in what is acknowledged, and tell the user's object. Wait for something if need be."""
        before = self._acknowledged
        while True:
            while frame := self._frame():
                self._take(*frame)
            is_enough = not wait or self._acknowledged != before
            if self._is_over or (is_enough and not self._is_readable()):
                break
            self._receive()
        mark = b""
        while self._sent and self._sent[0][0] <= self._acknowledged:
            _, mark, weight = self._sent.popleft()
            self._unacknowledged -= weight
        if mark:
            self._calls.call(self._source.acknowledge, unpack_position(mark))

    def _take(self, kind: int, body: bytes) -> None:
        if kind == _ACKNOWLEDGED:
            self._acknowledged = int.from_bytes(body, "big")
        elif kind == _ERROR:
            raise ConnectionError(body.decode("utf-8", "replace"))

    def _is_readable(self) -> bool:
        readable, _, _ = select.select([self._socket], [], [], 0)
        return bool(readable)

    def _receive(self) -> None:
        try:
            received = self._socket.recv(1 << 16)
        except ConnectionResetError:
            received = b""
        self._heard += received
        self._is_over = not received

    def _frame(self) -> tuple[int, bytes] | None:
        if len(self._heard) < _HEADER.size:
            return None
        length, kind = _HEADER.unpack_from(self._heard)
        end = _HEADER.size + length
        if len(self._heard) < end:
            return None
        body, self._heard = self._heard[_HEADER.size : end], self._heard[end:]
        return kind, body
