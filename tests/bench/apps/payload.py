"""Messages pass through a step unchanged: this measures the cost of a byte. They end with their own newline."""

import struct

import wallaroo


def application_setup(args):
    in_host, in_port = wallaroo.tcp_parse_input_addrs(args)[0]
    out_host, out_port = wallaroo.tcp_parse_output_addrs(args)[0]
    ab = wallaroo.ApplicationBuilder("Payload")
    ab.new_pipeline("Pass", wallaroo.TCPSourceConfig(in_host, in_port, Decoder()))
    ab.to_parallel(Pass)
    ab.to_sink(wallaroo.TCPSinkConfig(out_host, out_port, Encoder()))
    return ab.build()


class Decoder:
    def header_length(self):
        return 4

    def payload_length(self, bs):
        return struct.unpack(">I", bs)[0]

    def decode(self, bs):
        return bs


class Pass:
    def compute(self, data):
        return data


class Encoder:
    def encode(self, data):
        return data
