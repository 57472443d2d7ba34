"""Guards a worker's hot path against regressions: instructions, counted by valgrind, relative to a plain loop.

The number of instructions depends on how the interpreter was built. The ratio to a plain loop over the same classes,
under the same interpreter, hardly does. Nothing here depends on a clock.
"""

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.harness.places import ROOT

# Instructions of a worker that runs verbs divided by those of one that runs decorated steps which do the same.
MOST_FOR_VERBS = 1.0
# Instructions of the worker divided by those of the loop. Lower these when the worker gets faster; raise them only for
# a reason.
EXPECTED = {"word-count": 1.21, "market-spread": 3.15}
TOLERANCE = 1.08
# A run of zero rounds measures starting and importing, which are subtracted.
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
    # Compiles every module, so no count includes compiling.
    run(workload, "worker", 0)
    runs = [("loop", 0), ("worker", ROUNDS), ("loop", ROUNDS)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        start, worker, loop = pool.map(lambda counted: instructions(workload, *counted), runs)
    ratio = (worker - start) / (loop - start)
    assert ratio <= EXPECTED[workload] * TOLERANCE, f"{ratio:.3f} of the loop, expected {EXPECTED[workload]}"
    print(f"{workload}: {ratio:.3f} of the loop")


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="there is no valgrind here to count instructions")
def test_a_verb_costs_nothing_over_a_decorated_step():
    run("verbs", "worker", 0)
    runs = [(workload, rounds) for workload in ("verbs", "decorated") for rounds in (0, ROUNDS)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        counts = list(pool.map(lambda counted: instructions(counted[0], "worker", counted[1]), runs))
    ratio = (counts[1] - counts[0]) / (counts[3] - counts[2])
    assert ratio <= MOST_FOR_VERBS, f"{ratio:.3f} of the decorated steps"
    print(f"verbs: {ratio:.3f} of the decorated steps")
