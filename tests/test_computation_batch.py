"""``computation_batch`` under the orchestrator: only the guilty messages of a batch become dead letters."""

import pytest

from tests.harness.clients import frames, send
from tests.harness.numbered import by_key, expected, messages
from tests.harness.orchestrator import Orchestrator, read_dead_letters
from tests.harness.places import APPS

SENT = messages(2_000, bad=(123, 456, 457))
GUILTY = [message for message in SENT if message.endswith(" bad")]


def run_batches(consumer, tmp_path, *args, count, options=(), workers=2):
    letters = tmp_path / "dead.jsonl"
    where = ["--in", "127.0.0.1:0", "--out", consumer.place]
    options = ["--dead-letters", letters, *options]
    with Orchestrator(APPS / "batch_step.py", *where, *args, options=options, workers=workers) as run:
        send(run.address(), frames(SENT))
        consumer.wait_count(count)
        run.stop()
    return read_dead_letters(letters), run


@pytest.mark.parametrize(("bad", "said"), [("raise", "a bad message"), ("segfault", "SIGSEGV")])
def test_the_guilty_alone_before_a_key(consumer, tmp_path, bad, said):
    count = len(SENT) - len(GUILTY)
    letters, _ = run_batches(consumer, tmp_path, "--bad", bad, "--where", "before", count=count)
    assert by_key(consumer.lines()) == expected(SENT, without=GUILTY)
    assert [(letter["step"], said in letter["message"]) for letter in letters] == [("before", True)] * len(GUILTY)


def test_the_guilty_alone_after_a_state_that_has_counted_them(consumer, tmp_path):
    letters, _ = run_batches(consumer, tmp_path, "--bad", "raise", "--where", "after", count=len(SENT) - len(GUILTY))
    numbers = {message.removesuffix(" bad") for message in GUILTY}
    everything = expected(SENT)
    kept = {
        key: [line for line in lines if line.partition(" =>")[0] not in numbers] for key, lines in everything.items()
    }
    assert by_key(consumer.lines()) == kept
    assert [letter["step"] for letter in letters] == ["after"] * len(GUILTY)


def test_a_message_that_kills_its_worker_after_a_state_leaves_no_trace_in_it(consumer, tmp_path):
    letters, run = run_batches(
        consumer, tmp_path, "--bad", "segfault", "--where", "after", count=len(SENT) - len(GUILTY)
    )
    assert by_key(consumer.lines()) == expected(SENT, without=GUILTY)
    assert all("SIGSEGV" in letter["message"] and letter["step"] == "after" for letter in letters)
    assert len(letters) == len(GUILTY)
    assert run.summary()["worker_deaths"] >= len(GUILTY)


def test_an_output_too_few_costs_no_more_than_its_batch(consumer, tmp_path):
    letters = tmp_path / "dead.jsonl"
    where = ["--in", "127.0.0.1:0", "--out", consumer.place, "--bad", "forget", "--where", "before"]
    with Orchestrator(APPS / "batch_step.py", *where, options=["--dead-letters", letters]) as run:
        send(run.address(), frames(SENT))
        run.wait_for("computation_batch returned")
        run.stop()
        summary = run.summary()
    lost = read_dead_letters(letters)
    assert summary["messages_out"] + len(lost) == len(SENT)
    assert len(lost) >= len(GUILTY)
    assert all("return one for each, in order, and None where there is none" in letter["message"] for letter in lost)
