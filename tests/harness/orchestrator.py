"""``wallaroo-orch run`` for end-to-end tests. No process may be left at its end."""

import base64
import contextlib
import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

import msgpack
from wallaroo.testing._running import PATIENCE, Running, orchestrator_command

from tests.harness import processes

# The guarantee, which holds even for a killed orchestrator.
LEFT_BEHIND_FOR = 2.0


class Orchestrator(Running):
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
        prefix=(),
    ):
        self.tag = uuid.uuid4().hex
        # Each run has its own, so runs of the same application do not collide; ``None`` leaves the choice to the
        # orchestrator.
        self.control = Path(control or Path(tempfile.gettempdir()) / f"wallaroo-{self.tag[:12]}.sock")
        options = [*map(str, options)]
        if "--control" in options:
            self.control = Path(options[options.index("--control") + 1])
        elif control is not None:
            options += ["--control", str(self.control)]
        command = [*prefix, orchestrator_command(), "run", "--log-format", "json", "--workers", str(workers)]
        if python is not None:
            command += ["--python", str(python)]
        command += [str(word) for word in (*options, app, *args)]
        environment = {**(environment or os.environ), processes.TAG: self.tag}
        # Only --python may select the interpreter.
        environment.pop("VIRTUAL_ENV", None)
        stdin = subprocess.DEVNULL if stdin is None else stdin
        stdout = subprocess.DEVNULL if stdout is None else stdout
        super().__init__(command, self.control, stdin=stdin, stdout=stdout, env=environment, cwd=cwd, pass_fds=pass_fds)
        self.pid = self.process.pid

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
        self.close()
        if kind is not None:
            # The failure of the block is more useful than the processes left; pytest shows the log with it.
            print(self.log(), file=sys.stderr)
        elif left:
            raise AssertionError(f"processes were left behind: {described}\n{self.log()}")

    def wait_for(self, wanted, timeout=PATIENCE, count=1):
        """Waits for ``count`` log records, past ones included, and returns the last of them."""
        return self.wait_for_event(wanted, timeout, count)

    def ready(self):
        """Waits until the application runs; returns ``self``."""
        self.wait_until_ready()
        return self

    def addresses(self) -> "list[tuple[str, int]]":
        """The addresses at which the TCP sources listen."""
        return self.listening()

    def address(self) -> "tuple[str, int]":
        """The address at which the only TCP source listens."""
        (address,) = self.listening()
        return address

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, timeout=PATIENCE) -> int:
        """Waits for the end; returns the exit code."""
        return self.wait_for_end(timeout)

    def stop(self, timeout=PATIENCE):
        """Sends Ctrl-C, which finishes what was accepted. Fails unless the exit code is 0."""
        self.signal(signal.SIGINT)
        code = self.wait(timeout)
        assert code == 0, f"exit code {code}\n{self.log()}"

    def summary(self) -> dict:
        """The counts logged at the end."""
        return self.wait_for("finished after")

    def text(self) -> str:
        """The lines printed for people, outside the log."""
        return "\n".join(self.messages("TEXT"))

    def log(self, lines=60) -> str:
        """The end of the log, for failures."""
        return self.shown_log(lines)


def message_of(letter: dict) -> str:
    """The message of a dead letter, from its payload."""
    payload = base64.b64decode(letter["payload"])
    if letter["payload_codec"] == "frame":
        return payload.decode()
    values = {"msgpack": msgpack.unpackb, "pickle": pickle.loads}[letter["payload_codec"]](payload)
    # Only the worker can take a batch's values apart: the letter may hold other values as well as the guilty one.
    return values[letter["payload_index"]]


def read_dead_letters(path: Path) -> "list[dict]":
    """The dead letters of a file."""
    return [json.loads(line) for line in Path(path).read_text().splitlines()]
