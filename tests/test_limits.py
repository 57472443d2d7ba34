"""Limits on workers: memory, messages, descriptors."""

import subprocess

from tests.harness.clients import frames, send
from tests.harness.numbered import by_key, expected, messages
from tests.harness.orchestrator import PATIENCE, Orchestrator, message_of, orchestrator_command, read_dead_letters
from tests.harness.places import APPS


def run_app(consumer, name, *args, options=()):
    return Orchestrator(APPS / f"{name}.py", "--in", "127.0.0.1:0", "--out", consumer.place, *args, options=options)


def loads(run) -> int:
    """The number of workers that have loaded the application so far."""
    return sum(message.startswith("loaded ") for message in run.messages())


def test_a_message_that_takes_too_much_memory(consumer, tmp_path):
    path = tmp_path / "dead.jsonl"
    sent = messages(200, bad=[50])
    options = ["--worker-memory", "200MiB", "--dead-letters", path]
    with run_app(consumer, "memory_hog", "--stay", options=options) as run:
        send(run.address(), frames(sent))
        consumer.wait_count(len(sent) - 1)
        run.stop()
    (letter,) = read_dead_letters(path)
    assert message_of(letter) == sent[50]
    assert "out of memory" in letter["message"]
    assert letter["limit"] == "worker-memory"
    command = [orchestrator_command(), "dead-letters", "show", path, "1"]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True).stdout
    assert "--worker-memory sets this limit" in shown
    assert by_key(consumer.lines()) == expected(sent, without=[sent[50]])


def test_a_worker_that_grows_is_replaced_and_nothing_is_lost(consumer, tmp_path):
    path = tmp_path / "dead.jsonl"
    options = ["--worker-memory", "100MiB", "--dead-letters", path]
    count = 0
    with run_app(consumer, "memory_leak", options=options) as run:
        run.ready()
        before = loads(run)
        while loads(run) < before + 3:
            # A few at a time, so there is a pause between two batches.
            for _ in range(10):
                send(run.address(), frames([f"k{count % 5} {count} bad"]))
                count += 1
                consumer.wait_count(count)
            assert count < 3_000, f"no worker was replaced\n{run.log()}"
        run.stop()
    assert not read_dead_letters(path)
    assert by_key(consumer.lines()) == expected([f"k{number % 5} {number}" for number in range(count)])


def test_workers_are_replaced_after_so_many_messages(consumer):
    sent = messages(20_000)
    with run_app(consumer, "numbered", options=["--max-messages-per-worker", "2000"]) as run:
        send(run.address(), frames(sent))
        consumer.wait_count(len(sent))
        run.stop()
        assert run.summary()["dead_letters"] == 0
    assert loads(run) > 4
    assert by_key(consumer.lines()) == expected(sent)


def test_a_worker_may_open_so_many_files(consumer, tmp_path):
    path = tmp_path / "dead.jsonl"
    with run_app(consumer, "descriptor_hog", options=["--worker-descriptors", "64", "--dead-letters", path]) as run:
        send(run.address(), frames(["k 1", "k 2 bad", "k 3"]))
        consumer.wait_count(2)
        run.stop()
    (letter,) = read_dead_letters(path)
    assert (letter["exception"], message_of(letter)) == ("OSError", "k 2 bad")
    assert "Too many open files" in letter["message"]
    assert consumer.lines() == ["k 1 => 1", "k 3 => 2"]
