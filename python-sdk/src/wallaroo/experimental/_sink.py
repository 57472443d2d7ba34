"""Scripts that take the results of an application."""

from __future__ import annotations

import errno
import logging
import selectors
import socket
import sys
import time
from argparse import Namespace
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from wallaroo.experimental._arguments import parsed, sink_connector
from wallaroo.experimental._errors import ConnectorError, reason

_LOG = logging.getLogger("wallaroo.experimental")

_READ = 1 << 16
_LARGEST_FRAME = 1 << 28
"""Bytes. A header that says more is not of an application."""


class SinkConnector:
    """The side of a script that takes the results of an application, from the sink with a :class:`SinkConnectorConfig`.

    It finds its config as :class:`SourceConnector` does.

    Args:
        args: As for :class:`SourceConnector`.
        required_params: As for :class:`SourceConnector`.
        optional_params: As for :class:`SourceConnector`.

    ``params`` has the parameters as attributes; ``None`` stands for one that was not given.

    Raises:
        ConnectorError: There is no such application or connector.
        SystemExit: The command line lacks a word.

    Example:
        >>> import wallaroo.experimental
        >>> def show() -> None:
        ...     with wallaroo.experimental.SinkConnector() as connector:
        ...         connector.listen()
        ...         while True:
        ...             print(connector.read())
    """

    def __init__(
        self,
        args: Sequence[str] | None = None,
        required_params: Sequence[str] = (),
        optional_params: Sequence[str] = (),
    ) -> None:
        args = sys.argv[1:] if args is None else args
        self.params: Namespace
        self.params, words = parsed(args, required_params, optional_params)
        config = sink_connector(self.params, words)
        self._name = f"connector {config.name!r}"
        self._decoder = config.decoder
        self._address = config.host, config.port
        self._selector: selectors.BaseSelector | None = None
        # Connections that may have a whole frame.
        self._ready: deque[_Connection] = deque()

    def listen(self, host: str | None = None, port: int | str | None = None, backlog: int = 128) -> None:
        """Let applications connect.

        Args:
            host: Address to listen on, if it is not where the config says.
            port: As ``host``; 0 lets the system choose.
            backlog: How many connections may wait to be accepted by :meth:`read`.

        Raises:
            ConnectorError: The address is in use, or is not one of this machine.
        """
        address = host or self._address[0], int(self._address[1] if port is None else port)
        try:
            ((family, *_, found), *_) = socket.getaddrinfo(*address, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            listener = socket.create_server(found[:2], family=family, backlog=backlog)
        except (OSError, UnicodeError) as error:
            hint = "correct host and port of its SinkConnectorConfig, or give listen(host, port) others"
            if getattr(error, "errno", None) == errno.EADDRINUSE:
                hint = "does the script run already? End it, or give the SinkConnectorConfig another port"
            raise ConnectorError(
                f"{self._name}: cannot listen on {address[0]}:{address[1]}: {reason(error)}",
                hint=hint,
            ) from None
        self.close()
        self._address = listener.getsockname()[:2]
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port: of its config, or where it listens."""
        return self._address

    def read(self, timeout: float | None = None) -> Any:
        """Return the next message, as the connector's decoder returns it; waits for one.

        An application that ends closes its connection, and ``read`` waits for the next one. The messages of a
        connection are in order.

        Args:
            timeout: Seconds; for ever if left out.

        Raises:
            ConnectorError: ``listen`` was not called.
            TimeoutError: No message came in time.
        """
        if self._selector is None:
            raise ConnectorError(f"{self._name} does not listen", hint="call listen() before read()")
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            while self._ready:
                frame = self._next_frame(self._ready[0])
                if frame is not None:
                    return self._decoder.decode(frame)
                self._ready.popleft()
            left = None if deadline is None else max(deadline - time.monotonic(), 0.0)
            if not self._receive(self._selector, left) and deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"{self._name}: no message came within {timeout} s")

    def close(self) -> None:
        """End all connections, and listen no more."""
        if self._selector is not None:
            for key in list(self._selector.get_map().values()):
                assert isinstance(key.fileobj, socket.socket), "nothing else is registered"
                key.fileobj.close()
            self._selector.close()
        self._selector = None
        self._ready.clear()

    def __enter__(self) -> SinkConnector:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End all connections, and listen no more."""
        self.close()

    def _receive(self, selector: selectors.BaseSelector, timeout: float | None) -> bool:
        """Wait for something to happen to a connection, and take it in; whether something did."""
        happened = selector.select(timeout)
        for key, _ in happened:
            connection: _Connection | None = key.data
            if connection is None:
                assert isinstance(key.fileobj, socket.socket), "the listener"
                self._accept(selector, key.fileobj)
            elif connection.receive():
                self._ready.append(connection)
            else:
                self._drop(connection, connection.unread())
        return bool(happened)

    def _accept(self, selector: selectors.BaseSelector, listener: socket.socket) -> None:
        try:
            accepted, peer = listener.accept()
        except ConnectionAbortedError:
            return
        selector.register(accepted, selectors.EVENT_READ, _Connection(accepted, "{}:{}".format(*peer[:2])))

    def _next_frame(self, connection: _Connection) -> bytes | None:
        header = connection.peek(self._decoder.header_length())
        if header is None:
            return None
        length = self._decoder.payload_length(header)
        if not 0 <= length <= _LARGEST_FRAME:
            self._drop(connection, f"its header says {length} bytes: it does not send what the decoder reads")
            return None
        return connection.take(len(header), length)

    def _drop(self, connection: _Connection, why: str | None) -> None:
        assert self._selector is not None, "it has connections"
        self._selector.unregister(connection.socket)
        connection.socket.close()
        if why is not None:
            _LOG.warning("%s: connection of %s closed: %s", self._name, connection.peer, why)


class _Connection:
    """A connection of an application, and the bytes of it that have not been read."""

    def __init__(self, connected: socket.socket, peer: str) -> None:
        self.socket = connected
        self.peer = peer
        self._buffer = bytearray()
        self._start = 0

    def receive(self) -> bool:
        """Take in what has come; ``False`` at the end."""
        try:
            received = self.socket.recv(_READ)
        except OSError:
            return False
        if self._start:
            del self._buffer[: self._start]
            self._start = 0
        self._buffer += received
        return bool(received)

    def unread(self) -> str | None:
        """Say what the rest is when the connection has ended: a message that did not come whole."""
        left = len(self._buffer) - self._start
        return (
            f"it ended inside a message, of which {left} bytes came; the application sends it again" if left else None
        )

    def peek(self, count: int) -> bytes | None:
        """Return the next bytes, if there are so many."""
        end = self._start + count
        return bytes(self._buffer[self._start : end]) if end <= len(self._buffer) else None

    def take(self, header: int, length: int) -> bytes | None:
        """Take out a frame behind its header, if it is whole."""
        begin = self._start + header
        if begin + length > len(self._buffer):
            return None
        self._start = begin + length
        return bytes(self._buffer[begin : self._start])
