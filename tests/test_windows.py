"""Windows under the orchestrator hold the right values, with any number of workers and any deaths."""

import os
import signal
import socket
import subprocess
import time
from datetime import timedelta

import pytest
from wallaroo.testing._running import orchestrator_command

from tests.harness import windows
from tests.harness.clients import Consumer, send
from tests.harness.control import status
from tests.harness.orchestrator import PATIENCE, Orchestrator, message_of, read_dead_letters
from tests.harness.places import APPS

APP = APPS / "windows.py"

# As in the application.
EXPECTED = {
    "range": lambda messages: windows.ranges(messages, 100, 50, 10),
    "session": lambda messages: windows.sessions(messages, 20, 10),
    "count": lambda messages: (windows.counts(messages, 7), []),
}


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("kind", list(EXPECTED))
def test_a_file_gives_the_same_windows_with_any_number_of_workers(tmp_path, kind, workers):
    source, sink, letters = tmp_path / "in.txt", tmp_path / "out.txt", tmp_path / "dead.jsonl"
    messages = windows.stream(20_000, seed=workers)
    source.write_bytes(windows.lines(messages))
    with Orchestrator(APP, kind, source, sink, workers=workers, options=["--dead-letters", letters]) as run:
        assert run.wait() == 0, run.log()
        summary = run.summary()
    expected, late = EXPECTED[kind](messages)
    assert windows.read(sink.read_text()) == expected
    assert summary["late"] == summary["dead_letters"] == len(late)
    if late:
        dead = read_dead_letters(letters)
        assert {letter["exception"] for letter in dead} == {"wallaroo.LateValueError"}
        assert sorted(message_of(letter)[2] for letter in dead) == late


def test_many_windows_of_a_key_may_end_together(tmp_path):
    """If the work per window grew with the number of windows, the timeout would treat this message as hung."""
    source, sink, letters = tmp_path / "in.txt", tmp_path / "out.txt", tmp_path / "dead.jsonl"
    source.write_text("1000000000\n")
    options = ["--step-timeout", "5s", "--dead-letters", letters]
    with open(source) as stdin:
        arguments = (APPS / "slides.py", "300000", sink)
        with Orchestrator(*arguments, workers=1, stdin=stdin, options=options) as run:
            assert run.wait() == 0, run.log()
            assert run.summary()["dead_letters"] == 0
    assert sink.read_text().count("1\n") == 300_000


@pytest.mark.parametrize("kind", list(EXPECTED))
def test_windows_outlive_their_workers(tmp_path, kind):
    messages = windows.stream(60_000, seed=4)
    expected, late = EXPECTED[kind](messages)
    found, summary = run_with_deaths(tmp_path, kind, messages)
    assert found == expected
    assert summary["late"] == len(late)


def test_final_results_are_exact_where_early_ones_are_given(tmp_path):
    messages = windows.stream(60_000, seed=4)
    expected, late = EXPECTED["range"](messages)
    found, summary = run_with_deaths(tmp_path, "early", messages)
    early = {key: found.pop(f"early-{key}", []) for key in list(expected)}
    assert found == expected
    assert summary["late"] == len(late)
    # How many there are depends on the batches.
    assert any(early.values())
    for key, results in early.items():
        complete = {number: window for window in reversed(expected[key]) for number in window}
        later = {number: window for window in expected[key] for number in window}
        for result in results:
            first = result[0]
            assert set(result) <= set(complete[first]) or set(result) <= set(later[first])


def run_with_deaths(tmp_path, kind, messages):
    """Kills workers between two halves of the stream, when windows are open, and during the second half."""
    source, sink = tmp_path / "in", tmp_path / "out.txt"
    os.mkfifo(source)
    with Orchestrator(APP, kind, source, sink, workers=2) as run:
        with open(source, "wb") as pipe:
            run.ready()
            pipe.write(windows.lines(messages[:30_000]))
            pipe.flush()
            kill_seated(run, 1)
            pipe.write(windows.lines(messages[30_000:]))
            pipe.flush()
            kill_seated(run, 2)
        assert run.wait() == 0, run.log()
        summary = run.summary()
    assert summary["worker_deaths"] >= 1
    return windows.read(sink.read_text()), summary


def kill_seated(run, count):
    """Kills the oldest workers that have a slot, as many as there are of ``count``."""
    for pid in run.seated()[:count]:
        os.kill(pid, signal.SIGKILL)


def test_an_output_that_kills_costs_its_window_alone(tmp_path):
    source, sink, letters = tmp_path / "in.txt", tmp_path / "out.txt", tmp_path / "dead.jsonl"
    messages = [(10, "a", 1), (20, "b", 2), (30, "c", -1), (40, "d", -2), (50, "a", 3), (400, "d", 4), (410, "c", 5)]
    source.write_bytes(windows.lines(messages))
    with Orchestrator(APP, "range", source, sink, options=["--dead-letters", letters]) as run:
        assert run.wait() == 0, run.log()
    found = windows.read(sink.read_text())
    expected, _ = windows.ranges(messages, 100, 50, 10)
    assert {key: found[key] for key in "ab"} == {key: expected[key] for key in "ab"}
    assert (found["c"], found["d"]) == ([[5], [5]], [[4], [4]])
    dead = {letter["key"]: letter for letter in read_dead_letters(letters)}
    assert set(dead) == {"'c'", "'d'"}
    assert (dead["'c'"]["exception"], dead["'c'"]["step"]) == ("SystemExit", "Numbers")
    assert (dead["'d'"]["exception"], dead["'d'"]["step"]) == ("WorkerDeath", "Numbers")
    assert "SIGABRT" in dead["'d'"]["message"]


def test_windows_by_arrival_need_no_further_message():
    with Consumer() as consumer:
        with Orchestrator(APP, "arrival", "127.0.0.1:0", consumer.place) as run:
            send(run.address(), b"0 a 1\n0 b 2\n0 a 3\n")
            consumer.wait_count(2)
            run.stop()
    numbers = [
        found for of_key in windows.read("\n".join(consumer.lines())).values() for window in of_key for found in window
    ]
    assert sorted(numbers) == [1, 2, 3]


@pytest.mark.parametrize(("limit", "hours"), [((), 24), (("2",), 2)], ids=["a day", "said"])
def test_a_time_too_far_ahead_makes_no_other_message_late_and_can_be_sent_again(tmp_path, limit, hours):
    letters, app = tmp_path / "dead.jsonl", APPS / "stamped.py"
    options = ["--dead-letters", letters]
    now = int(time.time())
    soon, far = now + 1800 * hours, now + 7200 * hours
    with Consumer() as consumer:
        with Orchestrator(app, "127.0.0.1:0", consumer.place, *limit, options=options) as run:
            send(run.address(), f"A {now}\nB {far}\nC {now}\nD {soon}\n".encode())
            consumer.wait_count(2)
            kill_seated(run, 1)
            send(run.address(), f"E {soon}\nF {soon + 100}\n".encode())
            consumer.wait_count(4)
            run.stop()
            assert (run.summary()["late"], run.summary()["dead_letters"]) == (0, 1)
        assert "".join(consumer.lines()) == "ACDEF"
        (letter,) = read_dead_letters(letters)
        assert message_of(letter) == f"B {far}"
        assert (
            f" after the message arrived, and max_ahead of the source is {timedelta(hours=hours)}" in letter["message"]
        )
        with Orchestrator(app, "127.0.0.1:0", consumer.place, "any") as run:
            retry = [orchestrator_command(), "dead-letters", "retry", letters, "--to", "{}:{}".format(*run.address())]
            subprocess.run(retry, check=True, timeout=PATIENCE)
            wait_until_read(run, 1)
            run.stop()
        assert "".join(consumer.lines()) == "ACDEFB"
    assert read_dead_letters(letters) == []


def wait_until_read(run, messages):
    """Waits until the only source has so many messages behind it."""
    deadline = time.monotonic() + PATIENCE
    while (read := status(run)["sources"][0]["messages"]) < messages:
        assert time.monotonic() < deadline, f"{read} messages were read"


def test_nothing_is_kept_of_keys_that_never_return():
    """Each key has one session; only open sessions stay in the ledger."""
    count = 100_000
    with Consumer() as consumer:
        with Orchestrator(APP, "session", "127.0.0.1:0", consumer.place) as run:
            with socket.create_connection(run.address()) as connection:
                connection.sendall(b"".join(b"%d key-%d %d\n" % (moment, moment, moment) for moment in range(count)))
                # A session is complete 30 after its value, and open at the watermark of the last one until then.
                consumer.wait_count(count - 30)
                deadline = time.monotonic() + PATIENCE
                while (kept := status(run)["ledger_keys"]) > 30:
                    assert time.monotonic() < deadline, f"{kept} keys are in the ledger"
            run.stop()
            assert consumer.count == count


def test_a_silent_source_holds_nothing_back():
    with Consumer() as consumer:
        options = ["--idle-after", "300ms"]
        with Orchestrator(APP, "two", "127.0.0.1:0", consumer.place, options=options) as run:
            one, other = run.addresses()
            send(one, b"10 a 1\n")
            send(other, b"20 a 2\n500 b 3\n")
            consumer.wait_count(1, PATIENCE)
            assert windows.read("\n".join(consumer.lines())) == {"a": [[1, 2]]}
            send(one, b"30 a 4\n700 b 5\n")
            consumer.wait_count(2, PATIENCE)
            run.stop()
            assert run.summary()["late"] == 1
    assert windows.read("\n".join(consumer.lines())) == {"a": [[1, 2]], "b": [[3], [5]]}
