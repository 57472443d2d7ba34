"""What the application's metrics have measured in a run, by step."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate
from math import inf
from typing import Any, Union

from wallaroo.metrics import known_names, measure_in, take_measurements
from wallaroo.worker._running_step import Steps, know_steps, running_step


@dataclass(frozen=True)
class Measured:
    """What a metric has measured in one step.

    Args:
        value: The total of a counter; what a gauge was set to last; the sum of what a histogram has observed.
        count: How many values a histogram has observed.
        buckets: How many of them were no greater than each bound of the histogram; the last bound is ``inf``.

    Example:
        >>> Measured(55.0, 2, {10.0: 1, 100.0: 2, inf: 2}).value
        55.0
    """

    value: float
    count: int = 0
    buckets: dict[float, int] = field(default_factory=dict)


Metrics = dict[str, dict[Union[str, None], Measured]]
"""What each metric has measured, by its name and the step; ``None``: outside of steps."""


class Measurements:
    """Gathers what metrics measure in one run. Metrics belong to the process, so what they measured before is dropped.

    Args:
        steps: The steps of the application.
    """

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        # By name and step: the number, the bounds of buckets, and how many values are in each.
        self._totals: dict[tuple[str, str | None], list[Any]] = {}
        take_measurements()

    def know_steps(self) -> None:
        """Let metrics know the steps that run from now on: there may be another application in this process."""
        know_steps(self._steps)
        measure_in(running_step)

    def take(self) -> None:
        """Add what was measured since the last time."""
        fields = iter(take_measurements())
        for name, _, step, kind, number, bounds, counts in zip(*[fields] * 7):
            total = self._totals.setdefault((name, step), [0.0, bounds, [0] * len(counts)])
            total[0] = number if kind == "gauge" else total[0] + number
            total[2] = [before + new for before, new in zip(total[2], counts)]

    def report(self) -> Metrics:
        """Return what was measured, by all metrics that there are."""
        report: Metrics = {name: {} for name in known_names()}
        for (name, step), (number, bounds, counts) in self._totals.items():
            up_to = dict(zip([*bounds, inf], accumulate(counts)))
            report.setdefault(name, {})[step] = Measured(number, sum(counts), up_to)
        return report
