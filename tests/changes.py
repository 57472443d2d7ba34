"""Changes workers under full load: ``python -m tests.changes [--times N] [--kill SECONDS] [--seed N]``.

One run scales from 2 to 3, 1, 4 and 2 workers, swaps to every other interpreter found, and reloads the code. Every
output message is checked: none is lost or doubled, and each key keeps the order of sending. With ``--kill``, old and
new workers are killed meanwhile.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

from tests.harness.clients import Consumer
from tests.harness.control import output, status
from tests.harness.interpreters import discover, environment
from tests.harness.load import Checker, Load
from tests.harness.orchestrator import Orchestrator
from tests.harness.places import APPS

SIZES = (3, 1, 4, 2)
READY = ("seated", "standby")
# Time for the backlog that remains when the load ends.
PATIENCE = 300.0


class Changes:
    """A run of ``numbered.py`` under full load whose workers are changed.

    Args:
        folder: Gets a copy of the application, so its code can be changed.
    """

    def __init__(self, folder: Path, workers=2, python=sys.executable):
        self.application = folder / "numbered_copy.py"
        shutil.copy(APPS / "numbered.py", self.application)
        self.pauses = []
        self._workers = workers
        self._python = python
        self.latest = b""
        self._checker = Checker()

    def __enter__(self):
        self._stack = contextlib.ExitStack()
        self.consumer = self._stack.enter_context(Consumer(take=self._take))
        application = [self.application, "--in", "127.0.0.1:0", "--out", self.consumer.place]
        self.run = Orchestrator(*application, workers=self._workers, python=self._python)
        self._stack.enter_context(self.run)
        self._load = Load(self.run.address())
        self.consumer.wait_count(1)
        return self

    def __exit__(self, *failure):
        return self._stack.__exit__(*failure)

    def _take(self, lines: bytes):
        self.latest = lines
        self._checker.take(lines)

    def change(self, *command) -> dict:
        """Runs a command and checks that the stream goes on."""
        report = json.loads(output(*command, "--json", "--control", self.run.control, timeout=PATIENCE))
        self.pauses.append(report["longest_pause_seconds"])
        self.goes_on()
        return report

    def goes_on(self):
        assert self._checker.first_fault is None, f"{self._checker.first_fault}\n{self.run.log()}"
        self.consumer.wait_count(self.consumer.count + 1)

    def scale(self, workers: int) -> dict:
        report = self.change("scale", workers)
        assert report["workers"] == workers
        return report

    def swap(self, python) -> dict:
        report = self.change("swap", "--python", python)
        assert {worker["interpreter"]["executable"] for worker in self.seated()} <= {str(python)}
        return report

    def reload(self, old="=>", new="=>") -> dict:
        """Replaces ``old`` by ``new`` in the code and reloads it."""
        self.edit(old, new)
        before = {worker["pid"] for worker in self.seated()}
        report = self.change("swap", "--app")
        assert before.isdisjoint(worker["pid"] for worker in self.seated())
        return report

    def edit(self, old: str, new: str):
        text = self.application.read_text()
        assert old in text
        self.application.write_text(text.replace(old, new))

    def seated(self) -> "list[dict]":
        return [worker for worker in status(self.run)["workers"] if worker["state"] == "seated"]

    def finish(self) -> int:
        """Ends the load and checks every message; returns the number of messages."""
        sent = self._load.finish(PATIENCE)
        self.consumer.wait_count(sent, PATIENCE)
        self.run.stop()
        self._checker.check(sent)
        assert self.consumer.count == sent
        assert self.run.summary()["dead_letters"] == 0, self.run.log()
        return sent


class Killer(threading.Thread):
    """Kills a seated or standby worker, old or new, at intervals, in a ``with`` block.

    Starting workers are not killed, because on a busy machine none would ever be ready.
    """

    def __init__(self, run, rng: random.Random, period: float):
        super().__init__(daemon=True)
        self._run, self._rng, self._period = run, rng, period
        self._enough = threading.Event()
        self.kills = 0

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._enough.set()
        self.join()

    def run(self):
        while not self._enough.wait(self._period):
            workers = [worker["pid"] for worker in status(self._run)["workers"] if worker["state"] in READY]
            if workers:
                # It may have just ended by itself.
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._rng.choice(workers), signal.SIGKILL)
                    self.kills += 1


def other_interpreters() -> "list[Path]":
    """Interpreters other than this one, newest first, PyPy before the oldest."""
    found = [interpreter for interpreter in discover()[1:] if not interpreter.name.endswith(("3.10", "3.12"))]
    found.sort(key=lambda interpreter: (interpreter.name == "cpython3.9", interpreter.name.startswith("pypy")))
    return [environment(interpreter) for interpreter in found]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--kill", type=float, metavar="SECONDS", help="kill a worker this often meanwhile")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    pythons = [*other_interpreters(), Path(sys.executable)]
    with tempfile.TemporaryDirectory() as folder, Changes(Path(folder)) as changes:
        began = time.monotonic()
        rng = random.Random(options.seed)
        with Killer(changes.run, rng, options.kill) if options.kill else contextlib.nullcontext() as killer:
            for _ in range(options.times):
                for size in SIZES:
                    tell(f"scale to {size}", changes.scale(size))
                for python in pythons:
                    tell(f"swap to {python}", changes.swap(python))
                tell("load the code anew", changes.reload())
        if killer:
            print(f"{killer.kills} workers were killed meanwhile")
        rate = changes.consumer.count / (time.monotonic() - began)
        sent = changes.finish()
        pauses = sorted(changes.pauses)
        p99 = pauses[min(len(pauses) - 1, int(len(pauses) * 0.99))]
        print(
            f"{len(pauses)} changes, {sent:,} messages, lost 0, doubled 0, order kept; {rate:,.0f} messages/s; "
            f"longest pause of a key: p50 {pauses[len(pauses) // 2] * 1e3:.0f} ms, p99 {p99 * 1e3:.0f} ms"
        )
    return 0


def tell(what: str, report: dict):
    pause, elapsed = report["longest_pause_seconds"], report["elapsed_seconds"]
    print(
        f"{what}: {elapsed:.1f} s, {report['moved_partitions']} partitions, longest pause {pause * 1e3:.0f} ms",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
