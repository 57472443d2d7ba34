"""Signals: one finishes what was accepted, two stop at once."""

import signal
import sys
import time

import pytest

from tests.harness.clients import Consumer, Sender, frames
from tests.harness.orchestrator import PATIENCE, Orchestrator
from tests.harness.places import APPS, WORD_COUNT
from tests.harness.word_counts import check_in_order, text_lines, totals

LINES = text_lines(2_000)
WORKERS = 300


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_one_signal_drains(consumer, number):
    with Orchestrator(WORD_COUNT, "--in", "127.0.0.1:0", "--out", consumer.place) as run:
        Sender(run.address(), frames(LINES)).join()
        expected = totals(LINES)
        consumer.wait_count(sum(expected.values()))
        run.signal(number)
        assert run.wait() == 0, run.log()
        consumer.wait_closed()
    check_in_order(consumer.lines(), expected)


def test_the_drain_waits_for_a_consumer_that_is_slow():
    with Consumer() as consumer, Orchestrator(WORD_COUNT, "--in", "127.0.0.1:0", "--out", consumer.place) as run:
        address = run.address()
        consumer.wait_accepted()
        consumer.hold()
        Sender(address, frames(LINES)).join()
        run.signal(signal.SIGINT)
        run.wait_for("stopping")
        consumer.go_on()
        assert run.wait() == 0, run.log()
        consumer.wait_closed()
        accepted = LINES[: run.summary()["messages_in"]]
        check_in_order(consumer.lines(), totals(accepted))


def test_a_second_signal_stops_at_once():
    """There is no consumer, so the drain cannot end."""
    with Consumer(listening=False) as consumer:
        with Orchestrator(WORD_COUNT, "--in", "127.0.0.1:0", "--out", consumer.place) as run:
            Sender(run.address(), frames(LINES)).join()
            run.wait_for("sink is down")
            run.signal(signal.SIGINT)
            run.wait_for("stopping")
            run.signal(signal.SIGINT)
            assert run.wait() == 130, run.log()
            assert "not delivered" in run.text()


def test_an_idle_run_stops(consumer):
    with Orchestrator(WORD_COUNT, "--in", "127.0.0.1:0", "--out", consumer.place) as run:
        run.ready()
        run.stop()
        assert run.summary()["messages_in"] == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_hundreds_of_workers_start(tmp_path, number):
    """It is heard between two starts."""
    started, python = tmp_path / "started", tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho >> {started}\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    arguments = ["--in", "127.0.0.1:0", "--out", "127.0.0.1:1"]
    with Orchestrator(APPS / "numbered.py", *arguments, workers=WORKERS, python=python) as run:
        deadline = time.monotonic() + PATIENCE
        while not started.exists():
            assert time.monotonic() < deadline, run.log()
            time.sleep(0.001)
        run.signal(number)
        assert run.wait() == 130
    assert len(started.read_text().splitlines()) < WORKERS // 2
