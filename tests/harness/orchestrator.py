"""A running ``wallaroo-orch run``: its log as events to wait for, its end, and what it leaves behind."""

import base64
import contextlib
import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path

import msgpack

from tests.harness import processes
from tests.harness.places import orchestrator_command

# Ample for a machine that is busy with other things; nothing waits that long when all is well.
PATIENCE = 60.0
# What is promised even for a killed orchestrator.
LEFT_BEHIND_FOR = 2.0


class Orchestrator:
    """``wallaroo-orch run APP ARGS...``, in a ``with`` block. At its end it is killed, and no process may be left."""

    def __init__(
        self,
        app,
        *args,
        workers=2,
        python=sys.executable,
        options=(),
        stdin=None,
        stdout=None,
        cwd=None,
        pass_fds=(),
        control="",
        environment=None,
    ):
        self.tag = uuid.uuid4().hex
        # Of its own, so that runs of the same application do not meet; ``None`` leaves the choice to the orchestrator.
        self.control = Path(control or Path(tempfile.gettempdir()) / f"wallaroo-{self.tag[:12]}.sock")
        options = [*map(str, options)]
        if "--control" in options:
            self.control = Path(options[options.index("--control") + 1])
        elif control is not None:
            options += ["--control", str(self.control)]
        command = [orchestrator_command(), "run", "--log-format", "json", "--workers", str(workers)]
        if python is not None:
            command += ["--python", str(python)]
        command += [str(word) for word in (*options, app, *args)]
        environment = {**(environment or os.environ), processes.TAG: self.tag}
        # Only --python is to choose the interpreter.
        environment.pop("VIRTUAL_ENV", None)
        stdin = subprocess.DEVNULL if stdin is None else stdin
        stdout = subprocess.DEVNULL if stdout is None else stdout
        self.process = subprocess.Popen(
            command,
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            env=environment,
            cwd=cwd,
            pass_fds=pass_fds,
        )
        self.pid = self.process.pid
        self.events = []
        self._news = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        left = processes.wait_for_end(self.tag, LEFT_BEHIND_FOR)
        described = [(pid, processes.command_line(pid)) for pid in left]
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self.process.returncode == -signal.SIGKILL:
            self.control.unlink(missing_ok=True)
        self._reader.join(PATIENCE)
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.process.stderr.close()
        if kind is not None:
            # The block's own failure says more than what is left; pytest shows the log beside it.
            print(self.log(), file=sys.stderr)
        elif left:
            raise AssertionError(f"processes were left behind: {described}\n{self.log()}")

    def _read(self):
        for line in self.process.stderr:
            text = line.decode(errors="replace").rstrip("\n")
            try:
                event = json.loads(text)
            except ValueError:
                event = None
            if not isinstance(event, dict):
                # Not every line is a log line: an error that ends the run is for people.
                event = {"level": "TEXT", "message": text}
            with self._news:
                self.events.append(event)
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def wait_for(self, wanted, timeout=PATIENCE, count=1):
        """Waits for ``count`` events, past ones included, and returns the last of them.

        ``wanted`` is part of an event's message, or a function that recognises the event.
        """
        matches = wanted if callable(wanted) else lambda event: wanted in event.get("message", "")
        deadline = time.monotonic() + timeout
        seen = left = 0
        with self._news:
            while True:
                for event in self.events[seen:]:
                    left += bool(matches(event))
                    if left == count:
                        return event
                seen = len(self.events)
                if self._ended:
                    raise AssertionError(f"the orchestrator ended without: {wanted}\n{self.log()}")
                if not self._news.wait(deadline - time.monotonic()):
                    raise AssertionError(f"not seen within {timeout} s: {wanted}\n{self.log()}")

    def ready(self):
        """Waits until the application runs; returns this."""
        self.wait_for(lambda event: event.get("message") == "ready")
        return self

    def addresses(self) -> "list[tuple[str, int]]":
        """Where the TCP sources listen."""
        self.ready()
        prefix = "listening on "
        places = [event["message"] for event in self.events if event.get("message", "").startswith(prefix)]
        return [(host, int(port)) for host, _, port in (place[len(prefix) :].rpartition(":") for place in places)]

    def address(self) -> "tuple[str, int]":
        """Where the only TCP source listens."""
        (address,) = self.addresses()
        return address

    def workers(self) -> "list[int]":
        """Process ids of the workers, standbys included, oldest first."""
        return [pid for pid in processes.children(self.pid) if "wallaroo.worker" in processes.command_line(pid)]

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, timeout=PATIENCE) -> int:
        """Waits for the end; returns the exit code."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the orchestrator did not end within {timeout} s\n{self.log()}") from None
        self._reader.join(PATIENCE)
        return code

    def stop(self, timeout=PATIENCE):
        """Ctrl-C: finishes what was accepted. Fails unless that ends well."""
        self.signal(signal.SIGINT)
        code = self.wait(timeout)
        assert code == 0, f"exit code {code}\n{self.log()}"

    def summary(self) -> dict:
        """The counts logged at the end."""
        return self.wait_for("finished after")

    def text(self) -> str:
        """What was printed for people, outside the log."""
        return "\n".join(event["message"] for event in self.events if event["level"] == "TEXT")

    def messages(self, level=None) -> "list[str]":
        return [event.get("message", "") for event in self.events if level in (None, event.get("level"))]

    def log(self, lines=60) -> str:
        """The end of the log, for failures."""
        shown = (f"{event.get('level')}: {event.get('message')}" for event in self.events[-lines:])
        return "--- log of wallaroo-orch ---\n" + "\n".join(shown)


def message_of(letter: dict) -> str:
    """The message of a dead letter, from its payload."""
    payload = base64.b64decode(letter["payload"])
    if letter["payload_codec"] == "frame":
        return payload.decode()
    values = {"msgpack": msgpack.unpackb, "pickle": pickle.loads}[letter["payload_codec"]](payload)
    # Nobody but the worker can take a batch's values apart: the guilty one may come with its neighbours.
    return values[letter["payload_index"]]


def read_dead_letters(path: Path) -> "list[dict]":
    """The dead letters of a file."""
    return [json.loads(line) for line in Path(path).read_text().splitlines()]
