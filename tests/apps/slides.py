"""A window begins every nanosecond; the first argument is its length. A line is its event time."""

import wallaroo


class Count(wallaroo.Aggregation):
    def initial_accumulator(self):
        return 0

    def update(self, data, accumulator):
        return accumulator + 1

    def output(self, key, accumulator):
        return accumulator


def application_setup(args):
    windows = wallaroo.range_windows(int(args[0])).with_slide(1).over(Count)
    lines = wallaroo.source("times", wallaroo.StdinSourceConfig(time, event_time=int))
    return wallaroo.build_application("slides", lines.to(windows).to_sink(wallaroo.FileSinkConfig(args[1], out)))


@wallaroo.decoder(delimiter=b"\n")
def time(bs):
    return int(bs)


@wallaroo.encoder
def out(count):
    return f"{count}\n"
