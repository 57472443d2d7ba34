"""Timers of steps with state, and states that end, under the orchestrator: exact, whatever dies meanwhile."""

import json
import os
import signal
import sys
import time

import pytest

from tests.harness import carts
from tests.harness.clients import Consumer, send
from tests.harness.control import command, output, status
from tests.harness.orchestrator import PATIENCE, Orchestrator, read_dead_letters
from tests.harness.places import APPS

APP = APPS / "carts.py"


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_a_file_gives_the_same_with_any_number_of_workers(tmp_path, workers):
    source, sink = tmp_path / "in.txt", tmp_path / "out.txt"
    messages = carts.stream(20_000, seed=workers)
    source.write_bytes(carts.lines(messages))
    with Orchestrator(APP, "event", source, sink, workers=workers) as run:
        assert run.wait() == 0, run.log()
        summary = run.summary()
    assert carts.read(sink.read_text()) == carts.expected(messages)
    assert (summary["late"], summary["dead_letters"]) == (0, 0)


def test_timers_outlive_their_workers(tmp_path):
    """Workers die between two parts of the stream, when timers wait, and during the second part."""
    source, sink = tmp_path / "in", tmp_path / "out.txt"
    messages = carts.stream(60_000, seed=4)
    os.mkfifo(source)
    with Orchestrator(APP, "event", source, sink, workers=2) as run:
        with open(source, "wb") as pipe:
            run.ready()
            pipe.write(carts.lines(messages[:30_000]))
            pipe.flush()
            kill_seated(run, 2)
            pipe.write(carts.lines(messages[30_000:]))
            pipe.flush()
            kill_seated(run, 1)
        assert run.wait() == 0, run.log()
        assert run.summary()["worker_deaths"] >= 1
    assert carts.read(sink.read_text()) == carts.expected(messages)


def kill_seated(run, count):
    for pid in run.seated()[:count]:
        os.kill(pid, signal.SIGKILL)


def send_lines(run, *lines):
    send(run.address(), "".join(f"{line}\n" for line in lines).encode())


FIRST = ["0 a add", "1 b add", "2 a add", "3 c add", "3 c pay"]
GIVEN_FIRST = ["a 0 1", "b 1 1", "a 2 2", "c 3 1", "c 3 paid"]
GIVEN_LATER = ["a left 2 32", "b left 1 31", "d 50 1"]


def test_a_worker_dies_while_timers_wait():
    with Consumer() as consumer, Orchestrator(APP, "event", "127.0.0.1:0", consumer.place, workers=1) as run:
        send_lines(run, *FIRST)
        consumer.wait_count(5)
        kill_seated(run, 1)
        send_lines(run, "50 d add")
        consumer.wait_count(8)
        run.stop()
        assert run.summary()["worker_deaths"] == 1
    assert sorted(consumer.lines()) == sorted([*GIVEN_FIRST, *GIVEN_LATER])


def test_timers_wait_while_workers_are_added_and_removed():
    keys = [f"k{number}" for number in range(50)]
    with Consumer() as consumer, Orchestrator(APP, "event", "127.0.0.1:0", consumer.place, workers=2) as run:
        send_lines(run, *(f"0 {key} add" for key in keys))
        consumer.wait_count(50)
        for workers in (3, 1, 2):
            output("scale", workers, "--control", run.control)
        send_lines(run, "29 x add")
        consumer.wait_count(51)
        send_lines(run, "31 x pay")
        consumer.wait_count(102)
        run.stop()
    left = [line for line in consumer.lines() if " left " in line]
    assert sorted(left) == sorted(f"{key} left 1 30" for key in keys)


def test_newer_code_is_called_by_timers_that_wait(tmp_path):
    app = tmp_path / "carts.py"
    app.write_text(APP.read_text())
    with Consumer() as consumer, Orchestrator(app, "event", "127.0.0.1:0", consumer.place) as run:
        send_lines(run, *FIRST)
        consumer.wait_count(5)
        app.write_text(APP.read_text().replace(" left {", " forgot {"))
        output("swap", "--app", "--control", run.control)
        send_lines(run, "50 d add")
        consumer.wait_count(8)
        run.stop()
    assert sorted(consumer.lines()[5:]) == ["a forgot 2 32", "b forgot 1 31", "d 50 1"]


ENDS = {
    "killed": lambda run: run.process.kill(),
    "suspended": lambda run: run.signal(signal.SIGTERM),
}


@pytest.mark.parametrize("end", ENDS)
def test_the_next_run_calls_the_timers(tmp_path, end):
    """What the first run has given is durable, and so are the timers that were set by then."""
    options = ["--state", tmp_path / "state"]
    with Consumer() as consumer:
        with Orchestrator(APP, "event", "127.0.0.1:0", consumer.place, options=options) as run:
            send_lines(run, *FIRST)
            consumer.wait_count(5)
            ENDS[end](run)
            assert run.wait() == (-signal.SIGKILL if end == "killed" else 0)
        assert not any(" left " in line for line in consumer.lines())
        with Orchestrator(APP, "event", "127.0.0.1:0", consumer.place, options=options, workers=3) as run:
            send_lines(run, "50 d add")
            # A TCP sink is given again what it may not have had.
            deadline = time.monotonic() + PATIENCE
            while not set(GIVEN_LATER) <= set(consumer.lines()):
                assert time.monotonic() < deadline, consumer.lines()
            run.stop()
    assert set(consumer.lines()) == {*GIVEN_FIRST, *GIVEN_LATER}
    if end == "suspended":
        assert len(consumer.lines()) == 8


def test_a_drain_calls_no_timer_and_a_later_message_finds_it(tmp_path):
    options = ["--state", tmp_path / "state", "--on-stop", "drain"]
    with Consumer() as consumer:
        with Orchestrator(APP, "event", "127.0.0.1:0", consumer.place, options=options) as run:
            send_lines(run, *FIRST)
            consumer.wait_count(5)
            run.stop()
        assert sorted(consumer.lines()) == sorted(GIVEN_FIRST)
        with Orchestrator(APP, "event", "127.0.0.1:0", consumer.place, options=options) as run:
            send_lines(run, "50 d add", "60 a add")
            consumer.wait_count(8)
            run.stop()
    assert [line for line in consumer.lines()[5:] if line[0] == "a"] == ["a left 2 32", "a 60 1"]


@pytest.mark.parametrize("kind", ["hour", "event"])
def test_a_drain_calls_no_timer(kind):
    with Consumer() as consumer, Orchestrator(APP, kind, "127.0.0.1:0", consumer.place) as run:
        send_lines(run, *FIRST)
        consumer.wait_count(5)
        run.stop()
    assert sorted(consumer.lines()) == sorted(GIVEN_FIRST)


def test_by_arrival_no_further_message_is_needed():
    with Consumer() as consumer, Orchestrator(APP, "arrival", "127.0.0.1:0", consumer.place) as run:
        send_lines(run, "0 a add", "0 b add")
        consumer.wait_count(4)
        run.stop()
    assert sorted(line.rpartition(" ")[0] for line in consumer.lines() if " left " in line) == ["a left 1", "b left 1"]


@pytest.mark.parametrize(("what", "cause"), [("deadly", "SIGABRT"), ("stuck", "no progress")])
@pytest.mark.parametrize("last", ["90 a add\n91 a add\n", "90 b add\n"], ids=["before a message", "alone"])
def test_a_timer_that_kills_costs_itself_alone(tmp_path, last, what, cause):
    source, sink, letters = tmp_path / "in.txt", tmp_path / "out.txt", tmp_path / "dead.jsonl"
    source.write_text(f"0 a add\n1 a {what}\n2 b add\n{last}")
    options = ["--dead-letters", letters, "--step-timeout", "2s"]
    with Orchestrator(APP, "event", source, sink, options=options) as run:
        assert run.wait() == 0, run.log()
    (letter,) = read_dead_letters(letters)
    assert (letter["step"], letter["key"], letter["exception"]) == ("book", "'a'", "WorkerDeath")
    assert (cause in letter["message"], letter["value"]) == (True, ""), letter
    found = carts.read(sink.read_text())
    # The timer is gone, and the state stays.
    later = {"90 a": {"a": ["a 90 3", "a 91 4"], "b": []}, "90 b": {"a": [], "b": ["b 90 1"]}}[last[:4]]
    assert found == {"a": ["a 0 1", "a 1 2", *later["a"]], "b": ["b 2 1", "b left 1 32", *later["b"]]}


def test_nothing_is_kept_of_keys_that_never_return(tmp_path):
    """By their ``ttl`` states are dropped in workers, in the orchestrator and on disk."""
    count, folder = 20_000, tmp_path / "state"
    with Consumer() as consumer:
        with Orchestrator(APP, "ttl", "127.0.0.1:0", consumer.place, options=["--state", folder]) as run:
            send_lines(run, *(f"{number} key-{number} add" for number in range(count)), f"{count} key-0 add")
            consumer.wait_count(count + 1)
            deadline = time.monotonic() + PATIENCE
            # Those of the last 30 seconds.
            while (kept := status(run)["ledger_keys"]) > 31:
                assert time.monotonic() < deadline, f"{kept} keys are in the ledger"
            run.signal(signal.SIGTERM)
            assert run.wait() == 0, run.log()
    assert f"key-0 {count} 1" in consumer.lines()
    (table,) = json.loads(output("state", "show", folder, "--json"))["tables"]
    assert (table["name"], table["keys"] <= 31) == ("book", True)
    python = ["--python", sys.executable, "--app", APP]
    assert output("state", "get", folder, "book", "key-0", *python) == "Cart(1)\n"
    assert command("state", "get", folder, "book", "key-1", *python).returncode == 1
