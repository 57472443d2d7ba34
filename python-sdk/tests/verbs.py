"""Pipelines of numbers or text for the tests of verbs, and how they are run."""

from __future__ import annotations

import wallaroo
import wallaroo.testing


@wallaroo.decoder(delimiter=b"\n")
def text(bs):
    return bs.decode()


@wallaroo.decoder(delimiter=b"\n")
def literal(bs):
    """Return what a line of Python stands for."""
    import ast

    return ast.literal_eval(bs.decode())


@wallaroo.encoder
def shown(data):
    return f"{data!r}\n"


def lines():
    return wallaroo.source("lines", wallaroo.StdinSourceConfig(text))


def values():
    return wallaroo.source("values", wallaroo.StdinSourceConfig(literal))


def to_stdout(*pipelines):
    """Return an application of pipelines, each of which ends in a sink of its own."""
    sinks = [wallaroo.StdoutSinkConfig(shown), *(wallaroo.FileSinkConfig(f"out{n}", shown) for n in range(1, 9))]
    return wallaroo.application("test", *(pipeline.sink(sink) for pipeline, sink in zip(pipelines, sinks)))


def outputs(pipeline, messages, **options):
    """Return what a pipeline gives, as Python shows it. Nothing may fail."""
    outcome = wallaroo.testing.run(to_stdout(pipeline), list(map(str, messages)), **options)
    assert outcome.dead_letters == []
    return outcome.lines


def failures(pipeline, messages, **options):
    """Return what a pipeline gives, and step, exception and message of what failed."""
    outcome = wallaroo.testing.run(to_stdout(pipeline), list(map(str, messages)), **options)
    return outcome.lines, [(letter.step, letter.exception, letter.message) for letter in outcome.dead_letters]


def steps(*pipelines):
    """Return the names of the steps of pipelines."""
    return [node.name for node in to_stdout(*pipelines).nodes if node.kind not in ("source", "sink")]
