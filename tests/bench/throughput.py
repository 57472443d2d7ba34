"""Throughput, processor time and memory: one run of a contender with a warm-up round and a measured round."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.bench.contenders import Contender
from tests.bench.counters import usage
from tests.bench.running import PATIENCE, Load, free_port, running
from tests.bench.workloads import Workload
from tests.harness.places import ROOT


@dataclass(frozen=True)
class Sample:
    """The result of one round. CPU is in seconds per million outputs, memory in bytes."""

    rate: float
    messages_rate: float
    program_cpu: float
    children_cpu: float
    program_memory: int | None = None
    children_memory: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)


def measure(
    contender: Contender, workload: Workload, corpus: Path, *, repeat: int, outputs: int, load_program: Path
) -> Sample:
    """Measure a round after a warm-up round. It sends the corpus ``repeat`` times, for ``outputs`` messages each."""
    if not contender.sockets:
        return _measure_loop(contender, workload, corpus, repeat)
    in_port, out_port = free_port(), free_port()
    words = ["throughput", corpus, "--repeat", repeat, "--outputs", outputs, "--rounds", 2]
    words += ["--keep-newline"] if workload.keep_newline else []
    load = Load(load_program, in_port, out_port, *words)
    with load, running(contender, workload, in_port, out_port) as process:
        load.go()
        load.hear("round")
        before = usage(process.pid)
        load.go()
        told = load.hear("round")
        after = usage(process.pid)
    seconds = (told["ended"] - told["began"]) / 1e9
    millions = told["outputs"] / 1e6
    return Sample(
        told["outputs"] / seconds,
        told["messages"] / seconds,
        (after.program_cpu - before.program_cpu) / millions,
        (after.children_cpu - before.children_cpu) / millions,
        after.program_memory,
        after.children_memory,
    )


def _measure_loop(contender: Contender, workload: Workload, corpus: Path, repeat: int) -> Sample:
    command = [*contender.command, workload.app, corpus, "--repeat", repeat, "--rounds", 2]
    command += ["--keep-newline"] if workload.keep_newline else []
    done = subprocess.run(
        [str(word) for word in command],
        cwd=ROOT,
        env=contender.full_environment(),
        check=True,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    told = json.loads(done.stdout.splitlines()[-1])
    seconds = (told["ended"] - told["began"]) / 1e9
    cpu = told["cpu"] / 1e9 / (told["outputs"] / 1e6)
    return Sample(told["outputs"] / seconds, told["messages"] / seconds, cpu, 0.0)
