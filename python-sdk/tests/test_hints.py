"""What is refused says what to do about it, and doing that is not refused in its turn. Large topologies are quick."""

from __future__ import annotations

import time
import typing

import pytest

import wallaroo
import wallaroo.testing
from wallaroo import ApplicationBuilder, WallarooParameterError

S = typing.TypeVar("S")


@wallaroo.decoder(delimiter=b"\n")
def text(bs):
    return bs.decode()


@wallaroo.encoder
def line(data):
    return f"{data}\n"


@wallaroo.computation(name="keep")
def keep(data):
    return data


@wallaroo.key_extractor
def key(data):
    return data


class Last(wallaroo.Aggregation):
    def initial_accumulator(self):
        return []

    def update(self, data, accumulator):
        accumulator.append(data)

    def output(self, key, accumulator):
        return accumulator[-1]


class Computes:
    def compute(self, data):
        return data


class Asynchronous:
    async def __call__(self, data):
        return data


class AlsoAsynchronous(Asynchronous):
    pass


class Yields:
    def __call__(self, data):
        yield data


class OfAny(typing.Generic[S]):
    pass


def source():
    return wallaroo.source("p", wallaroo.StdinSourceConfig(text))


def builder():
    return ApplicationBuilder("app").new_pipeline("p", wallaroo.StdinSourceConfig(text))


def state_step(state):
    return wallaroo.state_computation(name="state", state=state)(lambda data, state: data)


HINTS = {
    "windows alone": (lambda: source().to(wallaroo.count_windows(2)), "count_windows(...).over(TheAggregation)"),
    "windows of time alone": (
        lambda: source().to(wallaroo.range_windows(2)),
        "range_windows(...).over(TheAggregation)",
    ),
    "windows of the builder": (lambda: builder().to(wallaroo.count_windows(2)), "wallaroo.build_application"),
    "windows of the builder with state": (
        lambda: builder().to_stateful(wallaroo.count_windows(2).over(Last), dict, "state"),
        "wallaroo.build_application",
    ),
    "bare windows of the builder with state": (
        lambda: builder().to_stateful(wallaroo.session_windows(2), dict, "state"),
        "wallaroo.build_application",
    ),
    "an aggregation": (lambda: source().to(Last), "wallaroo.count_windows(...).over(Last)"),
    "an aggregation's object": (lambda: source().to(Last()), "wallaroo.count_windows(...).over(Last)"),
    "a key function": (lambda: source().to(key), "give a key function to key_by"),
    "a sink config": (lambda: source().to(wallaroo.StdoutSinkConfig(line)), "give a sink config to to_sink"),
    "a pipeline": (lambda: source().to(source()), "use merge for the messages of two pipelines, or key_by"),
    "a class of the builder's": (lambda: source().to(Computes()), "classes are steps of ApplicationBuilder"),
    "a step as a key function": (lambda: source().key_by(keep), "in place of the other decorator"),
    "a key function as the builder's step": (lambda: builder().to(key), "decorate it with @wallaroo.computation"),
    "a key function as the builder's step with state": (
        lambda: builder().to_stateful(key, dict, "state"),
        "decorate it with @wallaroo.state_computation",
    ),
    "a function as a decoder": (lambda: wallaroo.StdinSourceConfig(len), "put @wallaroo.decoder(...) above it"),
    "a function as an encoder": (lambda: wallaroo.StdoutSinkConfig(repr), "put @wallaroo.encoder above it"),
    "a function as a generator": (lambda: wallaroo.GenSourceConfig(len), "hint: give a class"),
    "an output that yields": (
        lambda: wallaroo.count_windows(2).over(type("Yields", (Last,), {"output": lambda self, key, acc: (yield)})),
        "hint: return the result",
    ),
    "a type of annotations as a state": (lambda: state_step(typing.List[int]), "hint: give a class, such as list"),  # noqa: UP006
    "an optional type as a state": (lambda: state_step(typing.Optional[dict]), "hint: give a class, such as list"),
    "a tuple of a type as a state": (lambda: state_step(tuple[int]), "a step cannot change such a state in place"),
    "an object with an async call": (lambda: wallaroo.computation(name="x")(Asynchronous()), "nothing would await it"),
    "one that inherits it": (lambda: wallaroo.computation(name="x")(AlsoAsynchronous()), "nothing would await it"),
    "an object whose call yields": (lambda: wallaroo.computation(name="x")(Yields()), "computation_multi"),
}


@pytest.mark.parametrize("name", HINTS)
def test_the_hint_names_what_to_do(name):
    build, expected = HINTS[name]
    with pytest.raises(WallarooParameterError) as caught:
        build()
    assert expected in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("state", [list, list[int], dict[str, int], OfAny, OfAny[int], lambda: [0]])
def test_what_makes_a_state_may_say_of_what(state):
    p = source().to(wallaroo.state_computation(name="state", state=state)(lambda data, state: type(state).__name__))
    application = wallaroo.build_application("app", p.to_sink(wallaroo.StdoutSinkConfig(line)))
    assert wallaroo.testing.run(application, ["x"]).lines == [type(state()).__name__]


def test_a_long_pipeline_with_many_keys_is_compiled_in_a_time_that_grows_with_it():
    """It took 5 s of each worker's start where every stage looked through all nodes for each node below it."""

    def seconds(stages):
        p = wallaroo.source("lines", wallaroo.StdinSourceConfig(text))
        for _ in range(stages):
            p = p.key_by(wallaroo.key_extractor(lambda data: data))
        application = wallaroo.build_application("app", p.to_sink(wallaroo.StdoutSinkConfig(line)))
        began = time.process_time()
        wallaroo.testing.InProcess(application)
        return time.process_time() - began

    few, many = min(seconds(40) for _ in range(3)), seconds(400)
    assert many < 250 * max(few, 0.001)  # Ten times as many: a hundred times as long, and not a thousand.


def test_a_node_knows_its_children():
    p = wallaroo.source("lines", wallaroo.StdinSourceConfig(text))
    kept = wallaroo.computation(name="keep")(lambda data: data)
    merged = p.to(kept).merge(p.to(kept)).to_sinks([wallaroo.StdoutSinkConfig(line)] * 2)
    application = wallaroo.build_application("app", merged)
    children = [[n for n, node in enumerate(application.nodes) if above in node.inputs] for above in range(5)]
    assert [application.children(node) for node in range(5)] == children == [[1, 2], [3, 4], [3, 4], [], []]


def test_the_builder_numbers_a_step_that_is_used_again_and_keeps_the_names_of_states():
    total = wallaroo.state_computation(name="total")(lambda data, state: (data, True))
    ab = builder().to(keep).to(keep).to_stateful(total, dict, "a").to_stateful(total, dict, "b").to(Computes)
    nodes = ab.to_sink(wallaroo.StdoutSinkConfig(line)).build().nodes
    steps = [(node.name, getattr(node, "table", None)) for node in nodes if node.kind in ("computation", "state")]
    assert steps == [("keep", None), ("keep-2", None), ("total", "a"), ("total-2", "b"), ("Computes", None)]
