"""The 95th percentile of response times, for each path and minute of a web server's log."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

import wallaroo as w


class Request(NamedTuple):
    at: datetime
    path: str
    milliseconds: float


def parse(line: str) -> Request:
    at, path, milliseconds = line.split()
    return Request(datetime.fromisoformat(at), path, float(milliseconds))


def show(minute: w.Windowed[str, list[Request]]) -> str:
    times = sorted(request.milliseconds for request in minute.value)
    p95 = times[-(-95 * len(times) // 100) - 1]
    return f"{minute.start:%H:%M} {minute.key} {len(times)} requests, p95 {p95:g} ms"


def application_setup(args: list[str]) -> w.Application:
    requests = w.source("log", w.stdin(w.lines(), event_time=lambda line: parse(line).at)).map(parse)
    minutes = requests.key_by("path").window(w.tumbling(timedelta(minutes=1), delay=timedelta(seconds=5)))
    return w.application("log analytics", minutes.aggregate(w.collect_list()).map(show).sink(w.stdout(w.lines())))
