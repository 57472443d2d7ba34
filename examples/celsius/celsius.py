"""Converts degrees Celsius to degrees Fahrenheit: binary messages in, two steps, text out."""

from __future__ import annotations

import struct

import wallaroo


def application_setup(args: list[str]) -> wallaroo.Application:
    in_host, in_port = wallaroo.tcp_parse_input_addrs(args)[0]
    out_host, out_port = wallaroo.tcp_parse_output_addrs(args)[0]
    celsius = wallaroo.source("Celsius", wallaroo.TCPSourceConfig(in_host, in_port, decode))
    multiplied = celsius.map(lambda degrees: degrees * 1.8, name="multiply by 1.8")
    fahrenheit = multiplied.map(lambda degrees: degrees + 32, name="add 32")
    sink = wallaroo.TCPSinkConfig(out_host, out_port, encode)
    return wallaroo.application("Celsius to Fahrenheit", fahrenheit.sink(sink))


@wallaroo.decoder(header_length=4, length_fmt=">I")
def decode(bs: bytes) -> float:
    (celsius,) = struct.unpack(">f", bs)
    return float(celsius)


@wallaroo.encoder
def encode(data: float) -> str:
    return f"{data:.2f}\n"
