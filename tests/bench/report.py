"""The results as Markdown tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tests.bench.results import Results
from tests.bench.summary import Spread


def markdown(results: Results) -> str:
    """Return all measurements as one Markdown document."""
    sections = [
        f"# Comparison\n\n{results.machine}. {results.conditions}",
        _targets(results),
        *(_throughput(results, workload) for workload in results.workloads()),
        _latencies(results),
        _start_up(results),
        _crashes(results),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _throughput(results: Results, workload: str) -> str:
    unit = results.units[workload]
    header = [
        "contender", f"{unit}/s", "least … greatest", "÷ embedded",
        f"CPU s per million {unit}: program", "workers", "memory MB: program", "workers",
    ]  # fmt: skip
    reference = results.spread(workload, "embedded", "rate")
    rows = []
    for contender in results.contenders(workload):
        rate = results.spread(workload, contender, "rate")
        if rate is None:
            continue

        def median(field: str, scale: float = 1.0, digits: int = 2, contender: str = contender) -> str:
            spread = results.spread(workload, contender, field)
            return "" if spread is None else f"{spread.median * scale:.{digits}f}"

        rows.append(
            [
                contender,
                _count(rate.median),
                f"{_count(rate.least)} … {_count(rate.greatest)}",
                "" if reference is None else f"{rate.median / reference.median:.2f}",
                median("program_cpu", digits=3),
                median("children_cpu", digits=3),
                median("program_memory", 1e-6, 0),
                median("children_memory", 1e-6, 0),
            ]
        )
    return f"## {workload[0].upper()}{workload[1:]}\n\n" + table(header, rows)


def _targets(results: Results) -> str:
    rows = []
    for name, value, wanted, reached in results.targets():
        rows.append(
            [name, "not measured" if value is None else value, wanted, "" if reached is None else _yes(reached)]
        )
    return "## Figures aimed at\n\n" + table(["figure", "measured", "at least / at most", "reached"], rows)


def _latencies(results: Results) -> str:
    rows = []
    for workload, contender, samples in results.by_load():
        first = samples[0]
        names = list(first.percentiles)
        for share, group in _grouped(samples, lambda sample: sample.share):
            cells = [_time(Spread.of([sample.percentiles[name] for sample in group]).median) for name in names]
            rows.append(
                [workload, contender, f"{share:.0%}", _count(Spread.of([s.rate for s in group]).median), *cells]
            )
    if not rows:
        return ""
    header = ["workload", "contender", "load", "messages/s", *names]
    text = "Every message has its time, and its latency counts from then. The load is a share of the own capacity."
    return f"## Latency against offered load\n\n{text}\n\n{table(header, rows)}"


def _start_up(results: Results) -> str:
    rows = []
    for contender, seconds in results.start_ups.items():
        spread = Spread.of(seconds)
        rows.append([contender, _time(spread.median), f"{_time(spread.least)} … {_time(spread.greatest)}"])
    return "## Start-up to first output\n\n" + table(["contender", "median", "least … greatest"], rows) if rows else ""


def _crashes(results: Results) -> str:
    rows = []
    for contender, samples in results.crashes.items():
        silence = Spread.of([sample.longest_silence for sample in samples])
        worst = Spread.of([sample.percentiles["max"] for sample in samples])
        lost = Spread.of([float(sample.lost) for sample in samples])
        rows.append([contender, _time(silence.median), _time(worst.median), _count(lost.median)])
    text = "Half-way a worker is killed with SIGKILL; where there is none, the program, which is started again at once."
    header = ["contender", "longest silence", "worst latency", "messages lost"]
    return f"## A crash under load\n\n{text}\n\n{table(header, rows)}" if rows else ""


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table with the first column left-aligned and the others right-aligned."""
    lines = ["| " + " | ".join(header) + " |", "| --- |" + " ---: |" * (len(header) - 1)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


def _grouped(samples: Sequence[Any], key: Callable[[Any], float]) -> Iterable[tuple[float, list[Any]]]:
    for value in sorted({key(sample) for sample in samples}):
        yield value, [sample for sample in samples if key(sample) == value]


def _count(value: float) -> str:
    if value >= 1e6:
        return f"{value / 1e6:.2f} M"
    return f"{value:,.0f}"


def _time(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{seconds * 1e3:.1f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.0f} µs"


def _yes(reached: bool) -> str:
    return "yes" if reached else "no"
