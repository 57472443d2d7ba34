"""What type checkers accept of codecs, sources and sinks. Checked by `test_typing.py`, never run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import wallaroo
from wallaroo import csv_lines, file, json_lines, length_prefixed, lines, raw, stdin, stdout, tcp

if TYPE_CHECKING:
    from typing_extensions import assert_type


@dataclass
class Order:
    item: str
    at: datetime
    seconds: float


class Lines:
    delimiter = b"\n"

    def decode(self, bs: bytes) -> str:
        return bs.decode()

    def encode(self, data: str) -> str:
        return data + "\n"


@wallaroo.decoder(delimiter=b"\n")
def number(bs: bytes) -> int | None:
    return int(bs) if bs else None


@wallaroo.decoder(delimiter=b"\n")
def integer(bs: bytes) -> int:
    return int(bs)


@wallaroo.encoder
def text(data: object) -> str:
    return str(data)


def nanoseconds(order: Order) -> int:
    return wallaroo.nanoseconds(5)


assert_type(lines("latin-1", max_length=5, on_long="skip"), wallaroo.Codec[str])
assert_type(json_lines(), wallaroo.Codec[Any])
assert_type(json_lines(Order), wallaroo.Codec[Order])
assert_type(json_lines(dict), wallaroo.Codec[dict[str, Any]])
assert_type(length_prefixed(">I", json_lines(Order)), wallaroo.Codec[Order])
assert_type(length_prefixed(">I", raw()), wallaroo.Codec[bytes])

assert_type(wallaroo.source("in", stdin(lines())), wallaroo.Pipeline[str])
assert_type(wallaroo.source("in", stdin(Lines)), wallaroo.Pipeline[str])
assert_type(wallaroo.source("in", stdin(number)), wallaroo.Pipeline[int])
assert_type(wallaroo.source("in", file("a", json_lines(Order))), wallaroo.Pipeline[Order])
assert_type(wallaroo.source("in", file("a", csv_lines("a"))), wallaroo.Pipeline[dict[str, str]])
assert_type(wallaroo.source("in", file("a", csv_lines(header=True))), wallaroo.Pipeline[dict[str, str]])
assert_type(wallaroo.source("in", file("a", number)), wallaroo.Pipeline[int])
assert_type(wallaroo.source("in", file("a", integer)), wallaroo.Pipeline[int])
assert_type(wallaroo.source("in", tcp("h:1", length_prefixed(">I", raw()))), wallaroo.Pipeline[bytes])
assert_type(wallaroo.source("in", tcp(("h", 1), number)), wallaroo.Pipeline[int])
assert_type(wallaroo.source("in", wallaroo.FileSourceConfig("a", lines())), wallaroo.Pipeline[str])

orders = wallaroo.source("in", stdin(json_lines(Order), event_time=lambda order: order.at))
wallaroo.source("in", stdin(json_lines(Order), event_time=nanoseconds))
wallaroo.source("in", file("a", json_lines(Order), event_time=lambda order: order.seconds))
wallaroo.source("in", tcp("h:1", json_lines(Order), event_time=lambda order: order.at))
wallaroo.source("in", tcp("h:1", number, event_time=lambda data: data / 2, max_ahead=timedelta(hours=1)))
wallaroo.source("in", file("a", json_lines(Order), event_time=lambda order: order.at, max_ahead=None))
wallaroo.source("in", stdin(lines(), event_time=float, max_ahead=wallaroo.hours(1)))

orders.to_sink(stdout(json_lines(Order)))
orders.to_sink(stdout(json_lines()))
orders.to_sink(file("a", json_lines(Order)))
orders.to_sink(file("a", text))
orders.to_sink(tcp("h:1", length_prefixed(">I", json_lines(Order))))
orders.to_sinks([tcp("h:1", text), stdout(text)])


@wallaroo.computation(name="row")
def row(order: Order) -> Mapping[str, object]:
    return {"item": order.item}


orders.to(row).to_sink(stdout(csv_lines("item")))
orders.to(row).to_sink(file("a", csv_lines("item")))
