"""Plots of the results, as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
# Text stays text, and the same results give the same file.
mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "wallaroo", "font.size": 9})

from matplotlib import pyplot  # noqa: E402 - once the backend is chosen

from tests.bench.results import Results  # noqa: E402
from tests.bench.summary import Spread  # noqa: E402

OURS, OTHERS = "#1f6fb4", "#9aa0a6"


def draw(results: Results, folder: Path) -> None:
    """Write every plot that has results into ``folder``."""
    for workload in results.workloads():
        _throughput(results, workload, folder)
    for workload, contenders in results.latencies.items():
        _latencies(workload, contenders, folder)
    _scaling(results, folder)


def _throughput(results: Results, workload: str, folder: Path) -> None:
    names = [name for name in results.contenders(workload) if results.spread(workload, name, "rate")]
    spreads = [spread for name in names if (spread := results.spread(workload, name, "rate"))]
    figure, axes = pyplot.subplots(figsize=(7, 0.6 + 0.32 * len(names)), layout="constrained")
    colors = [OURS if "worker" in name else OTHERS for name in names]
    medians = [spread.median for spread in spreads]
    errors = [
        [spread.median - spread.least for spread in spreads],
        [spread.greatest - spread.median for spread in spreads],
    ]
    axes.barh(names, medians, color=colors, xerr=errors, error_kw={"linewidth": 1})
    axes.invert_yaxis()
    axes.set_xlabel(
        f"{results.units[workload]} a second, median of {max(map(len, _samples(results, workload)))} rounds"
    )
    axes.set_title(workload, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    _save(figure, folder / f"throughput-{_slug(workload)}.svg")


def _samples(results: Results, workload: str) -> list[Sequence[Any]]:
    return list(results.throughput[workload].values())


def _latencies(workload: str, contenders: dict[str, list[Any]], folder: Path) -> None:
    shares = sorted({sample.share for samples in contenders.values() for sample in samples})
    figure, panels = pyplot.subplots(
        1, len(shares), figsize=(3.2 * len(shares), 3.2), sharey=True, squeeze=False, layout="constrained"
    )
    for share, axes in zip(shares, panels[0]):
        for contender, samples in contenders.items():
            chosen = [sample.percentiles for sample in samples if sample.share == share]
            if not chosen:
                continue
            names = [name for name in chosen[0] if name != "max"]
            values = [Spread.of([percentiles[name] for percentiles in chosen]).median * 1e3 for name in names]
            axes.plot(names, values, marker="o", markersize=3, label=contender)
        axes.set_yscale("log")
        axes.set_title(f"{share:.0%} of own capacity", fontsize=9)
        axes.grid(visible=True, alpha=0.3)
    panels[0][0].set_ylabel("latency, ms")
    panels[0][0].legend(fontsize=7)
    figure.suptitle(f"{workload}: latency from the time a message was due")
    _save(figure, folder / f"latency-{_slug(workload)}.svg")


def _scaling(results: Results, folder: Path) -> None:
    figure, axes = pyplot.subplots(figsize=(5, 3.2), layout="constrained")
    for workload in results.workloads():
        counted = []
        for count, name in ((1, "1 worker"), *((count, f"{count} workers") for count in range(2, 17))):
            spread = results.spread(workload, name, "rate")
            if spread is not None:
                counted.append((count, spread.median))
        if len(counted) > 1:
            axes.plot(
                [count for count, _ in counted],
                [rate / counted[0][1] for _, rate in counted],
                marker="o",
                label=workload,
            )
    axes.set_xlabel("workers")
    axes.set_ylabel("throughput, in that of one worker")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=7)
    axes.grid(visible=True, alpha=0.3)
    _save(figure, folder / "scaling.svg")


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def _slug(workload: str) -> str:
    return workload.lower().replace(" ", "-").replace("µ", "u")
