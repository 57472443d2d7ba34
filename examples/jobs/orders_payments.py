"""Orders from one file and payments from another, joined by the number of the order.

``orders_payments.py ORDERS PAYMENTS``
"""

from __future__ import annotations

import wallaroo as w

Row = dict[str, str]


def match(row: Row, seen: Row) -> Row | None:
    was_complete = {"item", "paid"} <= seen.keys()
    seen.update(row)
    return seen.copy() if not was_complete and {"item", "paid"} <= seen.keys() else None


def application_setup(args: list[str]) -> w.Application:
    orders = w.source("orders", w.file(args[0], w.csv_lines("order", "item")))
    payments = w.source("payments", w.file(args[1], w.csv_lines("order", "paid")))
    joined = orders.merge(payments).key_by("order").stateful(match, state=dict[str, str])
    return w.application("orders and payments", joined.sink(w.stdout(w.json_lines())))
