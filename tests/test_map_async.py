"""``map_async`` under the orchestrator: only the guilty call fails, keys keep their order, replays call nothing."""

import os
import signal
import time
from collections import Counter

import pytest

from tests.harness.clients import frames, send
from tests.harness.numbered import by_key, expected, messages
from tests.harness.orchestrator import Orchestrator, message_of, read_dead_letters
from tests.harness.places import APPS

APP = APPS / "async_calls.py"
SENT = messages(1_000, bad=(123, 456))
GUILTY = [message for message in SENT if message.endswith(" bad")]


def run_calls(consumer, tmp_path, bad, where, *args, options=()):
    """Runs the application, checks the output without the guilty messages, and returns the dead letters."""
    path = tmp_path / "dead.jsonl"
    places = ["--in", "127.0.0.1:0", "--out", consumer.place]
    options = ["--dead-letters", path, *options]
    with Orchestrator(APP, *places, "--bad", bad, "--where", where, *args, options=options) as run:
        send(run.address(), frames(SENT))
        consumer.wait_count(len(SENT) - len(GUILTY))
        run.stop()
        summary = run.summary()
    assert by_key(consumer.lines()) == expected(SENT, without=GUILTY)
    letters = read_dead_letters(path)
    assert sorted(message_of(letter) for letter in letters) == sorted(GUILTY)
    assert {letter["step"] for letter in letters} == {"call"}
    return letters, summary


@pytest.mark.parametrize("where", ["before", "between"])
@pytest.mark.parametrize(
    ("bad", "cause"), [("segfault", "SIGSEGV"), ("segfault in a task", "SIGSEGV"), ("leave", "exit code 7")]
)
def test_a_call_that_kills_its_worker(consumer, tmp_path, bad, cause, where):
    letters, summary = run_calls(consumer, tmp_path, bad, where)
    assert all(cause in letter["message"] for letter in letters)
    assert summary["worker_deaths"] >= len(GUILTY)


@pytest.mark.parametrize("bad", ["never", "poll", "block"])
def test_a_call_that_never_ends(consumer, tmp_path, bad):
    letters, summary = run_calls(consumer, tmp_path, bad, "before", options=["--step-timeout", "1s"])
    assert all("timeout" in letter["message"] for letter in letters)
    assert summary["worker_deaths"] >= len(GUILTY)


@pytest.mark.parametrize("where", ["before", "between"])
@pytest.mark.parametrize(
    ("bad", "exception"), [("refuse", "ValueError"), ("cancel", "asyncio.exceptions.CancelledError")]
)
def test_a_call_that_raises_costs_no_worker(consumer, tmp_path, bad, exception, where):
    letters, summary = run_calls(consumer, tmp_path, bad, where)
    assert {letter["exception"] for letter in letters} == {exception}
    assert summary["worker_deaths"] == 0


def test_a_time_limit_ends_an_attempt(consumer, tmp_path):
    letters, summary = run_calls(consumer, tmp_path, "never", "between", "--timeout-ms", "300")
    assert {(letter["exception"], letter["message"]) for letter in letters} == {
        ("TimeoutError", "no result after 0.3 s")
    }
    assert all("await asyncio.Event().wait()" in letter["traceback"] for letter in letters)
    assert summary["worker_deaths"] == 0


@pytest.mark.parametrize("where", ["before", "between"])
def test_keys_keep_their_order_when_workers_are_killed(consumer, where):
    sent = messages(3_000)
    places = ["--in", "127.0.0.1:0", "--out", consumer.place]
    with Orchestrator(APP, *places, "--where", where, "--concurrency", "10") as run:
        send(run.address(), frames(sent))
        for deaths, arrived in enumerate((500, 1_500), start=1):
            consumer.wait_count(arrived)
            os.kill(run.seated()[0], signal.SIGKILL)
            run.wait_for("worker died", count=deaths)
        consumer.wait_count(len(sent))
        run.stop()
        assert run.summary()["worker_deaths"] == 2
    assert by_key(consumer.lines()) == expected(sent)


@pytest.mark.parametrize("where", ["before", "between"])
def test_calls_whose_results_are_in_the_log_are_not_made_again(tmp_path, where):
    """All that the second run knows of its states comes of replays: no snapshot is taken before the kill."""
    source, sink, ran = (tmp_path / name for name in ("in.txt", "out.txt", "ran.txt"))
    sent = messages(3_000)
    source.write_text("".join(f"{message}\n" for message in sent))
    args = ["--in", source, "--out", sink, "--where", where, "--ran", ran, "--concurrency", "10"]
    options = ["--state", tmp_path / "state", "--replay-budget", "60s"]
    with Orchestrator(APP, *args, options=options) as run:
        wait_for_lines(run, sink, 500)
        # The calls that this worker has under way are made again.
        os.kill(run.seated()[0], signal.SIGKILL)
        wait_for_lines(run, sink, 1_000)
        run.signal(signal.SIGKILL)
        run.wait()
    came_out = [line.partition(" =>")[0] for line in sink.read_text().splitlines()]
    before = Counter(ran.read_text().splitlines())
    with Orchestrator(APP, *args, options=options) as run:
        assert run.wait() == 0, run.log()
    assert by_key(sink.read_text().splitlines()) == expected(sent)
    calls = Counter(ran.read_text().splitlines())
    assert calls.keys() == set(sent)
    again = [message for message in came_out if calls[message] > before[message]]
    assert again == []


def wait_for_lines(run, path, count):
    """Waits until a run that has not ended has written so many lines."""
    while not path.exists() or path.read_bytes().count(b"\n") < count:
        assert run.process.poll() is None, f"it ended\n{run.log()}"
        time.sleep(0.01)
