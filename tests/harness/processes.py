"""The processes of a run, and waiting for their end."""

import os
import select
import time
from pathlib import Path

# Inherited by every process that a run starts, so its processes are found even if their parent has ended.
TAG = "WALLAROO_TEST_RUN"


def tagged(tag: str) -> "list[int]":
    """Every process of a run, whatever its parent is now."""
    wanted = f"{TAG}={tag}".encode()
    return [pid for pid in _all() if wanted in _read(pid, "environ").split(b"\0")]


def children(parent: int) -> "list[int]":
    """The children of a process, oldest first."""
    found = [pid for pid in _all() if _parent(pid) == parent]
    return sorted(found, key=_started)


def command_line(pid: int) -> "list[str]":
    return [os.fsdecode(word) for word in _read(pid, "cmdline").split(b"\0")[:-1]]


def resident_bytes(pid: int) -> int:
    """The resident memory of a process in bytes."""
    return _memory(pid, "VmRSS")


def high_water_mark(pid: int) -> int:
    """The peak resident memory of a process in bytes."""
    return _memory(pid, "VmHWM")


def _memory(pid: int, field: str) -> int:
    for line in _read(pid, "status").decode().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(pid)


def descriptors(pid: int) -> "list[str]":
    """The target of each open descriptor of a process."""
    folder = Path(f"/proc/{pid}/fd")
    return [os.readlink(entry) for entry in folder.iterdir()]


def wait_for_end(tag: str, timeout: float) -> "list[int]":
    """Waits until no process of a run is left; returns those that are left at the timeout."""
    deadline = time.monotonic() + timeout
    while True:
        left = tagged(tag)
        if not left or time.monotonic() >= deadline:
            return left
        _wait_for_one(left[0], deadline)


def wait_for_exit(pid: int, timeout: float) -> bool:
    """Waits until a process has ended. It need not be a child."""
    return _wait_for_one(pid, time.monotonic() + timeout)


def _wait_for_one(pid: int, deadline: float) -> bool:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        return bool(ready)
    finally:
        os.close(descriptor)


def _all():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""


def _stat(pid: int) -> "list[bytes]":
    # The command's name is in parentheses and may contain anything.
    return _read(pid, "stat").rpartition(b")")[2].split()


def _parent(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[1]) if fields else -1


def _started(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[19]) if fields else 0


def is_zombie(pid: int) -> bool:
    fields = _stat(pid)
    return bool(fields) and fields[0] == b"Z"
