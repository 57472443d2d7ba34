"""All measurements of one run, and the project's targets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Optional

from tests.bench.latency import Latencies
from tests.bench.summary import Spread
from tests.bench.throughput import Sample

Target = tuple[str, Optional[str], str, Optional[bool]]


@dataclass
class Results:
    """Samples by workload and contender, in the order of the rounds."""

    machine: str
    conditions: str
    units: dict[str, str]
    throughput: dict[str, dict[str, list[Sample]]] = field(default_factory=dict)
    latencies: dict[str, dict[str, list[Latencies]]] = field(default_factory=dict)
    start_ups: dict[str, list[float]] = field(default_factory=dict)
    crashes: dict[str, list[Latencies]] = field(default_factory=dict)

    def workloads(self) -> list[str]:
        """Return the workloads whose throughput was measured."""
        return list(self.throughput)

    def contenders(self, workload: str) -> list[str]:
        """Return the contenders whose throughput on a workload was measured."""
        return list(self.throughput[workload])

    def spread(self, workload: str, contender: str, what: str) -> Spread | None:
        """Return the spread of one field of the samples, or ``None`` if there are no samples."""
        samples = self.throughput.get(workload, {}).get(contender, [])
        values = [value for sample in samples if (value := getattr(sample, what)) is not None]
        return Spread.of(values) if values else None

    def capacity(self, workload: str, contender: str) -> float | None:
        """Return the median of messages per second."""
        spread = self.spread(workload, contender, "messages_rate")
        return None if spread is None else spread.median

    def by_load(self) -> Iterator[tuple[str, str, list[Latencies]]]:
        """Yield workload, contender and samples of the measurements per message."""
        for workload, contenders in self.latencies.items():
            for contender, samples in contenders.items():
                yield workload, contender, samples

    def targets(self) -> list[Target]:
        """Return each target: its name, the measurement, the target value, and whether it is reached."""
        ratios = [
            ("2 workers", "embedded", "word count", 1.35),
            ("1 worker", "embedded", "word count", 0.80),
            ("2 workers", "embedded", "market spread", 1.2),
            ("2 workers", "embedded", "100 µs step", 1.9),
            ("2 workers, PyPy", "embedded", "word count", 2.2),
            ("2 workers", "Bytewax", "word count", 2.2),
        ]
        targets = [self._ratio(*ratio) for ratio in ratios]
        cpu = self.spread("word count", "2 workers", "program_cpu")
        cpu_per_word = None if cpu is None else cpu.median * 1e-6
        targets.append(_at_most("orchestrator CPU per routed word", cpu_per_word, 80e-9, _nanoseconds))
        samples = self.latencies.get("word count", {}).get("2 workers", [])
        least = min((sample.share for sample in samples), default=None)
        for name, most in (("p50", 150e-6), ("p99", 1e-3), ("p99.9", 3e-3)):
            values = [sample.percentiles[name] for sample in samples if sample.share == least]
            value = Spread.of(values).median if values else None
            targets.append(_at_most(f"latency at 10 % of capacity, {name}", value, most, _milliseconds))
        start = Spread.of(self.start_ups["2 workers"]).median if self.start_ups.get("2 workers") else None
        targets.append(_at_most("start-up to first output", start, 0.3, _milliseconds))
        return targets

    def _ratio(self, ours: str, theirs: str, workload: str, wanted: float) -> Target:
        rates = {name: self.spread(workload, name, "rate") for name in self.throughput.get(workload, {})}
        # "Bytewax" means the best of its configurations, and a prefix means the only interpreter of its kind.
        above, below = (
            [rate.median for name, rate in rates.items() if rate and _is(name, side)] for side in (ours, theirs)
        )
        name = f"{ours} ÷ {theirs}, {workload}"
        if not above or not below:
            return name, None, f"{wanted}", None
        ratio = max(above) / max(below)
        return name, f"{ratio:.2f}", f"{wanted}", ratio >= wanted

    def as_dict(self) -> dict[str, Any]:
        """Return everything for JSON."""
        targets = [dict(zip(("figure", "measured", "wanted", "reached"), target)) for target in self.targets()]
        return {**asdict(self), "targets": targets}


def _is(name: str, side: str) -> bool:
    return name == side or (side in ("Bytewax", "2 workers, PyPy") and name.startswith(side))


def _at_most(name: str, value: float | None, most: float, show: Callable[[float], str]) -> Target:
    if value is None:
        return name, None, f"≤ {show(most)}", None
    return name, show(value), f"≤ {show(most)}", value <= most


def _nanoseconds(seconds: float) -> str:
    return f"{seconds * 1e9:.0f} ns"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms"
