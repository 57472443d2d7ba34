"""The programs that are compared."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.harness.interpreters import Interpreter
from tests.harness.orchestrator import orchestrator_command


@dataclass(frozen=True)
class Contender:
    """A program that runs an application between two sockets, or ``loop``, which has none.

    Args:
        name: The name in tables.
        command: The words before the application's path.
        environment: Added to the environment of this process.
        sockets: Whether it has sockets.
        on: The workloads it takes part in; all if empty.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    sockets: bool = True
    on: frozenset[str] = frozenset()

    def takes(self, workload: str) -> bool:
        """Return whether it takes part in a workload."""
        return not self.on or workload in self.on

    def full_environment(self) -> dict[str, str]:
        """Return the environment in which it is started."""
        inherited = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
        return {**inherited, **self.environment}


def loop(python: Path, name: str = "loop", on: frozenset[str] = frozenset()) -> Contender:
    """The plain loop with a given Python."""
    return Contender(name, [str(python), "-m", "tests.bench.plain_loop"], sockets=False, on=on)


def embedded(program: Path, python: Path) -> Contender:
    """The embedded interpreter, which uses the packages of ``python``."""
    packages = [str(path) for path in python.parent.parent.glob("lib/python*/site-packages")]
    inherited = os.environ.get("PYTHONPATH")
    path = os.pathsep.join(([inherited] if inherited else []) + packages)
    return Contender("embedded", [str(program)], {"PYTHONPATH": path})


def ours(
    python: Path, workers: int, name: str, on: frozenset[str] = frozenset(), options: Sequence[str] = ()
) -> Contender:
    """The orchestrator with a number of workers and a given Python."""
    command = [orchestrator_command(), "run", "--quiet", "--workers", str(workers), "--python", str(python), *options]
    return Contender(name, command, on=on)


def bytewax(python: Path, threads: int, processes: int, on: frozenset[str] = frozenset()) -> Contender:
    """Bytewax with a number of processes and of worker threads in each."""
    name = f"Bytewax, {threads} thread{'s' * (threads > 1)}"
    if processes > 1:
        name = f"Bytewax, {processes} processes"
    command = [str(python), "-m", "tests.bench.bytewax_flow", "--threads", str(threads), "--processes", str(processes)]
    return Contender(name, command, on=on)


def display(interpreter: Interpreter) -> str:
    """Return an interpreter's name for people: ``CPython 3.11``."""
    version = interpreter.name.lstrip("abcdefghijklmnopqrstuvwxyz")
    kind = interpreter.name[: -len(version)]
    return f"{ {'cpython': 'CPython', 'pypy': 'PyPy'}.get(kind, kind) } {version}"
