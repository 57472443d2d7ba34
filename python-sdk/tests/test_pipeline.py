"""Fluent pipelines and decorated functions: the topology they make, and the exact words of what is refused."""

from __future__ import annotations

import pytest

import wallaroo
import wallaroo.testing
from wallaroo import ApplicationBuilder, WallarooParameterError, build_application


@wallaroo.decoder(delimiter=b"\n")
def text(bs):
    return bs.decode()


@wallaroo.encoder
def line(data):
    return f"{data}\n"


@wallaroo.computation(name="upper")
def upper(data):
    return data.upper()


@wallaroo.computation_multi(name="split")
def split(data):
    return data.split()


@wallaroo.computation_batch(name="lengths")
def lengths(batch):
    return [len(data) for data in batch]


class Total:
    count = 0


class OtherTotal:
    count = 0


class Built:
    def build(self):
        return Total()


@wallaroo.state_computation(name="count", state=Total)
def count(data, total):
    total.count += 1
    return data, total.count


@wallaroo.state_computation_multi(name="echo", state=Total)
def echo(data, total):
    yield data


@wallaroo.state_computation(name="old count")
def old_count(data, total):
    return data, True


@wallaroo.state_computation_multi(name="old echo")
def old_echo(data, total):
    return [data], True


@wallaroo.key_extractor
def word(data):
    return data


@wallaroo.partition
def first(data):
    return data[:1]


class Upper:
    def compute(self, data):
        return data.upper()


class First:
    def partition(self, data):
        return data[:1]


def source(name="p", port=7010):
    return wallaroo.source(name, wallaroo.TCPSourceConfig("127.0.0.1", port, text))


def sink():
    return wallaroo.StdoutSinkConfig(line)


def shape(application):
    return [(node["kind"], node["name"], node["inputs"]) for node in application.describe()["nodes"]]


def test_the_topology_of_every_step():
    p = source().to(upper).to(split).to(lengths).key_by(word).to(count).to(echo).collect()
    application = build_application("app", p.to_sinks([sink(), wallaroo.TCPSinkConfig("127.0.0.1", 7002, line)]))
    assert shape(application) == [
        ("source", "p", []),
        ("computation", "upper", [0]),
        ("computation", "split", [1]),
        ("computation", "lengths", [2]),
        ("key_by", "word", [3]),
        ("state", "count", [4]),
        ("state", "echo", [5]),
        ("collect", "collect", [6]),
        ("sink", "stdout", [7]),
        ("sink", "tcp 127.0.0.1:7002", [7]),
    ]
    nodes = application.describe()["nodes"]
    assert (nodes[4]["keys"], nodes[4]["unknown_key"]) == (None, "create")
    assert (nodes[5]["table"], nodes[5]["table_type"]) == ("count", f"{__name__}.Total")
    assert (nodes[0]["decoder"], nodes[8]["encoder"]) == ("text", "line")


def test_a_step_that_is_used_again_is_numbered_and_has_its_own_state():
    detected = source().key_by(word)
    for _ in range(3):
        detected = detected.to(count)
    other = source("q", 2).to(count).to(upper).to(wallaroo.computation(name="upper-2")(lambda data: data)).to(upper)
    nodes = build_application("app", detected.to_sink(sink()), other.to_sink(sink())).nodes
    assert [node.name for node in nodes if node.kind == "computation"] == ["upper", "upper-2", "upper-3"]
    states = [node for node in nodes if node.kind == "state"]
    assert [(node.name, node.table) for node in states] == [
        (name, name) for name in ("count", "count-2", "count-3", "count-4")
    ]


def test_each_use_of_a_step_counts_for_itself():
    counted = source().to(count).to(wallaroo.computation(name="again")(lambda counted: counted[0])).to(count)
    outcome = wallaroo.testing.run(build_application("app", counted.to_sink(sink())), ["a", "a"])
    assert outcome.dead_letters == []
    assert outcome.lines == ["('a', 1)", "('a', 2)"]


def test_windows_that_are_used_again_are_numbered_and_have_their_own_state():
    class Sum(wallaroo.Aggregation):
        def initial_accumulator(self):
            return 0

        def update(self, data, accumulator):
            return accumulator + 1

        def output(self, key, accumulator):
            return accumulator

    pairs = wallaroo.count_windows(2).over(Sum)
    counted = source().to(pairs).to(pairs).to_sink(wallaroo.StdoutSinkConfig(wallaroo.encoder(lambda data: str(data))))
    application = build_application("app", counted)
    assert [node.table for node in application.nodes if node.kind == "window"] == ["window:Sum", "window:Sum-2"]
    assert wallaroo.testing.run(application, ["a", "b", "c", "d"]).messages == [b"2"]


def test_every_call_returns_a_new_pipeline():
    p = source()
    branches = [p.to(upper).to_sink(sink()), p.to(split).to_sink(sink())]
    assert shape(build_application("app", *branches)) == [
        ("source", "p", []),
        ("computation", "upper", [0]),
        ("sink", "stdout", [1]),
        ("computation", "split", [0]),
        ("sink", "stdout", [3]),
    ]


def test_state_without_a_key_is_global():
    assert shape(build_application("app", source().to(upper).to(count).to(echo).to_sink(sink()))) == [
        ("source", "p", []),
        ("computation", "upper", [0]),
        ("collect", "collect", [1]),
        ("state", "count", [2]),
        ("state", "echo", [3]),
        ("sink", "stdout", [4]),
    ]


def test_merge_and_state_of_what_was_merged():
    merged = source("a", 1).to(upper).merge(source("b", 2)).merge(source("c", 3))
    assert shape(build_application("app", merged.to(count).to_sink(sink()))) == [
        ("source", "a", []),
        ("computation", "upper", [0]),
        ("source", "b", []),
        ("source", "c", []),
        ("collect", "collect", [1, 2, 3]),
        ("state", "count", [4]),
        ("sink", "stdout", [5]),
    ]


def test_pipelines_with_keys_may_be_merged_before_state():
    merged = source("a", 1).key_by(word).merge(source("b", 2).key_by(word)).to(count).to_sink(sink())
    assert shape(build_application("app", merged))[-2:] == [("state", "count", [1, 3]), ("sink", "stdout", [4])]


def test_a_branch_may_be_merged_with_its_own_beginning():
    p = source()
    assert shape(build_application("app", p.to(upper).merge(p).to(split).to_sink(sink()))) == [
        ("source", "p", []),
        ("computation", "upper", [0]),
        ("computation", "split", [1, 0]),
        ("sink", "stdout", [2]),
    ]


def test_a_pipeline_longer_than_the_stack_is_deep():
    p = source()
    for number in range(5_000):
        p = p.to(wallaroo.computation(name=f"step {number}")(upper.function))
    assert len(build_application("app", p.to_sink(sink())).nodes) == 5_002


@wallaroo.computation(name="even")
def even(data):
    return data if len(data) % 2 == 0 else None


@wallaroo.computation(name="odd")
def odd(data):
    return data if len(data) % 2 else None


def test_branches_may_be_merged_many_times_over():
    words = source()
    for _ in range(40):
        words = words.to(even).merge(words.to(odd))
    windows = wallaroo.range_windows(10).over(Last)
    application = build_application(
        "app", words.to_sink(sink()), words.key_by(word).to(count).to(windows).to_sink(sink())
    )
    outcome = wallaroo.testing.run(application, ["a", "bb", "a"], batch=3)
    assert list(outcome.outputs.values()) == [[b"a\n", b"bb\n", b"a\n"], [b"('a', 2)\n", b"('bb', 1)\n"]]


class Last(wallaroo.Aggregation):
    def initial_accumulator(self):
        return []

    def update(self, data, accumulator):
        return data

    def output(self, key, accumulator):
        return accumulator


@pytest.mark.parametrize("placed", [lambda p: p, lambda p: p.key_by(word), lambda p: p.key_by(word).to(as_given)])
def test_a_pipeline_of_a_thousand_steps_runs(placed):
    words = placed(source())
    for _ in range(1_000):
        words = words.to(upper)
    assert wallaroo.testing.run(build_application("app", words.to_sink(sink())), ["tea"] * 2).lines == ["TEA", "TEA"]


@wallaroo.state_computation(name="as given", state=Total)
def as_given(data, total):
    return data


def test_the_builder_takes_decorated_functions():
    ab = ApplicationBuilder("app").new_pipeline("p", wallaroo.StdinSourceConfig(text))
    ab.to(upper).to_parallel(split).to(lengths).to_stateful(old_count, Total, "all")
    ab.to_state_partition(old_echo, Built, "some", first, ["a"]).to_state_partition(count, Total, "total", First, ["b"])
    nodes = ab.to_sink(sink()).build().describe()["nodes"]
    assert [(node["kind"], node["name"]) for node in nodes] == [
        ("source", "p"),
        ("computation", "upper"),
        ("computation", "split"),
        ("computation", "lengths"),
        ("collect", "collect"),
        ("state", "old count"),
        ("key_by", "first"),
        ("state", "old echo"),
        ("key_by", "First"),
        ("state", "count"),
        ("sink", "stdout"),
    ]
    assert [node["table_type"].rpartition(".")[2] for node in nodes if "table" in node] == ["Total", "Built", "Total"]
    assert [node["unknown_key"] for node in nodes if node["kind"] == "key_by"] == ["create", "reject"]


def test_decorated_functions_share_state_by_name():
    ab = ApplicationBuilder("app")
    for name, computation in (("p", old_count), ("q", old_echo)):
        ab.new_pipeline(name, wallaroo.FileSourceConfig(name, text))
        ab.to_state_partition(computation, Total, "totals", first).to_sink(sink())
    assert [node["table"] for node in ab.build().describe()["nodes"] if node["kind"] == "state"] == ["totals"] * 2


def builder():
    return ApplicationBuilder("app").new_pipeline("p", wallaroo.StdinSourceConfig(text))


BRANCH = "hint: every call returns a new pipeline: branch off the one before the sink"
CASES = {
    "no step": (
        lambda: source().to(Upper),
        "pipeline 'p', to(Upper): the argument is the class Upper, not a step\n"
        'hint: classes are steps of ApplicationBuilder: here put @wallaroo.computation(name="...") above a function',
    ),
    "a plain function": (
        lambda: source().to(upper.function),
        "pipeline 'p', to(upper): the argument is the function upper, not a step\n"
        'hint: put @wallaroo.computation(name="...") above a function, and give that',
    ),
    "state of which nothing is known": (
        lambda: source().to(old_count),
        "pipeline 'p', to(old_count): the decorator of old_count does not say what its state is\n"
        'hint: write @wallaroo.state_computation(name="old count", state=TheClass), and return the output alone',
    ),
    "no key function": (
        lambda: source().key_by(upper),
        "pipeline 'p', key_by(upper): the argument is of type Computation, not a key function\n"
        "hint: put @wallaroo.key_extractor above a function that returns the message's key, in place of the other "
        "decorator",
    ),
    "no pipeline to merge": (
        lambda: source().merge(upper),
        "pipeline 'p', merge: the argument is of type Computation, not a pipeline\n"
        "hint: wallaroo.source(name, source_config) begins one",
    ),
    "merged with itself": (
        lambda: (lambda p: p.merge(p))(source()),
        "pipeline 'p', merge('p'): some messages are in both pipelines, and would come twice\n"
        "hint: merge what comes of different sources or steps",
    ),
    "merged after the sink": (
        lambda: source().merge(source("q").to_sink(sink())),
        f"pipeline 'p', merge('q'): pipeline 'q' has ended with to_sink\n{BRANCH}",
    ),
    "a step after the sink": (
        lambda: source().to_sink(sink()).to(upper),
        f"pipeline 'p', to(upper): pipeline 'p' has ended with to_sink\n{BRANCH}",
    ),
    "a key after the sink": (
        lambda: source().to_sink(sink()).key_by(word),
        f"pipeline 'p', key_by(word): pipeline 'p' has ended with to_sink\n{BRANCH}",
    ),
    "collect after the sink": (
        lambda: source().to_sink(sink()).collect(),
        f"pipeline 'p', collect(): pipeline 'p' has ended with to_sink\n{BRANCH}",
    ),
    "a sink after the sinks": (
        lambda: source().to_sinks([sink()]).to_sink(sink()),
        f"pipeline 'p', to_sink: pipeline 'p' has ended with to_sinks\n{BRANCH}",
    ),
    "state after a merge of different placements": (
        lambda: source("a", 1).key_by(word).merge(source("b", 2)).to(upper).to(count),
        "pipeline 'a + b', to(count): count has state, and the pipelines that were merged are placed by key and by "
        "nothing\nhint: put key_by(...) or collect() after merge(...)",
    ),
    "no sinks": (
        lambda: source().to_sinks([]),
        "pipeline 'p', to_sinks: the list is empty\nhint: give at least one sink config",
    ),
    "no list of sinks": (
        lambda: source().to_sinks(sink()),
        "to_sinks: sink_configs is of type StdoutSinkConfig, not a list\nhint: give a list",
    ),
    "no sink config": (
        lambda: source().to_sink(line),
        "pipeline 'p', to_sink: the argument is of type Encoder, not a sink config\n"
        "hint: for example wallaroo.TCPSinkConfig(host, port, encoder)",
    ),
    "no source config": (
        lambda: wallaroo.source("p", text),
        "source('p'): source_config is of type DelimiterDecoder, not a source config\n"
        "hint: for example wallaroo.TCPSourceConfig(host, port, decoder)",
    ),
    "a source without a name": (
        lambda: wallaroo.source(None, wallaroo.StdinSourceConfig(text)),
        "source: name must be a non-empty str of printable characters, got None\nhint: give it a name people know",
    ),
    "an application without a name": (
        lambda: build_application("", source().to_sink(sink())),
        "build_application: name must be a non-empty str of printable characters, got ''\n"
        "hint: give it a name people know",
    ),
    "no pipeline": (
        lambda: build_application("app"),
        "application 'app' has no pipeline\nhint: give build_application the pipelines it is made of",
    ),
    "a builder in place of a pipeline": (
        lambda: build_application("app", builder()),
        "application 'app': pipelines[0] is of type ApplicationBuilder, not a pipeline\n"
        "hint: wallaroo.source(name, source_config) begins one",
    ),
    "a pipeline that has not ended": (
        lambda: build_application("app", source().to(upper)),
        "application 'app': pipeline 'p' has not ended\n"
        "hint: end it with to_sink(...) or to_sinks([...]), and give what that returns",
    ),
    "two sources of one name": (
        lambda: build_application("app", source("a", 1).merge(source("a", 2)).to_sink(sink())),
        "application 'app': two sources are named 'a'\n"
        "hint: give each its own name, or branch off one pipeline: every call returns a new one",
    ),
    "two sources on one port": (
        lambda: build_application("app", source("a").merge(source("b")).to_sink(sink())),
        "source('b'): pipeline 'a' reads from tcp 127.0.0.1 7010 already\nhint: give each source its own address",
    ),
    "state where the builder takes none": (
        lambda: builder().to(old_count),
        "pipeline 'p', to(old_count): old_count has state\nhint: use to_stateful or to_state_partition for it",
    ),
    "no state where the builder takes some": (
        lambda: builder().to_stateful(upper, Total, "totals"),
        "pipeline 'p', to_stateful(upper): upper has no state\n"
        "hint: use to or to_parallel for it, or decorate it with @wallaroo.state_computation",
    ),
    "a plain function for the builder": (
        lambda: builder().to(upper.function),
        "pipeline 'p', to(upper): upper is a plain function\n"
        'hint: put @wallaroo.computation(name="...") above it, or give a class',
    ),
    "another state than the decorator says": (
        lambda: builder().to_stateful(count, OtherTotal, "totals"),
        "pipeline 'p', to_stateful(count): its decorator says that its state is Total, not OtherTotal\n"
        "hint: give the same class in both places, or leave state= out of the decorator",
    ),
    "a state object for the builder": (
        lambda: builder().to_stateful(old_count, Total(), "totals"),
        "pipeline 'p', to_stateful(old_count): state_class is of type Total, not a class\n"
        "hint: give the class of the state, not an object of it",
    ),
    "a key function that is decorated for another place": (
        lambda: builder().to_state_partition(old_count, Total, "totals", upper),
        "pipeline 'p', to_state_partition(old_count): partition_function: upper is decorated for another place, as "
        "Computation\nhint: decorate it with @wallaroo.partition",
    ),
    "state classes that differ": (
        lambda: builder().to_stateful(old_count, Total, "totals").to_stateful(old_echo, OtherTotal, "totals"),
        "pipeline 'p', to_stateful(old_echo): state 'totals' is shared with pipeline 'p', which builds it with "
        f"{__name__}.Total, not {__name__}.OtherTotal\n"
        "hint: use the same state builder in both, or another state_name",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_misuse(name):
    build, expected = CASES[name]
    with pytest.raises(WallarooParameterError) as caught:
        build()
    assert str(caught.value) == expected


def test_the_names_that_the_last_versions_of_wallaroo_put_first():
    """``NAME@HOST:PORT``, and the name before the host and before the generator."""
    (address,) = wallaroo.tcp_parse_input_addrs(["--in", "Votes@127.0.0.1:7010"])
    assert address == ("Votes", "127.0.0.1", "7010")
    assert wallaroo.tcp_parse_output_addrs(["--out", "h:1,N@[::1]:2"]) == [("h", "1"), ("N", "::1", "2")]
    for config in (
        wallaroo.TCPSourceConfig(*address, text),
        wallaroo.TCPSourceConfig("127.0.0.1", 7010, text, 5),
        wallaroo.TCPSourceConfig(host="127.0.0.1", port="7010", decoder=text, parallelism=1),
    ):
        assert config.describe() == {"kind": "tcp", "host": "127.0.0.1", "port": 7010}
        assert config.decode(b"a") == "a"

    class Generator:
        def initial_value(self):
            return 1

        def apply(self, previous):
            return None

    for generated in (wallaroo.GenSourceConfig("name", Generator()), wallaroo.GenSourceConfig(generator=Generator)):
        assert generated.generator.initial_value() == 1
