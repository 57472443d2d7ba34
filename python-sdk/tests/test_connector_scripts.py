"""``SourceConnector`` and ``SinkConnector`` of scripts, against an application that is played by the test."""

import logging
import queue
import socket
import struct
import threading

import pytest

from connector_application import message_of, words
from wallaroo import experimental
from wallaroo.experimental import ConnectorError, SinkConnector, SourceConnector

PATIENCE = 20


def frame(payload, milliseconds=0):
    return struct.pack("<Iq", len(payload) + 8, milliseconds) + payload


class Log(logging.Handler):
    """What the scripts log, to wait for."""

    def __init__(self):
        super().__init__()
        self.records = queue.Queue()

    def emit(self, record):
        self.records.put(record.getMessage())

    def next(self):
        return self.records.get(timeout=PATIENCE)


@pytest.fixture
def log():
    handler, logger = Log(), logging.getLogger("wallaroo.experimental")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


# Feeding


class Listener:
    """The application's side of a source connector."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.socket.settimeout(PATIENCE)
        self.port = self.socket.getsockname()[1]

    def accept(self):
        connection, _ = self.socket.accept()
        connection.settimeout(PATIENCE)
        return connection

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


def read(connection, count):
    received = bytearray()
    while len(received) < count:
        more = connection.recv(count - len(received))
        assert more, f"the connection ended after {len(received)} bytes"
        received += more
    return bytes(received)


def test_messages_are_written_as_frames(application):
    sent = frame(b"tea") + frame(b"pot", 1_777_636_800_000) + frame(b"cup")
    with Listener() as listener, SourceConnector(words(application, "feed", "--in", listener.port)) as connector:
        connector.connect()
        connector.write("tea")
        connector.write(None)
        connector.write("pot", event_time=1_777_636_800.0)
        connector.write(b"cup")
        with listener.accept() as connection:
            assert read(connection, len(sent)) == sent


def test_another_address_than_that_of_the_config(application):
    with Listener() as listener, SourceConnector(words(application, "feed")) as connector:
        connector.connect(host="localhost", port=str(listener.port))
        connector.write("tea")
        with listener.accept() as connection:
            assert read(connection, 15) == frame(b"tea")


def test_connecting_waits_for_the_application(application, log):
    with socket.socket() as taken:
        # Nobody listens there, and nobody else can.
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with SourceConnector(words(application, "feed", "--in", port)) as connector:
            thread = threading.Thread(target=connector.connect)
            thread.start()
            message = log.next()
            assert message.startswith(f"connector 'feed': cannot connect to 127.0.0.1:{port}: ")
            assert message.endswith("; is the application running? Trying again")
            taken.listen()
            thread.join(PATIENCE)
            assert not thread.is_alive()
            # It says so again every ten seconds.
            while (said := log.next()) != f"connector 'feed': connected to 127.0.0.1:{port}":
                assert "cannot connect" in said


def test_a_connection_to_itself_is_none(application, monkeypatch, log):
    to_itself, connect = [socket.socket()], socket.create_connection
    to_itself[0].bind(("127.0.0.1", 0))
    to_itself[0].connect(to_itself[0].getsockname())
    monkeypatch.setattr(socket, "create_connection", lambda *args: to_itself.pop() if to_itself else connect(*args))
    with Listener() as listener, SourceConnector(words(application, "feed", "--in", listener.port)) as connector:
        connector.connect()
        assert "Connection refused" in log.next()
        connector.write("tea")
        with listener.accept() as connection:
            assert read(connection, 15) == frame(b"tea")


def test_a_connection_that_takes_too_long_is_tried_again(application, monkeypatch, log):
    failing, connect = [socket.timeout("timed out")], socket.create_connection

    def connect_later(*args):
        if failing:
            raise failing.pop()
        return connect(*args)

    monkeypatch.setattr(socket, "create_connection", connect_later)
    with Listener() as listener, SourceConnector(words(application, "feed", "--in", listener.port)) as connector:
        connector.connect()
        assert ": timed out; is the application running?" in log.next()


def test_a_lost_connection_is_made_again(application, log):
    with Listener() as listener, SourceConnector(words(application, "feed", "--in", listener.port)) as connector:
        connector.connect()
        with listener.accept() as connection:
            connector.write("one")
            assert read(connection, 15) == frame(b"one")
        # The end of the connection has come here: it is on one machine.
        connector.write("two")
        assert log.next().startswith(f"connector 'feed': lost 127.0.0.1:{listener.port}: it closed the connection")
        with listener.accept() as connection:
            assert read(connection, 15) == frame(b"two")


def test_a_message_whose_connection_breaks_is_sent_again(application, log):
    large = b"x" * (16 << 20)
    with Listener() as listener, SourceConnector(words(application, "feed", "--in", listener.port)) as connector:
        connector.connect()
        thread = threading.Thread(target=connector.write, args=(large,))
        with listener.accept() as connection:
            thread.start()
            # More than the kernels keep has to be read, so the write is under way.
            read(connection, 1000)
        assert "connecting again" in log.next()
        with listener.accept() as connection:
            assert read(connection, len(large) + 12) == frame(large)
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_threads_may_write(application):
    count, size = 20, 300_000
    with Listener() as listener, SourceConnector(words(application, "feed", "--in", listener.port)) as connector:
        connector.connect()
        threads = [
            threading.Thread(target=connector.write, args=(bytes([number]) * size,), daemon=True)
            for number in range(count)
        ]
        with listener.accept() as connection:
            for thread in threads:
                thread.start()
            frames = {read(connection, size + 12) for _ in threads}
        assert frames == {frame(bytes([number]) * size) for number in range(count)}


def test_writing_before_connecting(application):
    connector = SourceConnector(words(application, "feed"))
    assert message_of(lambda: connector.write("tea")) == (
        "connector 'feed' is not connected\nhint: call connect() before write()"
    )


def test_an_unknown_host(application, monkeypatch):
    def unknown(*_args):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    connector = SourceConnector(words(application, "feed"))
    assert message_of(lambda: connector.connect("celsius.invalid", 7100)) == (
        "connector 'feed': host 'celsius.invalid' is unknown: Name or service not known\n"
        "hint: correct host of its SourceConnectorConfig, or give connect(host, port) another"
    )


def test_a_host_that_is_no_name(application):
    connector = SourceConnector(words(application, "feed"))
    assert "host 'a..b' is unknown: " in message_of(lambda: connector.connect("a..b", 7100))


def test_a_host_whose_name_is_not_known_yet(application, monkeypatch, log):
    found, failing = socket.getaddrinfo, [socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")]

    def known_later(*args):
        if failing:
            raise failing.pop()
        return found(*args)

    monkeypatch.setattr(socket, "getaddrinfo", known_later)
    with Listener() as listener, SourceConnector(words(application, "feed", "--in", listener.port)) as connector:
        connector.connect()
        assert "Temporary failure in name resolution" in log.next()
        assert "connected" in log.next()


def test_the_error_of_a_time_names_the_line_of_the_script(application):
    with Listener() as listener, SourceConnector(words(application, "feed", "--in", listener.port)) as connector:
        connector.connect()
        with pytest.warns(UserWarning, match="before 1980") as warned:
            connector.write("tea", 1_777_636_800)
        assert warned[0].filename == __file__


# Taking results


@pytest.fixture
def sink(application):
    with SinkConnector(words(application, "results")) as connector:
        connector.listen("127.0.0.1", 0)
        yield connector


def test_results_are_read_in_order(sink):
    with socket.create_connection(sink.address) as connection:
        connection.sendall(frame(b"tea") + frame(b"", 5) + frame("größe".encode()))
        assert [sink.read(PATIENCE) for _ in range(3)] == ["tea", "", "größe"]


def test_frames_come_in_pieces(sink):
    sent = frame(b"tea") + frame(b"pot")
    for cut in range(len(sent) + 1):
        with socket.create_connection(sink.address) as connection:
            connection.sendall(sent[:cut])
            got = [sink.read(PATIENCE) for _ in range(cut // 15)]
            if cut < len(sent):
                with pytest.raises(TimeoutError):
                    sink.read(0)
            connection.sendall(sent[cut:])
            got += [sink.read(PATIENCE) for _ in range(2 - len(got))]
            assert got == ["tea", "pot"]


def test_what_was_read_is_not_kept(sink):
    with socket.create_connection(sink.address) as connection:
        thread = threading.Thread(target=connection.sendall, args=(frame(b"x" * 1_000) * 5_000,))
        thread.start()
        for _ in range(5_000):
            assert len(sink.read(PATIENCE)) == 1_000
        thread.join(PATIENCE)
        (kept,) = [key.data for key in sink._selector.get_map().values() if key.data is not None]
    assert len(kept._buffer) < 1 << 18


def test_several_connections(sink):
    with socket.create_connection(sink.address) as one, socket.create_connection(sink.address) as two:
        one.sendall(frame(b"1a") + frame(b"1b"))
        two.sendall(frame(b"2a") + frame(b"2b"))
        got = [sink.read(PATIENCE) for _ in range(4)]
        assert sorted(got) == ["1a", "1b", "2a", "2b"]
        assert [each for each in got if each[0] == "1"] == ["1a", "1b"]


def test_the_next_connection_goes_on(sink, log):
    with socket.create_connection(sink.address) as connection:
        connection.sendall(frame(b"tea") + frame(b"pot")[:-1])
        assert sink.read(PATIENCE) == "tea"
        peer = "{}:{}".format(*connection.getsockname())
    with socket.create_connection(sink.address) as connection:
        connection.sendall(frame(b"pot"))
        assert sink.read(PATIENCE) == "pot"
    assert log.next() == (
        f"connector 'results': connection of {peer} closed: it ended inside a message, of which 14 bytes came; the"
        " application sends it again"
    )
    with pytest.raises(TimeoutError):
        sink.read(0)


def test_a_stranger_is_sent_away(sink, log):
    with socket.create_connection(sink.address) as stranger, socket.create_connection(sink.address) as connection:
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert "does not send what the decoder reads" in closed(sink, stranger, log)
        connection.sendall(frame(b"tea"))
        assert sink.read(PATIENCE) == "tea"


def closed(sink, connection, log):
    """Read until the connection is closed; return what was logged of it."""
    while log.records.empty():
        with pytest.raises(TimeoutError):
            sink.read(0.01)
    connection.settimeout(PATIENCE)
    assert connection.recv(1) == b""
    return log.next()


def test_a_message_that_cannot_be_decoded_is_an_error_of_one_read(sink):
    with socket.create_connection(sink.address) as connection:
        connection.sendall(frame(b"refused") + frame(b"tea"))
        with pytest.raises(ValueError, match="refused"):
            sink.read(PATIENCE)
        assert sink.read(PATIENCE) == "tea"


@pytest.mark.parametrize("timeout", [0, 0.001])
def test_nothing_comes(sink, timeout):
    with pytest.raises(TimeoutError, match=f"connector 'results': no message came within {timeout} s"):
        sink.read(timeout)


def test_an_address_in_use(sink, application):
    host, port = sink.address
    with SinkConnector(words(application, "results")) as second:
        assert message_of(lambda: second.listen(host, port)) == (
            f"connector 'results': cannot listen on 127.0.0.1:{port}: Address already in use\n"
            "hint: does the script run already? End it, or give the SinkConnectorConfig another port"
        )


def test_an_address_of_another_machine(application):
    connector = SinkConnector(words(application, "results"))
    message = message_of(lambda: connector.listen("192.0.2.1", 7200))
    assert message.startswith("connector 'results': cannot listen on 192.0.2.1:7200: ")
    assert "listen(host, port)" in message


def test_reading_before_listening(application):
    connector = SinkConnector(words(application, "results"))
    assert message_of(connector.read) == "connector 'results' does not listen\nhint: call listen() before read()"


def test_the_old_name_of_the_error():
    assert experimental.UnexpectedSocketError is ConnectorError
