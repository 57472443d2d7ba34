"""Word count as a pipeline of decorated functions; ``../word_count`` uses classes and the builder."""

from __future__ import annotations

import string

import wallaroo


def application_setup(args: list[str]) -> wallaroo.Application:
    in_host, in_port = wallaroo.tcp_parse_input_addrs(args)[0]
    out_host, out_port = wallaroo.tcp_parse_output_addrs(args)[0]
    lines = wallaroo.source("Text", wallaroo.TCPSourceConfig(in_host, in_port, decode))
    counts = lines.to(split).key_by(word).to(count)
    return wallaroo.build_application("Word Count", counts.to_sink(wallaroo.TCPSinkConfig(out_host, out_port, encode)))


@wallaroo.decoder(header_length=4, length_fmt=">I")
def decode(bs: bytes) -> str:
    return bs.decode("utf-8")


@wallaroo.computation_multi(name="split into words")
def split(line: str) -> list[str]:
    words = (word.strip(string.punctuation).lower() for word in line.split())
    return [word for word in words if word]


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
