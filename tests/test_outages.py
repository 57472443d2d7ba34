"""A sink that is away: nothing is lost, and the sources are held back."""

import subprocess
import sys

import pytest

from tests.harness.clients import Consumer, Sender, frames
from tests.harness.orchestrator import Orchestrator
from tests.harness.places import ROOT, WORD_COUNT
from tests.harness.processes import high_water_mark
from tests.harness.word_counts import check_in_order, text_lines, totals

LINES = text_lines(20_000)
EXPECTED = totals(LINES)
WORDS = sum(EXPECTED.values())
# Far less than the amount sent, so the sender has to wait.
OPTIONS = ["--queue-bytes", "128KiB"]


def test_away_at_the_start_and_again_midway():
    with Consumer(listening=False) as consumer:
        with Orchestrator(WORD_COUNT, "--in", "127.0.0.1:0", "--out", consumer.place, options=OPTIONS) as run:
            sender = Sender(run.address(), frames(LINES))
            run.wait_for("sink is down")
            assert consumer.count == 0
            consumer.come_back()
            consumer.wait_count(WORDS // 3)
            consumer.go_down()
            run.wait_for("sink is down", count=2)
            arrived = consumer.count
            assert arrived < WORDS
            consumer.come_back()
            consumer.wait_count(WORDS)
            sender.join()
            run.stop()
        check_in_order(consumer.lines(), EXPECTED)


def test_a_consumer_that_does_not_read_holds_the_sender_back():
    with Consumer() as consumer:
        with Orchestrator(WORD_COUNT, "--in", "127.0.0.1:0", "--out", consumer.place, options=OPTIONS) as run:
            address = run.address()
            consumer.wait_accepted()
            consumer.hold()
            sender = Sender(address, frames(LINES * 20))
            for _ in range(3):
                # The consumer reads a chunk, more arrives, and the sender has not finished: it is held back.
                count = consumer.count
                consumer.go_on()
                consumer.wait_count(count + 1)
                consumer.hold()
                assert sender.is_alive()
            assert high_water_mark(run.pid) < 300 << 20
            consumer.go_on()
            sender.join()
            consumer.wait_count(WORDS * 20)
            run.stop()
            assert run.summary()["messages_in"] == len(LINES) * 20
        check_in_order(consumer.lines(), totals(LINES * 20))


def test_the_network_goes_away_without_a_word():
    namespace = ["unshare", "--net"]
    try:
        subprocess.run([*namespace, "ip", "link", "set", "lo", "up"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no network of its own can be made here: {error}")
    command = [*namespace, sys.executable, "-m", "tests.lost_network"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.endswith("ok\n"), done.stdout + done.stderr
    assert "no answer for" in done.stderr
