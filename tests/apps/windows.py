"""``windows.py KIND FROM TO``: lines ``time key number`` of a file or of a port, and what is in each window of a key.

Sizes are in the unit of the times, so that streams are easy to read. ``two`` reads from two ports, ``arrival`` goes by
the clock. FROM and TO are paths, or HOST:PORT.
"""

import os

import wallaroo
from wallaroo._sources import FileSourceConfig, TCPSourceConfig
from wallaroo._topology import Application, KeyByNode, SinkNode, SourceNode
from wallaroo._windows import Aggregation, count_windows, milliseconds, range_windows, session_windows

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


class Numbers(Aggregation):
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


def application_setup(args):
    kind, source, sink = args
    sources = []
    for number in range(2 if kind == "two" else 1):
        host, _, port = source.rpartition(":")
        config = TCPSourceConfig(host, port, Lines) if host else FileSourceConfig(source, Lines)
        if kind != "arrival":
            config.event_time = lambda data: data[0]
        sources.append(SourceNode(f"lines {number}", (), config))
    host, _, port = sink.rpartition(":")
    out = wallaroo.TCPSinkConfig(host, port, Lines) if host else wallaroo.FileSinkConfig(sink, Lines)
    key = len(sources)
    nodes = [
        *sources,
        KeyByNode("key", tuple(range(key)), lambda data: data[1], None, reject_unknown=False),
        KINDS[kind]().over(Numbers).node("windows", (key,)),
        SinkNode("out", (key + 1,), out),
    ]
    return Application("Windows", nodes)
