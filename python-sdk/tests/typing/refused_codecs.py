"""What type checkers refuse: `E:` names the code of the error on its line. Checked by `test_typing.py`, never run."""

from __future__ import annotations

from dataclasses import dataclass

import wallaroo
from wallaroo import csv_lines, file, json_lines, length_prefixed, lines, stdin, stdout, tcp


@dataclass
class Order:
    item: str


@wallaroo.decoder(delimiter=b"\n")
def number(bs: bytes) -> int:
    return int(bs)


@wallaroo.encoder
def text(data: str) -> str:
    return data


@wallaroo.computation(name="length")
def length(data: str) -> int:
    return len(data)


texts = wallaroo.source("in", stdin(lines()))
orders = wallaroo.source("in", stdin(json_lines(Order)))

orders.to(length)  # E: arg-type
orders.to_sink(stdout(lines()))  # E: arg-type
texts.to(length).to_sink(file("a", lines()))  # E: arg-type
texts.to_sink(tcp("h:1", json_lines(Order)))  # E: arg-type
texts.to_sink(stdout(csv_lines("a")))  # E: arg-type
texts.to_sink(stdin(lines()))  # E: arg-type
texts.to_sink(file("a", number))  # E: arg-type
texts.to_sink(lines())  # E: arg-type
wallaroo.source("in", stdout(lines()))  # E: arg-type
wallaroo.source("in", file("a", text))  # E: arg-type
wallaroo.source("in", lines())  # E: arg-type
stdin(text)  # E: arg-type
stdout(number)  # E: arg-type
file(lines(), "a")  # E: call-overload
tcp(7010, lines())  # E: call-overload
stdin(lines(), event_time=str.upper)  # E: arg-type
stdin(lines(), event_time=float, max_ahead=0.5)  # E: arg-type
length_prefixed(">I", number)  # E: arg-type
length_prefixed(4, lines())  # E: arg-type
csv_lines(["a", "b"])  # E: call-overload
lines(5)  # E: arg-type
csv_lines("a", header=True)  # E: call-overload
stdin(csv_lines(header=True))  # E: arg-type
texts.to_sink(stdout(csv_lines(header=True)))  # E: arg-type
