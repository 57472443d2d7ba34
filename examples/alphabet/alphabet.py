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
    votes = wallaroo.source("Votes", wallaroo.TCPSourceConfig(in_host, in_port, decode))
    totals = votes.stateful(add_votes, state=Counter[str])
    return wallaroo.application("Alphabet", totals.sink(wallaroo.TCPSinkConfig(out_host, out_port, encode)))


@wallaroo.decoder(header_length=4, length_fmt=">I")
def decode(bs: bytes) -> Votes:
    letter, votes = struct.unpack(">1sI", bs)
    return Votes(letter.decode("ascii"), votes)


def add_votes(data: Votes, of_letters: Counter[str]) -> Votes:
    of_letters[data.letter] += data.votes
    return Votes(data.letter, of_letters[data.letter])


@wallaroo.encoder
def encode(data: Votes) -> str:
    return f"{data.letter} => {data.votes}\n"
