"""Values that are more than three standard deviations from the mean of what their sensor has measured before."""

from __future__ import annotations

import math

import wallaroo as w


class Statistics:
    """Count, mean and sum of squared deviations of what came so far (Welford)."""

    def __init__(self) -> None:
        self.count, self.mean, self.squares = 0, 0.0, 0.0


def check(row: dict[str, str], seen: Statistics) -> str | None:
    value = float(row["value"])
    deviation = math.sqrt(seen.squares / seen.count) if seen.count else 0.0
    far = seen.count >= 5 and abs(value - seen.mean) > 3 * deviation
    seen.count += 1
    before = value - seen.mean
    seen.mean += before / seen.count
    seen.squares += before * (value - seen.mean)
    return f"{row['sensor']} {value:g}" if far else None


def application_setup(args: list[str]) -> w.Application:
    rows = w.source("values", w.stdin(w.csv_lines("sensor", "value")))
    return w.application("anomaly", rows.key_by("sensor").stateful(check, Statistics).sink(w.stdout(w.lines())))
