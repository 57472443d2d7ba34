"""How many calls of 50 ms ``map_async`` makes a second, with two workers and 50 calls at once in each.

``python -m tests.async_rate`` asks the service of ``examples/async_enrichment``. Two workers make 2,000 at most.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.harness.orchestrator import Orchestrator
from tests.harness.places import EXAMPLES

CLICKS = 10_000
FOLDER = EXAMPLES / "async_enrichment"


def main() -> int:
    command = [sys.executable, FOLDER / "service.py", "127.0.0.1:0", str(2 * CLICKS)]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service,
        tempfile.TemporaryDirectory() as folder,
    ):
        try:
            rate = measure(f"127.0.0.1:{service.stdout.readline().split()[1]}", Path(folder) / "clicks.jsonl")
        finally:
            service.kill()
    print(f"{rate:.0f} calls a second")
    return 0


def measure(place, clicks):
    """Calls a second, from when the workers are ready until the last result is written."""
    with clicks.open("w") as file:
        file.writelines(json.dumps({"user": "ada", "page": str(number)}) + "\n" for number in range(CLICKS))
    with clicks.open() as stdin, Orchestrator(FOLDER / "async_enrichment.py", place, workers=2, stdin=stdin) as run:
        run.ready()
        begun = time.perf_counter()
        code = run.wait(timeout=600)
        took = time.perf_counter() - begun
        assert (code, run.summary()["messages_out"]) == (0, CLICKS), run.log()
    return CLICKS / took


if __name__ == "__main__":
    sys.exit(main())
