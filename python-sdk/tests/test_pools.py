"""Steps of other pools: how they are named, and what crosses between the stages around them."""

from __future__ import annotations

import pytest

import wallaroo
import wallaroo.testing
from stages import Lines, Runner, build


class Point:
    def __init__(self, x):
        self.x = x

    def __reduce__(self):
        if self.x == "stuck":
            raise ValueError("not to be pickled")
        return Point, (self.x,)


class Upper:
    def compute(self, data):
        return data.upper()


@wallaroo.computation(name="double")
def double(data):
    return data * 2


@wallaroo.computation(name="point")
def point(data):
    return Point(data)


@wallaroo.computation_multi(name="split")
def split(data):
    return data.split()


@wallaroo.computation_batch(name="lengths")
def lengths(batch):
    return [len(data) for data in batch]


@wallaroo.key_extractor
def first_letter(data):
    return data[0]


@wallaroo.state_computation(name="count", state=lambda: [0])
def count(data, state):
    state[0] += 1
    return f"{data} {state[0]}"


def lines():
    return wallaroo.source("lines", wallaroo.StdinSourceConfig(Lines))


def app(pipeline):
    return wallaroo.build_application("app", pipeline.to_sink(wallaroo.StdoutSinkConfig(Lines)))


def pools(application):
    return {node["name"]: node["pool"] for node in application.describe()["nodes"] if "pool" in node}


def test_every_generation_names_a_pool():
    built = build(
        lambda ab: ab.to(Upper, pool="legacy"), lambda ab: ab.to_parallel(double, pool="new"), lambda ab: ab.to(split)
    )
    assert pools(built) == {"Upper": "legacy", "double": "new", "split": None}
    built = app(lines().to(split).to(double, pool="legacy").to(lengths, pool="legacy").to(point))
    assert pools(built) == {"split": None, "double": "legacy", "lengths": "legacy", "point": None}


@pytest.mark.parametrize(
    ("pool", "problem"),
    [(3, "pool is of type int, not a pool's name"), ("", "pool is an empty str, not a pool's name")],
)
def test_what_is_no_name_is_refused(pool, problem):
    with pytest.raises(wallaroo.WallarooParameterError) as caught:
        lines().to(double, pool=pool)
    assert caught.value.message == f"pipeline 'lines', to(double): {problem}"
    assert caught.value.hint == 'give the name that --pool NAME=PYTHON or wallaroo.toml defines, as pool="legacy"'
    with pytest.raises(wallaroo.WallarooParameterError) as caught:
        build(lambda ab: ab.to(Upper, pool=pool))
    assert caught.value.message == f"pipeline 'p', to(Upper): {problem}"


def test_state_stays_in_the_main_pool():
    with pytest.raises(wallaroo.WallarooParameterError) as caught:
        lines().key_by(first_letter).to(count, pool="legacy")
    assert caught.value.message == (
        "pipeline 'lines', to(count): pool='legacy' is given to a step with state, and state lives in the main pool"
    )
    assert (
        caught.value.hint == "move what needs another interpreter into a step without state, and give the pool to that"
    )


def test_values_without_a_key_cross_in_order_and_in_small_groups():
    # 0 lines, 1 split, 2 double in the pool, 3 the sink.
    runner = Runner(
        app(lines().to(split).to(double, pool="legacy")),
        ("frames", 0, [1], None),
        ("groups", 1, [2], "legacy"),
        ("groups", 2, [3], None),
    )
    words = [f"w{number}" for number in range(40)]
    given = [" ".join(words[:30]).encode(), b"", " ".join(words[30:]).encode()]
    out = runner.run(0, given)
    groups = runner.read(out.outputs[1])
    assert [key for key, _ in groups] == [None] * 3
    assert [len(values) for _, values in groups] == [16, 16, 8]
    assert [word for _, values in groups for word in values] == words
    assert runner.run(0, given, flags=2).outputs == out.outputs, "the same, run carefully"
    doubled = runner.run(1, out.outputs[1])
    assert [value for _, values in runner.read(doubled.outputs[2]) for value in values] == [word * 2 for word in words]
    assert runner.run(2, doubled.outputs[2]).outputs == {3: [word * 2 for word in words]}


def test_keys_go_along():
    # 0 lines, 1 first_letter, 2 split in the pool, 3 count, 4 the sink.
    runner = Runner(
        app(lines().key_by(first_letter).to(split, pool="legacy").to(count)),
        ("groups", 1, [2], "legacy"),
        ("groups", 2, [4], None),
    )
    given = runner.groups(("a", ["a b c", "", "a"]), (("t", 1), ["x y"]), ("a", ["z"]))
    out = runner.run(0, given)
    expected = [("a", ["a", "b", "c", "a"]), (["t", 1], ["x", "y"]), ("a", ["z"])]
    assert runner.read(out.outputs[2]) == expected
    careful = runner.run(0, given, flags=2)
    assert runner.read(careful.outputs[2]) == [("a", ["a", "b", "c", "a", "z"]), (["t", 1], ["x", "y"])]
    counted = runner.run(1, out.outputs[2])
    assert counted.outputs == {4: ["a 1", "b 2", "c 3", "a 4", "x 1", "y 2", "z 5"]}


def test_what_leaves_a_state_crosses_as_it_was():
    # 0 lines, 1 first_letter, 2 grow, 3 show in the pool, 4 the sink.
    @wallaroo.state_computation(name="grow", state=list)
    def grow(data, state):
        state.append(data)
        return state

    @wallaroo.computation(name="show")
    def show(data):
        return ",".join(data)

    runner = Runner(
        app(lines().key_by(first_letter).to(grow).to(show, pool="legacy")),
        ("groups", 1, [2], None),
        ("groups", 2, [3], "legacy"),
        ("groups", 3, [4], None),
    )
    out = runner.run(0, runner.groups(("a", ["a1", "a2"]), ("b", ["b1"])))
    assert runner.read(out.outputs[2]) == [("a", [["a1"]]), ("a", [["a1", "a2"]]), ("b", [["b1"]])]
    shown = runner.run(1, out.outputs[2])
    assert runner.run(2, shown.outputs[3]).outputs == {4: ["a1", "a1,a2", "b1"]}


def test_a_value_that_cannot_cross_is_a_failure_of_its_step():
    runner = Runner(app(lines().to(point).to(double, pool="legacy")), ("frames", 0, [1], None))
    given = [b"a", b"stuck", b"b"]
    for flags in (0, 2):
        out = runner.run(0, given, flags=flags)
        assert [value.x for _, values in runner.read(out.outputs[1]) for value in values] == ["a", "b"]
        assert [(failure.node, failure.origin, failure.exception) for failure in out.failures] == [(1, 1, "ValueError")]


def test_a_crossing_larger_than_a_body_is_cut():
    runner = Runner(app(lines().to(split).to(double, pool="legacy")), ("frames", 0, [1], None), max_body=400)
    out = runner.run(0, [b" ".join([b"x" * 90] * 10), b"y" * 500])
    assert out.parts > 3
    assert [value for _, values in runner.read(out.outputs[1]) for value in values] == ["x" * 90] * 10
    assert [(failure.node, failure.origin) for failure in out.failures] == [(1, 1)]


def test_branches_part_where_pools_do():
    words = lines().to(split)
    both = words.to(double, pool="legacy").merge(words.to(lengths))
    # 0 lines, 1 split, 2 double in the pool, 3 lengths, 4 the sink of both.
    runner = Runner(
        app(both),
        ("frames", 0, [1, 4], None),
        ("groups", 1, [2], "legacy"),
        ("groups", 2, [4], None),
    )
    out = runner.run(0, [b"to be"])
    assert out.outputs[4] == ["2", "2"]
    assert runner.run(2, runner.run(1, out.outputs[1]).outputs[2]).outputs == {4: ["toto", "bebe"]}


def test_a_source_may_feed_a_pool_alone():
    runner = Runner(app(lines().to(double, pool="legacy")), ("frames", 0, [0], None), ("groups", 0, [1], "legacy"))
    out = runner.run(0, [b"a", b"b"])
    assert runner.read(out.outputs[0]) == [(None, ["a", "b"])]
    assert runner.read(runner.run(1, out.outputs[0]).outputs[1]) == [(None, ["aa", "bb"])]


def test_times_cross_with_the_watermarks_that_values_met():
    @wallaroo.computation(name="same")
    def same(data):
        return data

    class Count(wallaroo.Aggregation):
        def initial_accumulator(self):
            return 0

        def update(self, data, accumulator):
            return accumulator + 1

        def combine(self, left, right):
            return left + right

        def output(self, key, accumulator):
            return str(accumulator)

    windows = wallaroo.range_windows(10).over(Count)
    source = wallaroo.source("lines", wallaroo.StdinSourceConfig(Lines, event_time=lambda data: int(data[1:])))
    built = app(source.key_by(first_letter).to(same, pool="legacy").to(windows))
    # 0 lines, 1 first_letter, 2 same in the pool, 3 windows, 4 the sink.
    runner = Runner(built, ("frames", 0, [1], None), ("groups", 1, [2], "legacy"), ("groups", 2, [4], None))
    keyed = runner.run(0, [b"a1", b"a15", b"a2"], times=[3, 0]).outputs[1]
    crossed = runner.run(1, keyed, times=[1, 0]).outputs[2]
    assert crossed == keyed
    assert runner.run(2, crossed, times=[1, -(2**63)]).late == 1


def test_the_in_process_runner_runs_all_steps_itself():
    built = app(lines().to(split).to(double, pool="legacy").key_by(first_letter).to(point, pool="x").to(lambda_of_x()))
    assert wallaroo.testing.run(built, ["to be"]).lines == ["toto", "bebe"]


def lambda_of_x():
    @wallaroo.computation(name="x")
    def x(data):
        return f"{data.x}\n"

    return x
