"""Runs the user's sink: cuts messages from what the orchestrator sends, and says what is written."""

from __future__ import annotations

import select
import socket
import struct
from typing import Any

import msgpack

from wallaroo._connector._calls import Calls
from wallaroo._io.connectors import LENGTH, RejectedMessageError
from wallaroo._steps.objects import shown_type
from wallaroo.worker._failures import exception_type, user_traceback

_OPENED, _WRITTEN, _REJECTED = 1, 2, 3
_HEADER = struct.Struct(">IB")

LIMIT = 1000
"""Messages of one call of ``write``, at most."""
_READ = 1 << 20
_LONGEST_VALUE = 500
"""Characters of a rejected message in the log."""


class SinkRun:
    """Runs a sink until the orchestrator has nothing more to write.

    Args:
        config: Of the sink.
        address: Of the socket at which the orchestrator listens.
    """

    def __init__(self, config: Any, address: str) -> None:
        self._config, self._sink = config, config.connector
        self._calls = Calls()
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(address)
        self._received = bytearray()
        self._stream = ""
        self._position = 0

    def run(self) -> None:
        """Write everything.

        Raises:
            Exception: What the user's code has raised.
        """
        self._say(_OPENED, position_bytes(self._calls.call(self._sink.open)))
        if not self._begin():
            return
        while payloads := self._next():
            self._write(payloads)
        self._calls.call(self._sink.close)
        self._calls.close()

    def _begin(self) -> bool:
        """Learn where the stream goes on. Return whether it does."""
        while (
            len(self._received) < LENGTH.size
            or len(self._received) < LENGTH.size + LENGTH.unpack_from(self._received)[0]
        ):
            if not self._receive():
                return False
        (length,) = LENGTH.unpack_from(self._received)
        body = bytes(self._received[LENGTH.size : LENGTH.size + length])
        del self._received[: LENGTH.size + length]
        self._position, self._stream = int.from_bytes(body[:8], "big"), body[8:].decode("utf-8")
        return True

    def _next(self) -> list[bytes]:
        """Return the messages that have come, and wait for one if there are none. Empty: no more will come."""
        while True:
            while self._is_readable() and len(self._received) < _READ and self._receive():
                pass
            if messages := self._cut():
                return messages
            if not self._receive():
                return []

    def _cut(self) -> list[bytes]:
        messages: list[bytes] = []
        start, received = 0, self._received
        while len(messages) < LIMIT and start + LENGTH.size <= len(received):
            (length,) = LENGTH.unpack_from(received, start)
            end = start + LENGTH.size + length
            if end > len(received):
                break
            messages.append(bytes(received[start + LENGTH.size : end]))
            start = end
        del received[:start]
        return messages

    def _write(self, payloads: list[bytes]) -> None:
        self._position += sum(map(len, payloads)) + LENGTH.size * len(payloads)
        position = f"{self._stream}:{self._position}"
        messages = [self._config.from_payload(payload) for payload in payloads]
        while messages:
            try:
                self._calls.call(self._sink.write, position, list(messages))
                break
            except RejectedMessageError as error:
                self._reject(error, messages, payloads)
        self._say(_WRITTEN, self._position.to_bytes(8, "big"))

    def _reject(self, error: RejectedMessageError, messages: list[Any], payloads: list[bytes]) -> None:
        index = error.index
        if type(index) is not int or not 0 <= index < len(messages):
            raise IndexError(
                f"write() has rejected message {index!r} of {len(messages)}: the first one is message 0"
            ) from error
        value, payload = messages.pop(index), payloads.pop(index)
        cause = error.__cause__ or error
        shown = repr(value)
        shown = shown if len(shown) <= _LONGEST_VALUE else shown[:_LONGEST_VALUE] + "..."
        said = [payload, exception_type(cause), str(error), user_traceback(error) or "", shown]
        self._say(_REJECTED, msgpack.packb(said))

    def _say(self, kind: int, body: bytes) -> None:
        self._socket.sendall(_HEADER.pack(len(body), kind) + body)

    def _is_readable(self) -> bool:
        readable, _, _ = select.select([self._socket], [], [], 0)
        return bool(readable)

    def _receive(self) -> bool:
        """Receive more. Return whether there was more."""
        try:
            received = self._socket.recv(_READ)
        except ConnectionResetError:
            received = b""
        self._received += received
        return bool(received)


def position_bytes(position: Any) -> bytes:
    """Return what ``open`` has returned as bytes; none for ``None``.

    Raises:
        TypeError: It is neither text nor ``None``.
    """
    if position is None:
        return b""
    if isinstance(position, (bytes, bytearray)):
        position = position.decode("utf-8")
    if not isinstance(position, str):
        raise TypeError(
            f"open() returned {shown_type(position)}; it returns the position that write() was given, or None"
        )
    return position.encode("utf-8")
