"""Measurements per message: latency against offered load, start-up, and the cost of a crash."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.contenders import Contender
from tests.bench.counters import busiest_child
from tests.bench.running import Load, MeasurementError, free_port, running
from tests.bench.workloads import Workload

# Sends per second. At higher rates messages are sent in bursts, so the load generator leaves the cores to the
# contender: a send and a sleep cost about 10 µs.
GREATEST_PACE = 12_000.0


@dataclass(frozen=True)
class Latencies:
    """Latencies in seconds of the messages offered at ``rate`` a second, by percentile.

    ``sent_late`` is the load generator's own delay, by the same percentiles. The latencies include it.
    """

    rate: float
    share: float
    percentiles: dict[str, float]
    sent_late: dict[str, float]
    lost: int
    longest_silence: float

    @classmethod
    def told(cls, told: dict[str, Any], share: float) -> Latencies:
        """Read the report of ``bench-load``; ``share`` is the rate as a share of the contender's own capacity."""
        names = [f"p{percent:g}" if percent < 100 else "max" for percent in told["percent"]]
        if told["latency"][0] is None:
            raise MeasurementError("no message came out")
        return cls(
            told["rate"],
            share,
            {name: value / 1e9 for name, value in zip(names, told["latency"])},
            {name: value / 1e9 for name, value in zip(names, told["sent_late"])},
            told["lost"],
            (told["longest_silence"] or 0) / 1e9,
        )


def measure(
    contender: Contender, workload: Workload, corpus: Path, *, capacity: float, share: float, seconds: float, load: Path
) -> Latencies:
    """Offer ``share`` of the ``capacity`` (messages per second) for ``seconds``, each message at its time."""
    rate = capacity * share
    in_port, out_port = free_port(), free_port()
    words = _words(workload, corpus, rate, seconds, warm_up=max(1.0, seconds / 4))
    generator = Load(load, in_port, out_port, *words)
    with generator, running(contender, workload, in_port, out_port):
        generator.go()
        return Latencies.told(generator.hear("latencies"), share)


def start_up(contender: Contender, workload: Workload, corpus: Path, load: Path) -> float:
    """Return the seconds from starting the program to the first output of a message that waits for it to listen."""
    in_port, out_port = free_port(), free_port()
    words = ["latency", corpus, "--rate", 1000, "--count", 1, *_marking(workload)]
    with Load(load, in_port, out_port, *words) as generator:
        generator.go()
        began = time.monotonic_ns()
        with running(contender, workload, in_port, out_port):
            told = generator.hear("latencies")
    if told["ended"] is None:
        raise MeasurementError(f"{contender.name}: no message came out")
    return float(told["ended"] - began) / 1e9


def crash(
    contender: Contender, workload: Workload, corpus: Path, *, capacity: float, share: float, seconds: float, load: Path
) -> Latencies:
    """Kill the process that runs the user's code half-way through: a worker, or the program if it has no workers.

    A killed program is started again at once, as a supervisor would do.
    """
    rate = capacity * share
    in_port, out_port = free_port(), free_port()
    words = [*_words(workload, corpus, rate, seconds, warm_up=1.0), "--reconnect"]
    generator = Load(load, in_port, out_port, *words)
    with generator, running(contender, workload, in_port, out_port) as process:
        generator.go()
        generator.hear("measuring")
        threading.Event().wait(seconds / 2)
        worker = busiest_child(process.pid)
        if worker is not None:
            os.kill(worker, signal.SIGKILL)
            return Latencies.told(generator.hear("latencies"), share)
        process.kill()
        process.wait()
        with running(contender, workload, in_port, out_port):
            return Latencies.told(generator.hear("latencies"), share)


def _words(workload: Workload, corpus: Path, rate: float, seconds: float, warm_up: float) -> list[object]:
    count = max(1, round(rate * seconds))
    words = ["latency", corpus, "--rate", rate, "--count", count, "--warm-up", round(rate * warm_up)]
    return [*words, "--burst", max(1, round(rate / GREATEST_PACE)), *_marking(workload)]


def _marking(workload: Workload) -> list[str]:
    return ["--keep-newline", "--mark-first"] if workload.keep_newline else []
