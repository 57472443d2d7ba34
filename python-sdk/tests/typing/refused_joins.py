"""Mistakes in joins, each in a line of its own with the error code. Checked by `test_typing.py`, never run."""

from __future__ import annotations

from typing import NamedTuple

import wallaroo


class Order(NamedTuple):
    user: str
    number: int


source = wallaroo.source("orders", wallaroo.stdin(wallaroo.json_lines(Order)))
orders = source.key_by(lambda order: order.user)
numbers = source.key_by(lambda order: order.number)

source.join(orders)  # E: attr-defined
source.table()  # E: attr-defined
source.lookup(orders.table())  # E: attr-defined
orders.join(source)  # E: call-overload
orders.join(numbers)  # E: arg-type
orders.join(orders.table())  # E: call-overload
orders.join(orders, 5)  # E: call-overload
orders.join(orders, within=1.5)  # E: call-overload
orders.join(orders, how="right")  # E: call-overload
orders.join(orders).map(lambda pair: pair[1][0].users)  # E: attr-defined
orders.join(orders, how="left").map(lambda pair: pair[1][1].user)  # E: union-attr
orders.join(orders, how="outer").map(lambda pair: pair[1][0].user)  # E: union-attr
orders.lookup(orders)  # E: arg-type
orders.lookup(numbers.table())  # E: arg-type
orders.lookup(orders.table()).map(lambda pair: pair[1].user)  # E: union-attr
orders.dedup(within="1h")  # E: arg-type
expected: wallaroo.Table[int, Order] = orders.table()  # E: assignment
row: wallaroo.KeyedPipeline[str, tuple[Order, str | None]] = orders.lookup(orders.table())  # E: arg-type
