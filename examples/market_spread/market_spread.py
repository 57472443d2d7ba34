"""Market spread: checks orders against the latest quote of their symbol, and rejects them if its spread is too wide.

    wallaroo-orch run market_spread.py --in ORDERS,QUOTES --out HOST:PORT [--verdicts]

Orders and quotes come from two sources and meet in the state of their symbol, which both pipelines share by name. The
output is the rejected orders; with ``--verdicts`` also the accepted ones.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import wallaroo

ORDER = struct.Struct(">B6s4sdd")
QUOTE = struct.Struct(">4sdd")


class Order(NamedTuple):
    side: int
    order_id: str
    symbol: str
    quantity: float
    price: float


class Quote(NamedTuple):
    symbol: str
    bid: float
    offer: float


class Verdict(NamedTuple):
    order: Order
    bid: float
    offer: float
    is_rejected: bool


class SymbolData:
    """The latest quote of a symbol. Before the first one, orders are rejected."""

    def __init__(self) -> None:
        self.bid = 0.0
        self.offer = 0.0
        self.rejects = True


def application_setup(args: list[str]) -> wallaroo.Application:
    (order_host, order_port), (quote_host, quote_port) = wallaroo.tcp_parse_input_addrs(args)
    out_host, out_port = wallaroo.tcp_parse_output_addrs(args)[0]
    encode = encode_verdict if "--verdicts" in args else encode_rejected
    ab = wallaroo.ApplicationBuilder("Market Spread")
    ab.new_pipeline("Orders", wallaroo.TCPSourceConfig(order_host, order_port, decode_order))
    ab.to_state_partition(check_order, SymbolData, "symbol data", symbol)
    ab.to_sink(wallaroo.TCPSinkConfig(out_host, out_port, encode))
    ab.new_pipeline("Quotes", wallaroo.TCPSourceConfig(quote_host, quote_port, decode_quote))
    ab.to_state_partition(update_quote, SymbolData, "symbol data", symbol)
    ab.done()
    return ab.build()


@wallaroo.decoder(header_length=4, length_fmt=">I")
def decode_order(bs: bytes) -> Order:
    side, order_id, symbol, quantity, price = ORDER.unpack(bs)
    return Order(side, order_id.decode("ascii").strip(), symbol.decode("ascii").strip(), quantity, price)


@wallaroo.decoder(header_length=4, length_fmt=">I")
def decode_quote(bs: bytes) -> Quote:
    symbol, bid, offer = QUOTE.unpack(bs)
    return Quote(symbol.decode("ascii").strip(), bid, offer)


@wallaroo.partition
def symbol(data: Order | Quote) -> str:
    return data.symbol


@wallaroo.state_computation(name="check order")
def check_order(data: Order, state: SymbolData) -> tuple[Verdict, bool]:
    return Verdict(data, state.bid, state.offer, state.rejects), False


@wallaroo.state_computation(name="update quote")
def update_quote(data: Quote, state: SymbolData) -> tuple[None, bool]:
    state.bid, state.offer = data.bid, data.offer
    state.rejects = is_too_wide(data.bid, data.offer)
    return None, True


def is_too_wide(bid: float, offer: float) -> bool:
    spread = offer - bid
    return spread >= 0.05 or spread / ((bid + offer) / 2) >= 0.05


@wallaroo.encoder
def encode_verdict(data: Verdict) -> str:
    order = data.order
    verdict = "rejected" if data.is_rejected else "accepted"
    return f"{order.symbol},{order.order_id},{verdict},{data.bid:.4f},{data.offer:.4f}\n"


@wallaroo.encoder
def encode_rejected(data: Verdict) -> str | None:
    return encode_verdict(data) if data.is_rejected else None
