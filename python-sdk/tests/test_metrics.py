"""``wallaroo.metrics``: what is measured, by step, and what the orchestrator is told of it."""

from __future__ import annotations

import pytest

from wallaroo import WallarooParameterError, metrics


@pytest.fixture(autouse=True)
def no_metrics(monkeypatch):
    monkeypatch.setattr(metrics, "_known", {})
    monkeypatch.setattr(metrics, "_running_step", lambda: None)


def test_nothing_is_said_twice():
    pots = metrics.counter("pots_total", "Pots of tea.")
    pots.add()
    pots.add(2.5)
    assert metrics.take_measurements() == ["pots_total", "Pots of tea.", None, "counter", 3.5, [], []]
    assert metrics.take_measurements() == []
    pots.add()
    assert metrics.take_measurements()[4] == 1.0


def test_steps_are_told_apart(monkeypatch):
    cups = metrics.gauge("cups")
    for step, value in (("pour", 3), ("drink", 1), ("pour", 2)):
        monkeypatch.setattr(metrics, "_running_step", lambda step=step: step)
        cups.set(value)
    assert metrics.take_measurements() == [
        *("cups", "", "pour", "gauge", 2.0, [], []),
        *("cups", "", "drink", "gauge", 1.0, [], []),
    ]


def test_a_value_is_in_the_first_bucket_that_holds_it():
    sizes = metrics.histogram("sizes", buckets=[1, 2])
    for value in (0, 1, 1.5, 2, 3):
        sizes.observe(value)
    assert metrics.take_measurements() == ["sizes", "", None, "histogram", 7.5, [1.0, 2.0], [2, 2, 1]]


def test_a_name_is_one_metric():
    assert metrics.counter("pots_total") is metrics.counter("pots_total", "told later")
    assert metrics.histogram("size", buckets=[1]) is metrics.histogram("size", buckets=(1.0,))


MISTAKES = {
    "another kind": (
        lambda: metrics.gauge("pots_total"),
        "wallaroo.metrics.gauge('pots_total'): it is a counter already",
        "choose another name",
    ),
    "a dash": (
        lambda: metrics.counter("pots-total"),
        "wallaroo.metrics.counter('pots-total'): it is no name of a metric",
        "use letters, digits and _, as in orders_rejected_total",
    ),
    "no text": (lambda: metrics.counter(3), "wallaroo.metrics.counter(3): it is no name of a metric", "use letters"),
    "ours": (
        lambda: metrics.counter("wallaroo_pots"),
        "wallaroo.metrics.counter('wallaroo_pots'): names with wallaroo_ are Wallaroo's own",
        "choose another name",
    ),
    "buckets": (
        lambda: metrics.histogram("size", buckets=[2, 1]),
        "wallaroo.metrics.histogram('size'): buckets [2.0, 1.0] do not rise",
        "sort them, each once",
    ),
    "other buckets": (
        lambda: [metrics.histogram("size", buckets=[each]) for each in (1, 2)],
        "wallaroo.metrics.histogram('size'): it has other buckets already",
        "make it once, and use it in all steps",
    ),
    "too many": (
        lambda: [metrics.counter(f"pots_of_{customer}") for customer in range(1000)],
        "wallaroo.metrics.counter('pots_of_999'): there are 1000 metrics already",
        "do not make names of metrics out of messages",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes(case):
    make, problem, hint = MISTAKES[case]
    metrics.counter("pots_total")
    with pytest.raises(WallarooParameterError) as caught:
        make()
    assert str(caught.value).startswith(problem)
    assert hint in str(caught.value)


@pytest.mark.parametrize("amount", [-1, float("nan"), float("inf")])
def test_a_counter_does_not_fall(amount):
    with pytest.raises(ValueError, match="a counter does not fall"):
        metrics.counter("pots_total").add(amount)


def test_what_is_no_number_is_in_no_bucket():
    with pytest.raises(ValueError, match="in no bucket"):
        metrics.histogram("size").observe(float("nan"))
