"""An orchestrator of the test's own making, to which the process of a connector connects."""

from __future__ import annotations

import itertools
import os
import pickle
import socket
import struct
import threading

from wallaroo._connector._positions import unpack_position

HELLO, WELCOME, ACKNOWLEDGED, ERROR, MARKED = 1, 3, 4, 5, 6
OPENED, WRITTEN, REJECTED = 1, 2, 3
PATIENCE = 60
NAMES = itertools.count()


class Peer:
    """The orchestrator's end of a connection."""

    def __init__(self, connection):
        connection.settimeout(PATIENCE)
        self.connection = connection

    def send(self, kind, body=b""):
        self.connection.sendall(struct.pack(">IB", len(body), kind) + body)

    def welcome(self, received=0, acknowledged=0, credit=1 << 20, mark=b""):
        self.send(WELCOME, struct.pack(">QQI", received, acknowledged, credit) + mark)

    def acknowledge(self, messages):
        self.send(ACKNOWLEDGED, messages.to_bytes(8, "big"))

    def receive(self):
        """A frame, or ``None`` at the end."""
        header = self.exactly(5)
        if header is None:
            return None
        length, kind = struct.unpack(">IB", header)
        return kind, self.exactly(length) if length else b""

    def message(self):
        """A message with its position, as the orchestrator takes it apart."""
        kind, body = self.receive()
        assert kind == MARKED
        (width,) = struct.unpack_from(">I", body)
        return pickle.loads(body[4 : len(body) - width]), unpack_position(body[len(body) - width :])

    def exactly(self, count):
        data = b""
        while len(data) < count:
            more = self.connection.recv(count - len(data))
            if not more:
                assert not data, f"cut off: {data!r}"
                return None
            data += more
        return data


class Running:
    """A function in a thread: the run of a connector, which connects to the test."""

    def __init__(self, run):
        self.address = f"\0wallaroo-test-{os.getpid()}-{next(NAMES)}"
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.address)
        self.listener.listen()
        self.listener.settimeout(PATIENCE)
        self.error = None
        self.thread = threading.Thread(target=self.run, args=(run,), daemon=True)
        self.thread.start()
        self.peers = []

    def run(self, run):
        try:
            run(self.address)
        except Exception as error:  # noqa: BLE001 - what it is, the test tells
            self.error = error

    def accept(self):
        self.peers.append(Peer(self.listener.accept()[0]))
        return self.peers[-1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for peer in self.peers:
            peer.connection.close()
        self.listener.close()
        self.end()

    def end(self):
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()
        return self.error


def run_and_close(run):
    """Run it, and close the socket that the end of the process closes."""
    with run._socket:
        run.run()
