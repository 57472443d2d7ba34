"""The process of a connector, against an orchestrator of the test's own making: what goes over the socket."""

from __future__ import annotations

import itertools
import os
import pickle
import queue
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

import msgpack
import pytest

import wallaroo
from wallaroo._connector._positions import pack_position, unpack_position
from wallaroo._connector._sink import LIMIT, SinkRun, position_bytes
from wallaroo._connector._source import Partition, SourceRun, check_names

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


class Recorded(wallaroo.Source):
    """Gives what the test has put in, and tells what was called."""

    def __init__(self, names=("",)):
        self.names = names
        self.given, self.told = queue.Queue(), queue.Queue()

    def partitions(self):
        return self.names

    def open(self, partition, position):
        self.told.put(("open", partition, position))

    def read(self, limit, timeout):
        self.told.put("read")
        given = self.given.get(timeout=PATIENCE)
        if isinstance(given, Exception):
            raise given
        return given

    def acknowledge(self, position):
        self.told.put(("acknowledge", position))

    def close(self):
        self.told.put("close")

    def calls(self, last):
        """What was called up to ``last``."""
        calls = [self.told.get(timeout=PATIENCE)]
        while calls[-1] != last:
            calls.append(self.told.get(timeout=PATIENCE))
        return calls


class AsyncRecorded(Recorded):
    async def partitions(self):
        return super().partitions()

    async def open(self, partition, position):
        super().open(partition, position)

    async def read(self, limit, timeout):
        return super().read(limit, timeout)

    async def acknowledge(self, position):
        super().acknowledge(position)

    async def close(self):
        super().close()


def run_and_close(run):
    """Run it, and close the socket that the end of the process closes."""
    with run._socket:
        run.run()


def run_partition(source, name="p"):
    config = wallaroo.connector(source)
    return Running(lambda address: run_and_close(Partition(name, source, config, address)))


@pytest.mark.parametrize("kind", [Recorded, AsyncRecorded])
def test_a_partition_from_hello_to_its_end(kind):
    source = kind()
    config = wallaroo.connector(source)
    with Running(lambda address: SourceRun(config, address).run()) as running:
        peer = running.accept()
        assert peer.receive() == (HELLO, b"\x01whole")
        peer.welcome()
        assert source.calls("read") == [("open", "", None), "read"]
        source.given.put([("a", 1), ({"b": 2}, (2, "x"))])
        source.given.put([])
        assert [peer.message(), peer.message()] == [("a", 1), ({"b": 2}, (2, "x"))]
        peer.acknowledge(1)
        source.given.put([])
        assert ("acknowledge", 1) in source.calls(("acknowledge", 1))
        source.given.put([("c", 3)])
        assert peer.message() == ("c", 3)
        source.given.put(None)
        # It sends nothing more, and still hears.
        assert peer.receive() is None
        peer.acknowledge(3)
        assert source.calls(("acknowledge", 3))[-1] == ("acknowledge", 3)
        peer.connection.close()
        assert source.calls("close") == ["close"]
        assert running.end() is None


def test_each_partition_has_a_connection():
    source = Recorded(["one", "two"])
    config = wallaroo.connector(source)
    with Running(lambda address: SourceRun(config, address).run()) as running:
        hellos = {running.accept().receive() for _ in range(2)}
        assert hellos == {(HELLO, b"\x01one"), (HELLO, b"\x01two")}
        for peer in running.peers:
            peer.welcome()
        for _ in running.peers:
            source.given.put(None)
        for peer in running.peers:
            assert peer.receive() is None
            peer.connection.close()
        assert running.end() is None


def test_it_goes_on_behind_what_was_received():
    source = Recorded()
    with run_partition(source) as running:
        peer = running.accept()
        peer.receive()
        peer.welcome(received=3, acknowledged=1, mark=pack_position(("file", 7)))
        assert source.calls("read") == [("open", "p", ("file", 7)), "read"]
        source.given.put([("d", 9)])
        assert peer.message() == ("d", 9)
        peer.acknowledge(3)
        source.given.put([])
        assert source.calls(("acknowledge", ("file", 7)))
        source.given.put(None)
        peer.acknowledge(4)
        assert source.calls(("acknowledge", 9))


def test_what_a_process_before_has_read_is_acknowledged_again():
    """That process may have ended before it heard that it is durable."""
    source = Recorded()
    with run_partition(source) as running:
        peer = running.accept()
        peer.receive()
        peer.welcome(received=3, acknowledged=3, mark=pack_position(7))
        source.given.put(None)
        assert peer.receive() is None
        peer.connection.close()
        assert source.calls("close") == [("open", "p", 7), "read", ("acknowledge", 7), "close"]


def test_it_reads_no_more_than_its_credit():
    source = Recorded()
    with run_partition(source) as running:
        peer = running.accept()
        peer.receive()
        peer.welcome(credit=10)
        source.given.put([("a" * 20, 1)])
        peer.message()
        peer.acknowledge(1)
        source.given.put(None)
        assert peer.receive() is None
        peer.connection.close()
        calls = source.calls("close")
        assert calls == [("open", "p", None), "read", ("acknowledge", 1), "read", "close"]


def test_frames_that_come_in_pieces():
    source = Recorded()
    with run_partition(source) as running:
        peer = running.accept()
        peer.receive()
        mark = pack_position("a")
        body = struct.pack(">QQI", 1, 0, 100) + mark
        for byte in struct.pack(">IB", len(body), WELCOME) + body:
            peer.connection.sendall(bytes([byte]))
        assert source.calls("read")[0] == ("open", "p", "a")
        source.given.put(None)
        assert peer.receive() is None
        for byte in struct.pack(">IBQ", 8, ACKNOWLEDGED, 1):
            peer.connection.sendall(bytes([byte]))
        assert source.calls(("acknowledge", "a")) == [("acknowledge", "a")]


def test_the_orchestrator_reads_no_more():
    source = Recorded()
    with run_partition(source) as running:
        peer = running.accept()
        peer.receive()
        peer.welcome()
        assert source.calls("read")[-1] == "read"
        peer.connection.close()
        source.given.put([("a", 1)])
        source.given.put([])
        assert source.calls("close")[-1] == "close"
        assert running.end() is None


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ([5], TypeError, r"read\(\) returned 5 as a message and its position"),
        ([("a", 1, 2)], TypeError, "as a message and its position"),
        ([("a", None)], TypeError, "the position None is of type NoneType"),
        ([("a", "b" * 5000)], ValueError, "a position has 5003 bytes"),
        (OSError("gone"), OSError, "gone"),
    ],
)
def test_what_read_may_not_return(given, error, said):
    source = Recorded()
    source.given.put(given)
    with run_partition(source) as running:
        peer = running.accept()
        peer.receive()
        peer.welcome()
        with pytest.raises(error, match=said):
            raise running.end()


def test_the_orchestrator_refuses():
    with run_partition(Recorded()) as running:
        peer = running.accept()
        peer.receive()
        peer.send(ERROR, b"another connection has taken it")
        with pytest.raises(ConnectionError, match="another connection has taken it"):
            raise running.end()
    with run_partition(Recorded()) as running:
        running.accept().connection.close()
        with pytest.raises(ConnectionError, match="the orchestrator has closed the connection"):
            raise running.end()


@pytest.mark.parametrize(
    ("names", "error", "said"),
    [
        ([1], TypeError, "1, which is of type int; a partition's name is a str"),
        ("orders", TypeError, "'orders', which is one name: it returns a list of names"),
        (["a", "b", "a"], ValueError, "a name twice"),
        (["", "whole"], ValueError, "'whole' is how the log names the partition ''"),
        (["é" * 128], ValueError, "a name of 256 bytes, and 255 are possible"),
    ],
)
def test_names_of_partitions(names, error, said):
    with pytest.raises(error, match=said):
        check_names(names)


def test_names_that_are_possible():
    assert check_names(name for name in ("a", "é" * 127)) == ["a", "é" * 127]
    assert check_names([]) == []


class Written(wallaroo.Sink):
    """Tells what was called, and rejects numbers below 0."""

    def __init__(self, position=None, index=None):
        self.position, self.index = position, index
        self.told = []

    def open(self):
        return self.position

    def write(self, position, messages):
        self.told.append((position, messages))
        for index, message in enumerate(messages):
            if isinstance(message, int) and message < 0:
                raise wallaroo.RejectedMessageError(index if self.index is None else self.index, f"{message} is low")

    def close(self):
        self.told.append("close")


class AsyncWritten(Written):
    async def open(self):
        return super().open()

    async def write(self, position, messages):
        super().write(position, messages)

    async def close(self):
        super().close()


def run_sink(sink, codec=None):
    config = wallaroo.connector(sink, codec)
    return config, Running(lambda address: run_and_close(SinkRun(config, address)))


def greeting(position, stream):
    body = position.to_bytes(8, "big") + stream.encode()
    return struct.pack(">I", len(body)) + body


def written(frame):
    kind, body = frame
    assert kind == WRITTEN
    return int.from_bytes(body, "big")


@pytest.mark.parametrize("kind", [Written, AsyncWritten])
def test_a_sink_from_open_to_close(kind):
    sink = kind("run:é:17")
    config, running = run_sink(sink)
    with running:
        peer = running.accept()
        assert peer.receive() == (OPENED, "run:é:17".encode())
        frames = [config.encode(message) for message in ("a", ("b", 2), None)]
        end = 17 + len(b"".join(frames))
        peer.connection.sendall(greeting(17, "run:é") + b"".join(frames))
        while written(peer.receive()) < end:
            pass
        peer.connection.shutdown(socket.SHUT_WR)
        assert peer.receive() is None
        assert running.end() is None
    *calls, last = sink.told
    assert last == "close"
    assert [message for _, messages in calls for message in messages] == ["a", ("b", 2), None]
    assert calls[-1][0] == f"run:é:{end}"


def test_messages_that_come_in_pieces():
    sink = Written()
    config, running = run_sink(sink, wallaroo.lines())
    with running:
        peer = running.accept()
        assert peer.receive() == (OPENED, b"")
        frames = config.encode("tea") + config.encode("") + config.encode("cup")
        for byte in greeting(0, "s") + frames:
            peer.connection.sendall(bytes([byte]))
        peer.connection.shutdown(socket.SHUT_WR)
        while (frame := peer.receive()) is not None:
            last = written(frame)
        assert last == len(frames)
    assert [message for _, messages in sink.told[:-1] for message in messages] == [b"tea", b"", b"cup"]


def test_many_messages_come_in_several_calls():
    sink = Written()
    config, running = run_sink(sink)
    with running:
        peer = running.accept()
        peer.receive()
        peer.connection.sendall(greeting(0, "s") + b"".join(map(config.encode, range(LIMIT * 2 + 1))))
        peer.connection.shutdown(socket.SHUT_WR)
        while peer.receive() is not None:
            pass
    calls = sink.told[:-1]
    assert max(len(messages) for _, messages in calls) <= LIMIT
    assert [message for _, messages in calls for message in messages] == list(range(LIMIT * 2 + 1))


def test_messages_that_are_rejected():
    sink = Written()
    config, running = run_sink(sink)
    with running:
        peer = running.accept()
        peer.receive()
        frames = b"".join(map(config.encode, [1, -2, 3, -4]))
        # At once, so that they come in one call.
        peer.connection.sendall(greeting(0, "s") + frames)
        said = [peer.receive() for _ in range(2)]
        if said[-1][0] == REJECTED:
            assert written(peer.receive()) == len(frames)
    letters = [msgpack.unpackb(body) for kind, body in said if kind == REJECTED]
    payload, kind, message, traceback, shown = letters[0]
    assert (pickle.loads(payload), message, shown) == (-2, "-2 is low", "-2")
    assert kind == "wallaroo._io.connectors.RejectedMessageError" or kind.endswith("RejectedMessageError")
    assert "in write" in traceback
    if sink.told[0] == (f"s:{len(frames)}", [1, -2, 3, -4]):
        assert sink.told[1:3] == [(f"s:{len(frames)}", [1, 3, -4]), (f"s:{len(frames)}", [1, 3])]


@pytest.mark.parametrize("index", [7, -1, "0", True])
def test_a_message_that_does_not_exist_is_rejected(index):
    config, running = run_sink(Written(index=index))
    with running:
        peer = running.accept()
        peer.receive()
        peer.connection.sendall(greeting(0, "s") + config.encode(-1))
        with pytest.raises(IndexError, match=r"write\(\) has rejected message .* of 1: the first one is message 0"):
            raise running.end()


def test_nothing_is_to_be_written():
    sink = Written()
    _, running = run_sink(sink)
    with running:
        peer = running.accept()
        peer.receive()
        peer.connection.close()
        assert running.end() is None
    assert sink.told == ["close"]


def test_a_position_of_a_sink():
    assert [position_bytes(position) for position in (None, "", "a:1", b"a:1")] == [b"", b"", b"a:1", b"a:1"]
    with pytest.raises(TypeError, match=r"open\(\) returned of type int; it returns the position that write"):
        position_bytes(5)


APPLICATION = """
import wallaroo

class Numbers(wallaroo.Source):
    def open(self, partition, position):
        raise OSError("no numbers today")
    def read(self, limit, timeout):
        return None

def application_setup(args):
    if args:
        raise ValueError(args[0])
    return wallaroo.application("a", wallaroo.source("numbers", Numbers()).sink(wallaroo.stdout(wallaroo.lines())))
"""


def test_the_function_is_no_package():
    """The package of the process has the same name."""
    said = "from wallaroo._connector.__main__ import main; import wallaroo; print(callable(wallaroo.connector))"
    ran = subprocess.run([sys.executable, "-c", said], env=environment(), capture_output=True, text=True, check=True)
    assert ran.stdout == "True\n"


def environment():
    return {**os.environ, "PYTHONPATH": str(Path(wallaroo.__file__).parents[1])}


def run_process(*words):
    command = [sys.executable, "-m", "wallaroo._connector", *map(str, words)]
    return subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True)


def test_the_process_says_why_it_ends(tmp_path):
    application = tmp_path / "numbers_app.py"
    application.write_text(APPLICATION)
    with Running(lambda address: None) as running:
        process = run_process("--node", 0, "--socket", running.address[1:], "--application", application, "--")
        peer = running.accept()
        assert peer.receive()[0] == HELLO
        peer.welcome()
        said = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 1
    assert "no numbers today" in said
    assert 'numbers_app.py", line 6, in open' in said


def test_an_application_that_cannot_be_loaded(tmp_path):
    application = tmp_path / "numbers_app.py"
    application.write_text(APPLICATION)
    process = run_process("--node", 0, "--socket", "nowhere", "--application", application, "--", "not like this")
    said = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 3
    assert "not like this" in said


def test_its_command_line():
    process = run_process("--node", 0)
    assert "usage: python -m wallaroo._connector --node N" in process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 1
