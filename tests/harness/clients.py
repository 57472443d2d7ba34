"""The two ends of a stream: senders, and a consumer that can go away."""

import contextlib
import socket
import threading
import time

from wallaroo.testing import frames as frames

from tests.harness.orchestrator import PATIENCE


def send(address, data: bytes) -> None:
    """Sends bytes on one connection and closes it. Returns once the kernel has taken them all."""
    with socket.create_connection(address, PATIENCE) as connection:
        connection.sendall(data)


def discard() -> str:
    """An address that accepts one connection and discards what it reads."""
    listener = socket.create_server(("127.0.0.1", 0))

    def read():
        connection, _ = listener.accept()
        with connection:
            while connection.recv(1 << 20):
                pass

    threading.Thread(target=read, daemon=True).start()
    return "{}:{}".format(*listener.getsockname())


class Sender(threading.Thread):
    """Sends bytes on one connection in the background. ``join`` raises any error."""

    def __init__(self, address, data: bytes):
        super().__init__(daemon=True)
        self._address, self._data, self._error = address, data, None
        self.start()

    def run(self):
        try:
            with socket.create_connection(self._address, PATIENCE) as connection:
                connection.settimeout(None)
                connection.sendall(self._data)
        except OSError as error:
            self._error = error

    def join(self, timeout=PATIENCE):
        super().join(timeout)
        if self.is_alive():
            raise AssertionError(f"the sender still had bytes to send after {timeout} s")
        if self._error is not None:
            raise self._error


class Consumer:
    """Listens on a free port and collects lines, from any number of connections, in a ``with`` block.

    ``go_down`` closes the connections properly and refuses new ones; ``come_back`` listens at the same address again.
    ``hold`` stops reading and keeps the connections open, ``go_on`` continues reading. With ``take``, lines go to that
    function in batches and are not kept.
    """

    def __init__(self, listening=True, take=None):
        self._changed = threading.Condition()
        self._chunks = []
        self._take = take or self._chunks.append
        self._lines = 0
        self._connections = {}
        self._accepted = 0
        self._last_arrival = self._first_arrival = None
        self._reading = threading.Event()
        self._reading.set()
        self._socket = _bound(("127.0.0.1", 0))
        self.host, self.port = self._socket.getsockname()
        self._acceptor = None
        if listening:
            self.come_back()

    @property
    def place(self) -> str:
        return f"{self.host}:{self.port}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._reading.set()
        self._stop_listening()
        with self._changed:
            connections = list(self._connections)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in list(self._connections.values()):
            thread.join(PATIENCE)
        self._socket.close()

    def come_back(self):
        """Listens."""
        self._socket.listen()
        self._acceptor = threading.Thread(target=self._accept, args=(self._socket,), daemon=True)
        self._acceptor.start()

    def go_down(self):
        """Closes every connection properly, reading what still arrives, and refuses new ones."""
        self._stop_listening()
        # Bound but not listening: connections are refused, and no other process gets the port.
        self._socket = _bound((self.host, self.port))
        with self._changed:
            connections = dict(self._connections)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_WR)
        for thread in connections.values():
            thread.join(PATIENCE)
            assert not thread.is_alive(), "the sink did not close its side"

    def hold(self):
        """Stops reading. At most one more chunk per connection is read."""
        self._reading.clear()

    def go_on(self):
        self._reading.set()

    def wait_count(self, count: int, timeout=PATIENCE):
        """Waits until ``count`` lines have arrived in total."""
        self._wait(lambda: self._lines >= count, timeout, lambda: f"{self._lines} of {count} lines arrived")

    def wait_accepted(self, count=1, timeout=PATIENCE):
        """Waits until ``count`` connections have been accepted in total."""
        self._wait(lambda: self._accepted >= count, timeout, lambda: f"{self._accepted} of {count} connections came")

    def wait_closed(self, timeout=PATIENCE):
        """Waits until no connection is open."""
        self._wait(lambda: not self._connections, timeout, lambda: f"{len(self._connections)} connections are open")

    def _wait(self, condition, timeout, state):
        with self._changed:
            if not self._changed.wait_for(condition, timeout):
                raise AssertionError(f"after {timeout} s, {state()}")

    @property
    def count(self) -> int:
        """The number of lines so far."""
        return self._lines

    def data(self) -> bytes:
        with self._changed:
            return b"".join(self._chunks)

    def lines(self) -> "list[str]":
        return self.data().decode().splitlines()

    def seconds(self) -> float:
        """The time from the first byte to the last byte so far."""
        return self._last_arrival - self._first_arrival

    def _stop_listening(self):
        # Wakes the thread in accept; close alone does not.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        if self._acceptor is not None:
            self._acceptor.join(PATIENCE)

    def _accept(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._collect, args=(connection,), daemon=True)
            with self._changed:
                self._accepted += 1
                self._connections[connection] = thread
                self._changed.notify_all()
            thread.start()

    def _collect(self, connection):
        # Chunks of several connections are joined as they arrive, because the sink never splits a message over two
        # connections.
        rest = b""
        while True:
            self._reading.wait()
            try:
                chunk = connection.recv(1 << 20)
            except OSError:
                chunk = b""
            whole, newline, rest = (rest + chunk).rpartition(b"\n")
            with self._changed:
                if whole or newline:
                    now = time.monotonic()
                    self._first_arrival = self._first_arrival or now
                    self._last_arrival = now
                    self._take(whole + newline)
                    self._lines += whole.count(b"\n") + 1
                if not chunk:
                    del self._connections[connection]
                self._changed.notify_all()
            if not chunk:
                connection.close()
                return


def _bound(address) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(address)
    return bound
