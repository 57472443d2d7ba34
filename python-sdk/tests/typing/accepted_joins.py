"""What type checkers accept of joins, and the types they infer. Checked by `test_typing.py`, never run."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple, Optional

import wallaroo

if TYPE_CHECKING:
    from typing_extensions import assert_type


class Order(NamedTuple):
    user: str
    amount: float


class User(NamedTuple):
    id: str
    name: str


orders = wallaroo.source("orders", wallaroo.stdin(wallaroo.json_lines(Order))).key_by(lambda order: order.user)
users = wallaroo.source("users", wallaroo.file("users.jsonl", wallaroo.json_lines(User))).key_by(lambda user: user.id)
by_name = users.key_by("id")

assert_type(orders.join(users), wallaroo.Pipeline[wallaroo.Keyed[str, tuple[Order, User]]])
assert_type(orders.join(users, how="inner", name="a"), wallaroo.Pipeline[wallaroo.Keyed[str, tuple[Order, User]]])
assert_type(
    orders.join(users, within=timedelta(hours=1), how="left"),
    wallaroo.Pipeline[wallaroo.Keyed[str, tuple[Order, Optional[User]]]],
)
assert_type(
    orders.join(users, within=wallaroo.hours(1), how="outer", delay=5, on_late="dead-letter"),
    wallaroo.Pipeline[wallaroo.Keyed[str, tuple[Optional[Order], Optional[User]]]],
)
assert_type(
    orders.map(lambda order: order.amount).join(users.filter(lambda user: user.name != "ada")),
    wallaroo.Pipeline[wallaroo.Keyed[str, tuple[float, User]]],
)

assert_type(users.table(), wallaroo.Table[str, User])
assert_type(users.map(lambda user: user.name).table(), wallaroo.Table[str, str])
assert_type(orders.lookup(users.table()), wallaroo.KeyedPipeline[str, tuple[Order, Optional[User]]])
assert_type(orders.lookup(by_name.table(), name="a").count(), wallaroo.Pipeline[wallaroo.Keyed[str, int]])


def names(users: wallaroo.Pipeline[User]) -> wallaroo.Table[str, str]:
    return users.key_by(lambda user: user.id).map(lambda user: user.name).table()


# Within which time messages are told apart.
assert_type(orders.dedup(within=timedelta(hours=1)), wallaroo.Pipeline[wallaroo.Keyed[str, Order]])
assert_type(orders.dedup("amount", within=5, name="once"), wallaroo.Pipeline[wallaroo.Keyed[str, Order]])
