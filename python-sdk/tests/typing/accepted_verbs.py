"""What type checkers accept of the verbs, and the types they infer. Checked by `test_typing.py`, never run."""

from __future__ import annotations

from asyncio import to_thread
from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta, timezone
from decimal import Decimal
from functools import partial
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

import wallaroo

if TYPE_CHECKING:
    from typing_extensions import assert_type


class Order(NamedTuple):
    user: str
    amount: Decimal
    quantity: int


class Scorer:
    def __init__(self, factor: float) -> None:
        self.factor = factor

    def __call__(self, order: Order) -> float:
        return self.factor * order.quantity

    def large(self, order: Order) -> bool:
        return order.quantity > self.factor


def parse(line: str) -> Order | None:
    user, amount, quantity = line.split(",")
    return Order(user, Decimal(amount), int(quantity))


def words(line: str) -> Iterator[str | None]:
    yield from line.split()


async def fetch(line: str) -> int:
    return len(line)


async def fetch_some(line: str) -> int | None:
    return len(line) or None


def number(order: Order, seen: Counter[str]) -> str | None:
    seen[order.user] += 1
    return f"{order.user} {seen[order.user]}" if seen[order.user] > 1 else None


def larger(left: Order, right: Order) -> Order:
    return max(left, right, key=attrgetter("quantity"))


@wallaroo.decoder(delimiter=b"\n")
def text(bs: bytes) -> str:
    return bs.decode()


@wallaroo.encoder
def line(data: str) -> str:
    return data + "\n"


@wallaroo.computation(name="length")
def length(data: str) -> int:
    return len(data)


@wallaroo.key_extractor
def user(order: Order) -> str:
    return order.user


lines = wallaroo.source("lines", wallaroo.StdinSourceConfig(text))
orders = lines.map(parse)
by_user = orders.key_by(user)

wallaroo.tumbling(timedelta(days=1), timezone="Europe/Paris")
wallaroo.sliding(timedelta(days=7), timedelta(days=1), timezone=timezone.utc)

# Any callable.
assert_type(orders, wallaroo.Pipeline[Order])
assert_type(lines.map(len), wallaroo.Pipeline[int])
assert_type(lines.map(str.upper), wallaroo.Pipeline[str])
assert_type(lines.map(lambda line: (line, len(line))), wallaroo.Pipeline[tuple[str, int]])
assert_type(lines.map(length), wallaroo.Pipeline[int])
assert_type(lines.map(Decimal, name="parse", pool="numbers"), wallaroo.Pipeline[Decimal])
assert_type(lines.map(partial(int, base=10)), wallaroo.Pipeline[int])
assert_type(lines.map(float).map("{:.2f}".format), wallaroo.Pipeline[str])
assert_type(lines.map_batch(lambda batch: [len(line) for line in batch]), wallaroo.Pipeline[int])
assert_type(lines.key_by(len).map_batch(sorted), wallaroo.KeyedPipeline[int, str])
assert_type(lines.map_async(fetch), wallaroo.Pipeline[int])
assert_type(lines.map_async(fetch_some, concurrency=9, timeout=timedelta(seconds=1)), wallaroo.Pipeline[int])
assert_type(lines.map_async(lambda line: fetch(line + "!"), retries=2, on_error="skip"), wallaroo.Pipeline[int])
assert_type(lines.map_async(lambda line: to_thread(len, line)), wallaroo.Pipeline[int])
assert_type(lines.key_by(len).map_async(fetch, ordered=False), wallaroo.KeyedPipeline[int, int])
assert_type(orders.map(Scorer(0.5)), wallaroo.Pipeline[float])
assert_type(orders.map(itemgetter(0)), wallaroo.Pipeline[Any])
assert_type(lines.flat_map(str.split), wallaroo.Pipeline[str])
assert_type(lines.flat_map(words), wallaroo.Pipeline[str])
assert_type(lines.flat_map(lambda line: [len(line)] if line else None), wallaroo.Pipeline[int])
assert_type(orders.filter(Scorer(0.5).large), wallaroo.Pipeline[Order])
assert_type(lines.filter(bool).filter(str.strip).inspect().inspect(print), wallaroo.Pipeline[str])

# Keys.
assert_type(by_user, wallaroo.KeyedPipeline[str, Order])
assert_type(lines.key_by(str), wallaroo.KeyedPipeline[str, str])
assert_type(lines.key_by(len).map(str.upper).filter(bool), wallaroo.KeyedPipeline[int, str])
assert_type(orders.key_by(lambda order: (order.user, order.quantity)), wallaroo.KeyedPipeline[tuple[str, int], Order])
assert_type(orders.key_by("user"), wallaroo.KeyedPipeline[Any, Order])
assert_type(by_user.collect(), wallaroo.Pipeline[Order])

# Aggregates.
assert_type(lines.flat_map(str.split).map(str.lower).key_by(str).count(), wallaroo.Pipeline[wallaroo.Keyed[str, int]])
assert_type(by_user.sum(lambda order: order.amount), wallaroo.Pipeline[wallaroo.Keyed[str, Decimal]])
assert_type(by_user.map(lambda order: order.quantity).sum(), wallaroo.Pipeline[wallaroo.Keyed[str, int]])
assert_type(by_user.mean(lambda order: order.quantity), wallaroo.Pipeline[wallaroo.Keyed[str, float]])
assert_type(by_user.map(lambda order: order.quantity).mean(), wallaroo.Pipeline[wallaroo.Keyed[str, float]])
assert_type(by_user.min(lambda order: order.amount), wallaroo.Pipeline[wallaroo.Keyed[str, Decimal]])
assert_type(lines.key_by(len).max(), wallaroo.Pipeline[wallaroo.Keyed[int, str]])
assert_type(by_user.reduce(larger), wallaroo.Pipeline[wallaroo.Keyed[str, Order]])
assert_type(by_user.collect_list(), wallaroo.Pipeline[wallaroo.Keyed[str, list[Order]]])
assert_type(by_user.dedup(), wallaroo.Pipeline[wallaroo.Keyed[str, Order]])
assert_type(by_user.dedup(by="quantity", name="once"), wallaroo.Pipeline[wallaroo.Keyed[str, Order]])
assert_type(by_user.dedup(by=lambda order: order.quantity), wallaroo.Pipeline[wallaroo.Keyed[str, Order]])
assert_type(orders.count(), wallaroo.Pipeline[wallaroo.Keyed[Any, int]])
assert_type(by_user.stateful(number, Counter[str]), wallaroo.KeyedPipeline[str, str])
assert_type(by_user.stateful(number, state=Counter[str], name="n").count(), wallaroo.Pipeline[wallaroo.Keyed[str, int]])


class Opened:
    orders = 0


def watch(order: Order, opened: Opened, ctx: wallaroo.Context[str]) -> str | None:
    opened.orders += 1
    ctx.set_timer(timedelta(minutes=30), "quiet")
    ctx.set_timer(ctx.now + timedelta(days=1))
    ctx.cancel_timer("quiet")
    ctx.delete_state()
    return ctx.key.upper() if ctx.window is None else None


def quiet(opened: Opened, ctx: wallaroo.Context[str]) -> str:
    return f"{ctx.key.upper()} {ctx.now:%H:%M} {ctx.tag or ''} {opened.orders}"


day = timedelta(days=1)
assert_type(by_user.stateful(number, Counter[str], ttl=day), wallaroo.KeyedPipeline[str, str])
assert_type(by_user.stateful(watch, Opened, ttl=day), wallaroo.KeyedPipeline[str, str])
assert_type(by_user.stateful(watch, Opened, on_timer=quiet, name="quiet"), wallaroo.KeyedPipeline[str, str])
assert_type(orders.stateful(watch, state=Opened, on_timer=quiet), wallaroo.Pipeline[str])
assert_type(
    by_user.stateful(lambda order, opened, ctx: ctx.key, Opened, on_timer=lambda opened, ctx: ctx.key),
    wallaroo.KeyedPipeline[str, str],
)
assert_type(by_user.stateful(lambda order, opened: order.quantity, Opened), wallaroo.KeyedPipeline[str, int])

# Windows.
minutely = by_user.window(wallaroo.tumbling(timedelta(minutes=1), offset=wallaroo.seconds(5)))
assert_type(minutely, wallaroo.WindowedPipeline[str, Order])
assert_type(minutely.aggregate(wallaroo.count()), wallaroo.Pipeline[wallaroo.Windowed[str, int]])
assert_type(
    minutely.aggregate(wallaroo.sum(lambda order: order.amount)), wallaroo.Pipeline[wallaroo.Windowed[str, Decimal]]
)
assert_type(
    minutely.aggregate(wallaroo.mean(lambda order: order.quantity)), wallaroo.Pipeline[wallaroo.Windowed[str, float]]
)
assert_type(minutely.aggregate(wallaroo.max(lambda order: order.user)), wallaroo.Pipeline[wallaroo.Windowed[str, str]])
assert_type(minutely.aggregate(wallaroo.min(Scorer(1))), wallaroo.Pipeline[wallaroo.Windowed[str, float]])
assert_type(minutely.aggregate(wallaroo.reduce(larger)), wallaroo.Pipeline[wallaroo.Windowed[str, Order]])
assert_type(minutely.aggregate(wallaroo.collect_list()), wallaroo.Pipeline[wallaroo.Windowed[str, list[Order]]])
assert_type(
    lines.map(len).window(wallaroo.sessions(wallaroo.minutes(5))).aggregate(wallaroo.sum()),
    wallaroo.Pipeline[wallaroo.Windowed[Any, int]],
)


class Busiest(wallaroo.Aggregation[Order, int, str]):
    def initial_accumulator(self) -> int:
        return 0

    def update(self, data: Order, acc: int) -> int:
        return acc + data.quantity

    def output(self, key: str, acc: int, window: wallaroo.Window) -> str:
        return f"{window.start:%H:%M} {key} {acc}"


class Volume(wallaroo.Aggregation[Order, int, int]):
    def initial_accumulator(self) -> int:
        return 0

    def update(self, data: Order, acc: int) -> int:
        return acc + data.quantity

    def output(self, key: str, acc: int) -> int | None:
        return acc or None


assert_type(by_user.window(wallaroo.count_windows(5)).aggregate(Volume), wallaroo.Pipeline[wallaroo.Windowed[str, int]])
assert_type(minutely.aggregate(Volume(), name="volume"), wallaroo.Pipeline[wallaroo.Windowed[str, int]])


def shown(window: wallaroo.Windowed[str, int]) -> str:
    key, start, end, value, closed_by = window
    return f"{key} {start:%H:%M} {end - start} {value + 1} {closed_by.upper()} {window.key.upper()}"


assert_type(minutely.aggregate(wallaroo.count()).map(shown), wallaroo.Pipeline[str])

assert_type(
    by_user.map(Scorer(1)).map(int).window(wallaroo.count_windows(2)).aggregate(wallaroo.mean()),
    wallaroo.Pipeline[wallaroo.Windowed[str, float]],
)
assert_type(minutely.aggregate(wallaroo.count), wallaroo.Pipeline[wallaroo.Windowed[str, int]])


# Keys of further types.
assert_type(lines.key_by(str.isdigit), wallaroo.KeyedPipeline[bool, str])
assert_type(lines.key_by(date.fromisoformat), wallaroo.KeyedPipeline[date, str])
assert_type(lines.key_by(UUID).count(), wallaroo.Pipeline[wallaroo.Keyed[UUID, int]])


# Errors.
def lost(order: Order, error: Exception) -> int | None:
    return None if isinstance(error, KeyError) else order.quantity


def always(order: Order, error: Exception) -> bool:
    return True


assert_type(by_user.map(lambda order: order.quantity, on_error=lost, retries=2), wallaroo.KeyedPipeline[str, int])
assert_type(orders.map(lambda order: order.quantity, on_error=lambda order, error: 0), wallaroo.Pipeline[int])
assert_type(orders.filter(lambda order: order.quantity, on_error=always), wallaroo.Pipeline[Order])
assert_type(lines.flat_map(str.split, on_error="skip"), wallaroo.Pipeline[str])
assert_type(lines.map_batch(lambda batch: [len(line) for line in batch], on_error="skip"), wallaroo.Pipeline[int])

# Branches.
large, small = by_user.branch(lambda order: order.quantity > 100)
assert_type(large, wallaroo.KeyedPipeline[str, Order])
branches = orders.split(lambda order: order.user, ["ada", "eve"])
assert_type(branches, wallaroo.Branches[wallaroo.Pipeline[Order]])
assert_type(branches["ada"], wallaroo.Pipeline[Order])
ada, eve = branches
assert_type(eve, wallaroo.Pipeline[Order])

# The end.
counts = lines.key_by(str).count().map("{0[0]} => {0[1]}".format)
assert_type(counts, wallaroo.Pipeline[str])
ended = counts.sink(wallaroo.StdoutSinkConfig(line))
assert_type(wallaroo.application("counts", ended), wallaroo.Application)


def annotated(pipeline: wallaroo.Pipeline[str]) -> wallaroo.Pipeline[wallaroo.Keyed[str, int]]:
    return pipeline.key_by(str).count()
