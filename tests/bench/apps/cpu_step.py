"""A step that only computes for 100 µs.

It measures the thread's processor time, not wall-clock time, so a step that shares its core still does all its work.
"""

import struct
import time

import wallaroo

STEP_NANOSECONDS = 100_000


def application_setup(args):
    in_host, in_port = wallaroo.tcp_parse_input_addrs(args)[0]
    out_host, out_port = wallaroo.tcp_parse_output_addrs(args)[0]
    ab = wallaroo.ApplicationBuilder("CPU step")
    ab.new_pipeline("Compute", wallaroo.TCPSourceConfig(in_host, in_port, Decoder()))
    ab.to_parallel(Compute)
    ab.to_sink(wallaroo.TCPSinkConfig(out_host, out_port, Encoder()))
    return ab.build()


class Decoder:
    def header_length(self):
        return 4

    def payload_length(self, bs):
        return struct.unpack(">I", bs)[0]

    def decode(self, bs):
        return bs.decode("utf-8")


class Compute:
    def compute(self, data):
        end = time.thread_time_ns() + STEP_NANOSECONDS
        while time.thread_time_ns() < end:
            pass
        return data


class Encoder:
    def encode(self, data):
        return data + "\n"
