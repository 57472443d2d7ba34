"""Counts words: lines from standard input, counts to standard output.

wallaroo-orch run app.py < input.txt
"""

from __future__ import annotations

import wallaroo


def application_setup(args: list[str]) -> wallaroo.Application:
    lines = wallaroo.source("lines", wallaroo.StdinSourceConfig(decode))
    counts = lines.to(split).key_by(word).to(count)
    return wallaroo.build_application("APPLICATION_NAME", counts.to_sink(wallaroo.StdoutSinkConfig(encode)))


@wallaroo.decoder(delimiter=b"\n")
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
