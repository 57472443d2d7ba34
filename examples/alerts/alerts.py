"""Alerts about transactions: about one transaction, a user's total so far, or a user's total in a window.

``alerts.py stateless|stateful|windowed --in HOST:PORT --out HOST:PORT``
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

import wallaroo as w


def application_setup(args: list[str]) -> w.Application:
    kind, *addresses = args
    listen, connect = w.tcp_parse_input_addrs(addresses)[0], w.tcp_parse_output_addrs(addresses)[0]
    transactions = w.source("Transactions", w.tcp(listen, decode, event_time=when))
    if kind == "stateless":
        alerts = transactions.map(check_transaction)
    elif kind == "stateful":
        alerts = transactions.key_by(user).sum(amount).map(check_total)
    elif kind == "windowed":
        windows = w.sliding(timedelta(minutes=10), every=timedelta(minutes=5), delay=timedelta(seconds=30))
        alerts = transactions.key_by(user).window(windows).aggregate(w.sum(amount)).map(check_window)
    else:
        raise ValueError(f"{kind!r} is none of stateless, stateful, windowed")
    return w.application("Alerts", alerts.sink(w.tcp(connect, w.lines())))


class Transaction(NamedTuple):
    """A user paid in ``amount``, or took it out if it is negative."""

    at: datetime
    user: str
    amount: float


@w.decoder(header_length=4, length_fmt=">I")
def decode(bs: bytes) -> Transaction:
    at, user, amount = bs.decode("utf-8").split(",")
    return Transaction(datetime.fromisoformat(at), user, float(amount))


def when(data: Transaction) -> datetime:
    return data.at


def user(data: Transaction) -> str:
    return data.user


def amount(data: Transaction) -> float:
    return data.amount


def check_transaction(data: Transaction) -> str | None:
    return alert(data.user, data.amount, "at once")


def check_total(total: w.Keyed[str, float]) -> str | None:
    user, amount = total
    return alert(user, amount, "in all")


def check_window(total: w.Windowed[str, float]) -> str | None:
    return alert(total.key, total.value, "within ten minutes")


def alert(user: str, amount: float, how: str) -> str | None:
    return f"{user}: {amount:.2f} {how}" if abs(amount) > 1_000 else None
