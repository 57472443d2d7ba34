"""Files, standard streams, generators and framings other than a length prefix."""

import json
import socket
import subprocess
import sys

import pytest

from tests.harness.clients import send
from tests.harness.orchestrator import PATIENCE, Orchestrator, orchestrator_command
from tests.harness.places import APPS, WORD_COUNT

LINES = [f"line {number}" for number in range(5_000)]
INPUT = "\n".join(LINES) + "\n"


@pytest.mark.parametrize("workers", [1, 2])
def test_file_to_file_ends_by_itself(tmp_path, workers):
    source, sink = tmp_path / "in.txt", tmp_path / "out.txt"
    source.write_text(INPUT)
    with Orchestrator(APPS / "files.py", source, sink, workers=workers) as run:
        assert run.wait() == 0, run.log()
        assert run.summary()["messages_out"] == len(LINES)
    assert sink.read_text() == INPUT.upper()


def test_a_last_line_without_its_end(tmp_path):
    source, sink = tmp_path / "in.txt", tmp_path / "out.txt"
    source.write_text("one\ntwo")
    with Orchestrator(APPS / "files.py", source, sink) as run:
        assert run.wait() == 0, run.log()
    assert sink.read_text() == "ONE\nTWO\n"


def test_standard_input_to_standard_output(tmp_path):
    """Standard output has only data; what user code prints goes to the log."""
    source, sink = tmp_path / "in.txt", tmp_path / "out.txt"
    source.write_text("one\ntwo\nthree\n")
    with open(source) as stdin, open(sink, "w") as stdout:
        with Orchestrator(APPS / "files.py", "-", "-", stdin=stdin, stdout=stdout) as run:
            assert run.wait() == 0, run.log()
    assert sink.read_text() == "ONE\nTWO\nTHREE\n"
    printed = [event for event in run.events if event["message"].startswith("seen: ")]
    assert sorted(event["message"] for event in printed) == ["seen: one", "seen: three", "seen: two"]
    assert {event["target"] for event in printed} == {"worker"}
    assert all("worker" in event for event in printed)


def test_standard_input_through_a_pipe():
    with Orchestrator(APPS / "files.py", "-", "-", stdin=subprocess.PIPE, stdout=subprocess.PIPE) as run:
        process = run.ready().process
        process.stdin.write(b"first\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"FIRST\n", "while the input is open"
        process.stdin.write(b"last\n")
        process.stdin.close()
        assert process.stdout.read() == b"LAST\n"
        assert run.wait() == 0, run.log()


def test_a_reader_that_goes_away_ends_the_run():
    with Orchestrator(APPS / "files.py", "-", "-", stdin=subprocess.PIPE, stdout=subprocess.PIPE) as run:
        process = run.ready().process
        process.stdout.close()
        process.stdin.write(b"anything\n")
        process.stdin.flush()
        assert run.wait() == 1, run.log()
        process.stdin.close()
        assert "error: " in run.text()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_generator(tmp_path, workers):
    sink = tmp_path / "out.txt"
    with Orchestrator(APPS / "generated.py", 20_000, sink, workers=workers) as run:
        assert run.wait() == 0, run.log()
    assert sink.read_text().splitlines() == [str(number * number) for number in range(20_000)]


def digits(message: str) -> bytes:
    return f"{len(message):06}{message}".encode()


@pytest.mark.parametrize("workers", [1, 3])
def test_a_header_that_only_the_decoder_can_read(consumer, workers):
    with Orchestrator(APPS / "text_header.py", "--in", "127.0.0.1:0", "--out", consumer.place, workers=workers) as run:
        messages = ["", *LINES, "a long one " * 50_000]
        send(run.address(), b"".join(map(digits, messages)))
        consumer.wait_count(len(messages))
        run.stop()
    assert consumer.lines() == messages


def test_a_header_that_the_decoder_cannot_read(consumer):
    with Orchestrator(APPS / "text_header.py", "--in", "127.0.0.1:0", "--out", consumer.place) as run:
        send(run.address(), digits("before") + b"sixsix and more")
        error = run.wait_for(lambda event: event["level"] == "ERROR")
        assert "ValueError" in error["message"]
        assert "127.0.0.1:" in error["message"]
        send(run.address(), digits("after"))
        consumer.wait_count(2)
        run.stop()
    assert consumer.lines() == ["before", "after"]


def tool(*words):
    command = [orchestrator_command(), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)


def test_check_and_graph_describe_the_application():
    words = ["--python", sys.executable, str(WORD_COUNT), "--in", "127.0.0.1:0", "--out", "127.0.0.1:1"]
    checked = tool("check", *words)
    assert checked.returncode == 0, checked.stderr
    for step in ("split into words", "Count Word"):
        assert step in checked.stdout
    assert checked.stdout.endswith(
        "Split and Count -> tcp 127.0.0.1:1\n"
        "  without --state: at least once while the orchestrator lives, nothing after its death: what was received and "
        "not delivered is lost, and the client is not told; what the consumer has not acknowledged is sent again only "
        "after a broken connection\n"
        "  with --state: at least once, of what was recorded before the death of the orchestrator: what was received "
        "and not recorded is lost, and the client is not told; what the consumer has not acknowledged is sent again\n"
    )
    for form in ("text", "mermaid", "dot", "json"):
        drawn = tool("graph", "--format", form, *words)
        assert drawn.returncode == 0, drawn.stderr
        assert "Count Word" in drawn.stdout
    json.loads(drawn.stdout)


def test_send_says_that_it_waits():
    """Nobody listens there; the port stays taken by a socket that does not."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{silent.getsockname()[1]}"
        sent = tool("send", "--to", place, "--connect-timeout", "0.2")
    assert sent.returncode == 1
    first, *rest = sent.stderr.splitlines()
    assert first == f"{place} does not answer yet (Connection refused (os error 111)); trying for 200ms"
    assert f"cannot connect to {place} within 200ms" in rest[0]


def test_send_to_receive(tmp_path):
    source = tmp_path / "in.txt"
    source.write_text(INPUT)
    for framing in ("u32", "newline"):
        command = [orchestrator_command(), "receive", "--listen", "127.0.0.1:0", "--framing", framing]
        command += ["--count", str(len(LINES))]
        receiver = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        with receiver:
            place = receiver.stderr.readline().rpartition(" ")[2].strip()
            sent = tool("send", "--to", place, "--framing", framing, str(source))
            assert sent.returncode == 0, sent.stderr
            assert receiver.communicate(timeout=PATIENCE)[0] == INPUT
        assert receiver.returncode == 0
