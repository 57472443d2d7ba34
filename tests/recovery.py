"""Measures how long a slot pauses when its worker is killed: ``python -m tests.recovery [--kills N] [CASE ...]``.

``keys``: a million keys with a small state each. ``dictionaries``: word count, with 27 states that together hold a
million words. Under steady load a seated worker is killed, the log reports when its slot answers again, and the next is
killed. The time runs from the kill to the first new answer, as seen from outside; the orchestrator's own figure starts
when it notices the death.
"""

import argparse
import os
import random
import signal
import struct
import sys
import time

from tests.harness.clients import discard, frames
from tests.harness.load import EndlessLoad
from tests.harness.orchestrator import PATIENCE, Orchestrator
from tests.harness.places import APPS, WORD_COUNT
from tests.harness.processes import high_water_mark

KEYS = 1_000_000
LOAD_BLOCK = 20_000


def numbers(rng):
    """Frames that use every key once, and a block of them for the load."""
    every = b"".join(struct.pack(">IQ", 8, number) for number in range(KEYS))
    return every, b"".join(struct.pack(">IQ", 8, rng.randrange(KEYS)) for _ in range(LOAD_BLOCK))


def words(rng):
    """Lines that contain every word once, and a block of lines for the load."""
    letters = "abcdefghijklmnopqrstuvwxyz!"
    every = [f"{letters[number % 27]}{number:x}" for number in range(KEYS)]
    lines = [" ".join(every[start : start + 10]) for start in range(0, KEYS, 10)]
    return frames(lines), frames(" ".join(rng.choices(every, k=10)) for _ in range(LOAD_BLOCK // 10))


CASES = {
    "keys": (APPS / "many_keys.py", numbers),
    "dictionaries": (WORD_COUNT, words),
}


def measure(case: str, kills: int, seed: int) -> "tuple[list[float], list[float], int]":
    """Milliseconds from each kill to the slot's next answer, the orchestrator's figures, its memory in bytes."""
    application, make = CASES[case]
    rng = random.Random(seed)
    every, block = make(rng)
    out = ["--out", discard()] if case == "dictionaries" else []
    outside, inside = [], []
    with Orchestrator(application, "--in", "127.0.0.1:0", *out, workers=2, options=["-v"]) as run:
        load = EndlessLoad(run.address(), every, block)
        assert load.loaded.wait(PATIENCE * 5), run.log()
        run.wait_for("standby is ready", count=3)
        for number in range(1, kills + 1):
            victim = rng.choice(seated(run))
            killed = time.monotonic()
            os.kill(victim, signal.SIGKILL)
            back = run.wait_for("slot is back", count=number)
            outside.append((time.monotonic() - killed) * 1e3)
            inside.append(back["milliseconds"])
            # Before the first kill, two workers are seated and one is a standby.
            run.wait_for("standby is ready", count=number + 3)
        memory = high_water_mark(run.pid)
        load.finish()
        run.stop(PATIENCE * 5)
    return outside, inside, memory


def seated(run) -> "list[int]":
    """Process ids of the workers that sit in a slot."""
    took = [event for event in run.events if event.get("message") == "worker took a slot"]
    return list({event["slot"]: event["pid"] for event in took}.values())


def percentile(values: "list[float]", share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)} [default: all]")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    for case in options.cases or CASES:
        outside, inside, memory = measure(case, options.kills, options.seed)
        for who, times in (("from the kill", outside), ("from its notice", inside)):
            p50, p99 = percentile(times, 0.5), percentile(times, 0.99)
            print(
                f"{case}: {len(times)} kills, {who} to the next answer: p50 {p50:.0f} ms, p99 {p99:.0f} ms", flush=True
            )
        print(f"{case}: the orchestrator's memory peaked at {memory / 2**20:.0f} MiB", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
