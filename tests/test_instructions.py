"""The regression guard of a worker's hot path: instructions, counted by valgrind, over those of a plain loop.

Interpreters differ in how many instructions the same code takes, by how they were built; what a worker takes over what
the same classes take in a plain loop, under the same interpreter, hardly does. Nothing here depends on a clock.
"""

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.harness.places import ROOT

# Instructions of the worker over those of the loop. Lowered when a change makes it faster, raised only for a reason.
EXPECTED = {"word-count": 1.21, "market-spread": 3.15}
TOLERANCE = 1.08
# A run of no round says what starting and importing take, which does not count.
ROUNDS = 3


COUNT = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]


def run(workload, kind, rounds, under=()):
    done = subprocess.run(
        [*under, sys.executable, "-m", "tests.hot_path", workload, kind, str(rounds)],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def instructions(workload, kind, rounds):
    return int(re.search(r"Collected : (\d+)", run(workload, kind, rounds, COUNT))[1])


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="there is no valgrind here to count instructions")
@pytest.mark.parametrize("workload", EXPECTED)
def test_a_worker_takes_no_more_instructions_than_it_did(workload):
    # Leaves every module compiled, so that no count has that in it.
    run(workload, "worker", 0)
    runs = [("loop", 0), ("worker", ROUNDS), ("loop", ROUNDS)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        start, worker, loop = pool.map(lambda counted: instructions(workload, *counted), runs)
    ratio = (worker - start) / (loop - start)
    assert ratio <= EXPECTED[workload] * TOLERANCE, f"{ratio:.3f} of the loop, expected {EXPECTED[workload]}"
    print(f"{workload}: {ratio:.3f} of the loop")
