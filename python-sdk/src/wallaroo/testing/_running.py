"""A running ``wallaroo-orch run``: its log as events to wait for, its addresses, its workers and its end."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Callable, Union

PATIENCE = 60.0
"""Seconds to wait for events that come at once on an idle machine."""

POLL = 0.01
"""Seconds between two looks at what no event tells of."""

Event = dict[str, Any]
Wanted = Union[str, Callable[[Event], bool]]


class Running:
    """A process of ``wallaroo-orch run --log-format json``, whose log is read.

    Args:
        command: The command line.
        control: Its control socket.
        options: Further arguments of :class:`subprocess.Popen`.
    """

    def __init__(self, command: Sequence[str], control: Path, **options: Any) -> None:
        self.control = control
        self.process: subprocess.Popen[bytes] = subprocess.Popen(command, stderr=subprocess.PIPE, **options)
        self.events: list[Event] = []
        self._news = threading.Condition()
        self._over = False
        assert self.process.stderr is not None, "a pipe was asked for"
        self._reader = threading.Thread(target=self._read, args=(self.process.stderr,), daemon=True)
        self._reader.start()

    def wait_for_event(self, wanted: Wanted, timeout: float = PATIENCE, count: int = 1) -> Event:
        """Wait for log records, past ones included, and return the last of them.

        Args:
            wanted: Part of a record's message, or a function that recognises the record.
            timeout: Seconds.
            count: How many records.

        Raises:
            AssertionError: They did not come.
        """
        matches = wanted if callable(wanted) else lambda event: wanted in event["message"]
        found: list[Event] = []
        seen = 0

        def are_there() -> bool:
            nonlocal seen
            found.extend(event for event in self.events[seen:] if matches(event))
            seen = len(self.events)
            return len(found) >= count or self._over

        with self._news:
            in_time = self._news.wait_for(are_there, timeout)
        if len(found) < count:
            why = "wallaroo-orch ended without" if in_time else f"within {timeout:.0f} s there was no"
            shown = "record that was waited for" if callable(wanted) else repr(wanted)
            raise AssertionError(f"{why} {shown}\n{self.shown_log()}")
        return found[count - 1]

    def wait_until_ready(self) -> None:
        """Wait until the application runs."""
        self.wait_for_event(lambda event: bool(event["message"] == "ready"))

    def listening(self) -> list[tuple[str, int]]:
        """Return host and port of each TCP source, once the application runs."""
        self.wait_until_ready()
        prefix = "listening on "
        addresses = [text[len(prefix) :].rpartition(":") for text in self.messages() if text.startswith(prefix)]
        return [(host.strip("[]"), int(port)) for host, _, port in addresses]

    def workers(self) -> list[int]:
        """Return the process ids of the workers, standbys included, oldest first."""
        pids = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(pid) for pid in pids if b"wallaroo.worker" in _command_line(pid)]

    def seated(self) -> list[int]:
        """Return the process ids of the workers that have a slot, and so work to do, oldest first; at least one.

        Raises:
            AssertionError: None took a slot.
        """
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            told = {worker["pid"] for worker in self.status()["workers"] if worker["state"] == "seated"}
            # The status may still know a worker that has just died.
            if alive := [pid for pid in self.workers() if pid in told]:
                return alive
            time.sleep(POLL)
        raise AssertionError(f"no worker took a slot within {PATIENCE:.0f} s\n{self.shown_log()}")

    def status(self) -> dict[str, Any]:
        """Return what ``wallaroo-orch status --json`` says.

        Raises:
            AssertionError: The process does not answer.
        """
        command = [orchestrator_command(), "status", "--json", "--control", str(self.control)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
        if done.returncode != 0:
            raise AssertionError(f"{done.stderr}\n{self.shown_log()}")
        told: dict[str, Any] = json.loads(done.stdout)
        return told

    def wait_for_end(self, timeout: float = PATIENCE) -> int:
        """Wait until the process has ended and its log is read. Return its exit code.

        Raises:
            AssertionError: It did not end.
        """
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"wallaroo-orch did not end within {timeout:.0f} s\n{self.shown_log()}") from None
        self._reader.join(PATIENCE)
        return code

    def messages(self, level: str | None = None) -> list[str]:
        """Return the messages logged so far, of one level or of all."""
        with self._news:
            return [event["message"] for event in self.events if level in (None, event.get("level"))]

    def shown_log(self, lines: int = 60) -> str:
        """Return the end of the log, for a failure."""
        with self._news:
            shown = [f"{event.get('level')}: {event['message']}" for event in self.events[-lines:]]
        return "\n".join(("--- log of wallaroo-orch ---", *shown))

    def close(self) -> None:
        """Kill the process, if it runs, and read its log to the end."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(PATIENCE)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()

    def _read(self, stream: IO[bytes]) -> None:
        for line in stream:
            text = line.decode("utf-8", "replace").rstrip("\n")
            try:
                event = json.loads(text)
                event["message"] = str(event.get("message", ""))
            except (ValueError, TypeError, AttributeError):
                # Not every line is a log record: an error that ends the run is written for people.
                event = {"level": "TEXT", "message": text}
            with self._news:
                self.events.append(event)
                self._news.notify_all()
        with self._news:
            self._over = True
            self._news.notify_all()


def orchestrator_command() -> str:
    """Return the ``wallaroo-orch`` to run: ``WALLAROO_ORCH``, the one beside this interpreter, or the one on the path.

    Raises:
        FileNotFoundError: There is none.
    """
    beside = Path(sys.executable).parent / "wallaroo-orch"
    found = os.environ.get("WALLAROO_ORCH") or (str(beside) if beside.exists() else shutil.which("wallaroo-orch"))
    if found is None:
        raise FileNotFoundError("no wallaroo-orch beside this interpreter or on the path: pip install wallaroo-sdk")
    return found


def _command_line(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""  # The process ended meanwhile.
