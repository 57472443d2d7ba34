"""Counts words: lines from a TCP port, counts to another.

wallaroo-orch run app.py --in 127.0.0.1:7010 --out 127.0.0.1:7002
"""

from __future__ import annotations

import wallaroo


def application_setup(args: list[str]) -> wallaroo.Application:
    in_host, in_port = wallaroo.tcp_parse_input_addrs(args)[0]
    out_host, out_port = wallaroo.tcp_parse_output_addrs(args)[0]
    lines = wallaroo.source("lines", wallaroo.TCPSourceConfig(in_host, in_port, decode))
    counts = lines.to(split).key_by(word).to(count)
    sink = wallaroo.TCPSinkConfig(out_host, out_port, encode)
    return wallaroo.build_application("APPLICATION_NAME", counts.to_sink(sink))


@wallaroo.decoder(header_length=4, length_fmt=">I")
def decode(bs: bytes) -> str:
    return bs.decode("utf-8")


@wallaroo.computation_multi(name="split")
def split(line: str) -> list[str]:
    return line.lower().split()


@wallaroo.key_extractor
def word(data: str) -> str:
    return data


class Total:
    """How often one word has been seen."""

    def __init__(self) -> None:
        self.count = 0


@wallaroo.state_computation(name="count", state=Total)
def count(data: str, total: Total) -> tuple[str, int]:
    total.count += 1
    return data, total.count


@wallaroo.encoder
def encode(counted: tuple[str, int]) -> str:
    return "{} => {}\n".format(*counted)
