"""``generated.py N TO``: writes the squares of the numbers below N to a file, from a generator."""

import wallaroo


class Below:
    def __init__(self, limit):
        self.limit = limit

    def initial_value(self):
        return 0

    def apply(self, previous):
        return previous + 1 if previous + 1 < self.limit else None


class Square:
    def compute(self, data):
        return data * data


class Encoder:
    def encode(self, data):
        return f"{data}\n"


def application_setup(args):
    limit, sink = args
    ab = wallaroo.ApplicationBuilder("Generated")
    ab.new_pipeline("numbers", wallaroo.GenSourceConfig(Below(int(limit))))
    ab.to(Square)
    ab.to_sink(wallaroo.FileSinkConfig(sink, Encoder))
    return ab.build()
