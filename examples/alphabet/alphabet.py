"""Votes for letters, counted in one state for all letters: without ``key_by``, state is global."""

from __future__ import annotations

import struct
from collections import Counter
from typing import NamedTuple

import wallaroo


class Votes(NamedTuple):
    letter: str
    votes: int


def application_setup(args: list[str]) -> wallaroo.Application:
    in_host, in_port = wallaroo.tcp_parse_input_addrs(args)[0]
    out_host, out_port = wallaroo.tcp_parse_output_addrs(args)[0]
    pipeline = (
        wallaroo.source("Votes", wallaroo.TCPSourceConfig(in_host, in_port, decode))
        .to(add_votes)
        .to_sink(wallaroo.TCPSinkConfig(out_host, out_port, encode))
    )
    return wallaroo.build_application("Alphabet", pipeline)


@wallaroo.decoder(header_length=4, length_fmt=">I")
def decode(bs: bytes) -> Votes:
    letter, votes = struct.unpack(">1sI", bs)
    return Votes(letter.decode("ascii"), votes)


class AllVotes:
    """The votes of every letter."""

    def __init__(self) -> None:
        self.votes: Counter[str] = Counter()


@wallaroo.state_computation(name="add votes", state=AllVotes)
def add_votes(data: Votes, state: AllVotes) -> Votes:
    state.votes[data.letter] += data.votes
    return Votes(data.letter, state.votes[data.letter])


@wallaroo.encoder
def encode(data: Votes) -> str:
    return f"{data.letter} => {data.votes}\n"
