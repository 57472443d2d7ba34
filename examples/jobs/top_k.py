"""The three words that occurred most in each minute. Words are counted in parallel, the counts of a minute together."""

from __future__ import annotations

from datetime import datetime, timedelta

import wallaroo as w

MINUTE = w.tumbling(timedelta(minutes=1))


def when(line: str) -> datetime:
    return datetime.fromisoformat(line.split()[0])


def show(minute: w.Windowed[datetime, list[w.Windowed[str, int]]]) -> str:
    top = sorted(minute.value, key=lambda count: (-count.value, count.key))[:3]
    return f"{minute.key:%H:%M} " + ", ".join(f"{count.key} {count.value}" for count in top)


def application_setup(args: list[str]) -> w.Application:
    words = w.source("lines", w.stdin(w.lines(), event_time=when)).flat_map(lambda line: line.split()[1:])
    counts = words.key_by(str).window(MINUTE).aggregate(w.count())
    tops = counts.key_by(lambda count: count.start).window(MINUTE).aggregate(w.collect_list())
    return w.application("top k", tops.map(show).sink(w.stdout(w.lines())))
