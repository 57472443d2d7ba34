"""Clients that break the rules harm only themselves."""

import socket
import struct

import pytest

from tests.harness.clients import frames, send
from tests.harness.orchestrator import PATIENCE, Orchestrator
from tests.harness.places import WORD_COUNT
from tests.harness.processes import high_water_mark


@pytest.fixture
def run(consumer):
    options = ["--max-frame", "1MiB"]
    with Orchestrator(WORD_COUNT, "--in", "127.0.0.1:0", "--out", consumer.place, options=options) as run:
        yield run


def closed(connection) -> bool:
    """Waits until the other side has closed the connection."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("length", [2**32 - 1, 2**31, (1 << 20) + 1])
def test_a_header_beyond_the_cap_closes_that_connection_only(consumer, run, length):
    address = run.address()
    with socket.create_connection(address, PATIENCE) as good, socket.create_connection(address, PATIENCE) as bad:
        good.sendall(frames(["alpha"]))
        bad.sendall(frames(["beta"]) + struct.pack(">I", length) + b"and some bytes")
        assert closed(bad)
        event = run.wait_for(lambda event: event["level"] == "ERROR")
        peer = "{}:{}".format(*bad.getsockname())
        for part in (peer, str(length), str(1 << 20)):
            assert part in event["message"]
        assert event["limit"] == "max-frame"
        good.sendall(frames(["gamma"]))
        consumer.wait_count(3)
        send(address, frames(["delta"]))
        consumer.wait_count(4)
    assert high_water_mark(run.pid) < 100 << 20
    run.stop()
    assert sorted(consumer.lines()) == [f"{word} => 1" for word in ("alpha", "beta", "delta", "gamma")]


def test_a_frame_at_the_cap(consumer, run):
    word = "a" * (1 << 20)
    send(run.address(), frames([word]))
    consumer.wait_count(1)
    run.stop()
    assert consumer.lines() == [f"{word} => 1"]


def test_a_stream_that_ends_inside_a_frame(consumer, run):
    send(run.address(), frames(["whole"]) + struct.pack(">I", 10) + b"half")
    error = run.wait_for(lambda event: event["level"] == "ERROR")["message"]
    assert "ended inside a frame" in error
    send(run.address(), frames(["next"]))
    consumer.wait_count(2)
    run.stop()
    assert sorted(consumer.lines()) == ["next => 1", "whole => 1"]


def test_empty_frames(consumer, run):
    send(run.address(), frames(["", "word", ""]))
    consumer.wait_count(3)
    run.stop()
    assert sorted(consumer.lines()) == [" => 1", " => 2", "word => 1"]


def test_a_byte_at_a_time(consumer, run):
    with socket.create_connection(run.address(), PATIENCE) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in frames(["slowly", "but", "surely"]):
            connection.sendall(bytes([byte]))
        consumer.wait_count(3)
    run.stop()


def test_clients_that_reset_their_connections(consumer, run):
    for number in range(20):
        connection = socket.create_connection(run.address(), PATIENCE)
        connection.sendall(frames([f"word{number}"]) + b"\0\0")
        consumer.wait_count(number + 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
    send(run.address(), frames(["last"]))
    consumer.wait_count(21)
    run.stop()
