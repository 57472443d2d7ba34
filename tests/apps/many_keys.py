"""Counts messages by a number and writes the counts to a file. Each number that is sent is a key."""

import struct

import wallaroo


def application_setup(args):
    (host, port), *_ = wallaroo.tcp_parse_input_addrs(args)
    builder = wallaroo.ApplicationBuilder("Many Keys")
    builder.new_pipeline("Count", wallaroo.TCPSourceConfig(host, port, Decoder()))
    builder.to_state_partition(Count(), CounterBuilder(), "counters", ByNumber())
    builder.to_sink(wallaroo.FileSinkConfig("/dev/null", Encoder()))
    return builder.build()


class Decoder:
    def header_length(self):
        return 4

    def payload_length(self, bs):
        return struct.unpack(">I", bs)[0]

    def decode(self, bs):
        return int.from_bytes(bs, "big")


class ByNumber:
    def partition(self, data):
        return data


class Counter:
    def __init__(self):
        self.count = 0


class CounterBuilder:
    def build(self):
        return Counter()


class Count:
    def compute(self, data, counter):
        counter.count += 1
        return counter.count, True


class Encoder:
    def encode(self, data):
        return f"{data}\n"
