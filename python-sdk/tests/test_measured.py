"""``outcome.metrics``: what the application's metrics have measured in a run in the test's process."""

from __future__ import annotations

from math import inf

import pytest

import wallaroo
import wallaroo.testing
from wallaroo import metrics
from wallaroo.testing import Measured


@pytest.fixture(autouse=True)
def no_metrics(monkeypatch):
    monkeypatch.setattr(metrics, "_known", {})


def application(*steps):
    pipeline = wallaroo.source("numbers", wallaroo.stdin(wallaroo.json_lines()))
    for step in steps:
        pipeline = step(pipeline)
    return wallaroo.application("app", pipeline.sink(wallaroo.stdout(wallaroo.json_lines())))


@pytest.mark.parametrize("batch", [1, 2, 10])
@pytest.mark.parametrize("restarts", [False, True])
def test_each_kind_by_step(batch, restarts):
    seen, last = metrics.counter("seen_total"), metrics.gauge("last")
    sizes = metrics.histogram("sizes", buckets=[1, 2])

    def measure(number):
        seen.add()
        last.set(number)
        return number

    def total(number, state):
        seen.add(2)
        sizes.observe(number)
        return number

    app = application(
        lambda pipeline: pipeline.map(measure),
        lambda pipeline: pipeline.key_by(lambda number: number % 2).stateful(total, state=list),
    )
    outcome = wallaroo.testing.run(app, [2, 1, 5, 0], batch=batch, restarts=restarts)
    assert outcome.metrics == {
        "seen_total": {"measure": Measured(4.0), "total": Measured(8.0)},
        "last": {"measure": Measured(0.0)},
        "sizes": {"total": Measured(8.0, 4, {1.0: 2, 2.0: 3, inf: 4})},
    }


def test_a_step_that_is_used_twice_is_told_apart():
    seen = metrics.counter("seen_total")

    def measure(number):
        seen.add()
        return number if number else None

    outcome = wallaroo.testing.run(application(lambda p: p.map(measure), lambda p: p.map(measure)), [0, 1, 2])
    assert outcome.metrics["seen_total"] == {"measure": Measured(3.0), "measure-2": Measured(2.0)}


def test_messages_that_fail_count():
    tried = metrics.counter("tried_total")

    def fail(number):
        tried.add()
        return 1 / number

    outcome = wallaroo.testing.run(application(lambda p: p.map(fail)), [0, 1])
    assert len(outcome.dead_letters) == 1
    assert outcome.metrics["tried_total"] == {"fail": Measured(2.0)}


def test_a_message_that_ends_the_run_counts():
    tried = metrics.counter("tried_total")

    def fail(number):
        tried.add()
        return 1 / number

    app = wallaroo.testing.InProcess(application(lambda p: p.map(fail, on_error="stop")))
    with pytest.raises(wallaroo.testing.RunStoppedError):
        app.send([0])
    assert app.outcome.metrics["tried_total"] == {"fail": Measured(1.0)}


def test_async_steps_and_hooks():
    seen = metrics.counter("seen_total")

    class Measuring:
        def setup(self):
            seen.add(10)

        def teardown(self):
            seen.add(20)

        async def __call__(self, number):
            seen.add()
            return number

    outcome = wallaroo.testing.run(application(lambda p: p.map_async(Measuring(), name="call")), [1, 2])
    assert outcome.metrics["seen_total"] == {None: Measured(30.0), "call": Measured(2.0)}


def test_each_run_has_what_was_measured_in_it():
    seen, unused = metrics.counter("seen_total"), metrics.counter("unused_total")

    def one(number):
        seen.add()
        return number

    def two(number):
        seen.add()
        return number

    seen.add(100)
    first = wallaroo.testing.InProcess(application(lambda p: p.map(one)))
    second = wallaroo.testing.InProcess(application(lambda p: p.map(two)))
    first.send([1])
    second.send([1, 2])
    first.send([2, 3])
    assert first.outcome.metrics == {"seen_total": {"one": Measured(3.0)}, unused.name: {}}
    assert second.outcome.metrics == {"seen_total": {"two": Measured(2.0)}, unused.name: {}}
