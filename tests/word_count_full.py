"""Word count at full size: ``python -m tests.word_count_full [--lines N]``.

Sends 200,000 lines, about 1.6 million words, on one connection through 1, 2 and 3 workers, and checks that the counts
of every word are exactly 1, 2, ..., n in that order. Then sends on 8 connections at once and checks the totals.
"""

import argparse
import sys

from tests.harness.clients import Consumer, Sender, frames
from tests.harness.orchestrator import Orchestrator
from tests.harness.places import WORD_COUNT
from tests.harness.word_counts import check_in_order, check_totals, text_lines, totals

PATIENCE = 600.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--lines", type=int, default=200_000)
    lines = text_lines(parser.parse_args().lines)
    expected = totals(lines)
    words = sum(expected.values())
    print(f"{len(lines):,} lines, {words:,} words, {len(expected):,} different ones")
    for workers in (1, 2, 3):
        rate = run(lines, words, workers, 1, lambda received: check_in_order(received, expected))
        print(f"{workers} workers, 1 connection:  every count exact and in order, {rate:,.0f} words/s")
    rate = run(lines, words, 2, 8, lambda received: check_totals(received, expected))
    print(f"2 workers, 8 connections: every total exact, {rate:,.0f} words/s")
    return 0


def run(lines, words, workers, connections, check) -> float:
    """Runs once, checks the output, and returns words per second."""
    parts = [frames(lines[part::connections]) for part in range(connections)]
    with Consumer() as consumer:
        with Orchestrator(WORD_COUNT, "--in", "127.0.0.1:0", "--out", consumer.place, workers=workers) as orchestrator:
            senders = [Sender(orchestrator.address(), part) for part in parts]
            for sender in senders:
                sender.join(PATIENCE)
            consumer.wait_count(words, PATIENCE)
            orchestrator.stop()
        check(consumer.lines())
        return words / consumer.seconds()


if __name__ == "__main__":
    sys.exit(main())
