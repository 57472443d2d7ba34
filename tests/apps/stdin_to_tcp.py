"""Lines from standard input to a TCP sink."""

import wallaroo


def application_setup(args):
    host, port = wallaroo.tcp_parse_output_addrs(args)[0]
    lines = wallaroo.source("lines", wallaroo.StdinSourceConfig(decode))
    return wallaroo.build_application("Lines", lines.to_sink(wallaroo.TCPSinkConfig(host, port, encode)))


@wallaroo.decoder(delimiter=b"\n")
def decode(line):
    return line.decode()


@wallaroo.encoder
def encode(line):
    return line + "\n"
