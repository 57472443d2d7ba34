"""A decoder whose header is the length in decimal digits, not an integer. Only the decoder can find the frames."""

import wallaroo


class Decoder:
    def header_length(self):
        return 6

    def payload_length(self, bs):
        return int(bs.decode("ascii"))

    def decode(self, bs):
        return bs.decode("utf-8")


class Encoder:
    def encode(self, data):
        return data + "\n"


def application_setup(args):
    in_host, in_port = wallaroo.tcp_parse_input_addrs(args)[0]
    out_host, out_port = wallaroo.tcp_parse_output_addrs(args)[0]
    ab = wallaroo.ApplicationBuilder("Text header")
    ab.new_pipeline("lines", wallaroo.TCPSourceConfig(in_host, in_port, Decoder))
    ab.to_sink(wallaroo.TCPSinkConfig(out_host, out_port, Encoder))
    return ab.build()
