"""Misuse is refused when the application is built: the exact words a user sees."""

from __future__ import annotations

import pytest

import wallaroo
from wallaroo import ApplicationBuilder, WallarooParameterError


class Lines:
    delimiter = b"\n"

    def decode(self, bs):
        return bs.decode()

    def encode(self, data):
        return data


class Upper:
    def name(self):
        return "upper"

    def compute(self, data):
        return data.upper()


class Count:
    def compute(self, data, state):
        return data, True


class Total:
    def build(self):
        return [0]


class OtherTotal:
    def build(self):
        return [0]


class First:
    def partition(self, data):
        return data[:1]


class NeedsArgument:
    def __init__(self, argument):
        pass


def source(port=7010):
    return wallaroo.TCPSourceConfig("127.0.0.1", port, Lines)


def sink():
    return wallaroo.StdoutSinkConfig(Lines)


def pipeline():
    return ApplicationBuilder("app").new_pipeline("p", source())


def shown(build):
    with pytest.raises(WallarooParameterError) as caught:
        build()
    return str(caught.value)


def with_method(name, method):
    return type("Step", (), {name: method})


async def later(self, data=None):
    return data


def yields(self, data, state=None):
    yield data


class Gather(wallaroo.Aggregation):
    def initial_accumulator(self):
        return []

    def update(self, data, accumulator):
        accumulator.append(data)

    def output(self, key, accumulator):
        return accumulator


CASES = {
    "a step without its method": (
        lambda: pipeline().to(Lines),
        "pipeline 'p', to(Lines): Lines has no method compute or compute_multi\n"
        "hint: define compute(self, data) or compute_multi(self, data) in class Lines",
    ),
    "too few parameters": (
        lambda: pipeline().to(with_method("compute", lambda self: None)),
        "pipeline 'p', to(Step): Step.compute() cannot be called with 1 argument (data)\n"
        "hint: define it as compute(self, data)",
    ),
    "a state computation without state": (
        lambda: pipeline().to_stateful(Upper, Total, "totals"),
        "pipeline 'p', to_stateful(Upper): Upper.compute(data) cannot be called with 2 arguments (data, state)\n"
        "hint: define it as compute(self, data, state)",
    ),
    "a method that is none": (
        lambda: pipeline().to(with_method("compute", 3)),
        "pipeline 'p', to(Step): Step.compute is int, not a method\nhint: define compute(self, data) in class Step",
    ),
    "an async method": (
        lambda: pipeline().to(with_method("compute", later)),
        "pipeline 'p', to(Step): Step.compute is async, and nothing would await it\n"
        "hint: define it as: def compute(self, data)",
    ),
    "a compute that yields": (
        lambda: pipeline().to(with_method("compute", yields)),
        "pipeline 'p', to(Step): Step.compute yields, and its result is a generator\n"
        "hint: return the result; a compute_multi(self, data) may yield",
    ),
    "a compute_multi with state that yields": (
        lambda: pipeline().to_stateful(with_method("compute_multi", yields), Total, "totals"),
        "pipeline 'p', to_stateful(Step): Step.compute_multi yields, and has no result (output, state_changed)\n"
        "hint: return the result; a compute_multi(self, data) may yield",
    ),
    "a type of text as an encoder": (
        lambda: wallaroo.StdoutSinkConfig(str),
        "StdoutSinkConfig encoder: the argument is the class str, whose methods are not those of a step\n"
        "hint: give a class of your own, or a function with the decorator for its place",
    ),
    "text as an encoder": (
        lambda: wallaroo.StdoutSinkConfig("utf-8"),
        "StdoutSinkConfig encoder: the argument is of type str, whose methods are not those of a step\n"
        "hint: give a class of your own, or a function with the decorator for its place",
    ),
    "an event_time that is async": (
        lambda: wallaroo.StdinSourceConfig(Lines, event_time=later),
        "StdinSourceConfig event_time: later is async, and nothing would await it\n"
        "hint: define it as: def event_time(data)",
    ),
    "windows": (
        lambda: pipeline().to(wallaroo.count_windows(2).over(Gather)),
        "pipeline 'p', to(WindowStep): windows are steps of pipelines, and ApplicationBuilder has none\n"
        "hint: write wallaroo.source(...).key_by(...).to(windows), and give that to wallaroo.build_application",
    ),
    "windows with state": (
        lambda: pipeline().to_stateful(wallaroo.count_windows(2).over(Gather), Total, "totals"),
        "pipeline 'p', to_stateful(WindowStep): windows are steps of pipelines, and ApplicationBuilder has none\n"
        "hint: write wallaroo.source(...).key_by(...).to(windows), and give that to wallaroo.build_application",
    ),
    "a class that needs arguments": (
        lambda: pipeline().to(NeedsArgument),
        "pipeline 'p', to(NeedsArgument): making an object of class NeedsArgument raised TypeError: "
        "{init}() missing 1 required positional argument: 'argument'\n"
        "hint: a class given as a step is called without arguments; give an object, NeedsArgument(...), instead",
    ),
    "None as a step": (
        lambda: pipeline().to(None),
        "pipeline 'p', to(NoneType): got None\nhint: give a class or an instance of it",
    ),
    "a name that is no str": (
        lambda: pipeline().to(type("Step", (Upper,), {"name": lambda self: 7})),
        "pipeline 'p', to(Step): the name of Step must be a non-empty str, got 7\n"
        "hint: return a str from name(), or leave name() out to use the name of the class",
    ),
    "a state builder without build": (
        lambda: pipeline().to_stateful(Count, Upper, "totals"),
        "pipeline 'p', to_stateful(Count): state_builder: Upper has no method build\n"
        "hint: define build(self) in class Upper",
    ),
    "a partition function without partition": (
        lambda: pipeline().to_state_partition(Count, Total, "totals", Upper, ["a"]),
        "pipeline 'p', to_state_partition(Count): partition_function: Upper has no method partition\n"
        "hint: define partition(self, data) in class Upper",
    ),
    "a key of a wrong type": (
        lambda: pipeline().to_state_partition(Count, Total, "totals", First, ["a", 1.5]),
        "pipeline 'p', to_state_partition(Count): partition_keys[1]: 1.5 is of type float\n"
        "hint: a key is str, bytes, int, or a tuple of these",
    ),
    "a key twice": (
        lambda: pipeline().to_state_partition(Count, Total, "totals", First, ["a", "b", "a"]),
        "pipeline 'p', to_state_partition(Count): partition_keys[2]: 'a' is in the list twice\n"
        "hint: give each key once",
    ),
    "keys that are one str": (
        lambda: pipeline().to_state_partition(Count, Total, "totals", First, "abc"),
        "pipeline 'p', to_state_partition(Count): partition_keys is of type str, not a list\nhint: give a list",
    ),
    "a key that is no int for u64": (
        lambda: pipeline().to_state_partition_u64(Count, Total, "totals", First, [1, "2"]),
        "to_state_partition_u64(Count): partition key '2' is of type str, not an int\n"
        "hint: use to_state_partition for other keys",
    ),
    "a reserved state name": (
        lambda: pipeline().to_stateful(Count, Total, "generator:p"),
        "pipeline 'p', to_stateful(Count): state_name 'generator:p' begins with the reserved word 'generator:'\n"
        "hint: give the state another name",
    ),
    "state shared with another class": (
        lambda: pipeline().to_stateful(Count, Total, "totals").to_stateful(Count, OtherTotal, "totals"),
        "pipeline 'p', to_stateful(Count): state 'totals' is shared with pipeline 'p', which builds it with "
        "{module}.Total, not {module}.OtherTotal\n"
        "hint: use the same state builder in both, or another state_name",
    ),
    "state shared with other keys": (
        lambda: (
            pipeline()
            .to_state_partition(Count, Total, "totals", First, ["a"])
            .to_state_partition(Count, Total, "totals", First, ["b"])
        ),
        "pipeline 'p', to_state_partition(Count): state 'totals' is shared with pipeline 'p', which has other "
        "partition_keys: ['a'], not ['b']\n"
        "hint: give the same keys in the same order in both, or another state_name",
    ),
    "state shared between one and many": (
        lambda: pipeline().to_stateful(Count, Total, "totals").to_state_partition(Count, Total, "totals", First),
        "pipeline 'p', to_state_partition(Count): state 'totals' is shared with pipeline 'p', which has one state "
        "object (to_stateful), not a state object for each key (to_state_partition)\n"
        "hint: use the same method in both, or another state_name",
    ),
    "a step without a pipeline": (
        lambda: ApplicationBuilder("app").to(Upper),
        "to(...): no pipeline is open\nhint: start one with new_pipeline(name, source_config)",
    ),
    "a step after the sink": (
        lambda: pipeline().to_sink(sink()).to(Upper),
        "to(...): no pipeline is open\nhint: start one with new_pipeline(name, source_config)",
    ),
    "a pipeline inside another": (
        lambda: pipeline().new_pipeline("q", source(7011)),
        "new_pipeline('q'): pipeline 'p' has not ended\n"
        "hint: end it with to_sink(...), to_sinks([...]) or done() first",
    ),
    "two pipelines of one name": (
        lambda: pipeline().to_sink(sink()).new_pipeline("p", source(7011)),
        "new_pipeline('p'): there is a pipeline of that name\nhint: give each its own name",
    ),
    "two sources on one port": (
        lambda: pipeline().to_sink(sink()).new_pipeline("q", source("7010")),
        "new_pipeline('q'): pipeline 'p' reads from tcp 127.0.0.1 7010 already\nhint: give each source its own address",
    ),
    "no source config": (
        lambda: ApplicationBuilder("app").new_pipeline("p", Lines),
        "new_pipeline('p'): source_config is the class Lines, not a source config\n"
        "hint: for example wallaroo.TCPSourceConfig(host, port, decoder)",
    ),
    "no sink config": (
        lambda: pipeline().to_sink(Lines()),
        "pipeline 'p', to_sink: the argument is of type Lines, not a sink config\n"
        "hint: for example wallaroo.TCPSinkConfig(host, port, encoder)",
    ),
    "no sinks": (
        lambda: pipeline().to_sinks([]),
        "pipeline 'p', to_sinks: the list is empty\nhint: give at least one sink config, or use done()",
    ),
    "done twice": (
        lambda: pipeline().done().done(),
        "done(): there is no pipeline to end\nhint: start one with new_pipeline(name, source_config)",
    ),
    "nothing built": (
        lambda: ApplicationBuilder("app").build(),
        "application 'app' has no pipeline\nhint: start one with new_pipeline(name, source_config)",
    ),
    "an unclosed pipeline": (
        lambda: pipeline().to(Upper).build(),
        "application 'app': pipeline 'p' has not ended\nhint: end it with to_sink(...), to_sinks([...]) or done()",
    ),
    "no sink at all": (
        lambda: pipeline().to(Upper).done().build(),
        "application 'app': no pipeline has a sink\nhint: end at least one with to_sink(...) or to_sinks([...])",
    ),
    "an application without a name": (
        lambda: ApplicationBuilder(""),
        "ApplicationBuilder: name must be a non-empty str of printable characters, got ''\n"
        "hint: give it a name people know",
    ),
    "a port that is none": (
        lambda: source("http"),
        "TCPSourceConfig: port must be a number from 0 to 65535, got 'http'\n"
        "hint: give the port as an int or as its digits",
    ),
    "a host that is none": (
        lambda: wallaroo.TCPSinkConfig(None, 7002, Lines),
        'TCPSinkConfig: host must be a non-empty str, got None\nhint: for example "127.0.0.1" or "localhost"',
    ),
    "a path that is none": (
        lambda: wallaroo.FileSinkConfig(7, Lines),
        'FileSinkConfig: path must be a non-empty str or a pathlib.Path, got 7\nhint: for example "words.txt"',
    ),
    "a decoder that cuts no frames": (
        lambda: wallaroo.StdinSourceConfig(with_method("decode", lambda self, bs: bs)),
        "StdinSourceConfig decoder: Step has no method header_length\nhint: define header_length(self) in class Step",
    ),
    "a delimiter that is text": (
        lambda: wallaroo.StdinSourceConfig(type("Step", (Lines,), {"delimiter": "\n"})),
        "StdinSourceConfig decoder: Step.delimiter must be non-empty bytes, got '\\n'\n"
        'hint: for messages that are lines, delimiter = b"\\n"',
    ),
    "a generator without apply": (
        lambda: wallaroo.GenSourceConfig(with_method("initial_value", lambda self: 1)),
        "GenSourceConfig generator: Step has no method apply\nhint: define apply(self, previous) in class Step",
    ),
    "Kafka": (
        lambda: wallaroo.KafkaSinkConfig("topic", [], 1000, 1000, Lines),
        "KafkaSinkConfig: Kafka is not supported yet\n"
        "hint: read and write Kafka in scripts of your own until it is: wallaroo.experimental connects them",
    ),
    "an address without a port": (
        lambda: wallaroo.tcp_parse_input_addrs(["--in", "localhost"]),
        "--in localhost: 'localhost' is not an address\n"
        "hint: an address is HOST:PORT, several are separated by commas, for example --in 127.0.0.1:7010",
    ),
    "no address": (
        lambda: wallaroo.tcp_parse_output_addrs(["--in", "localhost:1"]),
        "--out is missing from the application's arguments\n"
        "hint: add it after the application, for example --out 127.0.0.1:7002",
    ),
    "an option without its value": (
        lambda: wallaroo.tcp_parse_input_addrs(["-i"]),
        "-i is the last word and has no value\nhint: for example --in 127.0.0.1:7010",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_misuse(name):
    build, expected = CASES[name]
    # Python 3.10 began to name the class in such a message.
    init = shown(lambda: pipeline().to(NeedsArgument)).partition("TypeError: ")[2].partition("()")[0]
    assert shown(build) == expected.replace("{module}", __name__).replace("{init}", init)


def test_the_topology_of_every_step():
    ab = ApplicationBuilder("app")
    ab.new_pipeline("p", wallaroo.TCPSourceConfig("127.0.0.1", "7010", Lines()))
    ab.to(Upper).to_parallel(Upper()).to_stateful(Count, Total, "one")
    ab.to_state_partition(Count(), Total(), "many", First(), ["a", "b"]).to_sinks([sink(), sink()]).done()
    ab.new_pipeline("q", wallaroo.FileSourceConfig("in.txt", Lines))
    ab.to_state_partition_u64(Count, Total, "u64", First).done()
    nodes = ab.build().describe()["nodes"]
    assert [(node["kind"], node["name"], node["inputs"]) for node in nodes] == [
        ("source", "p", []),
        ("computation", "upper", [0]),
        ("computation", "upper-2", [1]),
        ("collect", "collect", [2]),
        ("state", "Count", [3]),
        ("key_by", "First", [4]),
        ("state", "Count-2", [5]),
        ("sink", "stdout", [6]),
        ("sink", "stdout", [6]),
        ("source", "q", []),
        ("key_by", "First", [9]),
        ("state", "Count-3", [10]),
    ]
    assert (nodes[5]["keys"], nodes[5]["unknown_key"]) == (["a", "b"], "reject")
    assert (nodes[10]["keys"], nodes[10]["unknown_key"]) == (None, "create")
    assert nodes[6]["table_type"] == f"{__name__}.Total"


def test_two_pipelines_share_state():
    ab = ApplicationBuilder("app")
    for name, port in (("p", 7010), ("q", 7011)):
        ab.new_pipeline(name, source(port)).to_state_partition(Count, Total, "totals", First, ["a"]).to_sink(sink())
    tables = [node["table"] for node in ab.build().describe()["nodes"] if node["kind"] == "state"]
    assert tables == ["totals", "totals"]
