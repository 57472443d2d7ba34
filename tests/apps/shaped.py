"""An application described by its first argument: JSON with the source file and the step names of each pipeline.

Its output does not depend on the order in which messages of different keys are processed. A state computation returns
its message with its number, and every other step is a function of its message alone.
"""

import json

import wallaroo


def application_setup(args):
    shape, *sinks = args
    branches = []
    for number, (path, steps) in enumerate(json.loads(shape)):
        pipeline = wallaroo.source(f"source {number}", wallaroo.FileSourceConfig(path, text))
        for position, name in enumerate(steps):
            pipeline = STEPS[name](pipeline, f"{name} {number}.{position}")
        branches.append(pipeline)
    merged = branches[0]
    for branch in branches[1:]:
        merged = merged.merge(branch)
    sink_configs = [wallaroo.FileSinkConfig(path, line) for path in sinks]
    return wallaroo.build_application("Shaped", merged.to_sinks(sink_configs))


@wallaroo.decoder(delimiter=b"\n")
def text(bs):
    return bs.decode()


@wallaroo.encoder
def line(data):
    return f"{data}\n"


class Total:
    def __init__(self):
        self.count = 0


def upper(data):
    return data.upper()


def no_vowels(data):
    return None if data[:1] in "aeiou" else data


def raises(data):
    if "q" in data:
        raise ValueError(f"no q is wanted in {data}")
    return data


def words(data):
    yield from data.split()
    yield None


def batch(messages):
    if any("x" in data for data in messages):
        raise KeyError("x")
    return [f"{data}." if len(data) % 3 else None for data in messages]


def number(data, total):
    total.count += 1
    return f"{data}#{total.count}"


def twice(data, total):
    total.count += 2
    return [data, f"{data}#{total.count}"]


@wallaroo.key_extractor
def whole(data):
    return data


@wallaroo.key_extractor
def strange(data):
    return (len(data), data) if "z" not in data else 1.5


def branches(pipeline, name):
    return pipeline.to(wallaroo.computation(f"{name} left")(upper)).merge(pipeline)


def keyed_state(decorator, function):
    """State with one key per message, so a number depends only on how often the message has come."""
    return lambda pipeline, name: pipeline.key_by(whole).to(decorator(name, state=Total)(function))


STEPS = {
    "upper": lambda pipeline, name: pipeline.to(wallaroo.computation(name)(upper)),
    "no vowels": lambda pipeline, name: pipeline.to(wallaroo.computation(name)(no_vowels)),
    "raises": lambda pipeline, name: pipeline.to(wallaroo.computation(name)(raises)),
    "words": lambda pipeline, name: pipeline.to(wallaroo.computation_multi(name)(words)),
    "batch": lambda pipeline, name: pipeline.to(wallaroo.computation_batch(name)(batch)),
    "number": keyed_state(wallaroo.state_computation, number),
    "twice": keyed_state(wallaroo.state_computation_multi, twice),
    "whole": lambda pipeline, name: pipeline.key_by(whole),
    "strange": lambda pipeline, name: pipeline.key_by(strange),
    "collect": lambda pipeline, name: pipeline.collect(),
    "branches": branches,
}
