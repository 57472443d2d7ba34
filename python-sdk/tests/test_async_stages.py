"""Stages of ``map_async``: where they begin and end, what their batches hold, and how a careful one is run."""

from __future__ import annotations

import asyncio
import os
import struct

import wallaroo
from stages import Runner
from verbs import literal, outputs, to_stdout, values
from wallaroo._codec.protocol import CAREFUL, DISCARD
from wallaroo.testing._plan import planned_stages

BATCHES = [1, 3, 100]


async def double(number):
    await asyncio.sleep(0)
    return 2 * number


def keyed(pipeline):
    return pipeline.key_by(lambda number: "all")


async def none_for_odd(number):
    return None if number % 2 else number


def kinds(pipeline):
    return [(node.kind, node.name, list(node.inputs)) for node in to_stdout(pipeline).nodes[1:-1]]


async def of_pair(pair):
    return pair[1]


def test_a_stage_with_state_is_cut_where_an_async_step_begins_and_ends():
    counted = values().key_by(lambda number: number % 2, name="parity").count()
    assert kinds(counted.map_async(of_pair).count(name="again")) == [
        ("key_by", "parity", [0]),
        ("state", "count", [1]),
        ("key_by", "before of_pair", [2]),
        ("computation", "of_pair", [3]),
        ("key_by", "after of_pair", [4]),
        ("state", "again", [5]),
    ]


def test_cuts():
    keyed_ = values().key_by(lambda number: number % 2, name="parity")
    # Above state alone.
    assert kinds(keyed_.map_async(double).map(str).count())[1:] == [
        ("computation", "double", [1]),
        ("key_by", "after double", [2]),
        ("computation", "str", [3]),
        ("state", "count", [4]),
    ]
    # Below state alone: what leads to no state goes on in the same stage.
    assert kinds(keyed_.count().map_async(of_pair).map(str))[2:] == [
        ("key_by", "before of_pair", [2]),
        ("computation", "of_pair", [3]),
        ("computation", "str", [4]),
    ]
    # Two in a row are in one stage.
    both = keyed_.count().map_async(of_pair).map(int).map_async(double).count(name="again")
    assert [name for _, name, _ in kinds(both)[2:]] == [
        "before of_pair",
        "of_pair",
        "int",
        "double",
        "after double",
        "again",
    ]
    # Without a key.
    assert [kind for kind, *_ in kinds(values().count().map_async(of_pair).count())] == [
        "collect",
        "state",
        "collect",
        "computation",
        "collect",
        "state",
    ]
    # Where there is no state, nothing is cut.
    for without in (values().map_async(double), keyed_.map_async(double), keyed_.map_async(double).key_by(str).count()):
        assert not [name for _, name, _ in kinds(without) if name.startswith(("before", "after"))]
    assert kinds(keyed_.count().map_async(of_pair, pool="io").count())[2:] == [
        ("computation", "of_pair", [2]),
        ("state", "count-2", [3]),
    ]


def test_branches_and_merges_around_an_async_step():
    keyed_ = values().key_by(lambda number: number % 2, name="parity")
    called = keyed_.map_async(double)
    # State beside it, and of two branches below it that which leads to state.
    app = to_stdout(called.count(), called.map(str), keyed_.map(int).count())
    assert [(node.name, node.inputs) for node in app.nodes if node.kind in ("computation", "key_by", "state")] == [
        ("parity", (0,)),
        ("before double", (1,)),
        ("double", (2,)),
        ("after double", (3,)),
        ("count", (4,)),
        ("str", (3,)),
        ("int", (1,)),
        ("count-2", (9,)),
    ]
    # Two ways into it, and two out of it that come together again.
    left, right = keyed_.count().branch(bool)
    both = left.map(str).merge(right).map_async(none_for_odd)
    cut = [(node.name, len(node.inputs)) for node in to_stdout(both.map(str).merge(both).count()).nodes]
    assert ("before none_for_odd", 2) in cut
    assert ("after none_for_odd", 1) in cut


def test_keys_and_times_cross_cuts():
    """Sums of each key, with windows above and below."""

    async def wait(window):
        await asyncio.sleep(0)
        return window.value

    source = wallaroo.source(
        "values", wallaroo.StdinSourceConfig(literal, event_time=lambda number: wallaroo.nanoseconds(number))
    )
    keyed_ = source.map_async(double).key_by(lambda number: number % 3)
    of_two = keyed_.window(wallaroo.tumbling(20)).aggregate(wallaroo.sum(int), name="twenty")
    of_all = of_two.map_async(wait).window(wallaroo.tumbling(40)).aggregate(wallaroo.collect_list(), name="forty")
    shown_ = of_all.map(lambda window: (window.key, window.value))
    expected = {}
    for number in range(60):
        for_key = expected.setdefault((number // 40, 2 * number % 3), {})
        for_key[number // 20] = for_key.get(number // 20, 0) + 2 * number
    lists = sorted(str((key, list(sums.values()))) for (_, key), sums in expected.items())
    for batch in BATCHES:
        assert sorted(outputs(shown_, range(60), batch=batch)) == lists


def test_a_replay_calls_nothing():
    called = []

    async def call(number):
        called.append(number)
        return number

    app = to_stdout(values().key_by(abs, name="abs").map_async(call).stateful(lambda text, seen: text, list))
    (stage,) = [each for each in planned_stages(app) if app.nodes[each.root].name == "abs"]
    runner = Runner(app, stage)
    runner.run(0, runner.groups((1, [1])), flags=DISCARD)
    assert called == []
    runner.run(0, runner.groups((1, [1])))
    assert called == [1]


def test_a_batch_may_hold_several_rounds_and_waits_for_none():
    def fill(pipeline):
        described = to_stdout(pipeline).describe()["nodes"]
        return next(node["fill"] for node in described if node["name"] == "double")

    assert fill(values().map_async(double)) == {"messages": 200, "wait": 0}
    assert fill(values().map_async(double, concurrency=8000)) == {"messages": 8192, "wait": 0}
    # Batches above a keyed stage make a part of what may wait there.
    assert fill(keyed(values()).map_async(double)) == {"messages": 800, "wait": 0}
    assert fill(keyed(values()).map_async(double, pool="io")) == {"messages": 200, "wait": 0}


def test_a_careful_batch_makes_its_calls_one_by_one_and_names_each(tmp_path):
    marks = []
    with (tmp_path / "marker").open("w+b") as file:

        async def call(number):
            await asyncio.sleep(0)
            _, step, message = struct.unpack("QQQ", os.pread(file.fileno(), 24, 0))
            marks.append((step & 0xFFFFFFFF, message & 0xFFFFFFFF, message >> 32))
            return number

        p = keyed(values()).map_async(call)
        runner = Runner(to_stdout(p), ("groups", 1, [3]), marker=os.dup(file.fileno()))
        groups = runner.groups(("a", [1, 2]), ("b", [3]))
        assert runner.run(0, groups, flags=CAREFUL).outputs == {3: ["1\n", "2\n", "3\n"]}
        assert marks == [(2, 0, 0), (2, 0, 1), (2, 1, 0)]
        marks.clear()
        runner.run(0, groups)
        whole = 0xFFFFFFFF
        assert marks == [(2, whole, whole)] * 3
