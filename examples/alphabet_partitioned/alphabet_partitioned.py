"""Votes for letters, with a state for each letter: decorated functions and the builder (generation 2)."""

from __future__ import annotations

import string
import struct
from typing import NamedTuple

import wallaroo


class Votes(NamedTuple):
    letter: str
    votes: int


def application_setup(args: list[str]) -> wallaroo.Application:
    in_host, in_port = wallaroo.tcp_parse_input_addrs(args)[0]
    out_host, out_port = wallaroo.tcp_parse_output_addrs(args)[0]
    letters = list(string.ascii_lowercase)
    ab = wallaroo.ApplicationBuilder("Alphabet")
    ab.new_pipeline("Votes", wallaroo.TCPSourceConfig(in_host, in_port, decode))
    ab.to_state_partition(add_votes, LetterVotes, "letter votes", partition, letters)
    ab.to_sink(wallaroo.TCPSinkConfig(out_host, out_port, encode))
    return ab.build()


@wallaroo.decoder(header_length=4, length_fmt=">I")
def decode(bs: bytes) -> Votes:
    letter, votes = struct.unpack(">1sI", bs)
    return Votes(letter.decode("ascii"), votes)


@wallaroo.partition
def partition(data: Votes) -> str:
    return data.letter


class LetterVotes:
    """The votes of one letter."""

    def __init__(self) -> None:
        self.votes = 0


@wallaroo.state_computation(name="add votes")
def add_votes(data: Votes, state: LetterVotes) -> tuple[Votes, bool]:
    state.votes += data.votes
    return Votes(data.letter, state.votes), True


@wallaroo.encoder
def encode(data: Votes) -> str:
    return f"{data.letter} => {data.votes}\n"
