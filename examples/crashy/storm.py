"""Kills a worker every 100 ms under load, sends messages that kill their worker, and checks every count.

python storm.py [SECONDS]
"""

from __future__ import annotations

import pathlib
import sys
import time
from collections import Counter

from wallaroo.testing import Orchestrator, Sink, frames

WORDS = [f"word{number}" for number in range(50)]
GUILTY = ["segfault", "exit", "raise"]


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 5.0
    app = pathlib.Path(__file__).resolve().parent / "crashy.py"
    with Sink() as sink, Orchestrator(app, "--in", "127.0.0.1:0", "--out", sink.address, workers=2) as run:
        run.address()
        sent: Counter[str] = Counter()
        kills = 0
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            run.send(frames(WORDS * 100))
            sent.update(WORDS * 100)
            run.kill_worker()
            kills += 1
            time.sleep(0.1)
        run.send(frames(GUILTY))
        lines = sink.wait_lines(sum(sent.values()))
        run.stop()
        counted = Counter(line.partition(" => ")[0] for line in lines)
        for word in WORDS:
            counts = [int(line.rpartition(" => ")[2]) for line in lines if line.startswith(f"{word} => ")]
            assert counts == list(range(1, sent[word] + 1)), f"{word}: {counts}"
        print(
            f"{sum(sent.values()):,} words sent, {kills} workers killed: {sum(counted.values()):,} counted, each once"
        )
        for letter in run.dead_letters():
            print(f"dead letter: {letter['step']}: {letter['message']}")


if __name__ == "__main__":
    main()
