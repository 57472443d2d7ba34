"""Rounds: each measures every contender once, so changes of the machine's load affect all contenders."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from tests.bench import latency, throughput
from tests.bench.contenders import Contender
from tests.bench.results import Results
from tests.bench.running import MeasurementError
from tests.bench.workloads import Workload, count_outputs

Measured = TypeVar("Measured")

PARTS = ("throughput", "latency", "start-up", "crash")
# The contenders and workloads for which measurements per message are useful.
FOCUS = ("embedded", "1 worker", "2 workers", "2 workers, PyPy 3.9", "Bytewax, 1 thread")
LATENCY_WORKLOADS = ("word count", "1 KB payload")
# Shares of a contender's own capacity.
LOADS = (0.1, 0.5, 0.8)
CRASH_LOAD = 0.3
SECONDS = 10.0


class Comparison:
    """One run of the harness.

    Args:
        contenders: The programs that are compared.
        workloads: The workloads.
        results: Collects the samples.
        python: A Python with the SDK, which counts the expected outputs.
        load: The load generator.
        corpora: A folder for the messages.
        quick: Whether to use a fifth of all amounts.
        shares: The loads at which latency is measured, as shares of a contender's own capacity.
    """

    def __init__(
        self,
        contenders: Sequence[Contender],
        workloads: Sequence[Workload],
        results: Results,
        python: Path,
        load: Path,
        corpora: Path,
        *,
        quick: bool,
        shares: Sequence[float] = LOADS,
    ) -> None:
        self._contenders = contenders
        self._workloads = workloads
        self._results = results
        self._load = load
        self._scale = 0.2 if quick else 1.0
        self._shares = shares
        corpora.mkdir(parents=True, exist_ok=True)
        self._corpora = {workload.name: workload.corpus(corpora) for workload in workloads}
        environment = contenders[0].full_environment()
        self._outputs = {
            workload.name: count_outputs(workload, self._corpora[workload.name], python, environment)
            for workload in workloads
        }

    def round(self, part: str) -> None:
        """Measure every contender once."""
        {"throughput": self._throughput, "latency": self._latency, "start-up": self._start_up, "crash": self._crash}[
            part
        ]()

    def _throughput(self) -> None:
        for workload in self._workloads:
            taken = self._results.throughput.setdefault(workload.name, {})
            for contender in self._contenders:
                if contender.takes(workload.name):
                    samples = taken.setdefault(contender.name, [])
                    _add(samples, contender, workload, self._sample)

    def _sample(self, contender: Contender, workload: Workload) -> throughput.Sample:
        repeat = max(1, round(workload.repeat * self._scale))
        return throughput.measure(
            contender,
            workload,
            self._corpora[workload.name],
            repeat=repeat,
            outputs=self._outputs[workload.name],
            load_program=self._load,
        )

    def _latency(self) -> None:
        for workload in self._workloads:
            if workload.name not in LATENCY_WORKLOADS:
                continue
            taken = self._results.latencies.setdefault(workload.name, {})
            for contender in self._focused(workload):
                samples = taken.setdefault(contender.name, [])
                for share in self._shares:
                    _add(samples, contender, workload, partial(self._latencies, share=share))

    def _latencies(self, contender: Contender, workload: Workload, *, share: float) -> latency.Latencies:
        return latency.measure(
            contender,
            workload,
            self._corpora[workload.name],
            capacity=self._capacity(contender, workload),
            share=share,
            seconds=SECONDS * self._scale,
            load=self._load,
        )

    def _start_up(self) -> None:
        workload = self._workloads[0]
        for contender in self._focused(workload):
            samples = self._results.start_ups.setdefault(contender.name, [])
            _add(samples, contender, workload, self._started)

    def _started(self, contender: Contender, workload: Workload) -> float:
        return latency.start_up(contender, workload, self._corpora[workload.name], self._load)

    def _crash(self) -> None:
        workload = self._workloads[0]
        for contender in self._focused(workload):
            if contender.name.startswith("Bytewax"):
                continue  # Its recovery is out of scope.
            samples = self._results.crashes.setdefault(contender.name, [])
            _add(samples, contender, workload, self._crashed)

    def _crashed(self, contender: Contender, workload: Workload) -> latency.Latencies:
        return latency.crash(
            contender,
            workload,
            self._corpora[workload.name],
            capacity=self._capacity(contender, workload),
            share=CRASH_LOAD,
            seconds=max(4.0, SECONDS * self._scale),
            load=self._load,
        )

    def _focused(self, workload: Workload) -> list[Contender]:
        return [
            contender
            for contender in self._contenders
            if contender.name in FOCUS and contender.sockets and contender.takes(workload.name)
        ]

    def _capacity(self, contender: Contender, workload: Workload) -> float:
        """Return this run's messages per second; measured once for all rounds if throughput is not a part."""
        capacity = self._results.capacity(workload.name, contender.name)
        if capacity is None:
            sample = self._sample(contender, workload)
            self._results.throughput.setdefault(workload.name, {}).setdefault(contender.name, []).append(sample)
            capacity = sample.messages_rate
        return capacity


def _add(
    samples: list[Measured],
    contender: Contender,
    workload: Workload,
    measure: Callable[[Contender, Workload], Measured],
) -> None:
    """Take one more measurement. If a contender fails, this is reported and the run continues with the others."""
    try:
        sample = measure(contender, workload)
    except MeasurementError as error:
        print(f"  {contender.name}, {workload.name}: {error}", file=sys.stderr, flush=True)
        return
    samples.append(sample)
    print(f"  {workload.name}: {contender.name}: {_brief(sample)}", file=sys.stderr, flush=True)


def _brief(sample: object) -> str:
    if isinstance(sample, throughput.Sample):
        return f"{sample.rate:,.0f}/s"
    if isinstance(sample, latency.Latencies):
        shown = ", ".join(f"{name} {value * 1e3:.2f} ms" for name, value in sample.percentiles.items())
        return f"{sample.rate:,.0f} messages/s, {shown}, {sample.lost} lost"
    return f"{sample:.3f} s"
