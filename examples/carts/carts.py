"""Reminders of carts: who has put something into a cart and then done nothing for half an hour is reminded of it.

``carts.py LOG`` reads what users do and writes a line for each reminder to standard output.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

import wallaroo as w

HALF_AN_HOUR = timedelta(minutes=30)


def application_setup(args: list[str]) -> w.Application:
    (path,) = args
    clicks = w.source("Log", w.file(path, decode, event_time=lambda click: click.at))
    # A cart that nobody has touched for a day is forgotten, reminder or not.
    reminders = clicks.key_by(lambda click: click.user).stateful(
        change, Cart, on_timer=remind, ttl=timedelta(days=1), name="cart"
    )
    return w.application("Carts", reminders.sink(w.stdout(w.lines())))


class Click(NamedTuple):
    """A user put an item into the cart, took it out, or paid."""

    at: datetime
    user: str
    what: str
    item: str = ""


class Cart:
    def __init__(self) -> None:
        self.items: list[str] = []


@w.decoder(delimiter=b"\n")
def decode(bs: bytes) -> Click:
    at, *rest = bs.decode("utf-8").split(" ")
    return Click(datetime.fromisoformat(at), *rest)


def change(click: Click, cart: Cart, ctx: w.Context[str]) -> str | None:
    if click.what == "pay":
        # No timer is left either.
        ctx.delete_state()
        return None
    if click.what == "add":
        cart.items.append(click.item)
    elif click.item in cart.items:
        cart.items.remove(click.item)
    # If it is set already, it is moved.
    ctx.set_timer(HALF_AN_HOUR)
    return None


def remind(cart: Cart, ctx: w.Context[str]) -> str | None:
    return f"{ctx.now:%H:%M} {ctx.key}: {' '.join(cart.items)}" if cart.items else None
