"""A step that crashes, hangs and raises, and what happens to the other messages.

Messages are words. Two words kill the process that runs the step, one makes it hang, and one makes it raise. All other
words are counted.
"""

from __future__ import annotations

import os
import signal

import wallaroo


def application_setup(args: list[str]) -> wallaroo.Application:
    in_host, in_port = wallaroo.tcp_parse_input_addrs(args)[0]
    out_host, out_port = wallaroo.tcp_parse_output_addrs(args)[0]
    pipeline = (
        wallaroo.source("Words", wallaroo.TCPSourceConfig(in_host, in_port, decode))
        .key_by(word)
        .to(count)
        .to(misbehave)
        .to_sink(wallaroo.TCPSinkConfig(out_host, out_port, encode))
    )
    return wallaroo.build_application("Crashy", pipeline)


@wallaroo.decoder(header_length=4, length_fmt=">I")
def decode(bs: bytes) -> str:
    return bs.decode("utf-8")


@wallaroo.key_extractor
def word(data: str) -> str:
    return data


class Total:
    def __init__(self) -> None:
        self.count = 0


@wallaroo.state_computation(name="count", state=Total)
def count(data: str, total: Total) -> tuple[str, int]:
    total.count += 1
    return data, total.count


@wallaroo.computation(name="misbehave")
def misbehave(data: tuple[str, int]) -> tuple[str, int]:
    word, _ = data
    if word == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if word == "exit":
        os._exit(7)
    if word == "hang":
        while True:
            pass
    if word == "raise":
        raise ValueError("this word is not wanted")
    return data


@wallaroo.encoder
def encode(counted: tuple[str, int]) -> str:
    return "{} => {}\n".format(*counted)
