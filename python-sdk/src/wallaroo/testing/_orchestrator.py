"""The real thing, for tests: ``wallaroo-orch run``, worker processes that can be killed, and a sink to read from."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Callable

from wallaroo.testing._running import PATIENCE, Running, orchestrator_command


def frames(messages: Iterable[bytes | str], header: str = ">I") -> bytes:
    r"""Return messages as they are sent to a source whose frames come after their length.

    Args:
        messages: The payloads, ``str`` encoded as UTF-8.
        header: How the length is written: a :mod:`struct` format of one integer.

    Example:
        >>> frames(["to", "be"])
        b'\x00\x00\x00\x02to\x00\x00\x00\x02be'
    """
    payloads = [message.encode("utf-8") if isinstance(message, str) else message for message in messages]
    return b"".join(struct.pack(header, len(payload)) + payload for payload in payloads)


class Orchestrator:
    """``wallaroo-orch run APP ARGS...``; a context manager that kills it, and so its workers, at the end.

    Args:
        app: Path of the application's file, or a module's name.
        args: Words for ``application_setup``. A port of 0 lets the system choose; see :meth:`address`.
        workers: How many workers share the work.
        python: The interpreter of the workers.
        options: Further options of ``wallaroo-orch run``.

    Raises:
        FileNotFoundError: There is no ``wallaroo-orch``: not in the environment variable ``WALLAROO_ORCH``, not beside
            this interpreter, not on the path.
        AssertionError: A method waited in vain; its message has the end of the log.

    Example:
        The fixture ``wallaroo_orch`` makes these::

            def test_a_worker_may_die(wallaroo_orch, wallaroo_sink):
                app = wallaroo_orch("word_count.py", "--in", "127.0.0.1:0", "--out", wallaroo_sink.address)
                app.send(frames(["to be or"]))
                wallaroo_sink.wait_lines(3)
                app.kill_worker()
                app.send(frames(["not to be"]))
                assert "be => 2" in wallaroo_sink.wait_lines(6)
    """

    def __init__(
        self,
        app: str | os.PathLike[str],
        *args: str,
        workers: int = 2,
        python: str | os.PathLike[str] = sys.executable,
        options: Sequence[str] = (),
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="wallaroo-")
        self._letters = Path(self._folder.name) / "dead-letters.jsonl"
        command = [orchestrator_command(), "run", "--log-format", "json", "--workers", str(workers)]
        command += ["--python", os.fspath(python), "--dead-letters", str(self._letters)]
        control = Path(self._folder.name) / "control.sock"
        command += ["--control", str(control), *options, os.fspath(app), *args]
        self._run = Running(command, control, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        self.process = self._run.process

    def __enter__(self) -> Orchestrator:
        return self

    def __exit__(self, *_: object) -> None:
        self._run.close()
        self._folder.cleanup()

    def address(self, source: int = 0) -> tuple[str, int]:
        """Return host and port of a TCP source, once the application runs.

        Args:
            source: Which TCP source, by its position among them.
        """
        return self._run.listening()[source]

    def send(self, data: bytes, source: int = 0) -> None:
        """Send bytes to a TCP source, on a connection of their own: :func:`frames`, or lines.

        Args:
            data: What is sent.
            source: Which TCP source, by its position among them.
        """
        with socket.create_connection(self.address(source), PATIENCE) as connection:
            connection.sendall(data)

    def workers(self) -> list[int]:
        """Return the process ids of the workers, standbys included, oldest first."""
        return self._run.workers()

    def kill_worker(self, pid: int | None = None, number: int = signal.SIGKILL) -> int:
        """Send a signal to a worker.

        Args:
            pid: Which; without it the oldest that has a slot, and so work to do.
            number: The signal.

        Returns:
            The worker's process id. What it held is rebuilt by the time anything that needs it comes out of a sink.
        """
        self._run.wait_until_ready()
        pid = pid if pid is not None else self._run.seated()[0]
        os.kill(pid, number)
        return pid

    def wait_for(self, wanted: str | Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait for a log record, past ones included, and return it.

        Args:
            wanted: Part of its message, or a function that recognises it.
        """
        return self._run.wait_for_event(wanted)

    @property
    def log(self) -> list[str]:
        """The messages logged so far."""
        return self._run.messages()

    def dead_letters(self) -> list[dict[str, Any]]:
        """Return the dead letters written so far, as the file has them."""
        if not self._letters.exists():
            return []
        return [json.loads(line) for line in self._letters.read_text(encoding="utf-8").splitlines()]

    def wait(self) -> None:
        """Wait until every source has ended and all is written.

        Raises:
            AssertionError: It goes on, or ends with another code than 0.
        """
        code = self._run.wait_for_end()
        assert code == 0, f"wallaroo-orch ended with code {code}\n{self._run.shown_log()}"

    def stop(self) -> None:
        """Let it finish what it has read, and end.

        Raises:
            AssertionError: As for :meth:`wait`.
        """
        self._run.wait_until_ready()
        self.process.send_signal(signal.SIGINT)
        self.wait()


class Sink:
    r"""Listens where a ``TCPSinkConfig`` connects to, and keeps what comes; a context manager.

    Example:
        >>> import socket
        >>> with Sink() as sink:
        ...     with socket.create_connection((sink.host, sink.port)) as connection:
        ...         connection.sendall(b"to => 1\nbe => 1\n")
        ...     sink.wait_lines(2)
        ['to => 1', 'be => 1']
    """

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host, self.port = self._listener.getsockname()[:2]
        self._data = bytearray()
        self._lines = 0
        self._news = threading.Condition()
        self._connections: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def __enter__(self) -> Sink:
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self._listener, *self._connections):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE)
        for each in (self._listener, *self._connections):
            each.close()

    @property
    def address(self) -> str:
        """``HOST:PORT``, for ``--out``."""
        return f"{self.host}:{self.port}"

    @property
    def data(self) -> bytes:
        """What has come so far."""
        with self._news:
            return bytes(self._data)

    def wait_lines(self, count: int) -> list[str]:
        """Wait for so many lines of text, and return all that have come.

        Args:
            count: Lines in all, since the beginning.

        Raises:
            AssertionError: They did not come.
        """
        with self._news:
            came = self._news.wait_for(lambda: self._lines >= count, PATIENCE)
            whole = bytes(self._data).rpartition(b"\n")[0].decode("utf-8")
        lines = whole.split("\n") if whole else []
        assert came, f"{len(lines)} of {count} lines came: {lines[-10:]}"
        return lines

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            self._threads.append(threading.Thread(target=self._receive, args=(connection,), daemon=True))
            self._threads[-1].start()

    def _receive(self, connection: socket.socket) -> None:
        while True:
            try:
                data = connection.recv(1 << 16)
            except OSError:
                return
            if not data:
                return
            with self._news:
                self._data += data
                self._lines += data.count(b"\n")
                self._news.notify_all()
