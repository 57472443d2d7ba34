"""Counts words: lines from standard input, counts to standard output.

wallaroo-orch run app.py < input.txt
"""

from __future__ import annotations

import wallaroo as w


def application_setup(args: list[str]) -> w.Application:
    lines = w.source("lines", w.stdin(w.lines()))
    counts = lines.flat_map(split).key_by(str).count()
    return w.application("APPLICATION_NAME", counts.map(show).sink(w.stdout(w.lines())))


def split(line: str) -> list[str]:
    return line.lower().split()


def show(counted: w.Keyed[str, int]) -> str:
    word, count = counted
    return f"{word} => {count}"
