"""The examples: their modules, and market spread, which needs more than sending and comparing."""

import importlib
import random
import sys

from tests.harness.clients import frames, send
from tests.harness.orchestrator import Orchestrator
from tests.harness.places import EXAMPLES


def example_module(example, name):
    """A module of an example's folder."""
    sys.path.insert(0, str(EXAMPLES / example))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.pop(0)


def market_spread(consumer, quotes, orders, **options):
    """Sends orders and quotes at once, compares the verdicts with the model's; returns the number of rejects."""
    data = example_module("market_spread", "market_spread_data")
    args = ["--in", "127.0.0.1:0,127.0.0.1:0", "--out", consumer.place, "--verdicts"]
    with Orchestrator(EXAMPLES / "market_spread" / "market_spread.py", *args, **options) as run:
        orders_at, quotes_at = run.addresses()
        send(quotes_at, frames(data.first_quotes()))
        # A quote has no output. The verdict on an order after it shows that the quote was processed.
        asked, waiting = 0, list(data.SYMBOLS)
        while waiting:
            send(orders_at, frames(data.order(symbol, "probe", random.Random(1)) for symbol in waiting))
            asked += len(waiting)
            consumer.wait_count(asked)
            answers = [line.split(",") for line in consumer.lines()[-len(waiting) :]]
            waiting = [symbol for symbol, _, _, bid, _ in answers if bid == "0.0000"]
        sent = data.orders(orders)
        send(quotes_at, frames(data.quotes(quotes)))
        send(orders_at, frames(sent))
        consumer.wait_count(asked + len(sent))
        run.stop()
    verdicts = [line.split(",") for line in consumer.lines()[asked:]]
    rejected = {order_id for _, order_id, verdict, _, _ in verdicts if verdict == "rejected"}
    assert sorted(order_id for _, order_id, _, _, _ in verdicts) == [f"{number:06}" for number in range(orders)]
    assert rejected == data.rejected(sent)
    return len(rejected)
