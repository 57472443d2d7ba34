"""Market spread: keeps the last quotes of every symbol and checks every order against them.

A message is text. ``Q,SYMBOL,BID,OFFER`` is a quote and has no output; ``O,SYMBOL,ID,SIDE,QUANTITY,PRICE`` is an
order and leaves with a verdict. Quotes and orders travel as objects, under thousands of keys.
"""

import struct

import wallaroo


def application_setup(args):
    in_host, in_port = wallaroo.tcp_parse_input_addrs(args)[0]
    out_host, out_port = wallaroo.tcp_parse_output_addrs(args)[0]
    ab = wallaroo.ApplicationBuilder("Market Spread")
    ab.new_pipeline("Quotes and orders", wallaroo.TCPSourceConfig(in_host, in_port, Decoder()))
    ab.to_state_partition(CheckOrder(), SymbolDataBuilder(), "symbol data", SymbolPartitionFunction())
    ab.to_sink(wallaroo.TCPSinkConfig(out_host, out_port, Encoder()))
    return ab.build()


class Decoder:
    def header_length(self):
        return 4

    def payload_length(self, bs):
        return struct.unpack(">I", bs)[0]

    def decode(self, bs):
        fields = bs.decode("ascii").split(",")
        if fields[0] == "Q":
            return Quote(fields[1], float(fields[2]), float(fields[3]))
        return Order(fields[1], fields[2], fields[3], int(fields[4]), float(fields[5]))


class Quote:
    is_quote = True

    def __init__(self, symbol, bid, offer):
        self.symbol = symbol
        self.bid = bid
        self.offer = offer


class Order:
    is_quote = False

    def __init__(self, symbol, order_id, side, quantity, price):
        self.symbol = symbol
        self.order_id = order_id
        self.side = side
        self.quantity = quantity
        self.price = price


class Verdict:
    def __init__(self, order, bid, offer, rejected):
        self.order = order
        self.bid = bid
        self.offer = offer
        self.rejected = rejected


class SymbolPartitionFunction:
    def partition(self, data):
        return data.symbol


class SymbolData:
    def __init__(self):
        self.bid = 0.0
        self.offer = 0.0
        self.should_reject = True


class SymbolDataBuilder:
    def build(self):
        return SymbolData()


class CheckOrder:
    def name(self):
        return "check order"

    def compute(self, data, state):
        if data.is_quote:
            state.bid = data.bid
            state.offer = data.offer
            middle = (data.bid + data.offer) / 2.0
            spread = data.offer - data.bid
            state.should_reject = spread >= 0.05 or spread / middle >= 0.05
            return (None, True)
        return (Verdict(data, state.bid, state.offer, state.should_reject), False)


class Encoder:
    def encode(self, data):
        order = data.order
        verdict = "rejected" if data.rejected else "accepted"
        asked = f"{order.order_id},{order.symbol},{order.side},{order.quantity},{order.price}"
        return f"{asked},{data.bid},{data.offer},{verdict}\n"
