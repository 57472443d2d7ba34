"""One application gives the same in every way of running it, though steps change their values in place.

A worker runs a stage column by column, message by message, in one fused loop, or with times, and a batch after a death
carefully. Hypothesis makes applications, cuts their input into batches of any size, marks any of the batches as
careful, leaves out any messages as if they had killed workers, and has states pickled and loaded between batches.
"""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import wallaroo
from rows import BY_NUMBER, ListRow, Row
from wallaroo._codec.protocol import CAREFUL, DISCARD, Batch
from wallaroo._codec.values import OBJECTS, PICKLE, SCALARS
from wallaroo.testing import InProcess
from wallaroo.worker._batch import BatchRun
from wallaroo.worker._generate import GeneratorState
from wallaroo.worker._marker import Marker
from wallaroo.worker._open_windows import OpenWindows
from wallaroo.worker._recent import SeenLately
from wallaroo.worker._timed_state import KeptState


class Kept:
    def __init__(self):
        self.count = 0
        self.notes = []

    def keep(self, row, number):
        self.count += 1
        self.notes.append(row.shown())
        return row.note(f"s{number}/{self.count} ")


def step(kind, number):
    """Make a step: all but ``drop`` and ``fail`` change what they are given."""
    name = f"{kind} {number}"
    text = f"{kind[0]}{number} "
    if kind == "note":
        return wallaroo.computation(name=name)(lambda row: row.note(text))
    if kind == "drop":
        return wallaroo.computation(name=name)(lambda row: None if row.number % 4 == 1 else row)
    if kind == "twice":
        return wallaroo.computation_multi(name=name)(lambda row: [row.note(text), None, row])
    if kind == "batch":
        return wallaroo.computation_batch(name=name)(lambda rows: [row.note(text) for row in rows])

    def fail(row):
        row.note(text)
        if row.number % 5 == 2:
            raise ValueError(row.shown())
        return row

    return wallaroo.computation(name=name)(fail)


def verb(p, kind, number):
    """Add a verb: all change what they are given."""
    text = f"{kind[0]}{number} "

    def note_and_fail(row):
        row.note(text)
        if row.number % 7 == 3:
            raise ValueError(row.shown())
        return row.number % 4 != 1

    async def note_later(row):
        await asyncio.sleep(0.001 if row.number % 3 == 0 else 0)
        return row.note(text) if note_and_fail(row) else None

    if kind == "map":
        return p.map(lambda row: row.note(text), name=f"map {number}")
    if kind == "map_async":
        return p.map_async(note_later, name=f"map_async {number}", concurrency=3)
    if kind == "flat_map":
        return p.flat_map(lambda row: (row.note(text), None, row), name=f"flat_map {number}")
    if kind == "filter":
        return p.filter(note_and_fail, name=f"filter {number}")
    if kind == "inspect":
        return p.inspect(note_and_fail, name=f"inspect {number}")
    if kind == "branch":
        true, false = p.branch(note_and_fail, name=f"branch {number}")
        return true.map(lambda row: row.note("t "), name=f"true {number}").merge(false)
    branches = p.split(lambda row: "abcd"[row.note(text).number % 4], ["a", "b", "unused"], name=f"split {number}")
    return branches["a"].merge(branches["b"].inspect(lambda row: row.note("b "), name=f"b {number}"))


def verb_with_errors(p, kind, number):
    """Add a verb that handles its errors; all change what they are given before they fail."""
    name = f"{kind} {number}"
    text = f"e{number} "

    def fail(row):
        row.note(text)
        if row.number % 5 == 2:
            raise ValueError(row.shown())
        return row.number % 4 != 1

    def fail_once(row):
        if row.note(text).log.count(text) < 2 and row.number % 3 == 1:
            raise ConnectionError
        return row

    def note(row, error):
        return row.note(f"{type(error).__name__} ")

    if kind == "map_async and retry":
        return p.map_async(lambda row: asyncio.sleep(0, fail_once(row)), name=name, retries=1, backoff=0)
    if kind == "map and skip":
        return p.map(lambda row: row if fail(row) else None, name=name, on_error="skip")
    if kind == "map and retry":
        return p.map(fail_once, name=name, retries=1)
    if kind == "flat_map and handle":
        handle = lambda row, error: (note(row, error), row)  # noqa: E731
        return p.flat_map(lambda row: (each for each in (row, (fail(row), row)[1])), name=name, on_error=handle)
    if kind == "map_batch and handle":
        # Halves of a batch are tried, so a row must not be changed before one fails.
        batch = lambda rows: [10 // (row.number % 5) and row for row in rows]  # noqa: E731
        return p.map_batch(batch, name=name, on_error=note)
    if kind == "filter and handle":
        return p.filter(fail, name=name, on_error=note)
    if kind == "inspect and skip":
        return p.inspect(fail, name=name, on_error="skip")
    branches = p.split(lambda row: "ab"[fail(row)], ["a", "b"], name=name, on_error=lambda row, error: "b")
    return branches["a"].merge(branches["b"].map(lambda row: row.note("b "), name=f"b {number}"))


WITH_ERRORS = [
    "map and skip",
    "map and retry",
    "map_async and retry",
    "flat_map and handle",
    "map_batch and handle",
    "filter and handle",
    "inspect and skip",
    "split and handle",
]
VERBS = ["map", "map_async", "flat_map", "filter", "inspect", "branch", "split"]


def keep_and_fail(row, kept):
    return kept.keep(row, 1) if row.number % 3 else kept.keep(row, 1).missing


def keep_and_watch(row, kept, ctx):
    if row.number % 3 == 0:
        ctx.set_timer(row.number % 5, f"of {row.number % 2}")
    if row.number % 7 == 5:
        ctx.delete_state()
    return keep_and_fail(row, kept)


def aggregated(p, kind, number, make):
    """Add a verb that keeps a state, and make its output a row again."""
    name = f"{kind} {number}"

    # Both have steps below the key: streams that take different ways do not come in the order of their source.
    all_of, even = p.inspect(str), p.filter(lambda row: row.number % 2 == 0, name=f"even {number}")
    if kind == "stateful":
        return p.stateful(lambda row, kept: kept.keep(row, number), Kept, name=name)
    if kind == "stateful and skip":
        return p.stateful(lambda row, kept: kept.keep(row, 12 // (row.number % 4)), Kept, name=name, on_error="skip")
    if kind == "stateful and atomic":
        return p.stateful(keep_and_fail, Kept, name=name, atomic=True, retries=number % 2)
    if kind == "stateful and retry":
        may_fail = lambda row, kept: kept.keep(row, 12 // ((row.number + kept.count) % 2))  # noqa: E731
        return p.stateful(may_fail, Kept, name=name, on_error=lambda row, error: row.note("h "), retries=1)
    if kind == "stateful and timers":
        alarm = lambda kept, ctx: kept.keep(make(4), ctx.tag) if kept.count % 5 != 4 else kept.missing  # noqa: E731
        return p.stateful(keep_and_watch, Kept, name=name, on_timer=alarm, ttl=9 if number % 2 else None)
    if kind == "stateful and ttl":
        return p.stateful(lambda row, kept: kept.keep(row, number), Kept, name=name, ttl=4, atomic=number % 2 == 0)
    if kind == "reduce":
        pairs = p.reduce(lambda held, row: held.note(f"({row.shown()})") if row.number % 5 else None, name=name)
        return pairs.map(lambda pair: pair[1].note(f"r{number} "), name=f"row {number}")
    pairs = {
        "count": lambda: p.count(name=name),
        "sum": lambda: p.sum(lambda row: row.note("s ").number if row.number % 5 else None, name=name),
        "mean": lambda: p.mean(lambda row: 1 // (row.number % 5), name=name),
        "max": lambda: p.max(lambda row: row.number, name=name),
        "min": lambda: p.min(lambda row: row.number, name=name),
        "collect_list": lambda: p.collect_list(name=name),
        "dedup": lambda: p.dedup(lambda row: row.number % 3, name=name),
        "dedup within": lambda: p.dedup(lambda row: row.number % 3, within=5, name=name),
        "join": lambda: all_of.join(even, within=4, how="outer", name=name),
        "join all": lambda: even.join(all_of, how="outer", name=name),
        "lookup": lambda: all_of.lookup(even.table(), name=name),
    }[kind]()
    return pairs.map(lambda pair: make(number).note(shown(changed(pair))), name=f"row {number}")


AGGREGATES = [
    "stateful",
    "stateful and skip",
    "stateful and retry",
    "stateful and atomic",
    "stateful and timers",
    "stateful and ttl",
    "reduce",
    "count",
    "sum",
    "mean",
    "max",
    "min",
    "collect_list",
    "dedup",
    "dedup within",
    "join",
    "join all",
    "lookup",
]


def shown(value):
    """Return a value as text; rows are shown, not told apart by where they are in memory."""
    if isinstance(value, Row):
        return value.shown()
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(shown, value))}]"
    return repr(value)


def changed(value):
    """Change all rows in a value, and return it."""
    if isinstance(value, Row):
        value.note("c ")
    elif isinstance(value, (tuple, list)):
        list(map(changed, value))
    return value


def windowed(p, kind, number, make):
    windows = {
        "tumbling": wallaroo.tumbling(10, offset=3),
        "sliding": wallaroo.sliding(10, 4),
        "sessions": wallaroo.sessions(5),
        "counted": wallaroo.count_windows(3),
    }[kind]
    aggregation = [
        wallaroo.count(),
        wallaroo.sum(lambda row: row.note("s ").number),
        wallaroo.reduce(lambda held, row: held.note(f"({row.shown()})")),
        wallaroo.collect_list(),
    ][number % 4]
    # What an early result has depends on the batches, so final ones are compared.
    early = 3 if kind != "counted" and number % 2 else None
    rows = p.window(windows, early=early).aggregate(aggregation, name=f"{kind} {number}")
    rows = rows.filter(lambda window: window.closed_by != "early", name=f"final {number}")
    return rows.map(lambda window: make(number).note(shown(changed(window))), name=f"row {number}")


WINDOWS = ["tumbling", "sliding", "sessions", "counted"]


def state_step(kind, number):
    def keep(row, kept):
        kept.keep(row, number)
        return [row, row] if kind == "several" else row

    make = wallaroo.state_computation_multi if kind == "several" else wallaroo.state_computation
    return make(name=f"{kind} {number}", state=Kept)(keep)


class Shown(wallaroo.Aggregation):
    def __init__(self, number, make):
        self._number, self._make = number, make

    def name(self):
        return f"window {self._number}"

    def initial_accumulator(self):
        return []

    def update(self, data, accumulator):
        accumulator.append(data.note("w ").shown())

    def output(self, key, accumulator):
        row = self._make(len(accumulator))
        return row.note(f"{key!r} {accumulator}")


@wallaroo.encoder
def encode(row):
    return row.note("!").shown() + "\n"


DECORATED = ["note", "drop", "fail", "twice", "batch", "diamond"]
stateless = st.lists(st.sampled_from(DECORATED) | st.sampled_from(VERBS) | st.sampled_from(WITH_ERRORS), max_size=3)
states = st.lists(st.sampled_from(["single", "several"]) | st.sampled_from(AGGREGATES), max_size=2)
ways = st.deferred(lambda: st.tuples(stateless, st.lists(tails, min_size=1, max_size=3)))
keyed = st.tuples(st.sampled_from(sorted(BY_NUMBER)), states)
windows = st.none() | st.sampled_from(["range", "count"]) | st.sampled_from(WINDOWS)
tails = st.tuples(st.none() | st.tuples(keyed, windows), stateless, st.integers(1, 2))


class Rows:
    """Generates rows; what it gave last is changed by no step before it is asked for the next."""

    def __init__(self, make, numbers):
        self.make, self.left = make, list(reversed(numbers))

    def initial_value(self):
        return self.make(self.left.pop()) if self.left else None

    def apply(self, previous):
        assert previous.log == self.make(0).log
        return self.initial_value()


class Maker:
    """Makes the pipelines of one application."""

    def __init__(self, make, *, generated=None):
        self._make, self._generated, self._steps, self._sinks = make, generated, 0, 0

    def application(self, way):
        @wallaroo.decoder(delimiter=b"\n")
        def decode(bs):
            return self._make(int(bs))

        if self._generated is None:
            source = wallaroo.FileSourceConfig("in", decode, event_time=lambda row: row.number)
        else:
            rows = Rows(self._make, self._generated)
            source = wallaroo.GenSourceConfig(rows, event_time=lambda row: row.number)
        above, tails = way
        p = self._through(wallaroo.source("rows", source), above)
        return wallaroo.build_application("test", *[self._tail(p, *tail) for tail in tails])

    def _number(self):
        self._steps += 1
        return self._steps

    def _through(self, p, kinds):
        for kind in kinds:
            if kind == "diamond":
                p = p.to(step("note", self._number())).merge(p.to(step("drop", self._number())))
            elif kind in VERBS:
                p = verb(p, kind, self._number())
            elif kind in WITH_ERRORS:
                p = verb_with_errors(p, kind, self._number())
            else:
                p = p.to(step(kind, self._number()))
        return p

    def _tail(self, p, keyed, below, sinks):
        if keyed is not None:
            (key, states), window = keyed
            p = p.key_by(wallaroo.key_extractor(BY_NUMBER[key]))
            for kind in states:
                if kind in AGGREGATES:
                    p = aggregated(p, kind, self._number(), self._make)
                else:
                    p = p.to(state_step(kind, self._number()))
            if window in WINDOWS:
                p = windowed(p, window, self._number(), self._make)
            elif window is not None:
                made = wallaroo.range_windows(10) if window == "range" else wallaroo.count_windows(3)
                p = p.to(made.over(Shown(self._number(), self._make)))
        p = self._through(p, below)
        self._sinks += sinks
        return p.to_sinks([wallaroo.FileSinkConfig(f"out{self._sinks - n}", encode) for n in range(sinks)])


class InAnyMode(InProcess):
    """Marks batches as careful, leaves messages out, and writes down what each stage is given.

    Args:
        careful: Whether a batch is, by its number.
        frames: Numbers whose frames are left out.
        rows: Numbers whose rows are left out where a key has placed them.
    """

    def __init__(self, application, batch, careful, *, frames=(), rows=(), restarts=False):
        super().__init__(application, batch=batch, restarts=restarts)
        self._careful, self._frames, self._rows = careful, frames, rows
        self.ran = []

    def _run_stage(self, root, given):
        self._flags = CAREFUL if self._careful(len(self.ran)) else 0
        self.ran.append((root, self._times.of_batch(root, given), given))
        super()._run_stage(root, given)

    def _skipped(self, given):
        if not isinstance(given, list):
            return []
        if all(isinstance(item, bytes) for item in given):
            left_out = [(origin, 0) for origin, frame in enumerate(given) if int(frame) in self._frames]
        else:
            left_out = [(group, value) for group, value, row in self._read(given) if row in self._rows]
        return [number for place in left_out for number in place]

    def _read(self, given):
        """Return group, index and number of each row in the groups of a batch."""
        for group, (count, codec, values) in enumerate(zip(given[1::4], given[2::4], given[3::4])):
            if codec in (SCALARS, PICKLE, OBJECTS):
                for index, row in enumerate(self._codec.decode(codec, values, count)):
                    # In a tuple on its way to a join.
                    yield group, index, (row[2] if isinstance(row, tuple) else row).number

    def replay(self, ran):
        """Run batches for what they change alone."""
        for number, (root, times, messages) in enumerate(ran, 1):
            self._tables.begin_batch(number)
            batch = Batch(number, root, DISCARD, self._skipped(messages), times, messages)
            self._stages[root].run(messages, BatchRun(batch, self._codec, Marker(None)))

    def states(self):
        for table in self._tables._tables.values():
            for key in list(table._restored):
                table.open(key)
        live = {(table.name, key): table.live[key] for table, key in self._tables.live()}
        users = {place: state.state if isinstance(state, KeptState) else state for place, state in live.items()}
        return {
            place: [shown(value) for value in vars(state).values()]
            for place, state in users.items()
            if not isinstance(state, (OpenWindows, GeneratorState, SeenLately, type(None)))
        }


def outcome_of(application, batch, careful, numbers, **options):
    running = InAnyMode(application, batch, careful, **options)
    if running.generators:
        running.generate()
    else:
        running.send([str(number) for number in numbers])
    running.end()
    outputs = {name: sorted(messages) for name, messages in running.outcome.outputs.items()}
    letters = sorted(
        (letter.step, repr(letter.key), letter.exception, letter.message, letter.shown_value[:4])
        for letter in running.outcome.dead_letters
    )
    return running, (outputs, letters, running.outcome.late)


@pytest.mark.parametrize("make", [Row, ListRow])
@settings(max_examples=300, deadline=None)
@given(
    way=ways,
    numbers=st.lists(st.integers(0, 40), max_size=30).map(sorted),
    batch=st.integers(1, 40),
    careful=st.lists(st.booleans(), min_size=1, max_size=5),
    frames=st.just(frozenset()) | st.frozensets(st.integers(0, 40)),
    rows=st.just(frozenset()) | st.frozensets(st.integers(0, 40)),
    restarts=st.booleans(),
)
def test_the_result_is_the_same_in_every_mode(make, way, numbers, batch, careful, frames, rows, restarts):
    application = Maker(make).application(way)
    kept = [number for number in numbers if number not in frames]
    one_by_one, expected = outcome_of(application, 1, lambda number: True, kept, rows=rows)
    left_out = {"frames": frames, "rows": rows}
    as_marked = lambda number: careful[number % len(careful)]  # noqa: E731
    running, got = outcome_of(application, batch, as_marked, numbers, restarts=restarts, **left_out)
    assert got == expected
    assert running.states() == one_by_one.states()
    replayed = InAnyMode(application, 1, lambda number: False, **left_out)
    replayed.replay(running.ran)
    assert replayed.states() == running.states()


@pytest.mark.parametrize("make", [Row, ListRow])
@settings(max_examples=100, deadline=None)
@given(
    way=ways,
    numbers=st.lists(st.integers(0, 40), max_size=30).map(sorted),
    batch=st.integers(1, 40),
    careful=st.lists(st.booleans(), min_size=1, max_size=5),
    restarts=st.booleans(),
)
def test_generated_values_give_the_same_as_frames(make, way, numbers, batch, careful, restarts):
    one_by_one, expected = outcome_of(Maker(make).application(way), 1, lambda number: True, numbers)
    application = Maker(make, generated=numbers).application(way)
    as_marked = lambda number: careful[number % len(careful)]  # noqa: E731
    running, got = outcome_of(application, batch, as_marked, numbers, restarts=restarts)
    assert got == expected
    assert running.states() == one_by_one.states()
