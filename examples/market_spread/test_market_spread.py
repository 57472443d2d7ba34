"""The rejected orders are those of the model, however orders and quotes interleave."""

from __future__ import annotations

import random

import market_spread
import market_spread_data as data
import pytest

from wallaroo.testing import InProcess

ARGS = ["--in", "127.0.0.1:0,127.0.0.1:0", "--out", "127.0.0.1:1"]


@pytest.mark.parametrize("seed", range(5))
def test_rejects_are_those_of_the_model(seed: int) -> None:
    app = InProcess(market_spread, args=ARGS)
    app.send(data.first_quotes(), source="Quotes")
    orders = data.orders(1_000)
    waiting = {"Orders": orders.copy(), "Quotes": data.quotes(2_000)}
    chance = random.Random(seed)
    while waiting:
        source = chance.choice(sorted(waiting))
        app.send([waiting[source].pop(0)], source=source)
        if not waiting[source]:
            del waiting[source]
    outcome = app.outcome
    assert {line.split(",")[1] for line in outcome.lines} == data.rejected(orders)
    assert outcome.dead_letters == []


def test_an_order_before_the_first_quote_is_rejected() -> None:
    app = InProcess(market_spread, args=ARGS)
    app.send([data.order("S001", "order1", random.Random(1))], source="Orders")
    assert app.outcome.lines == ["S001,order1,rejected,0.0000,0.0000"]


def test_a_spread_that_is_too_wide() -> None:
    assert market_spread.is_too_wide(10.00, 10.06)
    assert market_spread.is_too_wide(0.10, 0.12)
    assert not market_spread.is_too_wide(10.00, 10.04)
