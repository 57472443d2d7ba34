"""Reverses every line. This is the smallest pipeline: a decoder, one step and an encoder."""

from __future__ import annotations

import wallaroo


def application_setup(args: list[str]) -> wallaroo.Application:
    in_host, in_port = wallaroo.tcp_parse_input_addrs(args)[0]
    out_host, out_port = wallaroo.tcp_parse_output_addrs(args)[0]
    pipeline = (
        wallaroo.source("Lines", wallaroo.TCPSourceConfig(in_host, in_port, decode))
        .to(reverse)
        .to_sink(wallaroo.TCPSinkConfig(out_host, out_port, encode))
    )
    return wallaroo.build_application("Reverse", pipeline)


@wallaroo.decoder(header_length=4, length_fmt=">I")
def decode(bs: bytes) -> str:
    return bs.decode("utf-8")


@wallaroo.computation(name="reverse")
def reverse(data: str) -> str:
    return data[::-1]


@wallaroo.encoder
def encode(data: str) -> str:
    return data + "\n"
