"""``carts.py KIND FROM TO``: reads lines ``time key what`` and says what happens to carts, one a key.

Each message is given as ``key time count``, and ``key left count time`` if nothing comes for 30. ``pay`` empties a
cart. ``deadly`` and ``stuck``: when it is left, its worker dies, or hangs. KIND ``event`` goes by the times, which are
seconds; ``arrival`` by the clock, with carts left after 50 ms; ``hour`` by the clock after an hour; ``ttl`` has
no timers, and drops carts after 30. FROM and TO are paths, or HOST:PORT.
"""

import os
from datetime import timedelta

import wallaroo

LEFT_AFTER = {"event": timedelta(seconds=30), "arrival": timedelta(milliseconds=50), "hour": timedelta(hours=1)}


class Lines:
    delimiter = b"\n"

    def decode(self, bs):
        time, key, what = bs.decode().split(" ")
        return int(time), key, what

    def encode(self, data):
        return f"{data}\n"


class Cart:
    count = 0
    whats = ()

    def __repr__(self):
        return f"Cart({self.count})"


def book(message, cart, ctx):
    time, key, what = message
    cart.count += 1
    cart.whats = (*cart.whats, what)
    if what == "pay":
        ctx.delete_state()
    else:
        ctx.set_timer(ctx.now + book.left_after)
    return f"{key} {time} {cart.count if what != 'pay' else 'paid'}"


def count(message, cart):
    cart.count += 1
    return f"{message[1]} {message[0]} {cart.count}"


def leave(cart, ctx):
    if "deadly" in cart.whats:
        os.abort()
    while "stuck" in cart.whats:
        pass
    text = f"{ctx.key} left {cart.count} {ctx.now.timestamp():.0f}"
    ctx.delete_state()
    return text


def key(message):
    return message[1]


def seconds(message):
    return message[0] * 1_000_000_000


def place(text, tcp, file, **options):
    host, _, port = text.rpartition(":")
    return tcp(host, port, Lines, **options) if host else file(text, Lines, **options)


def application_setup(args):
    kind, source, sink = args
    event_time = seconds if kind in ("event", "ttl") else None
    config = place(source, wallaroo.TCPSourceConfig, wallaroo.FileSourceConfig, event_time=event_time)
    carts = wallaroo.source("lines", config).key_by(key)
    if kind == "ttl":
        booked = carts.stateful(count, Cart, ttl=timedelta(seconds=30), name="book")
    else:
        book.left_after = LEFT_AFTER[kind]
        booked = carts.stateful(book, Cart, on_timer=leave)
    return wallaroo.application("Carts", booked.sink(place(sink, wallaroo.TCPSinkConfig, wallaroo.FileSinkConfig)))
