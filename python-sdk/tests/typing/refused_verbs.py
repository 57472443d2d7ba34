"""Mistakes in wiring that type checkers refuse: `E:` names the code of mypy's error.

Checked by `test_typing.py`, never run.
"""

from __future__ import annotations

from time import time

import wallaroo


class Order:
    user = ""
    quantity = 0
    tags: list[str] = []


class Total:
    count = 0


@wallaroo.decoder(delimiter=b"\n")
def text(bs: bytes) -> str:
    return bs.decode()


@wallaroo.encoder
def line(data: str) -> str:
    return data + "\n"


def parse(data: str) -> Order:
    return Order()


async def fetch(data: str) -> int:
    return len(data)


async def of_order(order: Order) -> int:
    return order.quantity


def add(order: Order, total: Total) -> int:
    total.count += order.quantity
    return total.count


def watch(order: Order, total: Total, ctx: wallaroo.Context[str]) -> str:
    ctx.set_timer("noon")  # E: arg-type
    ctx.set_timer(60, 1)  # E: arg-type
    return f"{ctx.keys}"  # E: attr-defined


def warn(total: Total, ctx: wallaroo.Context[str]) -> str:
    return ctx.key


def of_text(text: str, ctx: wallaroo.Context[str]) -> str:
    return text


def two(data: str, more: str) -> str:
    return data + more


def difference(left: Order, right: Order) -> int:
    return left.quantity - right.quantity


lines = wallaroo.source("lines", wallaroo.StdinSourceConfig(text))
orders = lines.map(parse)

# The function takes another message than it is given.
orders.map(str.upper)  # E: arg-type
orders.map(parse)  # E: arg-type
orders.flat_map(str.split)  # E: arg-type
orders.filter(str.isdigit)  # E: arg-type
orders.inspect(parse)  # E: arg-type
orders.branch(str.isdigit)  # E: arg-type
orders.key_by(str.lower)  # E: arg-type
orders.map(lambda order: order.prize)  # E: attr-defined
orders.filter(lambda order: order.quantity > "3")  # E: operator
lines.map(len).map(str.upper)  # E: arg-type
lines.key_by(str).count().map(str.upper)  # E: arg-type
lines.key_by(str).count().filter(lambda count: count > 1)  # E: operator

# It takes another number of arguments, or is no function.
lines.map(two)  # E: arg-type
lines.filter(time)  # E: arg-type
lines.map("user")  # E: arg-type
lines.map(parse("1"))  # E: arg-type
lines.reduce(len)  # E: arg-type
lines.inspect(None)  # E: arg-type

# It returns something else than the verb needs.
lines.flat_map(len)  # E: arg-type
lines.map_batch(len)  # E: arg-type
lines.map_async(len)  # E: arg-type
lines.map_async(str.upper)  # E: arg-type
lines.map_async(of_order)  # E: arg-type
lines.map_async(fetch, timeout=0.5)  # E: arg-type
lines.map_batch(str.upper)  # E: arg-type
lines.key_by(parse)  # E: type-var
lines.key_by(lambda line: [line])  # E: type-var
lines.split(len, ["a", "b"])  # E: arg-type
lines.sum()  # E: call-arg
lines.key_by(len).sum()  # E: call-arg
lines.sum(str.upper)  # E: arg-type
orders.key_by("user").sum(lambda order: order.tags)  # E: arg-type
orders.max()  # E: call-arg
lines.mean(str.upper)  # E: arg-type
orders.reduce(difference)  # E: arg-type

# State.
orders.stateful(add, int)  # E: misc
orders.stateful(add, Total())  # E: call-overload
lines.stateful(add, Total)  # E: arg-type
orders.stateful(add)  # E: call-overload
orders.stateful(add, Total, on_timer=warn)  # E: arg-type
orders.stateful(watch, Total, on_timer=add)  # E: arg-type
orders.stateful(watch, Total, on_timer=of_text)  # E: misc
orders.stateful(watch, Total, ttl=1.5)  # E: call-overload
orders.key_by(lambda order: order.quantity).stateful(watch, Total)  # E: arg-type

# Windows.
orders.window(60)  # E: arg-type
orders.window(wallaroo.tumbling)  # E: arg-type
orders.window(wallaroo.tumbling(1.5))  # E: arg-type
orders.window(wallaroo.sliding(60))  # E: call-arg
orders.window(wallaroo.tumbling(60)).map(len)  # E: attr-defined
orders.window(wallaroo.tumbling(60)).aggregate(wallaroo.reduce)  # E: arg-type
orders.window(wallaroo.tumbling(60)).aggregate(len)  # E: arg-type
orders.window(wallaroo.tumbling(60)).aggregate(wallaroo.sum(len))  # E: arg-type
lines.window(wallaroo.tumbling(60)).aggregate(wallaroo.mean())  # E: arg-type
lines.window(wallaroo.tumbling(60)).aggregate(wallaroo.count()).map(len).map(str.upper)  # E: arg-type
lines.window(wallaroo.tumbling(60)).aggregate(wallaroo.count()).map(lambda window: window.begin)  # E: attr-defined

# Other arguments.
lines.map(len, "length")  # E: misc
lines.map(len, name=3)  # E: arg-type
lines.map(len, pool=3)  # E: arg-type
lines.split(str.lower, "ab", "c")  # E: misc
lines.split(str.lower, ["a"])[0]  # E: index
lines.dedup(3)  # E: arg-type
lines.counts()  # E: attr-defined

lines.map(len, retries="two")  # E: arg-type
lines.map(len, on_error="stopp")  # E: arg-type
lines.map(len, on_error=len)  # E: arg-type
lines.filter(len, on_error=len)  # E: arg-type

# What comes below.
orders.sink(wallaroo.StdoutSinkConfig(line))  # E: arg-type
lines.key_by(str).count().sink(wallaroo.StdoutSinkConfig(line))  # E: arg-type
lines.sink(line)  # E: arg-type
wallaroo.application("app", orders.sink)  # E: arg-type
wallaroo.application(orders)  # E: arg-type
expected_lines: wallaroo.Pipeline[str] = orders  # E: assignment
expected_counts: wallaroo.Pipeline[wallaroo.Keyed[int, int]] = lines.key_by(str).count()  # E: assignment
