"""Readings of sensors that send some twice: each reading once, and the mean of ten minutes, every five."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import wallaroo as w


@dataclass
class Reading:
    sensor: str
    number: int
    at: datetime
    degrees: float


def show(window: w.Windowed[str, float]) -> str:
    return f"{window.start:%H:%M} {window.key} {window.value:.1f}"


def application_setup(args: list[str]) -> w.Application:
    readings = w.source("readings", w.stdin(w.json_lines(Reading), event_time=lambda reading: reading.at))
    once = readings.key_by("sensor").dedup(by="number").key_by(lambda pair: str(pair[0]))
    windows = once.window(w.sliding(timedelta(minutes=10), every=timedelta(minutes=5)))
    means = windows.aggregate(w.mean(lambda pair: pair[1].degrees))
    return w.application("iot", means.map(show).sink(w.stdout(w.lines())))
