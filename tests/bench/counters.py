"""The kernel's figures of a contender's processes: processor time and memory."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tests.harness import processes

_TICK = 1.0 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """Processor seconds and peak resident bytes so far, of the program itself and of its children together."""

    program_cpu: float
    children_cpu: float
    program_memory: int
    children_memory: int


def usage(pid: int) -> Usage:
    """Read the counters of process ``pid`` and of the children it has now."""
    children = processes.children(pid)
    return Usage(
        _cpu(pid),
        sum(_cpu(child) for child in children),
        processes.high_water_mark(pid),
        sum(processes.high_water_mark(child) for child in children),
    )


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK


def busiest_child(pid: int) -> int | None:
    """Return the child of process ``pid`` with the most processor time, or ``None`` if it has no children."""
    return max(processes.children(pid), key=_cpu, default=None)
