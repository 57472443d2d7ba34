"""``wallaroo.client`` against a source that is played by a thread."""

import contextlib
import socket
import struct
import threading

import pytest

from wallaroo.client import Sender, StreamError

HEADER = struct.Struct(">IB")
HELLO, MESSAGE, WELCOME, ACKNOWLEDGED, ERROR = range(1, 6)


class Source:
    """Serves one connection after the other by a function of the list in ``serve``, which is given the connection."""

    def __init__(self, *serve):
        self.heard = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = self._listener.getsockname()
        self._thread = threading.Thread(target=self._run, args=(serve,), daemon=True)
        self._thread.start()

    def _run(self, serve):
        for each in serve:
            connection, _ = self._listener.accept()
            with connection, connection.makefile("rb") as reader:
                self.heard.append(read(reader))
                # The client may go first.
                with contextlib.suppress(OSError):
                    each(connection, reader, self.heard)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._thread.join(20)
        self._listener.close()


def read(reader):
    length, kind = HEADER.unpack(reader.read(HEADER.size))
    return kind, reader.read(length)


def write(connection, kind, body):
    connection.sendall(HEADER.pack(len(body), kind) + body)


def welcome(received=0, acknowledged=0, credit=1 << 20):
    return struct.pack(">QQI", received, acknowledged, credit)


def takes(count, *, received=0, acknowledged=0, upto=None, credit=1 << 20):
    """Welcome, take so many messages, and acknowledge them up to a number."""

    def serve(connection, reader, heard):
        write(connection, WELCOME, welcome(received, acknowledged, credit))
        for _ in range(count):
            heard.append(read(reader))
        if upto is not None:
            write(connection, ACKNOWLEDGED, upto.to_bytes(8, "big"))
            reader.read()

    return serve


def takes_and_stays(count):
    """Welcome, take so many messages, acknowledge none, and wait until the client goes."""
    take = takes(count)

    def serve(connection, reader, heard):
        take(connection, reader, heard)
        reader.read()

    return serve


def test_messages_are_numbered_and_acknowledged():
    with Source(takes(3, upto=3)) as source, Sender(source.address, "tea") as sender:
        assert sender.send("one") == 1
        assert sender.send_all([b"two", "drei €"]) == 3
        sender.flush(20)
        assert (sender.acknowledged, sender.sent) == (3, 3)
    assert source.heard == [
        (HELLO, b"\x01tea"),
        (MESSAGE, b"one"),
        (MESSAGE, b"two"),
        (MESSAGE, "drei €".encode()),
    ]


def test_what_is_not_received_is_sent_again():
    # The first connection is lost after two of three messages; of these the second was received and not acknowledged.
    lost = takes(2, upto=None)
    again = takes(2, received=2, acknowledged=1, upto=4)
    with Source(lost, again) as source, Sender(source.address, "tea") as sender:
        sender.send_all(["one", "two"])
        with contextlib.suppress(TimeoutError):
            sender.flush(0.0)
        assert sender.send_all(["three", "four"]) == 4
    messages = [body for kind, body in source.heard if kind == MESSAGE]
    assert messages == [b"one", b"two", b"three", b"four"]


def test_a_stream_that_began_earlier_goes_on():
    with Source(takes(1, received=7, acknowledged=5, upto=8)) as source, Sender(source.address, "tea") as sender:
        assert (sender.acknowledged, sender.sent) == (5, 5)
        # Six and seven are there, and kept in case that they are lost.
        assert sender.send_all(["six", "seven", "eight"]) == 8
    assert source.heard[1:] == [(MESSAGE, b"eight")]


def test_a_sender_waits_for_credit():
    has_come, held_back = threading.Event(), threading.Event()

    def serve(connection, reader, heard):
        write(connection, WELCOME, welcome(credit=10))
        heard.append(read(reader))
        has_come.set()
        held_back.wait(20)
        write(connection, ACKNOWLEDGED, (1).to_bytes(8, "big"))
        heard.append(read(reader))
        write(connection, ACKNOWLEDGED, (2).to_bytes(8, "big"))
        reader.read()

    with Source(serve) as source, Sender(source.address, "tea") as sender:
        sending = threading.Thread(target=lambda: (sender.send(b"more than ten"), sender.send(b"another")))
        sending.start()
        assert has_come.wait(20)
        with pytest.raises(TimeoutError, match="1 messages are not acknowledged"):
            sender.flush(0.0)
        held_back.set()
        sending.join(20)
        assert sender.sent == 2


def test_a_source_that_refuses():
    def refuse(connection, reader, heard):
        write(connection, WELCOME, welcome())
        write(connection, ERROR, b"no tea today")
        reader.read()

    with Source(refuse) as source:
        sender = Sender(source.address, "tea")
        sender._kept.append(b"one")
        with pytest.raises(StreamError, match=r"stream 'tea' to 127\.0\.0\.1:\d+: no tea today"):
            sender.close()


def test_what_is_no_source_of_streams():
    def serve(connection, reader, heard):
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with Source(serve) as source, pytest.raises(StreamError, match="no source of acknowledged streams"):
        Sender(source.address, "tea")


def test_a_source_that_has_lost_its_state():
    with Source(takes(1, upto=1), takes(0)) as source:
        sender = Sender(source.address, "tea")
        sender.send("one")
        sender.flush(20)
        sender._connection.close()
        with pytest.raises(StreamError, match="1 messages were acknowledged, and 0 are there"):
            sender.send("two")


def test_nobody_is_there():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
    with pytest.raises(StreamError, match="refused"):
        Sender(address, "tea", connect_timeout=0.0)


@pytest.mark.parametrize(
    ("address", "name", "error"),
    [
        ("7010", "tea", "is not an address"),
        ("localhost:", "tea", "is not an address"),
        (("localhost", 1), "", "1 to 255 bytes"),
        (("localhost", 1), "é" * 128, "1 to 255 bytes, got 256"),
    ],
)
def test_arguments_are_checked(address, name, error):
    with pytest.raises(ValueError, match=error):
        Sender(address, name)


def test_an_error_of_the_program_does_not_wait():
    def fail(sender):
        with sender:
            sender.send("one")
            raise LookupError

    with Source(takes_and_stays(1)) as source, pytest.raises(LookupError):
        fail(Sender(source.address, "tea"))
