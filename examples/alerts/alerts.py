"""Alerts about transactions: about one transaction, a user's total so far, or a user's total in a window.

``alerts.py stateless|stateful|windowed --in HOST:PORT --out HOST:PORT``
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import wallaroo


def application_setup(args: list[str]) -> wallaroo.Application:
    kind, *addresses = args
    in_host, in_port = wallaroo.tcp_parse_input_addrs(addresses)[0]
    out_host, out_port = wallaroo.tcp_parse_output_addrs(addresses)[0]
    source = wallaroo.TCPSourceConfig(in_host, in_port, decode, event_time=when)
    transactions = wallaroo.source("Transactions", source)
    if kind == "stateless":
        alerts = transactions.to(check_transaction)
    elif kind == "stateful":
        alerts = transactions.key_by(user).to(check_total)
    elif kind == "windowed":
        minutes = wallaroo.range_windows(wallaroo.minutes(10)).with_slide(wallaroo.minutes(5))
        alerts = transactions.key_by(user).to(minutes.with_delay(wallaroo.seconds(30)).over(CheckWindow))
    else:
        raise ValueError(f"{kind!r} is none of stateless, stateful, windowed")
    return wallaroo.build_application("Alerts", alerts.to_sink(wallaroo.TCPSinkConfig(out_host, out_port, encode)))


class Transaction(NamedTuple):
    """A user paid in ``amount``, or took it out if it is negative."""

    at: datetime
    user: str
    amount: float


@wallaroo.decoder(header_length=4, length_fmt=">I")
def decode(bs: bytes) -> Transaction:
    at, user, amount = bs.decode("utf-8").split(",")
    return Transaction(datetime.fromisoformat(at), user, float(amount))


def when(data: Transaction) -> int:
    return wallaroo.seconds(int(data.at.timestamp()))


@wallaroo.key_extractor
def user(data: Transaction) -> str:
    return data.user


@wallaroo.computation(name="check transaction")
def check_transaction(data: Transaction) -> str | None:
    return alert(data.user, data.amount, "at once")


class Total:
    """The balance of a user."""

    def __init__(self) -> None:
        self.amount = 0.0


@wallaroo.state_computation(name="check total", state=Total)
def check_total(data: Transaction, total: Total) -> str | None:
    total.amount += data.amount
    return alert(data.user, total.amount, "in all")


class CheckWindow(wallaroo.Aggregation[Transaction, float, str]):
    """The sum of a user's transactions in each window; the step is named after the class."""

    def initial_accumulator(self) -> float:
        return 0.0

    def update(self, data: Transaction, accumulator: float) -> float:
        return accumulator + data.amount

    def output(self, key: str, accumulator: float) -> str | None:
        return alert(key, accumulator, "within ten minutes")


def alert(user: str, amount: float, how: str) -> str | None:
    return f"{user}: {amount:.2f} {how}" if abs(amount) > 1_000 else None


@wallaroo.encoder
def encode(data: str) -> str:
    return data + "\n"
