r"""Sends messages to an application, and knows which of them are durable.

For programs that feed a source made by ``wallaroo.tcp(address, codec, acknowledged=True)``. This file needs the
standard library alone, so it can be copied into a program that has no Wallaroo. ``spec/streams.md`` describes the
protocol.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Iterable
from types import TracebackType
from typing import Callable, Union

__all__ = ["Sender", "StreamError"]

_VERSION = 1
_HELLO, _MESSAGE, _WELCOME, _ACKNOWLEDGED, _ERROR = 1, 2, 3, 4, 5
_HEADER = struct.Struct(">IB")
_PAUSE = 0.05
_WRITE = 1 << 16

Address = Union[str, tuple[str, int]]
_Test = Callable[[], bool]
_Heard = Callable[[int], None]


class StreamError(ConnectionError):
    """A stream cannot go on: its source refuses it, cannot be reached, or has lost what it had acknowledged.

    Example:
        >>> Sender("127.0.0.1:1", "orders", connect_timeout=0)
        Traceback (most recent call last):
        wallaroo.client.StreamError: stream 'orders' to 127.0.0.1:1: [Errno 111] Connection refused
    """


class Sender:
    r"""One stream of messages to a source, which goes on where it was when its connection, or the run, ends.

    A message that is acknowledged is durable: with ``--state`` it outlives the orchestrator. What is not acknowledged
    is kept here and sent again. So nothing is lost or doubled, as long as this program lives. One that begins anew asks
    for ``acknowledged`` and goes on behind so many of its messages.

    Args:
        address: ``"HOST:PORT"`` or ``(host, port)`` of the source.
        stream: The stream's name, of 1 to 255 bytes. Of two senders with one name, the later takes the stream over.
        connect_timeout: Seconds for which connecting is tried, at the beginning and whenever the connection is lost.

    Raises:
        StreamError: The source cannot be reached, or refuses the stream.
        ValueError: The name or the address is unusable.

    Example:
        >>> from itertools import islice
        >>> def send_file(path: str) -> None:
        ...     with Sender("127.0.0.1:7010", "orders of shop 7") as sender, open(path) as orders:
        ...         for order in islice(orders, sender.acknowledged, None):
        ...             sender.send(order.rstrip("\n"))
    """

    def __init__(self, address: Address, stream: str, *, connect_timeout: float = 10.0) -> None:
        self._address = _host_and_port(address)
        self._name = stream.encode("utf-8")
        if not 1 <= len(self._name) <= 255:
            raise ValueError(f"the name of a stream has 1 to 255 bytes, got {len(self._name)}")
        self._connect_timeout = connect_timeout
        # Guards all below. Notified when something was heard.
        self._news = threading.Condition()
        # Messages of the stream that are not acknowledged, as frames.
        self._kept: deque[bytes] = deque()
        self._kept_bytes = 0
        self._acknowledged = 0
        connection = self._connect()
        with self._news:
            self._connection, self._acknowledged = connection, connection.acknowledged

    @property
    def acknowledged(self) -> int:
        """How many messages of the stream are durable."""
        with self._news:
            return self._acknowledged

    @property
    def sent(self) -> int:
        """How many messages the stream has, with those that are not acknowledged."""
        with self._news:
            return self._acknowledged + len(self._kept)

    def send(self, message: str | bytes) -> int:
        """Send a message. Waits while too many are not acknowledged.

        Args:
            message: What the source's codec decodes, without a delimiter or length. ``str`` is sent as UTF-8.

        Returns:
            Its number in the stream, from 1 on. It is durable once ``acknowledged`` has come so far.

        Raises:
            StreamError: The stream cannot go on. What is not acknowledged may or may not have been received.
        """
        return self.send_all((message,))

    def send_all(self, messages: Iterable[str | bytes]) -> int:
        """Send messages, many in one write.

        Args:
            messages: As for :meth:`send`.

        Returns:
            The number of the last one in the stream.

        Raises:
            StreamError: As for :meth:`send`.
        """
        frames: list[bytes] = []
        size = 0
        for message in messages:
            payload = message.encode("utf-8") if isinstance(message, str) else bytes(message)
            frames.append(_HEADER.pack(len(payload), _MESSAGE) + payload)
            size += len(frames[-1])
            if size >= _WRITE:
                self._send(frames)
                frames, size = [], 0
        if frames:
            self._send(frames)
        return self.sent

    def flush(self, timeout: float | None = None) -> None:
        """Wait until all messages are durable.

        Args:
            timeout: Seconds; for ever if left out.

        Raises:
            TimeoutError: They are not in time.
            StreamError: As for :meth:`send`.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        self._listen(lambda: not self._kept, deadline)

    def close(self) -> None:
        """Wait until all messages are durable, and close the connection.

        Raises:
            StreamError: As for :meth:`send`.
        """
        try:
            self.flush()
        finally:
            self._connection.close()

    def __enter__(self) -> Sender:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the connection; after an exception, without waiting."""
        if kind is None:
            self.close()
        else:
            self._connection.close()

    def _send(self, frames: list[bytes]) -> None:
        with self._news:
            first = self._acknowledged + len(self._kept)
            self._kept += frames
            self._kept_bytes += sum(map(len, frames))
        connection = self._connection
        # It has these already, from before this sender was made.
        frames = frames[max(connection.received - first, 0) :]
        try:
            connection.socket.sendall(b"".join(frames))
        except OSError:
            self._reconnect()
        self._listen(lambda: self._kept_bytes < self._connection.credit, None)

    def _listen(self, is_enough: _Test, deadline: float | None) -> None:
        """Wait until something is so, connecting again if need be. All that was heard has been taken in then."""
        while True:
            with self._news:
                connection = self._connection

                def is_news(connection: _Connection = connection) -> bool:
                    return is_enough() or connection.is_over or connection.refusal is not None

                left = None if deadline is None else max(deadline - time.monotonic(), 0.0)
                if not self._news.wait_for(is_news, left):
                    raise TimeoutError(f"{len(self._kept)} messages are not acknowledged")
                if connection.refusal is not None:
                    raise StreamError(f"{self._shown()}: {connection.refusal}")
                if is_enough() and not (connection.is_over and self._kept):
                    return
            self._reconnect()

    def _reconnect(self) -> None:
        refusal = self._connection.refusal
        self._connection.close()
        if refusal is not None:
            raise StreamError(f"{self._shown()}: {refusal}")
        while True:
            connection = self._connect()
            with self._news:
                if connection.received < self._acknowledged:
                    connection.close()
                    raise StreamError(
                        f"{self._shown()}: {self._acknowledged} messages were acknowledged, and"
                        f" {connection.received} are there: the source has lost its state"
                    )
                self._connection = connection
                self._forget(connection.acknowledged)
                frames = list(self._kept)[connection.received - self._acknowledged :]
            try:
                for start in range(0, len(frames), 1000):
                    connection.socket.sendall(b"".join(frames[start : start + 1000]))
                return
            except OSError:
                connection.close()

    def _connect(self) -> _Connection:
        deadline = time.monotonic() + self._connect_timeout
        while True:
            try:
                connection = _Connection(self._address, self._name)
            except OSError as error:
                if isinstance(error, StreamError) or time.monotonic() >= deadline:
                    raise StreamError(f"{self._shown()}: {error}") from error
                time.sleep(_PAUSE)
            else:
                connection.listen(self._forget, self._news)
                return connection

    def _forget(self, acknowledged: int) -> None:
        while self._acknowledged < acknowledged and self._kept:
            self._kept_bytes -= len(self._kept.popleft())
            self._acknowledged += 1

    def _shown(self) -> str:
        host, port = self._address
        return f"stream {self._name.decode()!r} to {host}:{port}"


class _Connection:
    """A connection that has named its stream, and what was heard on it."""

    def __init__(self, address: tuple[str, int], name: bytes) -> None:
        self.socket = socket.create_connection(address, timeout=5.0)
        self.is_over = False
        self.refusal: str | None = None
        try:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.socket.sendall(_HEADER.pack(len(name) + 1, _HELLO) + bytes([_VERSION]) + name)
            kind, body = self._read()
            if kind == _ERROR:
                raise StreamError(body.decode("utf-8", "replace"))
            if kind != _WELCOME or len(body) != 20:
                raise StreamError("this is no source of acknowledged streams: make it with tcp(..., acknowledged=True)")
            self.received, self.acknowledged, self.credit = struct.unpack(">QQI", body)
            self.socket.settimeout(None)
        except BaseException:
            self.socket.close()
            raise

    def listen(self, heard: _Heard, news: threading.Condition) -> None:
        """Take in what comes, in a thread, and notify."""
        threading.Thread(target=self._listen, args=(heard, news), name="wallaroo-sender", daemon=True).start()

    def close(self) -> None:
        """End the connection."""
        # It may not be connected any more.
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    def _listen(self, heard: _Heard, news: threading.Condition) -> None:
        try:
            while True:
                kind, body = self._read()
                with news:
                    if kind == _ACKNOWLEDGED:
                        heard(int.from_bytes(body, "big"))
                    elif kind == _ERROR:
                        self.refusal = body.decode("utf-8", "replace")
                    news.notify_all()
        except OSError:
            with news:
                self.is_over = True
                news.notify_all()

    def _read(self) -> tuple[int, bytes]:
        length, kind = _HEADER.unpack(self._read_exactly(_HEADER.size))
        if length > _WRITE:
            raise StreamError("this is no source of acknowledged streams")
        return kind, self._read_exactly(length)

    def _read_exactly(self, count: int) -> bytes:
        read = b""
        while len(read) < count:
            more = self.socket.recv(count - len(read))
            if not more:
                raise ConnectionResetError("the source has closed the connection")
            read += more
        return read


def _host_and_port(address: Address) -> tuple[str, int]:
    if isinstance(address, tuple):
        host, port = address
        return host, int(port)
    host, colon, digits = address.rpartition(":")
    if not (colon and host and digits.isdigit()):
        raise ValueError(f'{address!r} is not an address: give "HOST:PORT", for example "127.0.0.1:7010"')
    return host.strip("[]"), int(digits)
