"""Orders and quotes for market spread, and a model of which orders are rejected.

    python market_spread_data.py ORDERS_HOST:PORT QUOTES_HOST:PORT

sends the first quote of every symbol, waits for Enter, then sends further quotes and orders. A symbol's spread is wide
in all its quotes or in none, so the result for an order does not depend on how orders and quotes interleave.
"""

from __future__ import annotations

import random
import socket
import struct
import sys

from market_spread import ORDER, QUOTE

SYMBOLS = [f"S{number:03}" for number in range(350)]
WIDE = frozenset(SYMBOLS[::7])


def first_quotes() -> list[bytes]:
    """Return one quote for every symbol."""
    chance = random.Random(1)
    return [_quote(symbol, chance) for symbol in SYMBOLS]


def quotes(count: int) -> list[bytes]:
    """Return ``count`` quotes of random symbols."""
    chance = random.Random(2)
    return [_quote(chance.choice(SYMBOLS), chance) for _ in range(count)]


def orders(count: int) -> list[bytes]:
    """Return ``count`` orders of random symbols, each with a unique id."""
    chance = random.Random(3)
    symbols = [chance.choice(SYMBOLS) for _ in range(count)]
    return [order(symbol, f"{number:06}", chance) for number, symbol in enumerate(symbols)]


def rejected(orders: list[bytes]) -> set[str]:
    """Return the ids of the orders to be rejected."""
    fields = [ORDER.unpack(order) for order in orders]
    return {order_id.decode() for _, order_id, symbol, _, _ in fields if symbol.decode() in WIDE}


def order(symbol: str, order_id: str, chance: random.Random) -> bytes:
    """Return an order."""
    quantity, price = chance.randint(1, 1_000), chance.uniform(10, 100)
    return ORDER.pack(chance.choice((1, 2)), order_id.encode(), symbol.encode(), quantity, price)


def _quote(symbol: str, chance: random.Random) -> bytes:
    bid = chance.uniform(10, 100)
    spread = chance.uniform(0.06, 1) if symbol in WIDE else chance.uniform(0.001, 0.04)
    return QUOTE.pack(symbol.encode(), bid, bid + spread)


def send(place: str, messages: list[bytes]) -> None:
    """Send messages on a connection of their own."""
    host, _, port = place.rpartition(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"".join(struct.pack(">I", len(message)) + message for message in messages))


def main() -> None:
    orders_place, quotes_place = sys.argv[1:]
    send(quotes_place, first_quotes())
    input("Enter, once the first quotes have been processed: ")
    send(quotes_place, quotes(100_000))
    sent = orders(50_000)
    send(orders_place, sent)
    print(f"{len(rejected(sent))} of {len(sent)} orders are to be rejected")


if __name__ == "__main__":
    main()
