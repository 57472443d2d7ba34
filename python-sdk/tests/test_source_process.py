"""The process of a source: what goes over its sockets."""

from __future__ import annotations

import queue
import struct

import pytest

import wallaroo
from connector_peers import ACKNOWLEDGED, ERROR, HELLO, PATIENCE, WELCOME, Running, run_and_close
from wallaroo._connector._positions import pack_position
from wallaroo._connector._source import Partition, SourceRun, check_names


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
        peer = running.accept()
        peer.receive()
        peer.connection.close()
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
