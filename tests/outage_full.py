"""A sink that is away for 10 s at the start and again midway, while a sender sends as fast as it can.

``python -m tests.outage_full [--seconds N]`` checks that every count arrives in order and that the orchestrator never
held more than 300 MB, and prints its memory.
"""

import argparse
import sys
import threading

from tests.harness.clients import Consumer, Sender, frames
from tests.harness.orchestrator import Orchestrator
from tests.harness.places import WORD_COUNT
from tests.harness.processes import high_water_mark
from tests.harness.word_counts import check_in_order, text_lines, totals

PATIENCE = 600.0
LIMIT = 300 << 20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--lines", type=int, default=1_000_000)
    options = parser.parse_args()
    lines = text_lines(options.lines)
    expected = totals(lines)
    words = sum(expected.values())
    with Consumer(listening=False) as consumer:
        with Orchestrator(WORD_COUNT, "--in", "127.0.0.1:0", "--out", consumer.place) as run:
            data = frames(lines)
            print(f"sending {len(lines):,} lines, {len(data) / 1e6:.0f} MB; the sink is away for {options.seconds:g} s")
            sender = Sender(run.address(), data)
            run.wait_for("sink is down")
            away(options.seconds)
            show(run, sender, consumer)
            consumer.come_back()
            consumer.wait_count(words // 2, PATIENCE)
            consumer.go_down()
            run.wait_for("sink is down", count=2)
            away(options.seconds)
            show(run, sender, consumer)
            consumer.come_back()
            consumer.wait_count(words, PATIENCE)
            sender.join(PATIENCE)
            held = high_water_mark(run.pid)
            run.stop(PATIENCE)
        check_in_order(consumer.lines(), expected)
    print(f"{words:,} counts arrived, none lost, none twice, each word's in order; VmHWM {held >> 20} MiB")
    return 0 if held < LIMIT else 1


def away(seconds):
    """Waits for the length of the outage."""
    threading.Event().wait(seconds)


def show(run, sender, consumer):
    state = "held back" if sender.is_alive() else "done"
    print(f"  {consumer.count:,} counts so far, sender {state}, VmHWM {high_water_mark(run.pid) >> 20} MiB", flush=True)


if __name__ == "__main__":
    sys.exit(main())
