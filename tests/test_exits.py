"""What a run leaves undone is said, in its last line and its exit code; what is not its own is left alone."""

import contextlib
import os
import signal
import socket
import struct
import subprocess
import time

import pytest

from tests.harness.clients import frames, send
from tests.harness.control import status
from tests.harness.numbered import by_key, expected, messages
from tests.harness.orchestrator import PATIENCE, Orchestrator, orchestrator_command
from tests.harness.places import APPS
from tests.harness.processes import resident_bytes

FAILED, USAGE, BUSY = 1, 2, 4
KEPT = "one\ntwo\n"


def run_quietly(*words):
    return subprocess.run(
        [orchestrator_command(), "run", *words], capture_output=True, text=True, timeout=PATIENCE, check=False
    )


@pytest.mark.parametrize("spelling", ["same", "symbolic", "hard"])
def test_a_sink_that_is_its_own_source_is_refused_untouched(tmp_path, spelling):
    source, sink = tmp_path / "data", tmp_path / "other"
    source.write_text(KEPT)
    if spelling == "same":
        sink = tmp_path / "." / "data"
    elif spelling == "symbolic":
        sink.symlink_to("data")
    else:
        os.link(source, sink)
    with Orchestrator(APPS / "files.py", source, sink) as run:
        assert run.wait() == BUSY
        assert "are one file" in run.text()
    assert source.read_text() == KEPT


def test_dead_letters_are_not_appended_to_a_sink(tmp_path):
    source, sink = tmp_path / "in", tmp_path / "out"
    source.write_text(KEPT)
    sink.write_text(KEPT)
    with Orchestrator(
        APPS / "files.py", source, sink, options=["--dead-letters", tmp_path / "x" / ".." / "out"]
    ) as run:
        (tmp_path / "x").mkdir(exist_ok=True)
        assert run.wait() == BUSY
    assert sink.read_text() == KEPT


def test_a_standard_output_that_is_closed(tmp_path):
    source = tmp_path / "in"
    source.write_text(KEPT)
    with Orchestrator(APPS / "files.py", source, "-", prefix=["sh", "-c", 'exec "$@" >&-', "sh"]) as run:
        assert run.wait() == BUSY
        assert "cannot write to standard output" in run.text()
        assert "it was closed when wallaroo-orch was started" in run.text()


@pytest.mark.parametrize("part", ["sink", "dead letters"])
@pytest.mark.parametrize("named", ["path", "module", "link"])
def test_an_application_is_not_overwritten(tmp_path, part, named):
    app, source, sink = tmp_path / "own.py", tmp_path / "in", tmp_path / "out"
    app.write_text((APPS / "files.py").read_text())
    source.write_text(KEPT)
    own = app
    if named == "link":
        own = tmp_path / "link"
        own.symlink_to("own.py")
    sinks, options = (own, []) if part == "sink" else (sink, ["--dead-letters", own])
    name = "own" if named == "module" else app
    with Orchestrator(name, source, sinks, options=options, cwd=tmp_path) as run:
        assert run.wait() == BUSY
        assert "the application are one file" in run.text()
    assert app.read_text() == (APPS / "files.py").read_text()
    assert not sink.exists()


@pytest.mark.parametrize("words", [["--workers", "1"], ["--help"], ["-v"], ["--unknown", "1"]])
def test_what_follows_the_application_is_its_own(tmp_path, words):
    app = tmp_path / "app.py"
    app.write_text("def application_setup(args):\n    raise SystemExit(f'arguments: {args}')\n")
    ran = run_quietly("--workers", "1", app, *words)
    assert f"arguments: {words}" in ran.stderr
    assert (f"hint: {words[0]} goes to the application" in ran.stderr) == (words[0] in ("--workers", "--help"))


def test_a_queue_of_no_bytes():
    ran = run_quietly("--queue-bytes", "0", "app.py")
    assert ran.returncode == USAGE
    assert "must be at least 1 B" in ran.stderr


def test_an_unknown_option_before_the_application():
    ran = run_quietly("--wrokers", "2", "app.py")
    assert ran.returncode == USAGE
    assert "a similar argument exists: '--workers'" in ran.stderr


def test_input_that_is_left_unread_is_no_success(tmp_path):
    source, sink = tmp_path / "in", tmp_path / "out"
    source.write_text("one\n" + "x" * 10_000 + "\nthree\n")
    with Orchestrator(APPS / "files.py", source, sink, options=["--max-frame", "1KiB"]) as run:
        assert run.wait() == FAILED
        assert f"the rest of {source} was not read" in run.text()
    assert sink.read_text() == "ONE\n"


@pytest.mark.parametrize("made", [0, 3])
def test_a_generator_that_fails_is_no_success(tmp_path, made):
    sink = tmp_path / "out"
    with Orchestrator(APPS / "fails_to_generate.py", made, sink) as run:
        assert run.wait() == FAILED
        assert f"the rest of the generator numbers was not read: ValueError: no number {made}" in run.text()
        assert run.summary()["messages_in"] == made
    assert sink.read_text().split() == [str(number) for number in range(made)]


def test_a_drain_in_the_middle_of_a_line_is_a_success(tmp_path):
    """Reading ends on purpose."""
    sink = tmp_path / "out"
    with Orchestrator(APPS / "files.py", "-", sink, stdin=subprocess.PIPE) as run:
        run.process.stdin.write(b"one\ntw")
        run.process.stdin.flush()
        run.wait_for("seen: one")
        run.signal(signal.SIGTERM)
        assert run.wait() == 0, run.log()
        run.process.stdin.close()
    assert sink.read_text() == "ONE\n"


def test_dead_letters_show_in_the_last_line_of_a_quiet_run(tmp_path):
    source, sink = tmp_path / "in", tmp_path / "out"
    source.write_bytes(b"one\n\xff\nthree\n")
    ran = run_quietly("--quiet", "--workers", "1", APPS / "files.py", source, sink)
    assert ran.returncode == 0
    assert "finished" in ran.stderr.splitlines()[-1]
    assert "dead_letters=1" in ran.stderr.splitlines()[-1]
    source.write_text("one\n")
    assert "finished" not in run_quietly("--quiet", "--workers", "1", APPS / "files.py", source, sink).stderr


def test_a_run_whose_every_message_failed_is_no_success(tmp_path):
    source, sink = tmp_path / "in", tmp_path / "out"
    source.write_bytes(b"\xff\n\xfe\n")
    with Orchestrator(APPS / "files.py", source, sink) as run:
        assert run.wait() == FAILED
        assert "all 2 messages became dead letters" in run.text()


def test_more_dead_letters_than_are_allowed(tmp_path):
    source, sink = tmp_path / "in", tmp_path / "out"
    source.write_bytes(b"one\n" + b"\xff\n" * 3)
    for most, code in (("3", 0), ("2", FAILED)):
        with Orchestrator(APPS / "files.py", source, sink, options=["--max-dead-letters", most]) as run:
            assert run.wait() == code
    assert "3 messages became dead letters, more than the 2 that are allowed" in run.text()


def test_a_named_pipe_holds_up_nothing_but_the_start(tmp_path):
    """Nobody writes to it. A signal ends the run."""
    pipe, sink = tmp_path / "pipe", tmp_path / "out"
    os.mkfifo(pipe)
    with Orchestrator(APPS / "files.py", pipe, sink) as run:
        run.wait_for(lambda event: "waiting for another process to open" in event["message"])
        run.signal(signal.SIGTERM)
        assert run.wait() == 130


def test_idle_clients_do_not_use_up_the_descriptors(consumer):
    sent = messages(200)
    command = ["prlimit", "--nofile=400:400"]
    with Orchestrator(
        APPS / "numbered.py", "--in", "127.0.0.1:0", "--out", consumer.place, workers=1, prefix=command
    ) as run:
        client = socket.create_connection(run.address())
        client.sendall(frames(sent[:100]))
        consumer.wait_count(100)
        idle = []
        for _ in range(400):
            connection = socket.socket()
            connection.setblocking(False)
            connection.connect_ex(run.address())
            idle.append(connection)
        run.wait_for(lambda event: "as many clients are connected" in event["message"])
        (worker,) = [worker["pid"] for worker in status(run)["workers"] if worker["state"] == "seated"]
        os.kill(worker, signal.SIGKILL)
        client.sendall(frames(sent[100:]))
        consumer.wait_count(200)
        for connection in [client, *idle]:
            connection.close()
        run.stop()
    assert by_key(consumer.lines()) == expected(sent)


def test_frames_that_are_never_completed_take_no_more_than_the_queue(consumer):
    """Thirty clients send all but the last byte of a frame of 8 MiB."""
    almost = struct.pack(">I", 8 << 20) + b"x" * ((8 << 20) - 1)
    options = ["--max-frame", "8MiB", "--queue-bytes", "8MiB"]
    with Orchestrator(APPS / "numbered.py", "--in", "127.0.0.1:0", "--out", consumer.place, options=options) as run:
        before = resident_bytes(run.pid)
        clients = []
        for _ in range(30):
            client = socket.create_connection(run.address())
            client.setblocking(False)
            clients.append((client, memoryview(almost)))
        deadline = time.monotonic() + PATIENCE
        # One is read; each pass offers all others what their sockets take.
        while all(rest for _, rest in clients):
            assert time.monotonic() < deadline
            for at, (client, rest) in enumerate(clients):
                with contextlib.suppress(BlockingIOError):
                    clients[at] = client, rest[client.send(rest) :]
        assert resident_bytes(run.pid) - before < 60 << 20
        for client, _ in clients:
            client.close()
        send(run.address(), frames(messages(10)))
        consumer.wait_count(10)
        run.stop()
