"""The ledger's memory during a long run: ``python -m tests.memory_full [--seconds N] [CASE ...]``.

Runs the cases of ``tests.recovery`` under full load without kills, and samples the orchestrator's resident memory every
ten seconds, once all state is loaded. Exits with 1 if the last tenth of the samples is a tenth above the first.
"""

import argparse
import random
import statistics
import sys
import threading

from tests.harness.clients import discard
from tests.harness.load import EndlessLoad
from tests.harness.orchestrator import PATIENCE, Orchestrator
from tests.harness.processes import resident_bytes
from tests.recovery import CASES

PERIOD = 10.0
GROWTH = 1.1


def watch(case: str, seconds: float) -> "list[int]":
    """The orchestrator's resident memory in bytes, every ten seconds."""
    application, make = CASES[case]
    every, block = make(random.Random(0))
    samples = []
    with Orchestrator(application, "--in", "127.0.0.1:0", "--out", discard(), workers=2) as run:
        load = EndlessLoad(run.address(), every, block)
        assert load.loaded.wait(PATIENCE * 5), run.log()
        while len(samples) * PERIOD < seconds:
            # This samples at intervals, so it waits for time.
            threading.Event().wait(PERIOD)
            samples.append(resident_bytes(run.pid))
        load.finish()
        run.stop(PATIENCE * 5)
    return samples


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)} [default: all]")
    parser.add_argument("--seconds", type=float, default=600.0)
    options = parser.parse_args()
    grew = False
    for case in options.cases or CASES:
        samples = watch(case, options.seconds)
        tenth = max(1, len(samples) // 10)
        first, last = statistics.mean(samples[:tenth]), statistics.mean(samples[-tenth:])
        grew |= last > first * GROWTH
        first, last, most = (f"{bytes / 2**20:.0f} MiB" for bytes in (first, last, max(samples)))
        print(f"{case}: {options.seconds:g} s, resident at first {first}, at last {last}, at most {most}", flush=True)
    return grew


if __name__ == "__main__":
    sys.exit(main())
