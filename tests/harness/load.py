"""Full load for any time, with a check of every output message as it arrives."""

import socket
import threading
from collections import defaultdict

from tests.harness.clients import frames
from tests.harness.numbered import messages
from tests.harness.orchestrator import PATIENCE

BLOCK = messages(20_000, keys=200)
# More than the capacity of all queues between a client and a worker.
QUEUES_BYTES = 64 << 20


class Load(threading.Thread):
    """Sends the same block of messages again and again on one connection, until ``finish``."""

    def __init__(self, address):
        super().__init__(daemon=True)
        self._address = address
        self._enough = threading.Event()
        self._error = None
        self.blocks = 0
        self.start()

    def run(self):
        data = frames(BLOCK)
        try:
            with socket.create_connection(self._address, PATIENCE) as connection:
                connection.settimeout(None)
                while not self._enough.is_set():
                    connection.sendall(data)
                    self.blocks += 1
        except OSError as error:
            self._error = error

    def finish(self, timeout=PATIENCE) -> int:
        """Sends the rest of the current block; returns the total number of messages sent."""
        self._enough.set()
        self.join(timeout)
        assert not self.is_alive(), "the load could not be sent to its end"
        if self._error is not None:
            raise self._error
        return self.blocks * len(BLOCK)


class Checker:
    """Checks every line as it arrives: none is lost or doubled, and each key keeps the order of sending."""

    def __init__(self):
        self._numbers = defaultdict(list)
        for message in BLOCK:
            key, number = message.encode().split(b" ")
            self._numbers[key].append(number)
        self._counts = dict.fromkeys(self._numbers, 0)
        self.first_fault = None

    def take(self, lines: bytes) -> None:
        """Checks whole lines. It keeps a fault for ``check``, because it runs in the consumer's thread."""
        counts, numbers = self._counts, self._numbers
        for line in lines.splitlines():
            key, number, _, count = line.split(b" ")
            seen = counts[key]
            counts[key] = seen + 1
            wanted = numbers[key]
            if (int(count) != seen + 1 or wanted[seen % len(wanted)] != number) and self.first_fault is None:
                expected = f"{key.decode()} {wanted[seen % len(wanted)].decode()} => {seen + 1}"
                self.first_fault = f"{line.decode()!r} came in place of {expected!r}"

    def check(self, sent: int) -> None:
        """Fails unless the output is exactly what was sent."""
        assert self.first_fault is None, self.first_fault
        blocks = sent // len(BLOCK)
        wrong = {key: n for key, n in self._counts.items() if n != blocks * len(self._numbers[key])}
        assert not wrong, f"of {sent} messages some were lost or doubled: {wrong}"


class EndlessLoad(threading.Thread):
    """Sends ``first``, then ``block`` again and again, until ``finish``.

    ``loaded`` is set when ``first`` has left every queue on the way to the workers.
    """

    def __init__(self, address, first: bytes, block: bytes):
        super().__init__(daemon=True)
        self._address, self._first, self._block = address, first, block
        self._enough = threading.Event()
        self.loaded = threading.Event()
        self.start()

    def run(self):
        with socket.create_connection(self._address, PATIENCE) as connection:
            connection.settimeout(None)
            connection.sendall(self._first)
            for _ in range(QUEUES_BYTES // len(self._block)):
                connection.sendall(self._block)
            self.loaded.set()
            while not self._enough.is_set():
                connection.sendall(self._block)

    def finish(self):
        self._enough.set()
        self.join(PATIENCE)
