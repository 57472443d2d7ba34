"""Reverses every line. This is the smallest pipeline: a source, one step and a sink."""

from __future__ import annotations

import wallaroo as w


def application_setup(args: list[str]) -> w.Application:
    listen, connect = w.tcp_parse_input_addrs(args)[0], w.tcp_parse_output_addrs(args)[0]
    lines = w.source("Lines", w.tcp(listen, w.length_prefixed(">I", w.lines())))
    return w.application("Reverse", lines.map(reverse).sink(w.tcp(connect, w.lines())))


def reverse(line: str) -> str:
    return line[::-1]
