"""The worker's end of the socket: whole frames in, whole frames out, blocking.

The descriptor is moved out of the range that user code may close or redirect by number, and is shut in children that
user code forks, so that neither can disturb the conversation or hide its end.
"""

from __future__ import annotations

import os
import socket

from wallaroo._codec.protocol import LengthReader, ProtocolError, frame
from wallaroo.worker._descriptors import keep, let_go, move_out_of_reach
from wallaroo.worker._forked import leave_if_child

_SMALLEST_BUFFER = 256 * 1024
"""Bytes. One read usually takes in a whole batch."""

_JOIN_BELOW = 128 * 1024
"""Bytes up to which copying a body behind its length is cheaper than a second system call."""


class Connection:
    """Sends and receives frames over a stream socket.

    Args:
        sock: Connected; owned from here on.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._lengths = LengthReader()
        self._buffer = bytearray(_SMALLEST_BUFFER)
        self._start = 0
        self._end = 0

    @classmethod
    def from_fd(cls, fd: int) -> Connection:
        """Take over the inherited descriptor ``fd``."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, fileno=move_out_of_reach(fd))
        os.register_at_fork(after_in_child=sock.close)
        keep(sock.fileno())
        return cls(sock)

    def limit(self, max_body: int) -> None:
        """Set the cap of a body in bytes, for both directions."""
        self._lengths = LengthReader(max_body)

    @property
    def max_body(self) -> int:
        """The cap of a body in bytes."""
        return self._lengths.max_body

    def send(self, body: bytes) -> None:
        """Send one frame.

        Raises:
            OSError: The peer is gone.
        """
        leave_if_child()
        if len(body) <= _JOIN_BELOW:
            self._socket.sendall(frame(body))
        else:
            self._socket.sendall(len(body).to_bytes(4, "big"))
            self._socket.sendall(body)

    def receive(self) -> memoryview | None:
        """Wait for a frame and return its body, valid until the next call; ``None`` at the end of the stream.

        Raises:
            ProtocolError: The length is 0 or beyond the cap, or the stream ended inside a frame.
            OSError: The socket failed.
        """
        leave_if_child()
        if not self._fill(4):
            return None
        header = self._start
        length = self._lengths.read(bytes(self._buffer[header : header + 4]))
        self._fill(4 + length)
        body = self._start + 4
        self._start = body + length
        return memoryview(self._buffer)[body : body + length]

    def _fill(self, wanted: int) -> bool:
        """Read until ``wanted`` bytes are there; ``False`` at the end of the stream between two frames."""
        have = self._end - self._start
        if have >= wanted:
            return True
        if self._start + wanted > len(self._buffer) or not have:
            self._make_room(wanted, have)
        view = memoryview(self._buffer)
        while have < wanted:
            received = self._socket.recv_into(view[self._end :])
            if received == 0:
                if have:
                    raise ProtocolError(f"the connection ended {wanted - have} bytes before the end of a frame")
                return False
            self._end += received
            have += received
        return True

    def _make_room(self, wanted: int, have: int) -> None:
        # A new buffer and not a larger one: the body handed out last may still be looked at.
        kept = bytes(self._buffer[self._start : self._end])
        if wanted > len(self._buffer) or len(self._buffer) > max(wanted, _SMALLEST_BUFFER):
            self._buffer = bytearray(max(wanted, _SMALLEST_BUFFER))
        self._buffer[:have] = kept
        self._start, self._end = 0, have

    def close(self) -> None:
        """Close the socket."""
        let_go(self._socket.fileno())
        self._socket.close()
