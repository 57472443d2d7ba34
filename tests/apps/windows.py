"""``windows.py KIND FROM TO``: reads lines ``time key number`` and writes the contents of each window of a key.

Sizes are in the unit of the times, so streams are easy to read. ``two`` reads from two ports, ``arrival`` uses the
clock. ``early`` also gives what windows hold before they are complete, under keys that begin with ``early-``. FROM and
TO are paths, or HOST:PORT.
"""

import os

import wallaroo
from wallaroo import count_windows, milliseconds, range_windows, session_windows

KINDS = {
    "range": lambda: range_windows(100, on_late="dead-letter").with_slide(50).with_delay(10),
    "session": lambda: session_windows(20, on_late="dead-letter").with_delay(10),
    "count": lambda: count_windows(7),
    "arrival": lambda: range_windows(milliseconds(50)),
    "two": lambda: range_windows(100),
}


class Lines:
    delimiter = b"\n"

    def decode(self, bs):
        time, key, number = bs.decode().split(" ")
        return int(time), key, int(number)

    def encode(self, data):
        key, numbers = data
        return f"{key} {','.join(map(str, sorted(numbers)))}\n"


class Numbers(wallaroo.Aggregation):
    def initial_accumulator(self):
        return []

    def update(self, data, numbers):
        numbers.append(data[2])

    def combine(self, left, right):
        return left + right

    def output(self, key, numbers):
        if -1 in numbers:
            raise SystemExit("an output that fails")
        if -2 in numbers:
            os.abort()
        return key, numbers


@wallaroo.key_extractor
def key(data):
    return data[1]


def time(data):
    return data[0]


def with_early_results(pipeline):
    """What ``range`` gives, and early results."""
    windows = wallaroo.sliding(100, every=50, delay=10, on_late="dead-letter")
    return pipeline.window(windows, early=20).aggregate(Numbers).map(named)


def named(window):
    key, numbers = window.value
    return (f"early-{key}" if window.closed_by == "early" else key), numbers


def application_setup(args):
    kind, source, sink = args
    event_time = None if kind == "arrival" else time
    host, _, port = source.rpartition(":")
    if host:
        config = wallaroo.TCPSourceConfig(host, port, Lines, event_time=event_time)
    else:
        config = wallaroo.FileSourceConfig(source, Lines, event_time=event_time)
    pipeline = wallaroo.source("lines", config)
    if kind == "two":
        pipeline = pipeline.merge(wallaroo.source("more lines", config))
    pipeline = pipeline.key_by(key)
    windows = with_early_results(pipeline) if kind == "early" else pipeline.to(KINDS[kind]().over(Numbers))
    host, _, port = sink.rpartition(":")
    out = wallaroo.TCPSinkConfig(host, port, Lines) if host else wallaroo.FileSinkConfig(sink, Lines)
    return wallaroo.build_application("Windows", windows.to_sink(out))
