"""Acknowledged streams: a client knows what is durable, and goes on behind it, whoever dies."""

import signal
import socket
import subprocess
import threading
import time
from collections import defaultdict
from random import Random

import pytest
from wallaroo.client import Sender, StreamError
from wallaroo.testing._running import orchestrator_command

from tests.harness.clients import Consumer, send
from tests.harness.orchestrator import PATIENCE, Orchestrator, read_dead_letters
from tests.harness.places import APPS

APP = APPS / "acknowledged.py"
KEYS = 7
#: Several times what the source takes at once here, so that kills find messages everywhere.
MESSAGES = 60_000
POLL = 0.001
OPTIONS = ["--queue-bytes", "256KiB"]


def message(number):
    return f"k{number % KEYS} {number}"


def expected(messages):
    """The numbered lines of each key."""
    return {
        f"k{key}": [f"{count} {number}" for count, number in enumerate(range(key, messages, KEYS), 1)]
        for key in range(min(KEYS, messages))
    }


def by_key(lines):
    found = defaultdict(list)
    for line in lines:
        key, rest = line.split(" ", 1)
        found[key].append(rest)
    return dict(found)


def without_repetitions(lines):
    """The lines of a key, each once. Those after a kill go back to an earlier line and on from there."""
    once = []
    for line in lines:
        count = int(line.split()[0])
        assert count <= len(once) + 1, f"{line!r} comes after {once[-3:]}"
        if count > len(once):
            once.append(line)
        assert once[count - 1] == line
    return once


@pytest.fixture
def port():
    """A port for several runs. It is bound and not listened at, so that no other process gets it."""
    with socket.socket() as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


class Client(threading.Thread):
    """Sends all messages of a stream. ``join`` raises its error."""

    def __init__(self, port, messages=MESSAGES, name="numbers"):
        super().__init__(daemon=True)
        self._port, self._messages, self._name = port, messages, name
        self.error = None
        self.start()

    def run(self):
        try:
            with Sender(("127.0.0.1", self._port), self._name, connect_timeout=PATIENCE) as sender:
                sender.send_all(map(message, range(sender.acknowledged, self._messages)))
        except (OSError, ValueError) as error:
            self.error = error

    def join(self, timeout=PATIENCE):
        super().join(timeout)
        assert not self.is_alive(), "not everything is acknowledged"
        if self.error is not None:
            raise self.error


def run(port, to, *options, workers=2):
    return Orchestrator(APP, port, to, workers=workers, options=[*OPTIONS, *options])


@pytest.mark.chaos
@pytest.mark.parametrize("seed", [1, 2])
def test_kills_lose_and_double_nothing_in_a_file(tmp_path, port, seed):
    random, out, state = Random(seed), tmp_path / "out.txt", tmp_path / "state"
    client = Client(port)
    for workers in (2, 1, 3):
        with run(port, out, "--state", state, workers=workers) as running:
            running.ready()
            wanted = random.randrange(1, MESSAGES * 6)
            while out.stat().st_size < wanted and client.is_alive():
                # Files have no event to wait for.
                time.sleep(POLL)
            running.process.kill()
            assert running.wait() == -signal.SIGKILL
    with run(port, out, "--state", state) as running:
        client.join()
        running.stop()
    assert by_key(out.read_text().splitlines()) == expected(MESSAGES)


@pytest.mark.chaos
def test_kills_repeat_no_more_than_the_last_messages_at_a_consumer(tmp_path, port):
    with Consumer() as consumer:
        client = Client(port)
        for share in (0.2, 0.5, 0.7):
            with run(port, consumer.place, "--state", tmp_path / "state") as running:
                consumer.wait_count(int(share * MESSAGES))
                running.process.kill()
                assert running.wait() == -signal.SIGKILL
        with run(port, consumer.place, "--state", tmp_path / "state") as running:
            client.join()
            running.stop()
        consumer.wait_closed()
        found = by_key(consumer.lines())
    assert {key: without_repetitions(lines) for key, lines in found.items()} == expected(MESSAGES)


def test_a_client_that_begins_anew_goes_on_behind_what_is_acknowledged(tmp_path, port):
    out = tmp_path / "out.txt"
    with run(port, out, "--state", tmp_path / "state") as running:
        running.ready()
        Client(port, 100).join()
        with Sender(("127.0.0.1", port), "numbers") as sender:
            assert (sender.acknowledged, sender.sent) == (100, 100)
            assert sender.send(message(100)) == 101
        assert sender.acknowledged == 101
        Client(port, 50, "others").join()
        running.stop()
    assert len(out.read_text().splitlines()) == 151
    shown = subprocess.run(
        [orchestrator_command(), "state", "show", "--json", tmp_path / "state"], check=True, capture_output=True
    )
    assert b'"streams":{"numbers":101,"others":50}' in shown.stdout.replace(b" ", b"").replace(b"\n", b"")


def test_a_lost_connection_loses_and_doubles_nothing_without_a_log(tmp_path, port):
    out = tmp_path / "out.txt"
    with run(port, out) as running:
        running.ready()
        with Sender(("127.0.0.1", port), "numbers") as sender:
            for first in range(0, 3000, 100):
                sender.send_all(map(message, range(first, first + 100)))
                sender._connection.socket.shutdown(socket.SHUT_RDWR)
        running.stop()
    assert by_key(out.read_text().splitlines()) == expected(3000)


def test_another_client_takes_a_stream_over(tmp_path, port):
    with run(port, tmp_path / "out.txt") as running:
        running.ready()
        first = Sender(("127.0.0.1", port), "numbers")
        first.send(message(0))
        first.flush(PATIENCE)
        with Sender(("127.0.0.1", port), "numbers") as second:
            assert second.acknowledged == 1
            with first._news:
                assert first._news.wait_for(lambda: first._connection.refusal is not None, PATIENCE)
            with pytest.raises(StreamError, match="goes on with another connection"):
                first.close()
        running.stop()


def test_a_run_without_what_was_acknowledged_is_an_error(tmp_path, port):
    sender = None
    for _ in range(2):
        with run(port, tmp_path / "out.txt") as running:
            running.ready()
            if sender is None:
                sender = Sender(("127.0.0.1", port), "numbers")
                sender.send(message(0))
                sender.flush(PATIENCE)
            else:
                with pytest.raises(StreamError, match="1 messages were acknowledged, and 0 are there"), sender:
                    sender.send(message(1))
            running.stop()


def test_what_is_no_stream_is_told_so(tmp_path, port):
    with run(port, tmp_path / "out.txt") as running:
        running.ready()
        send(("127.0.0.1", port), b"\0\0\0\x03tea")
        running.wait_for("does not begin with the name of a stream")
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
            client.sendall(b"\0\0\0\x02\x01\x01a" + b"\0\0\0\x01\x09!")
            running.wait_for("no message of an acknowledged stream but of kind 9")
            assert client.makefile("rb").read()[25:].endswith(b"of kind 9")
        running.stop()


def test_a_message_that_fails_is_acknowledged_and_can_be_sent_again(tmp_path, port):
    letters, out = tmp_path / "letters.jsonl", tmp_path / "out.txt"
    options = ["--dead-letters", letters, "--state", tmp_path / "state"]
    with run(port, out, *options) as running:
        running.ready()
        with Sender(("127.0.0.1", port), "numbers") as sender:
            sender.send_all(["a 1", "a 2 fails", "a 3"])
        running.stop()
    (letter,) = read_dead_letters(letters)
    assert letter["source_framing"] == "stream"
    with run(port, out, *options) as running:
        running.ready()
        retry = [orchestrator_command(), "dead-letters", "retry", letters]
        retried = subprocess.run(retry, check=True, capture_output=True)
        assert retried.stderr.endswith(b"sent 1 messages to 127.0.0.1:%d\n" % port)
        # It is sent as it was, and fails again.
        running.wait_for("as asked")
        with Sender(("127.0.0.1", port), "numbers") as sender:
            sender.send("a 4")
        running.stop()
    assert out.read_text().splitlines() == ["a 1 1", "a 2 3", "a 3 4"]


def test_send_goes_on_behind_what_an_earlier_one_has_sent(tmp_path, port):
    text, out = tmp_path / "in.txt", tmp_path / "out.txt"
    text.write_text("".join(f"{message(number)}\n" for number in range(MESSAGES)))
    command = [orchestrator_command(), "send", "--to", f"127.0.0.1:{port}", "--stream", "numbers", text]
    command += ["--connect-timeout", str(PATIENCE)]
    sending = subprocess.Popen(command)
    with run(port, out, "--state", tmp_path / "state") as running:
        running.ready()
        while out.stat().st_size < MESSAGES * 3:
            time.sleep(POLL)
        running.process.kill()
        assert running.wait() == -signal.SIGKILL
    with run(port, out, "--state", tmp_path / "state") as running:
        assert sending.wait(PATIENCE) == 0
        with text.open("a") as more:
            more.write(f"{message(MESSAGES)}\n")
        again = subprocess.run(command, check=True, capture_output=True)
        assert b"%d messages had been sent before" % MESSAGES in again.stderr
        assert b"sent 1 messages" in again.stderr
        text.write_text("another file\n")
        short = subprocess.run(command, capture_output=True)
        assert short.returncode == 1
        assert b"the input has 1 lines" in short.stderr
        running.stop()
    assert by_key(out.read_text().splitlines()) == expected(MESSAGES + 1)
