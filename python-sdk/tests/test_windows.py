"""Windows in the stages of a worker, against a model that looks at each message by itself.

``Flow`` does what the orchestrator does with two stages, as far as it concerns time, and can lose its worker.
"""

from __future__ import annotations

import os
import pickle
import struct
from collections import defaultdict
from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import wallaroo
from stages import Lines, Runner
from wallaroo._codec.protocol import BEGINNING, CAREFUL, DISCARD, END, TIMER, TIMES, WHOLE
from wallaroo._pipeline.topology import (
    Application,
    CollectNode,
    ComputationNode,
    KeyByNode,
    SinkNode,
    SourceNode,
    node_of,
)
from wallaroo._windows.windows import Aggregation, count_windows, range_windows, session_windows
from wallaroo.worker._open_windows import OpenWindows
from wallaroo.worker._state import NO_STATE

STREAMS = 2_000


class Gather(Aggregation):
    """Shows all that happens: what was put in, and what joined."""

    def initial_accumulator(self):
        return []

    def update(self, data, accumulator):
        if data[2] == "raise":
            raise ValueError("update")
        accumulator.append(data)

    def combine(self, left, right):
        return left + right

    def output(self, key, accumulator):
        if any(data[2] == "bad" for data in accumulator):
            raise ValueError("output")
        return key, accumulator


class Messages(Lines):
    """``time key word``, in the clear."""

    def decode(self, bs):
        time, key, word = bs.decode().split(" ")
        return int(time), key, word

    def encode(self, data):
        return pickle.dumps(data)


def by_key(data):
    return data[1]


def event_time(data):
    return data[0]


def source(when=event_time):
    return SourceNode("p", (), wallaroo.StdinSourceConfig(Messages, event_time=when))


def application(*steps, when=event_time):
    """Steps below one key, one below the other, and a sink."""
    nodes = [source(when), KeyByNode("key", (0,), by_key, None, reject_unknown=False)]
    for step in steps:
        nodes.append(node_of(step, (len(nodes) - 1,)))
    nodes.append(SinkNode("out", (len(nodes) - 1,), wallaroo.StdoutSinkConfig(Messages)))
    return Application("windows", nodes)


class Flow:
    """A stage of frames and one of groups below it."""

    def __init__(self, app):
        self.app = app
        self.sink = len(app.nodes) - 1
        self.watermark = BEGINNING
        self.timers = {}
        self.late = 0
        self.failures = []
        self.outputs = []
        self.journal = []
        self.snapshots = []
        self.start()

    def start(self):
        self.runner = Runner(self.app, ("frames", 0, [1]), ("groups", 1, [self.sink]))

    def crash(self):
        """Lose the worker: another rebuilds its state from snapshots and journal."""
        self.start()
        for table, key, state in self.snapshots:
            self.runner.tables.find(table).restore(key, state)
        for batch, groups, times in self.journal:
            replay = self.runner.run(1, groups, flags=DISCARD, batch=batch, times=times)
            assert (replay.outputs, replay.late, replay.timers, replay.failures) == ({}, 0, {}, [])

    def snapshot(self):
        """Save all state; what came before is not needed any more."""
        entries, failures, oldest, _ = self.runner.snapshot(1_000)
        assert (failures, oldest) == ([], None)
        fields = iter(entries)
        saved = {(table, key): state for table, key, state in self.snapshots}
        saved.update({(table, key): state for table, key, state in zip(fields, fields, fields)})
        self.snapshots = [(table, key, state) for (table, key), state in saved.items() if state != NO_STATE]
        self.journal.clear()

    def send(self, *messages, arrived=0):
        frames = [" ".join(map(str, message)).encode() for message in messages]
        batch = self.runner.batch + 1
        read = self.runner.run(0, frames, batch=batch, times=[len(frames), arrived])
        self.failures += read.failures
        groups = read.outputs.get(1, [])
        if groups:
            self.keyed(groups, [len(groups) // 4, self.watermark])
        if read.reached is not None:
            self.reach(max(self.watermark, read.reached))

    def reach(self, watermark):
        """Move the watermark, and wake what is due."""
        if watermark != END:
            self.watermark = watermark
        while True:
            due = [key for key, deadline in self.timers.items() if deadline is not None and deadline <= watermark]
            if not due:
                return
            groups = []
            for key in due:
                del self.timers[key]
                groups += [key, 1, TIMER, watermark.to_bytes(8, "little", signed=True)]
            self.keyed(groups, [len(due), self.watermark])

    def keyed(self, groups, times, **options):
        batch = self.runner.batch + 1
        result = self.runner.run(1, groups, batch=batch, times=times, **options)
        self.journal.append((batch, groups, times))
        self.timers.update(result.timers)
        self.late += result.late
        self.failures += result.failures
        self.outputs += [pickle.loads(message) for message in result.outputs.get(self.sink, [])]

    def end(self):
        self.reach(END)
        assert not any(deadline is not None for deadline in self.timers.values())
        return self.outputs


def windows_of(outputs):
    """The windows of each key, in order: the numbers of the messages in each."""
    of_key = defaultdict(list)
    for key, values in outputs:
        of_key[key].append(sorted(int(word) for _, _, word in values))
    return dict(of_key)


def expected_ranges(messages, length, slide, delay):
    """Look at every message with the watermark that it met."""
    watermark, late, windows = BEGINNING, 0, defaultdict(list)
    for number, (time, key) in enumerate(messages):
        watermark = max(watermark, time)
        starts = [start for start in range((time - length) // slide * slide, time + 1, slide) if time < start + length]
        in_time = [start for start in starts if start + length + delay > watermark]
        late += not in_time
        for start in in_time:
            windows[key, start].append(number)
    of_key = defaultdict(list)
    for key, start in sorted(windows, key=lambda window: window[1]):
        of_key[key].append(windows[key, start])
    return dict(of_key), late


def expected_sessions(messages, gap, delay):
    watermark, late, sessions = BEGINNING, 0, defaultdict(list)
    for number, (time, key) in enumerate(messages):
        watermark = max(watermark, time)
        joined = [
            session
            for session in sessions[key]
            if max(session)[0] + gap + delay > watermark and any(abs(time - other) < gap for other, _ in session)
        ]
        if not joined and time + gap + delay <= watermark:
            late += 1
            continue
        for session in joined:
            sessions[key].remove(session)
        sessions[key].append([(time, number), *(entry for session in joined for entry in session)])
    of_key = {}
    for key, ended in sessions.items():
        if ended:
            of_key[key] = [sorted(number for _, number in session) for session in sorted(ended, key=max)]
    return of_key, late


def expected_counts(messages, count):
    of_key = defaultdict(list)
    for number, (_, key) in enumerate(messages):
        if not of_key[key] or len(of_key[key][-1]) == count:
            of_key[key].append([])
        of_key[key][-1].append(number)
    return dict(of_key)


streams = st.lists(st.tuples(st.integers(-20, 60), st.sampled_from("ab")), max_size=40)
accidents = st.lists(st.tuples(st.integers(1, 8), st.sampled_from(["none", "none", "crash", "snapshot"])), max_size=12)


def run_all(flow, messages, steps):
    """Send the messages in batches of the sizes in ``steps``, with an accident after each."""
    numbered = [(time, key, number) for number, (time, key) in enumerate(messages)]
    for size, accident in [*steps, (len(numbered), "none")]:
        flow.send(*numbered[:size])
        del numbered[:size]
        if accident == "crash":
            flow.crash()
        elif accident == "snapshot":
            flow.snapshot()
    return windows_of(flow.end())


@settings(max_examples=STREAMS)
@given(streams, accidents, st.integers(1, 20), st.integers(1, 20), st.integers(0, 15))
def test_ranges_hold_what_was_in_time_for_them(messages, steps, length, slide, delay):
    slide = min(slide, length)
    flow = Flow(application(range_windows(length).with_slide(slide).with_delay(delay).over(Gather)))
    assert (run_all(flow, messages, steps), flow.late) == expected_ranges(messages, length, slide, delay)


@settings(max_examples=STREAMS)
@given(streams, accidents, st.integers(1, 12), st.integers(0, 15))
def test_sessions_hold_what_has_no_gap(messages, steps, gap, delay):
    flow = Flow(application(session_windows(gap).with_delay(delay).over(Gather)))
    assert (run_all(flow, messages, steps), flow.late) == expected_sessions(messages, gap, delay)


@settings(max_examples=STREAMS // 4)
@given(streams, accidents, st.integers(1, 6))
def test_count_windows_are_full_until_the_end(messages, steps, count):
    flow = Flow(application(count_windows(count).over(Gather)))
    assert run_all(flow, messages, steps) == expected_counts(messages, count)


class Total(Aggregation):
    """Counts what windows above gave."""

    def initial_accumulator(self):
        return 0

    def update(self, data, accumulator):
        return accumulator + len(data[1])

    def output(self, key, accumulator):
        return key, [(0, key, accumulator)]


@settings(max_examples=STREAMS // 4)
@given(streams, accidents, st.integers(1, 10), st.integers(0, 9), st.integers(1, 3))
def test_windows_of_windows_lose_nothing(messages, steps, length, delay, times):
    first, second = range_windows(length).with_delay(delay).over(Gather), range_windows(length * times).over(Total)
    flow = Flow(application(first, second))
    totals = run_all(flow, messages, steps)
    # A message as far back as its window's last moment is in the same window of either.
    windows, late = expected_ranges(messages, length, length, delay)
    expected = defaultdict(list)
    for key, found in windows.items():
        ends = [(messages[window[0]][0] // length + 1) * length - 1 for window in found]
        for start in sorted({end // (length * times) for end in ends}):
            total = sum(len(window) for window, end in zip(found, ends) if end // (length * times) == start)
            expected[key].append([total])
    assert (totals, flow.late) == (dict(expected), late)


@settings(max_examples=STREAMS // 4)
@given(streams, accidents, st.integers(1, 6), st.integers(1, 20), st.integers(0, 15))
def test_what_count_windows_give_is_in_the_window_of_when_they_give_it(messages, steps, count, length, delay):
    flow = Flow(application(count_windows(count).over(Gather), range_windows(length).with_delay(delay).over(Total)))
    totals = run_all(flow, messages, steps)
    watermarks = list(accumulate((time for time, _ in messages), max))
    expected = defaultdict(list)
    for key, found in expected_counts(messages, count).items():
        given = [watermarks[window[-1] if len(window) == count else -1] // length for window in found]
        for start in sorted(set(given)):
            expected[key].append([sum(len(window) for window, other in zip(found, given) if other == start)])
    assert (totals, flow.late) == (dict(expected), 0)


def test_a_window_waits_for_the_delay_of_the_one_above():
    flow = Flow(application(range_windows(1).with_delay(5).over(Gather), range_windows(3).over(Total)))
    flow.send((0, "a", 0), (2, "a", 1), (7, "b", 2))
    assert (flow.timers, flow.outputs) == ({"a": 8, "b": 13}, [])
    flow.send((8, "b", 3))
    assert flow.outputs == [("a", [(0, "a", 2)])]


def test_arrival_is_the_time_where_messages_have_none():
    flow = Flow(application(range_windows(10).over(Gather), when=None))
    flow.send((999, "a", 1), (0, "a", 2), arrived=5)
    flow.send((0, "a", 3), arrived=12)
    assert windows_of(flow.end()) == {"a": [[1, 2], [3]]}


def test_a_key_is_woken_when_its_window_is_complete_and_not_before():
    flow = Flow(application(range_windows(10).with_delay(5).over(Gather)))
    flow.send((3, "a", 1))
    assert flow.timers == {"a": 15}
    flow.send((7, "a", 2), (14, "b", 3))
    assert (flow.timers, flow.outputs) == ({"a": 15, "b": 25}, [])
    flow.send((15, "b", 4))
    assert flow.timers == {"a": None, "b": 25}
    assert windows_of(flow.outputs) == {"a": [[1, 2]]}


def test_a_session_that_goes_on_is_looked_at_once_and_not_for_every_value():
    flow = Flow(application(session_windows(10).over(Gather)))
    for number in range(5):
        flow.send((number, "a", number))
        assert flow.timers == {"a": 10}
    flow.send((10, "b", 5))
    assert (flow.timers, flow.outputs) == ({"a": 14, "b": 20}, [])


def test_late_values_may_be_dead_letters():
    flow = Flow(application(range_windows(10, on_late="dead-letter").over(Gather)))
    flow.send((3, "a", 1), (10, "a", 2), (9, "a", 3))
    (failure,) = flow.failures
    assert (failure.exception, failure.key, flow.late) == ("wallaroo.LateValueError", "a", 1)
    assert failure.message == "its windows were complete: its event time is 9, 1 ns behind the watermark"
    assert pickle.loads(failure.payload) == [(9, "a", "3")]


@pytest.mark.parametrize(
    ("when", "complaint"), [(lambda _: 1.5, "float"), (lambda _: None, "NoneType"), (lambda _: 2**63, "no time")]
)
def test_what_is_no_time_is_a_failure_of_its_message(when, complaint):
    flow = Flow(application(range_windows(10).over(Gather), when=lambda data: when(data) if data[2] == "1" else 5))
    flow.send((0, "a", 1), (0, "a", 2))
    (failure,) = flow.failures
    assert complaint in failure.message
    assert (failure.node, failure.origin) == (0, 0)
    assert windows_of(flow.end()) == {"a": [[2]]}


def test_failures_in_an_aggregation_cost_a_value_or_a_window():
    flow = Flow(application(range_windows(10).over(Gather)))
    flow.send((1, "a", "raise"), (2, "a", 1), (3, "b", "bad"), (4, "c", "raise"))
    flow.send((13, "b", 2))
    assert windows_of(flow.end()) == {"a": [[1]], "b": [[2]]}
    assert [(failure.node, failure.key, failure.message) for failure in flow.failures] == [
        (2, "a", "update"),
        (2, "c", "update"),
        (2, "b", "output"),
    ]


def test_a_value_that_is_not_taken_in_holds_no_sessions_together():
    for order in ([0, 1, 2], [1, 0, 2], [0, 2, 1]):
        messages = [(0, "a", "x"), (8, "a", "raise"), (16, "a", "y")]
        flow = Flow(application(session_windows(10).with_delay(100).over(Gather)))
        flow.send(*(messages[number] for number in order))
        assert [[word for _, _, word in values] for _, values in flow.end()] == [["x"], ["y"]]


def test_an_output_that_kills_costs_its_window_and_no_other():
    flow = Flow(application(range_windows(10).with_delay(100).over(Gather)))
    flow.send((3, "a", 1), (4, "b", 2), (13, "a", 3), (23, "a", 4), (24, "b", 5))
    timers = [field for key in "ab" for field in (key, 1, TIMER, END.to_bytes(8, "little"))]
    flow.keyed(timers, [2, 0], skip=[0, 1, 1, WHOLE], flags=CAREFUL)
    assert windows_of(flow.outputs) == {"a": [[1], [4]]}
    assert flow.timers == {"a": None, "b": None}
    assert flow.failures == []


def test_the_marker_names_every_window_of_a_careful_batch(tmp_path):
    with open(tmp_path / "marker", "w+b") as file:
        runner = Runner(application(range_windows(10).over(Marked)), ("groups", 1, [3]), marker=file.fileno())
        groups = runner.groups(("a", [(3, "a", "1"), (13, "a", "2")]))
        groups[2] |= TIMES
        groups[3] = struct.pack("<2q", 3, 13) + groups[3]
        runner.run(0, groups, times=[1, 0])
        Marked.seen = seen = []
        Marked.read = lambda: os.pread(file.fileno(), 24, 0)
        runner.run(0, ["a", 1, TIMER, END.to_bytes(8, "little")], times=[1, 0], flags=CAREFUL)
    assert seen == [(2, 2, 1, 0, 0), (2, 2, 1, 0, 1)]


class Marked(Gather):
    """Looks at the marker when it is asked for an output."""

    def output(self, key, accumulator):
        self.seen.append(struct.unpack("<QIIII", type(self).read()))


def test_values_keep_their_times_on_the_way_through_other_keys():
    nodes = [
        source(),
        CollectNode("collect", (0,)),
        ComputationNode("twice", (1,), lambda data: [data, data], multi=True),
        KeyByNode("key", (2,), by_key, None, reject_unknown=False),
        node_of(range_windows(10).over(Gather), (3,)),
        SinkNode("out", (4,), wallaroo.StdoutSinkConfig(Messages)),
    ]
    runner = Runner(Application("a", nodes), ("frames", 0, [1]), ("groups", 1, [3]), ("groups", 3, [5]))
    read = runner.run(0, [b"3 a 1", b"15 b 2"], times=[2, 0])
    assert read.reached == 15
    passed = runner.run(1, read.outputs[1], times=[1, BEGINNING])
    assert passed.timers == {}
    kept = runner.run(2, passed.outputs[3], times=[2, BEGINNING])
    assert kept.timers == {"a": 10, "b": 20}


def test_timers_that_do_not_fit_into_one_result_come_in_several():
    keys = [f"{number:0500}" for number in range(100)]
    app = application(range_windows(10).over(Gather))
    runner = Runner(app, ("frames", 0, [1]), ("groups", 1, [3]), max_body=20_000)
    groups = runner.groups(*((key, [(1, key, "x")]) for key in keys))
    result = runner.run(1, groups, times=[100, 0])
    assert result.parts > 2
    assert result.timers == dict.fromkeys(keys, 10)


def test_state_of_windows_is_small():
    opened = OpenWindows()
    assert len(pickle.dumps(opened, 5)) < 100


@pytest.mark.parametrize(
    ("windows", "still_open"), [(session_windows(10), ["99"]), (range_windows(10), ["99"]), (count_windows(1), [])]
)
def test_nothing_is_kept_of_a_key_without_open_windows(windows, still_open):
    flow = Flow(application(windows.over(Gather)))
    for number in range(100):
        flow.send((100 * number, f"{number}", number))
    flow.snapshot()
    assert [key for _, key, _ in flow.snapshots] == still_open
    assert list(flow.runner.tables.find("window:Gather").live) == still_open
    flow.send((100 * 100, "0", 100))
    flow.crash()
    outputs = [(key, [number for _, _, number in values]) for key, values in flow.end()]
    assert outputs == [(str(number), [str(number)]) for number in range(100)] + [("0", ["100"])]
