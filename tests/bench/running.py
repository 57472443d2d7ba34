"""A running contender and its load."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bench.contenders import Contender
from tests.bench.workloads import Workload
from tests.harness.places import ROOT

# No measurement takes this long.
PATIENCE = 300.0


class MeasurementError(Exception):
    """A contender or the load generator failed."""


def free_port() -> int:
    """Return a free port of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@contextmanager
def running(contender: Contender, workload: Workload, in_port: int, out_port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a workload's application in a contender; kill it at the end."""
    command = [*contender.command, str(workload.app), "--in", f"127.0.0.1:{in_port}", "--out", f"127.0.0.1:{out_port}"]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env=contender.full_environment(), stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )
        try:
            yield process
        except MeasurementError as error:
            log.seek(0)
            raise MeasurementError(f"{contender.name}, {workload.name}: {error}\n{log.read().decode()}") from None
        finally:
            # It is interrupted, and killed after a second of draining, because it has nothing left to do.
            process.send_signal(signal.SIGINT)
            try:
                process.wait(1)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class Load:
    """``bench-load`` in a ``with`` block.

    Args:
        program: Its path.
        to: The port to send to, which need not be open yet.
        listen: The port to listen on.
        words: The name of the measurement and its options.
    """

    def __init__(self, program: Path, to: int, listen: int, *words: object) -> None:
        command = [str(program), "--to", f"127.0.0.1:{to}", "--listen", f"127.0.0.1:{listen}", *map(str, words)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Load:
        self.hear("listening")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def go(self) -> None:
        """Start the measurement."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def hear(self, event: str) -> dict[str, Any]:
        """Wait for its next report, which must be ``event``."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            assert self._process.stderr is not None
            raise MeasurementError(f"the load generator ended: {self._process.stderr.read().strip()}")
        told: dict[str, Any] = json.loads(line)
        if told["event"] != event:
            raise MeasurementError(f"the load generator told {told} instead of {event}")
        return told
