"""``logged.py NUMBERS LINES SQUARES WINDOWS``: makes every kind of record of the log.

It writes the squares of the numbers below NUMBERS to a file, from a generator. Lines ``TIME KEY WORD`` of another file
pass the pool ``other`` and are counted in windows of their key. The word ``bad`` raises; a line may be late.
"""

import wallaroo


class Below:
    def __init__(self, limit):
        self.limit = limit

    def initial_value(self):
        return 0

    def apply(self, previous):
        return previous + 1 if previous + 1 < self.limit else None


class Lines:
    delimiter = b"\n"

    def decode(self, bs):
        time, key, word = bs.decode().split(" ")
        return int(time), key, word

    def encode(self, data):
        return f"{data}\n"


@wallaroo.computation("check")
def check(line):
    if line[2] == "bad":
        raise ValueError(line)
    return line


def application_setup(args):
    numbers, lines, squares, windows = args
    generated = wallaroo.source("numbers", wallaroo.GenSourceConfig(Below(int(numbers))))
    read = wallaroo.source("lines", wallaroo.FileSourceConfig(lines, Lines, event_time=lambda line: line[0]))
    window = wallaroo.tumbling(100, delay=10, on_late="dead-letter")
    counted = read.to(check, pool="other").key_by(lambda line: line[1], name="key").window(window)
    return wallaroo.application(
        "logged",
        generated.map(lambda number: number * number, name="square").sink(wallaroo.FileSinkConfig(squares, Lines)),
        counted.aggregate(wallaroo.count(), name="count").map(str).sink(wallaroo.FileSinkConfig(windows, Lines)),
    )
