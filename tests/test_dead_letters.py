"""Messages that user code cannot process become dead letters with everything known about them, or end the run."""

import base64
import datetime
import fcntl
import signal
import socket
import subprocess
import threading

import pytest

from tests.harness.clients import frames, send
from tests.harness.control import status
from tests.harness.numbered import by_key, expected, messages
from tests.harness.orchestrator import PATIENCE, Orchestrator, message_of, orchestrator_command, read_dead_letters
from tests.harness.places import APPS, WORD_COUNT


def raises(consumer, *args, options=()):
    return Orchestrator(APPS / "raises.py", "--in", "127.0.0.1:0", "--out", consumer.place, *args, options=options)


@pytest.mark.parametrize("where", ["stateless", "state"])
def test_what_a_dead_letter_says(consumer, tmp_path, where):
    path = tmp_path / "dead.jsonl"
    with raises(consumer, "--where", where, options=["--dead-letters", path]) as run:
        with socket.create_connection(run.address(), PATIENCE) as connection:
            connection.sendall(frames(["k1 1", "k1 2 bad", "k1 3"]))
            peer = "{}:{}".format(*connection.getsockname())
            consumer.wait_count(2)
        run.stop()
    (letter,) = read_dead_letters(path)
    assert consumer.lines() == ["k1 1 => 1", "k1 3 => 2"]
    assert letter["application"] == "Numbered"
    assert (letter["exception"], letter["message"]) == ("ValueError", "a bad message")
    assert letter["traceback"].splitlines()[-1] == "ValueError: a bad message"
    assert "raises.py" in letter["traceback"]
    assert letter["value"] == "'k1 2 bad'"
    assert message_of(letter) == "k1 2 bad"
    assert datetime.datetime.fromisoformat(letter["time"].replace("Z", "+00:00"))
    if where == "stateless":
        assert (letter["step"], letter["key"], letter["source"]) == ("watch", None, "numbered")
        assert letter["connection"] == peer
    else:
        assert (letter["step"], letter["key"]) == ("number", "'k1'")
    logged = run.wait_for("dead letter: ValueError: a bad message")
    assert (logged["level"], logged["step"]) == ("WARN", letter["step"])


def test_a_message_that_cannot_be_decoded(consumer, tmp_path):
    path = tmp_path / "dead.jsonl"
    options = ["--dead-letters", path]
    with Orchestrator(WORD_COUNT, "--in", "127.0.0.1:0", "--out", consumer.place, options=options) as run:
        send(run.address(), frames(["good", b"\xff\xfe", "better"]))
        consumer.wait_count(2)
        run.stop()
    (letter,) = read_dead_letters(path)
    assert letter["exception"] == "UnicodeDecodeError"
    assert (letter["payload_codec"], base64.b64decode(letter["payload"])) == ("frame", b"\xff\xfe")


def test_the_file_is_appended_to(consumer, tmp_path):
    path = tmp_path / "dead.jsonl"
    for run_number in (1, 2):
        with raises(consumer, options=["--dead-letters", path]) as run:
            send(run.address(), frames([f"k {run_number} bad", "k 0"]))
            consumer.wait_count(run_number)
            run.stop()
    assert [message_of(letter) for letter in read_dead_letters(path)] == ["k 1 bad", "k 2 bad"]


def test_many_are_logged_a_few_at_a_time(consumer, tmp_path):
    path = tmp_path / "dead.jsonl"
    sent = messages(5_000, bad=range(0, 5_000, 2))
    bad = [message for message in sent if message.endswith("bad")]
    with raises(consumer, options=["--dead-letters", path]) as run:
        send(run.address(), frames(sent))
        consumer.wait_count(len(sent) - len(bad))
        run.stop()
    assert by_key(consumer.lines()) == expected(sent, without=set(bad))
    assert sorted(map(message_of, read_dead_letters(path))) == sorted(bad)
    logged = [message for message in run.messages("WARN") if "dead letter" in message]
    assert len(logged) < 100
    suppressed = [event["suppressed"] for event in run.events if "suppressed" in event]
    assert sum(suppressed) >= len(bad) - 100


def test_on_error_stop(consumer):
    with raises(consumer, options=["--on-error", "stop"]) as run:
        send(run.address(), frames(["k1 1", "k1 2 bad"]))
        assert run.wait() == 1
        text = run.text()
    assert text.index("Traceback") < text.index("error: ") < text.index("hint: ")
    for part in ("ValueError: a bad message", "number", "--on-error dead-letter"):
        assert part in text


def test_a_step_that_ends_the_run(tmp_path):
    app = tmp_path / "ends.py"
    app.write_text(
        "import wallaroo\n"
        "def application_setup(args):\n"
        "    lines = wallaroo.source('lines', wallaroo.stdin(wallaroo.lines()))\n"
        "    numbers = lines.map(int).map(lambda number: 12 // number, name='share', on_error='stop')\n"
        "    return wallaroo.application('ends', numbers.sink(wallaroo.stdout(wallaroo.json_lines())))\n"
    )
    text = tmp_path / "in.txt"
    for line, code in (("x\n4\n", 0), ("4\n0\n", 1)):
        text.write_text(line)
        with text.open() as lines, Orchestrator(app, stdin=lines) as run:
            assert run.wait() == code, run.log()
            printed = run.text()
    assert 'a message failed in step "share"' in printed
    assert "ZeroDivisionError" in printed
    assert 'hint: the step has on_error="stop"' in printed


def test_a_key_that_is_not_in_the_list(consumer, tmp_path):
    """A partition function that returns a key outside the list causes dead letters."""
    app = tmp_path / "narrow.py"
    app.write_text(
        "import numbered\n"
        "import wallaroo\n"
        "def application_setup(args):\n"
        "    (inn,), (out,) = wallaroo.tcp_parse_input_addrs(args), wallaroo.tcp_parse_output_addrs(args)\n"
        "    ab = wallaroo.ApplicationBuilder('Narrow')\n"
        "    ab.new_pipeline('narrow', wallaroo.TCPSourceConfig(*inn, numbered.Decoder))\n"
        "    number = numbered.Number(numbered.nothing)\n"
        "    ab.to_state_partition(number, numbered.Numbers, 'numbers', numbered.Key, ['k1', 'k2'])\n"
        "    return ab.to_sink(wallaroo.TCPSinkConfig(*out, numbered.Encoder)).build()\n"
    )
    (tmp_path / "numbered.py").write_text((APPS / "numbered.py").read_text())
    path = tmp_path / "dead.jsonl"
    options = ["--dead-letters", path]
    with Orchestrator(app, "--in", "127.0.0.1:0", "--out", consumer.place, options=options) as run:
        send(run.address(), frames(["k1 1", "k3 2", "k2 3"]))
        consumer.wait_count(2)
        run.stop()
    (letter,) = read_dead_letters(path)
    assert "k3" in letter["message"]
    assert "k1" in letter["message"]


def dead_letters(*words) -> subprocess.Popen:
    command = [orchestrator_command(), "dead-letters", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def outcome(command: subprocess.Popen) -> "tuple[int, str, str]":
    """Exit code, standard output, standard error."""
    printed, logged = command.communicate(timeout=PATIENCE)
    return command.returncode, printed, logged


def test_messages_are_sent_again_while_the_run_goes_on(consumer, tmp_path):
    path = tmp_path / "dead.jsonl"
    with raises(consumer, "--where", "stateless", options=["--dead-letters", path]) as run:
        send(run.address(), frames(["k 1 bad", "k 2 bad", "k 3"]))
        consumer.wait_count(1)
        code, listed, _ = outcome(dead_letters("list", path))
        assert code == 0
        assert [line.split()[0] for line in listed.splitlines()] == ["N", "1", "2"]
        assert "watch" in listed
        assert "ValueError: a bad message" in listed
        # The system chose the port, so the expected letters cannot contain it.
        code, _, said = outcome(dead_letters("retry", path))
        assert code == 2
        assert "hint: --to HOST:PORT" in said
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(PATIENCE)
            retry = dead_letters("retry", path, "--to", "{}:{}".format(*listener.getsockname()))
            with listener.accept()[0] as connection, connection.makefile("rb") as stream:
                assert stream.read() == frames(["k 1 bad", "k 2 bad"])
        assert outcome(retry)[0] == 0
        assert read_dead_letters(path) == []
        # It is sent to its source and fails again there: the run continues in the file that replaced the first one.
        send(run.address(), frames(["k 4 bad", "k 5"]))
        consumer.wait_count(2)
        assert outcome(dead_letters("retry", path, "1", "--to", "{}:{}".format(*run.address())))[0] == 0
        send(run.address(), frames(["k 6"]))
        consumer.wait_count(3)
        run.stop()
    assert [message_of(letter) for letter in read_dead_letters(path)] == ["k 4 bad"]
    assert run.summary()["dead_letters"] == 4


def test_values_between_steps_are_not_sent_again(consumer, tmp_path):
    path = tmp_path / "dead.jsonl"
    with raises(consumer, options=["--dead-letters", path]) as run:
        send(run.address(), frames(["k 1 bad", "k 2"]))
        consumer.wait_count(1)
        run.stop()
    code, _, said = outcome(dead_letters("retry", path, "--to", consumer.place))
    assert code == 1
    assert 'a value for step "number"' in said
    assert [message_of(letter) for letter in read_dead_letters(path)] == ["k 1 bad"]
    code, shown, _ = outcome(dead_letters("show", path, 1))
    assert code == 0
    assert "Traceback (most recent call last):" in shown
    assert outcome(dead_letters("drop", path, "--all"))[0] == 0
    assert read_dead_letters(path) == []
    assert consumer.count == 1


def test_a_full_disk_holds_the_stream_back_and_loses_nothing(consumer, tmp_path):
    # A link, so that the disk can become free: what could not be written goes to the file that is at the path then.
    path, disk = tmp_path / "dead.jsonl", tmp_path / "disk"
    path.symlink_to("/dev/full")
    disk.touch()
    count = 20_000
    options = ["--dead-letters", path, "--queue-bytes", "64KiB"]
    with raises(consumer, options=options) as run:
        sent = [f"k{n % 7} {n} bad" for n in range(count)]
        with socket.create_connection(run.address(), PATIENCE) as connection:
            sender = threading.Thread(target=connection.sendall, args=(frames([*sent, "k0 good"]),))
            sender.start()
            logged = run.wait_for("dead letters cannot be written to")
            assert "No space left on device" in logged["message"]
            (problem,) = status(run)["problems"]
            assert "dead letters wait" in problem
            assert "No space left" in problem
            held = status(run)["dead_letters"]
            assert held < count / 2, "the intake goes on"
            path.unlink()
            path.symlink_to(disk)
            consumer.wait_count(1)
            sender.join(PATIENCE)
        run.wait_for("dead letters are written to")
        run.stop()
    letters = read_dead_letters(disk)
    assert sorted(message_of(letter) for letter in letters) == sorted(sent)
    assert run.summary()["dead_letters"] == count


def test_a_locked_file_is_waited_for(consumer, tmp_path):
    path = tmp_path / "dead.jsonl"
    with raises(consumer, options=["--dead-letters", path]) as run, run.ready() and path.open("r+b") as locked:
        fcntl.lockf(locked, fcntl.LOCK_EX)
        send(run.address(), frames(["k1 1 bad", "k1 2"]))
        consumer.wait_count(1)
        run.wait_for("another process has locked the file")
        assert read_dead_letters(path) == []
        fcntl.lockf(locked, fcntl.LOCK_UN)
        run.stop()
    (letter,) = read_dead_letters(path)
    assert message_of(letter) == "k1 1 bad"


def test_a_second_signal_ends_a_run_whose_letters_cannot_be_written(consumer):
    with raises(consumer, options=["--dead-letters", "/dev/full"]) as run:
        send(run.address(), frames(["k1 1 bad"]))
        run.wait_for("dead letters cannot be written to")
        run.signal(signal.SIGTERM)
        run.wait_for("stopping")
        run.signal(signal.SIGTERM)
        assert run.wait() == 130
        run.wait_for("dead letters could not be written before the end")
