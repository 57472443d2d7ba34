"""``fatal_generator.py N TO``: writes the numbers below N to a file; a worker that asks the generator for N dies."""

import os

import wallaroo


class Below:
    def __init__(self, limit):
        self.limit = limit

    def initial_value(self):
        return 0

    def apply(self, previous):
        if previous + 1 == self.limit:
            os._exit(9)
        return previous + 1


@wallaroo.encoder
def encode(number):
    return f"{number}\n"


def application_setup(args):
    limit, sink = args
    numbers = wallaroo.source("numbers", wallaroo.GenSourceConfig(Below(int(limit))))
    return wallaroo.build_application("Fatal", numbers.to_sink(wallaroo.FileSinkConfig(sink, encode)))
