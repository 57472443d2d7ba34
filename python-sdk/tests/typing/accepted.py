"""What type checkers accept, and the types they infer. Checked by `test_typing.py`, never run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple, Optional, Union

import wallaroo

if TYPE_CHECKING:
    from typing_extensions import assert_type


class Order(NamedTuple):
    symbol: str
    quantity: int


class Quote(NamedTuple):
    symbol: str
    price: float


class Book:
    total = 0


@wallaroo.decoder(header_length=4, length_fmt=">I")
def order(bs: bytes) -> Order:
    return Order(bs.decode(), 1)


@wallaroo.decoder(delimiter=b"\n")
def maybe_quote(bs: bytes) -> Quote | None:
    return Quote(bs.decode(), 1.0) if bs else None


class Lines:
    delimiter = b"\n"

    def decode(self, bs: bytes) -> str:
        return bs.decode()

    def encode(self, data: str) -> str:
        return data + "\n"


class Countdown:
    def initial_value(self) -> int | None:
        return 3

    def apply(self, previous: int) -> int | None:
        return previous - 1 or None


@wallaroo.computation(name="price")
def quantity(data: Order) -> int:
    return data.quantity


@wallaroo.computation(name="large")
def large(data: Order) -> Order | None:
    return data if data.quantity > 100 else None


@wallaroo.computation_multi(name="halves")
def halves(data: Order) -> list[Order]:
    return [data._replace(quantity=data.quantity // 2)] * 2


@wallaroo.computation_multi(name="yields")
def yields(data: Order) -> Iterator[str | None]:
    yield data.symbol
    yield None


@wallaroo.computation_batch(name="scores")
def scores(batch: list[Order]) -> list[float | None]:
    return [order.quantity / 2 for order in batch]


@wallaroo.state_computation(name="add", state=Book)
def add(data: Order, book: Book) -> tuple[str, int]:
    book.total += data.quantity
    return data.symbol, book.total


@wallaroo.state_computation(name="sometimes", state=Book)
def sometimes(data: Order | Quote, book: Book) -> str | None:
    return data.symbol if book.total else None


@wallaroo.state_computation_multi(name="both", state=Counter[str])
def both(data: Order, seen: Counter[str]) -> list[int]:
    return list(seen.values())


@wallaroo.state_computation(name="for the builder")
def for_the_builder(data: Order, book: Book) -> tuple[int | None, bool]:
    return None, False


@wallaroo.key_extractor
def symbol(data: Order | Quote) -> str:
    return data.symbol


@wallaroo.partition
def two(data: Order) -> tuple[str, int]:
    return data.symbol, data.quantity


@wallaroo.encoder
def text(data: object) -> str:
    return str(data)


@wallaroo.encoder
def number(data: float) -> bytes | None:
    return str(data).encode()


orders = wallaroo.source("orders", wallaroo.TCPSourceConfig("127.0.0.1", "7010", order))
quotes = wallaroo.source("quotes", wallaroo.FileSourceConfig("quotes.txt", maybe_quote))
assert_type(orders, wallaroo.Pipeline[Order])
assert_type(quotes, wallaroo.Pipeline[Quote])
assert_type(wallaroo.source("lines", wallaroo.StdinSourceConfig(Lines)), wallaroo.Pipeline[str])
assert_type(wallaroo.source("lines", wallaroo.StdinSourceConfig(Lines())), wallaroo.Pipeline[str])
assert_type(wallaroo.source("countdown", wallaroo.GenSourceConfig(Countdown)), wallaroo.Pipeline[int])

assert_type(orders.to(quantity), wallaroo.Pipeline[int])
assert_type(orders.to(large), wallaroo.Pipeline[Order])
assert_type(orders.to(large, pool="legacy"), wallaroo.Pipeline[Order])
assert_type(orders.to(halves), wallaroo.Pipeline[Order])
assert_type(orders.to(yields), wallaroo.Pipeline[str])
assert_type(orders.to(scores), wallaroo.Pipeline[float])
assert_type(orders.key_by(symbol).to(add), wallaroo.Pipeline[tuple[str, int]])
assert_type(orders.key_by(two).collect().to(both), wallaroo.Pipeline[int])
assert_type(orders.merge(quotes), wallaroo.Pipeline[Union[Order, Quote]])
assert_type(orders.merge(quotes).key_by(symbol).to(sometimes), wallaroo.Pipeline[str])

# A decorated function is called like the function, and returns exactly what it returns.
assert_type(quantity(Order("a", 1)), int)
assert_type(large(Order("a", 1)), Optional[Order])
assert_type(halves(Order("a", 1)), list[Order])
assert_type(add(Order("a", 1), Book()), tuple[str, int])
assert_type(for_the_builder(Order("a", 1), Book()), tuple[Optional[int], bool])
assert_type(symbol(Order("a", 1)), str)
assert_type(order(b"a"), Order)
assert_type(text(1), str)


class Volume(wallaroo.Aggregation[Order, list[int], float]):
    def initial_accumulator(self) -> list[int]:
        return []

    def update(self, data: Order, acc: list[int]) -> None:
        acc.append(data.quantity)

    def combine(self, a: list[int], b: list[int]) -> list[int]:
        return a + b

    def output(self, key: object, acc: list[int]) -> float | None:
        return sum(acc) / 2 if acc else None


assert_type(orders.key_by(symbol).to(wallaroo.count_windows(5).over(Volume)), wallaroo.Pipeline[float])
assert_type(
    orders.to(wallaroo.range_windows(wallaroo.seconds(9)).with_slide(wallaroo.seconds(3)).over(Volume)),
    wallaroo.Pipeline[float],
)

ended = orders.to(scores).to_sinks([wallaroo.StdoutSinkConfig(text), wallaroo.TCPSinkConfig("127.0.0.1", 7002, number)])
assert_type(wallaroo.build_application("orders", ended), wallaroo.Application)

builder = wallaroo.ApplicationBuilder("orders").new_pipeline("orders", wallaroo.StdinSourceConfig(order))
builder.to(large).to_state_partition(for_the_builder, Book, "books", symbol, ["a"]).to_sink(
    wallaroo.StdoutSinkConfig(text)
)
assert_type(builder.build(), wallaroo.Application)


# Types to annotate functions that make steps.
def lines(encoding: str) -> wallaroo.Decoder[str]:
    @wallaroo.decoder(delimiter=b"\n")
    def decode(bs: bytes) -> str:
        return bs.decode(encoding)

    return decode


def times(factor: int) -> wallaroo.Computation[int, int]:
    @wallaroo.computation(name=f"times {factor}")
    def multiply(data: int) -> int:
        return data * factor

    return multiply


def first_letter() -> wallaroo.KeyExtractor[str, str]:
    @wallaroo.key_extractor
    def letter(data: str) -> str:
        return data[:1]

    return letter


def ending_in(end: str) -> wallaroo.Encoder[str, str]:
    @wallaroo.encoder
    def encode(data: str) -> str:
        return data + end

    return encode


def keyed(source: wallaroo.SourceConfig[str], sink: wallaroo.SinkConfig[str]) -> wallaroo.Pipeline[str]:
    return wallaroo.source("lines", source).key_by(first_letter()).to_sink(sink)


keyed(wallaroo.StdinSourceConfig(lines("utf-8")), wallaroo.StdoutSinkConfig(ending_in("!")))
