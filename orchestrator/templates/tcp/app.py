"""Counts words: lines from a TCP port, counts to another.

wallaroo-orch run app.py --in 127.0.0.1:7010 --out 127.0.0.1:7002
"""

from __future__ import annotations

import wallaroo as w


def application_setup(args: list[str]) -> w.Application:
    listen, connect = w.tcp_parse_input_addrs(args)[0], w.tcp_parse_output_addrs(args)[0]
    # Each message comes after its length; what is written are lines.
    lines = w.source("lines", w.tcp(listen, w.length_prefixed(">I", w.lines())))
    counts = lines.flat_map(split).key_by(str).count()
    return w.application("APPLICATION_NAME", counts.map(show).sink(w.tcp(connect, w.lines())))


def split(line: str) -> list[str]:
    return line.lower().split()


def show(counted: w.Keyed[str, int]) -> str:
    word, count = counted
    return f"{word} => {count}"
