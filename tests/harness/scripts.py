"""Connector scripts: processes beside a run, whose output is read line by line."""

import os
import queue
import signal
import socket
import subprocess
import sys
import threading

from tests.harness.orchestrator import PATIENCE


class Script:
    """A script with a connector of an application, in a ``with`` block. It is killed at its end."""

    def __init__(self, script, application, connector, *args, python=sys.executable, cwd=None):
        words = ["--application-module", application, "--connector", connector, *map(str, args)]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            [python, script, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd,
            env=environment,
        )
        # What it printed on each of its streams; ``None`` is the end.
        self._lines = {stream: queue.Queue() for stream in (self.process.stdout, self.process.stderr)}
        self._readers = [
            threading.Thread(target=self._read, args=item, daemon=True) for item in list(self._lines.items())
        ]
        for reader in self._readers:
            reader.start()

    def write(self, *lines):
        """Give the script lines to read."""
        self.process.stdin.write("".join(f"{line}\n" for line in lines))
        self.process.stdin.flush()

    def line(self) -> str:
        """The next line that it prints."""
        return self._next(self.process.stdout)

    def lines(self, count) -> "list[str]":
        """So many next lines."""
        return [self.line() for _ in range(count)]

    def error(self) -> str:
        """The next line of its standard error."""
        return self._next(self.process.stderr)

    def wait(self) -> "tuple[int, str]":
        """Wait for its end. Return its exit code, and what its standard error has left."""
        self.process.stdin.close()
        code = self.process.wait(PATIENCE)
        left = iter(lambda: self._lines[self.process.stderr].get(timeout=PATIENCE), None)
        return code, "\n".join(left)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
        for reader in self._readers:
            reader.join(PATIENCE)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            stream.close()

    def _next(self, stream):
        line = self._lines[stream].get(timeout=PATIENCE)
        assert line is not None, f"the script has ended: {list(self._lines[self.process.stderr].queue)}"
        return line

    def _read(self, stream, lines):
        for line in stream:
            lines.put(line.rstrip("\n"))
        lines.put(None)


def free_port() -> int:
    """A port that nobody has: a script and an application agree on it before either runs."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]
