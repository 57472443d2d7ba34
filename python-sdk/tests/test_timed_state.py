"""``stateful`` with ``ttl=``, ``on_timer=`` and ``ctx``: when timers are called, and when states end."""

from __future__ import annotations

import operator
import pickle
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import wallaroo
import wallaroo.testing
from acting import SECOND, Seen, act, passed, ring, seconds, timed
from verbs import literal, outputs, steps, to_stdout, values
from wallaroo._windows.timers import Timers
from wallaroo.testing import InProcess


def acted(stream, batch=1, restarts=False, **options):
    found = outputs(timed().stateful(act, Seen, on_timer=ring, **options), stream, batch=batch, restarts=restarts)
    return [literal(line.encode()) for line in found]


def model(stream, ttl):
    """What is given for each key, message by message."""
    watermark, kept, given_for = -1, {}, {}

    def run_until(key, watermark):
        own = kept[key]
        while own["timers"]:
            (tag, time) = min(own["timers"].items(), key=lambda item: item[1])
            if time[0] > watermark:
                return
            del own["timers"][tag]
            whats = own["whats"] = [*(own["whats"] or []), tag]
            own["used"] = max(own["used"], time[0])
            if tag is not None and tag.isdigit() and int(tag):
                set_timer(own, time[0] + 3, str(int(tag) - 1))
            given_for[key].append((key, time[0], list(whats), tag))
            if tag == "delete":
                own["whats"], own["timers"] = None, {}
        if ttl is not None and own["used"] + ttl <= watermark:
            own["whats"] = None

    def set_timer(own, time, tag=None):
        own["number"] += 1
        own["timers"][tag] = time, own["number"]

    for time, key, what in stream:
        watermark = max(watermark, time)
        own = kept.setdefault(key, {"whats": None, "timers": {}, "used": -1, "number": 0})
        given_for.setdefault(key, [])
        run_until(key, watermark)
        whats = own["whats"] = [*(own["whats"] or []), what]
        own["used"] = max(own["used"], watermark)
        given_for[key].append((key, watermark, list(whats)))
        if what[0] == "after":
            set_timer(own, watermark + what[1], *what[2:])
        elif what[0] == "at":
            set_timer(own, max(watermark, what[1]), *what[2:])
        elif what[0] == "cancel":
            own["timers"].pop(what[1] if len(what) > 1 else None, None)
        elif what[0] == "delete":
            own["whats"], own["timers"] = None, {}
        run_until(key, watermark)
    for key in kept:
        run_until(key, watermark)
    return given_for


def of_each_key(found):
    return {key: [each for each in found if each[0] == key] for key in dict.fromkeys(each[0] for each in found)}


tags = st.tuples() | st.sampled_from([("x",), ("delete",), ("0",), ("2",), ("5",)])
whats = st.one_of(
    st.just(("touch",)),
    st.tuples(st.just("after"), st.integers(0, 15)).flatmap(lambda what: tags.map(lambda tag: what + tag)),
    st.tuples(st.just("at"), st.integers(0, 60)).flatmap(lambda what: tags.map(lambda tag: what + tag)),
    tags.map(lambda tag: ("cancel", *tag)),
    st.just(("delete",)),
)


@settings(max_examples=500, deadline=None)
@given(
    stream=st.lists(st.tuples(st.integers(0, 50), st.sampled_from("abc"), whats), max_size=30),
    ttl=st.none() | st.integers(1, 20),
    batch=st.sampled_from([1, 2, 5, 100]),
    restarts=st.booleans(),
    in_order=st.booleans(),
    atomic=st.booleans(),
)
def test_what_is_given_is_what_a_model_gives(stream, ttl, batch, restarts, in_order, atomic):
    stream = sorted(stream) if in_order else stream
    found = acted(stream, batch, restarts, ttl=None if ttl is None else seconds(ttl), atomic=atomic)
    assert of_each_key(found) == model(stream, ttl)


def test_a_timer_is_called_before_a_message_of_its_time_and_with_what_the_key_has():
    stream = [(1, "a", ("after", 9)), (9, "a", ("touch",)), (10, "a", ("touch",)), (25, "b", ("touch",))]
    assert acted(stream) == [
        ("a", 1, [("after", 9)]),
        ("a", 9, [("after", 9), ("touch",)]),
        ("a", 10, [("after", 9), ("touch",), None], None),
        ("a", 10, [("after", 9), ("touch",), None, ("touch",)]),
        ("b", 25, [("touch",)]),
    ]


def test_timers_have_names_and_are_moved():
    stream = [(0, "a", ("after", 5)), (1, "a", ("after", 5, "x")), (2, "a", ("after", 9)), (50, "b", ("touch",))]
    assert [each[1::2] for each in acted(stream)] == [(0,), (1,), (2,), (50,), (6, "x"), (11, None)]
    assert acted([(0, "a", ("after", 5)), (1, "a", ("cancel",)), (9, "a", ("touch",))])[-1][1:2] == (9,)


def test_a_timer_that_is_set_for_the_past_is_called_at_once():
    stream = [(20, "a", ("at", 3)), (20, "a", ("after", 0)), (20, "a", ("touch",))]
    assert [each[1::2] for each in acted(stream)] == [(20,), (20, None), (20,), (20, None), (20,)]


def test_a_timer_may_set_the_next_one():
    assert [each[1::2] for each in acted([(0, "a", ("after", 1, "3")), (8, "b", ("touch",))])] == [
        (0,),
        (8,),
        (1, "3"),
        (4, "2"),
        (7, "1"),
    ]


@pytest.mark.parametrize("batch", [1, 100])
@pytest.mark.parametrize("restarts", [False, True])
def test_the_end_calls_no_timer(batch, restarts):
    stream = [(0, "a", ("after", 10)), (9, "b", ("after", 1)), (9, "a", ("touch",))]
    assert [each[1::2] for each in sorted(acted(stream, batch, restarts), key=str)] == [(0,), (9,), (9,)]


def test_the_time_is_that_of_arrival_without_event_times():
    def watch(message, seen, ctx):
        ctx.set_timer(wallaroo.minutes(30))

    def warn(seen, ctx):
        return f"{ctx.key} at {ctx.now:%H:%M:%S}"

    app = InProcess(to_stdout(values().key_by(str).stateful(watch, Seen, on_timer=warn)))
    app.advance(timedelta(minutes=1))
    app.send(["1", "2"])
    app.advance(timedelta(minutes=20))
    app.send(["1"])
    app.advance(timedelta(minutes=10))
    assert app.outcome.lines == ["'2 at 00:31:00'"]
    app.advance(timedelta(minutes=20))
    assert app.outcome.lines == ["'2 at 00:31:00'", "'1 at 00:51:00'"]
    app.send(["3"])
    app.end()
    assert len(app.outcome.lines) == 2


def source_of(name):
    config = wallaroo.FileSourceConfig(name, literal, event_time=lambda message: message[0] * SECOND)
    return wallaroo.source(name, config)


def test_of_two_sources_the_slower_one_says_how_far_time_has_come():
    p = source_of("one").merge(source_of("two")).key_by(operator.itemgetter(1)).stateful(act, Seen, on_timer=ring)
    app = InProcess(to_stdout(p))
    app.send([str((100, "a", ("after", 5)))], source="one")
    app.send([str((200, "a", ("at", 150)))], source="one")
    app.send([str((10, "a", ("touch",)))], source="two")
    found = [literal(line.encode())[1::2] for line in app.outcome.lines]
    assert found == [(100,), (200,), (10,)], "now is no earlier than the message"
    app.send([str((199, "b", ("touch",)))], source="two")
    app.send([str((200, "b", ("touch",)))], source="two")
    found = [literal(line.encode())[1::2] for line in app.outcome.lines[3:]]
    assert found == [(199,), (200,), (200, None)], "the second call has moved it"


def test_a_message_of_a_slower_source_makes_no_state_older():
    count = lambda message, seen: len(seen.append(message) or seen)  # noqa: E731
    p = source_of("one").merge(source_of("two")).key_by(operator.itemgetter(1)).stateful(count, list, ttl=seconds(50))
    app = InProcess(to_stdout(p))
    app.send(["(100, 'a')", "(200, 'b')"], source="one")
    app.send(["(10, 'a')", "(70, 'b')", "(149, 'a')"], source="two")
    assert app.outcome.lines == ["1", "1", "2", "2", "3"]


def kept(app):
    """The states of the only table, by key."""
    (table,) = app._tables._tables.values()
    for key in list(table._restored):
        table.open(key)
    return {key: state.state for key, state in table.live.items() if not state.is_empty()}


def test_a_state_that_is_not_used_is_dropped():
    count = timed().stateful(lambda message, seen: len(seen.append(message) or seen), list, ttl=seconds(10))
    stream = [(0, "a", 0), (9, "a", 0), (18, "a", 0), (28, "a", 0), (30, "b", 0), (37, "a", 0), (47, "b", 0)]
    assert outputs(count, stream) == ["1", "2", "3", "1", "1", "2", "1"]


@pytest.mark.parametrize("restarts", [False, True])
def test_nothing_is_kept_of_keys_that_do_not_return(restarts):
    p = timed().stateful(lambda message, seen: seen.append(message), list, ttl=wallaroo.seconds(10))
    app = InProcess(to_stdout(p), restarts=restarts)
    app.send([str((1, key, 0)) for key in range(50)])
    app.send([str((9, 1, 0))])
    assert len(kept(app)) == 50
    app.send([str((11, "b", 0))])
    assert set(kept(app)) == {1, "b"}
    app.send([str((100, "c", 0))])
    (table,) = app._tables._tables.values()
    if restarts:
        assert set(table._restored) | set(table.live) == {"c"}
    assert set(kept(app)) == {"c"}
    app.end()


def test_a_deleted_state_is_not_kept():
    app = InProcess(to_stdout(timed().stateful(act, Seen, on_timer=ring)), restarts=True)
    app.send([str((1, "a", ("after", 5))), str((2, "b", ("after", 5, "delete"))), str((3, "a", ("delete",)))])
    assert set(kept(app)) == {"b"}
    app.send([str((9, "c", ("touch",)))])
    assert set(kept(app)) == {"c"}


def test_a_timer_keeps_its_state():
    stream = [(0, "a", ("after", 50)), (40, "a", ("touch",)), (59, "a", ("touch",)), (69, "a", ("touch",))]
    assert [len(each[2]) for each in acted(stream, ttl=seconds(10))] == [1, 2, 3, 4, 1]


def test_state_is_dropped_by_a_function_without_on_timer():
    def last(message, seen, ctx):
        seen.append(message[2])
        if message[2] == "end":
            ctx.delete_state()
        return " ".join(seen)

    stream = [(0, "a", "x"), (1, "a", "end"), (2, "a", "y")]
    assert outputs(timed().stateful(last, list), stream, restarts=True) == ["'x'", "'x end'", "'y'"]


@pytest.mark.parametrize("restarts", [False, True])
def test_a_timer_set_after_the_state_was_deleted_finds_a_new_one(restarts):
    def again(message, seen, ctx):
        seen.whats.append("old")
        ctx.set_timer(seconds(1))
        ctx.delete_state()
        ctx.set_timer(seconds(2), "new")

    p = timed().stateful(again, Seen, on_timer=ring)
    assert outputs(p, [(0, "a", 0), (9, "b", 0)], restarts=restarts) == ["('a', 2.0, ['new'], 'new')"]


def test_without_a_key():
    p = values().stateful(lambda message, seen, ctx: (ctx.key, len(seen.append(message) or seen)), list)
    assert outputs(p, [1, 2]) == ["(None, 1)", "(None, 2)"]


def test_ctx_has_the_key_as_it_was_given():
    p = values().key_by(lambda number: number > 1).stateful(lambda number, seen, ctx: ctx.key, list)
    assert outputs(p, [1, 2]) == ["False", "True"]


def test_windows_below_have_the_times_of_timers():
    below = timed().stateful(act, Seen, on_timer=ring).filter(lambda found: len(found) == 4)
    stream = [(1, "a", ("after", 10)), (2, "b", ("after", 3)), (12, "a", ("touch",)), (40, "b", ("touch",))]
    for counted in (below, below.key_by(lambda found: found[0])):
        windows = counted.window(wallaroo.tumbling(seconds(10))).aggregate(wallaroo.count())
        p = windows.map(lambda window: (window.key, window.start.second, window.value, window.closed_by))
        found = outputs(p, stream, batch=2)
        assert sorted(found) == ["('a', 10, 1, 'time')", "('b', 0, 1, 'time')"]


def test_windows_below_have_the_times_of_messages_behind_timers():
    below = timed().stateful(act, Seen, on_timer=ring).filter(lambda found: len(found) == 3)
    p = below.window(wallaroo.tumbling(seconds(10))).aggregate(wallaroo.count())
    found = outputs(
        p.map(lambda window: (window.start.second, window.value)), [(1, "a", ("after", 5)), (12, "a", ("touch",))]
    )
    assert found == ["(0, 1)", "(10, 1)"]


def test_below_windows_a_timer_waits_for_what_they_wait_for():
    windows = timed().window(wallaroo.tumbling(seconds(10), delay=seconds(5))).aggregate(wallaroo.count())
    watch = lambda window, seen, ctx: ctx.set_timer(seconds(12))  # noqa: E731
    p = windows.stateful(watch, Seen, on_timer=lambda seen, ctx: (ctx.key, passed(ctx.now)))
    # At 33 the first window has been quiet for long enough; the second is given at 35, and begins anew.
    stream = [(12, "a"), (25, "a"), (33, "b"), (35, "b"), (46, "b"), (47, "b")]
    assert outputs(p, stream) == ["('a', 41.999999)"]


def test_below_windows_a_timer_is_called_among_their_results():
    def watch(window, seen, ctx):
        if not seen:
            ctx.set_timer(timedelta(milliseconds=1500))
        seen.append(window.start.second)
        return list(seen)

    windows = timed().window(wallaroo.sliding(seconds(2), every=seconds(1), delay=seconds(5)))
    p = windows.aggregate(wallaroo.count()).stateful(watch, list, on_timer=lambda seen, ctx: f"{ctx.key} rings")
    found = outputs(p, [(12, "a"), (13, "a"), (18, "b"), (19, "b"), (20, "b")])
    assert found[:4] == ["[11]", "[11, 12]", "'a rings'", "[11, 12, 13]"]


def test_below_windows_it_goes_by_their_time():
    def watch(window, seen, ctx):
        ctx.set_timer(seconds(15))
        return f"{ctx.key} {passed(ctx.now)}"

    windows = timed().window(wallaroo.tumbling(seconds(10), delay=seconds(5))).aggregate(wallaroo.count())
    for p in (windows, windows.key_by(lambda window: window.key)):
        p = p.stateful(watch, Seen, on_timer=lambda seen, ctx: f"{ctx.key} quiet at {passed(ctx.now)}")
        found = outputs(p, [(1, "a", 0), (12, "a", 0), (50, "b", 0), (90, "b", 0)], batch=2)
        assert [line for line in found if line.startswith("'a")] == [
            "'a 9.999999'",
            "'a 19.999999'",
            "'a quiet at 34.999999'",
        ]


class Old:
    def __init__(self):
        self.euros = 1


class New:
    def __init__(self):
        self.cents = 5


def to_cents(old, version):
    assert version == 1
    new = New()
    new.cents = 100 * old.euros
    return new


def test_states_have_versions():
    def cents(message, state, ctx):
        state.cents += 1
        return state.cents

    old = InProcess(to_stdout(timed().stateful(lambda message, state, ctx: None, Old, name="step")))
    old.send([str((1, "a", 0))])
    (table,) = old._tables._tables.values()
    saved = table.pickled("a")
    migrated = wallaroo.state(New, version=2, migrate=to_cents)
    new = InProcess(to_stdout(timed().stateful(cents, migrated, name="step", ttl=seconds(9))), restarts=True)
    (table,) = new._tables._tables.values()
    table.restore("a", saved)
    assert table.try_out("a", saved) is None
    new.send([str((2, "a", 0)), str((2, "a", 0)), str((2, "b", 0))])
    assert new.outcome.lines == ["101", "102", "6"]
    assert table.pickled("a")[:1] != saved[:1] if "a" in table.live else table._restored["a"][:1] != saved[:1]


def test_a_timer_without_a_state_has_nothing_to_migrate():
    def delete(message, state, ctx):
        ctx.delete_state()
        ctx.set_timer(seconds(5))

    def old_or_new(state):
        return timed().stateful(delete, state, name="step", on_timer=lambda state, ctx: vars(state))

    old = InProcess(to_stdout(old_or_new(Old)))
    old.send([str((1, "a", 0))])
    new = InProcess(to_stdout(old_or_new(wallaroo.state(New, version=2, migrate=to_cents))))
    (old_table,), (new_table,) = old._tables._tables.values(), new._tables._tables.values()
    new_table.restore("a", old_table.pickled("a"))
    new.send([str((9, "a", 0))])
    assert new.outcome.lines == ["{'cents': 5}"]


def test_what_a_run_has_left_at_its_end_goes_on_with_the_next_message():
    p = timed().stateful(act, Seen, on_timer=ring, ttl=seconds(99))
    first = InProcess(to_stdout(p))
    first.send([str((1, "a", ("after", 5)))])
    first.end()
    second = InProcess(to_stdout(p))
    (left,), (table,) = first._tables._tables.values(), second._tables._tables.values()
    table.restore("a", left.pickled("a"))
    second.send([str((9, "a", ("after", 5))), str((20, "b", ("touch",)))])
    found = [literal(line.encode()) for line in second.outcome.lines]
    assert [each[:2] for each in found] == [("a", 6), ("a", 9), ("b", 20), ("a", 14)]
    assert found[-1][2] == [("after", 5), None, ("after", 5), None]


def test_newer_code_that_lacks_something_is_found():
    old = InProcess(to_stdout(timed().stateful(lambda message, state, ctx: None, Old, name="step")))
    old.send([str((1, "a", 0))])
    (table,) = old._tables._tables.values()
    saved = table.pickled("a")
    new = InProcess(to_stdout(timed().stateful(lambda message, state, ctx: None, New, name="step")))
    (table,) = new._tables._tables.values()
    assert f"is of type {__name__}.Old, and a new one of type {__name__}.New" in table.try_out("a", saved)


def test_a_state_cannot_keep_ctx():
    p = values().stateful(lambda message, state, ctx: state.append(ctx), list)
    with pytest.raises(wallaroo.testing.UnsavedStateError, match="ctx is good for one call"):
        outputs(p, [1], restarts=True)


def test_names_and_the_graph():
    p = timed().stateful(act, Seen, on_timer=ring)
    assert steps(p.stateful(act, Seen, ttl=5).stateful(lambda m, s, ctx: m, Seen))[1:] == ["act", "act-2", "stateful"]
    nodes = [node for node in to_stdout(p.stateful(act, Seen, ttl=5)).describe()["nodes"] if node["kind"] == "window"]
    assert [node["table"] for node in nodes] == ["act", "act-2"]
    assert nodes[0]["window"] == nodes[1]["window"], "newer code may have another ttl"
    assert nodes[0]["table_type"] == "acting.Seen"


class Watch:
    """An object with a method that is called by timers."""

    def __init__(self, calls):
        self.calls, self.said = calls, ""

    def setup(self):
        self.said = "set up"

    def warn(self, seen, ctx):
        self.calls.add()
        return self.said


def test_hooks_and_metrics_know_both_functions(monkeypatch):
    monkeypatch.setattr(wallaroo.metrics, "_known", {})
    calls = wallaroo.metrics.counter("calls_total")

    def watch(message, seen, ctx):
        calls.add()
        ctx.set_timer(seconds(5))

    p = timed().stateful(watch, Seen, on_timer=Watch(calls).warn, name="step")
    outcome = wallaroo.testing.run(to_stdout(p), ["(0, 'a')", "(9, 'b')"])
    assert outcome.lines == ["'set up'"]
    assert outcome.metrics["calls_total"]["step"].value == 3


def test_a_plain_state_costs_no_time():
    (node,) = [node for node in to_stdout(values().stateful(lambda m, s: m, Seen)).nodes if node.name == "stateful"]
    assert node.kind == "state"
    (node,) = [
        node for node in to_stdout(values().stateful(lambda m, s, c=0: m, Seen)).nodes if node.name == "stateful"
    ]
    assert node.kind == "state"


def test_the_last_timer_there_can_be_is_not_called_at_the_end():
    def far(message, seen, ctx):
        ctx.set_timer(timedelta(days=26_000))

    source = wallaroo.StdinSourceConfig(literal, event_time=lambda message: 2**62 - 1)
    p = wallaroo.source("messages", source).stateful(far, Seen, on_timer=lambda seen, ctx: "called")
    assert outputs(p, [1, 2]) == []


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.none() | st.integers(0, 9)) | st.just("reload") | st.just("take"),
        max_size=60,
    )
)
def test_timers(calls):
    timers, expected = Timers(), {}
    for number, call in enumerate(calls):
        first = min(expected.items(), key=lambda item: item[1], default=None)
        assert timers.first() == (None if first is None else (first[1][0], first[0]))
        assert len(timers) == len(expected)
        if call == "reload":
            timers = pickle.loads(pickle.dumps(timers))
        elif call == "take":
            if first is not None:
                timers.cancel(first[0])
                del expected[first[0]]
        elif call[1] is None:
            timers.cancel(call[0])
            expected.pop(call[0], None)
        else:
            timers.set(*call)
            expected[call[0]] = call[1], number


def test_timers_that_were_moved_take_no_room():
    timers = Timers()
    timers.set("first", 0)
    for number in range(1_000):
        timers.set("moved", 5_000 - number)
    assert len(timers._queue) <= 2 * 2 + 8
    timers.cancel("first")
    assert timers.first() == (4_001, "moved")
