"""Every word is counted exactly and in order, with any number of workers."""

import contextlib

import pytest

from tests.harness.clients import Sender, frames, send
from tests.harness.orchestrator import Orchestrator
from tests.harness.places import WORD_COUNT
from tests.harness.word_counts import check_in_order, check_totals, text_lines, totals

LINES = text_lines(10_000)
EXPECTED = totals(LINES)


def word_count(consumer, **options):
    return Orchestrator(WORD_COUNT, "--in", "127.0.0.1:0", "--out", consumer.place, **options)


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_counts_are_in_order_for_every_word(consumer, workers):
    with word_count(consumer, workers=workers) as run:
        send(run.address(), frames(LINES))
        consumer.wait_count(sum(EXPECTED.values()))
        run.stop()
        summary = run.summary()
    check_in_order(consumer.lines(), EXPECTED)
    assert (summary["messages_in"], summary["messages_out"]) == (len(LINES), consumer.count)
    assert (summary["dead_letters"], summary["worker_deaths"]) == (0, 0)


def test_eight_connections_at_once(consumer):
    with word_count(consumer) as run:
        senders = [Sender(run.address(), frames(LINES[part::8])) for part in range(8)]
        for sender in senders:
            sender.join()
        consumer.wait_count(sum(EXPECTED.values()))
        run.stop()
    check_totals(consumer.lines(), EXPECTED)


def test_every_interpreter(consumer, interpreter):
    lines = LINES[:2_000]
    expected = totals(lines)
    with word_count(consumer, python=interpreter) as run:
        send(run.address(), frames(lines))
        consumer.wait_count(sum(expected.values()))
        run.stop()
    check_in_order(consumer.lines(), expected)


def test_what_was_accepted_is_finished_before_a_stop(consumer):
    """Ctrl-C under full load: what was read comes out, and each word's counts have no gap."""
    lines = LINES * 5
    # The queue is short, so not everything has been read when the signal comes.
    with word_count(consumer, options=["--queue-bytes", "64KiB"]) as run:
        sender = Sender(run.address(), frames(lines))
        consumer.wait_count(1_000)
        run.stop()
        summary = run.summary()
        # The sender knows what was not read.
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            sender.join()
    accepted = lines[: summary["messages_in"]]
    check_in_order(consumer.lines(), totals(accepted))
