"""Scripts that feed an application."""

from __future__ import annotations

import errno
import logging
import socket
import sys
import threading
import time
from argparse import Namespace
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from wallaroo.experimental._arguments import parsed, source_connector
from wallaroo.experimental._errors import ConnectorError, reason
from wallaroo.experimental._times import SentTime

_LOG = logging.getLogger("wallaroo.experimental")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
_REMINDER = 10.0
"""Seconds between two messages that there is still no connection."""
_CONNECT_TIMEOUT = 5.0
_MAY_COME = (socket.EAI_AGAIN,)
"""The name of a host may be unknown for a while, as in a network that is just being set up."""


class SourceConnector:
    """The side of a script that feeds an application, at the source that has a :class:`SourceConnectorConfig`.

    It imports the application that the command line names, calls its ``application_setup``, and takes host, port and
    encoder from the connector of that name. A message of :mod:`logging`, by the logger ``wallaroo.experimental``, says
    that the application cannot be reached; connecting is tried for ever.

    Args:
        args: Words of the command line, without the script's name; those of the process if left out. What is not the
            script's is given to ``application_setup``.
        required_params: Parameters of the script that must be given as ``--CONNECTOR-PARAM``.
        optional_params: Parameters that may be given so.

    ``params`` has the parameters as attributes; ``None`` stands for one that was not given.

    Raises:
        ConnectorError: There is no such application or connector.
        SystemExit: The command line lacks a word.

    Example:
        >>> import wallaroo.experimental
        >>> def feed(temperatures: list[float]) -> None:
        ...     with wallaroo.experimental.SourceConnector(optional_params=["unit"]) as connector:
        ...         connector.connect()
        ...         for temperature in temperatures:
        ...             connector.write(temperature)
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
        config = source_connector(self.params, words)
        self._name = f"connector {config.name!r}"
        self._encoder = config.encoder
        self._address = config.host, config.port
        # Guards what follows: servers of scripts may write in several threads.
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None

    def connect(self, host: str | None = None, port: int | str | None = None) -> None:
        """Connect to the application; waits until it runs.

        Args:
            host: Where it is, if it is not where the config says.
            port: As ``host``.

        Raises:
            ConnectorError: The name of the host is unknown.
        """
        with self._lock:
            self._address = host or self._address[0], int(port or self._address[1])
            self._close()
            self._socket = self._connected()

    def write(self, message: Any, event_time: SentTime = 0) -> None:
        """Send a message; waits while the application holds it back.

        If the connection was lost, it is made again first. Messages that the application had not read by then are lost:
        this connection has no acknowledgements. :class:`wallaroo.client.Sender` has.

        Args:
            message: What the encoder of the connector takes. Nothing is sent if the encoder returns ``None``.
            event_time: When the message happened: a ``datetime``, which is UTC unless it has a time zone; or since the
                Unix epoch seconds as a ``float`` or milliseconds as an ``int``. 0: when it arrives.

        Raises:
            ConnectorError: ``connect`` was not called.
            TypeError: ``event_time`` is not a time, or the encoder did not return bytes.
            ValueError: ``event_time`` is in a year that cannot be sent.
        """
        frame = self._encoder.encode(message, event_time)
        if frame is None:
            return
        if isinstance(frame, str):
            frame = frame.encode("utf-8")
        with self._lock:
            if self._socket is None:
                raise ConnectorError(f"{self._name} is not connected", hint="call connect() before write()")
            if _is_closed(self._socket):
                self._reconnect("it closed the connection")
            while True:
                try:
                    self._socket.sendall(frame)
                    return
                except OSError as error:
                    # The kernel has not taken the end of the frame, so the application cannot have read all of it.
                    self._reconnect(error)

    def close(self) -> None:
        """End the connection."""
        with self._lock:
            self._close()

    def __enter__(self) -> SourceConnector:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the connection."""
        self.close()

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _reconnect(self, why: object) -> None:
        _LOG.warning("%s: lost %s: %s; what it had not read is lost; connecting again", self._name, self._place(), why)
        assert self._socket is not None, "it was connected"
        # Kept until there is another, so that an interrupted write can be repeated.
        self._socket.close()
        self._socket = self._connected()

    def _connected(self) -> socket.socket:
        pause, reminder, waited = _FIRST_PAUSE, time.monotonic(), False
        while True:
            try:
                connection = _connection_to(self._address)
            except (OSError, UnicodeError) as error:
                if isinstance(error, (socket.gaierror, UnicodeError)) and getattr(error, "errno", 0) not in _MAY_COME:
                    raise ConnectorError(
                        f"{self._name}: host {self._address[0]!r} is unknown: {reason(error)}",
                        hint="correct host of its SourceConnectorConfig, or give connect(host, port) another",
                    ) from None
                if time.monotonic() >= reminder:
                    reminder = time.monotonic() + _REMINDER
                    _LOG.warning(
                        "%s: cannot connect to %s: %s; is the application running? Trying again",
                        self._name,
                        self._place(),
                        reason(error),
                    )
                waited = True
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                connection.settimeout(None)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if waited:
                    _LOG.warning("%s: connected to %s", self._name, self._place())
                return connection

    def _place(self) -> str:
        return "{}:{}".format(*self._address)


def _connection_to(address: tuple[str, int]) -> socket.socket:
    connection = socket.create_connection(address, _CONNECT_TIMEOUT)
    if connection.getsockname() == connection.getpeername():
        # Nobody listens, and the kernel has given the connection the very port that it connects to.
        connection.close()
        raise ConnectionRefusedError(errno.ECONNREFUSED, "the connection leads to itself")
    return connection


def _is_closed(connection: socket.socket) -> bool:
    """Whether the peer has closed a connection on which it never sends anything."""
    try:
        return not connection.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True
