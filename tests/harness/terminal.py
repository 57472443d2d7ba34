"""A command on a terminal: its output, the keys sent to it, and the state in which it leaves the terminal."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time

from tests.harness.orchestrator import PATIENCE

# Sequences that move, colour and switch. Without them only the drawn characters are left.
_SEQUENCES = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|[()][A-Z0-9]|[=>78])")


class Terminal:
    """A command with its own terminal, in a ``with`` block. It is killed at the end."""

    def __init__(self, command, columns=80, rows=24):
        self.drawn = ""
        self._end, other_end = pty.openpty()
        fcntl.ioctl(other_end, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._found = termios.tcgetattr(other_end)
        self._process = subprocess.Popen(
            command, stdin=other_end, stdout=other_end, stderr=other_end, start_new_session=True
        )
        os.close(other_end)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        os.close(self._end)

    @property
    def text(self) -> str:
        """Everything drawn so far, in order."""
        return _SEQUENCES.sub(" ", self.drawn)

    def wait_for(self, *words):
        """Waits until each of ``words`` was drawn."""
        deadline = time.monotonic() + PATIENCE
        while not all(word in self.text for word in words):
            if not self._read(deadline):
                raise AssertionError(f"the command ended without drawing {words}:\n{self.text}")

    def press(self, keys: bytes):
        os.write(self._end, keys)

    def wait(self) -> int:
        """Waits for the command's end; returns its exit code."""
        deadline = time.monotonic() + PATIENCE
        while self._read(deadline):
            pass
        return self._process.wait(PATIENCE)

    def signal(self, number):
        self._process.send_signal(number)

    def is_restored(self) -> bool:
        """Whether the terminal is restored: line mode, echo, main screen and visible cursor."""
        shown = self.drawn.rindex("\x1b[?1049l") > self.drawn.rindex("\x1b[?1049h")
        cursor = self.drawn.rindex("\x1b[?25h") > self.drawn.rindex("\x1b[?25l")
        return shown and cursor and termios.tcgetattr(self._end) == self._found

    def _read(self, deadline) -> bool:
        ready, _, _ = select.select([self._end], [], [], max(deadline - time.monotonic(), 0))
        if not ready:
            raise AssertionError(f"nothing more was drawn within {PATIENCE} s:\n{self.text}")
        try:
            data = os.read(self._end, 1 << 16)
        except OSError:  # Linux: the other end is closed.
            return False
        self.drawn += data.decode(errors="replace")
        return bool(data)
