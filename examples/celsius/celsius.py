"""Converts degrees Celsius to degrees Fahrenheit: binary messages in, two steps, text out."""

from __future__ import annotations

import struct

import wallaroo


def application_setup(args: list[str]) -> wallaroo.Application:
    in_host, in_port = wallaroo.tcp_parse_input_addrs(args)[0]
    out_host, out_port = wallaroo.tcp_parse_output_addrs(args)[0]
    pipeline = (
        wallaroo.source("Celsius", wallaroo.TCPSourceConfig(in_host, in_port, decode))
        .to(multiply)
        .to(add)
        .to_sink(wallaroo.TCPSinkConfig(out_host, out_port, encode))
    )
    return wallaroo.build_application("Celsius to Fahrenheit", pipeline)


@wallaroo.decoder(header_length=4, length_fmt=">I")
def decode(bs: bytes) -> float:
    (celsius,) = struct.unpack(">f", bs)
    return float(celsius)


@wallaroo.computation(name="multiply by 1.8")
def multiply(data: float) -> float:
    return data * 1.8


@wallaroo.computation(name="add 32")
def add(data: float) -> float:
    return data + 32


@wallaroo.encoder
def encode(data: float) -> str:
    return f"{data:.2f}\n"
