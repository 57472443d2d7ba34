"""``fails_to_generate.py N TO``: writes the numbers below N to a file; the generator raises at N."""

import wallaroo


class Below:
    def __init__(self, limit):
        self.limit = limit

    def initial_value(self):
        return self.apply(-1)

    def apply(self, previous):
        if previous + 1 == self.limit:
            raise ValueError(f"no number {self.limit}")
        return previous + 1


@wallaroo.encoder
def encode(number):
    return f"{number}\n"


def application_setup(args):
    limit, sink = args
    numbers = wallaroo.source("numbers", wallaroo.GenSourceConfig(Below(int(limit))))
    return wallaroo.build_application("Fails", numbers.to_sink(wallaroo.FileSinkConfig(sink, encode)))
