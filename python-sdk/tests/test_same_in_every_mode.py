"""One application gives the same in every way of running it, though steps change their values in place.

A worker runs a stage column by column, message by message, in one fused loop, or with times, and a batch after a death
carefully. Hypothesis makes applications, cuts their input into batches of any size, marks any of the batches as
careful, leaves out any messages as if they had killed workers, and has states pickled and loaded between batches.
"""

from __future__ import annotations

import enum

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import wallaroo
from wallaroo._codec.protocol import CAREFUL, DISCARD, Batch
from wallaroo._codec.values import OBJECTS, PICKLE, SCALARS
from wallaroo.testing import InProcess
from wallaroo.worker._batch import BatchRun
from wallaroo.worker._marker import Marker


class Text(str, enum.Enum):
    A = "a"


class NotPlain(int):
    pass


class Row:
    """Crosses as attributes."""

    def __init__(self, number):
        self.number, self.log = number, ""

    def note(self, text):
        self.log += text
        return self

    def shown(self):
        return f"{self.number}:{self.log}"


class ListRow(Row):
    """Crosses as a pickle."""

    def __init__(self, number):
        self.number, self.log = number, []

    def note(self, text):
        self.log.append(text)
        return self

    def shown(self):
        return f"{self.number}:{''.join(self.log)}"


# Keys that are equal though they are not of one type; half of them cannot be keys.
KEYS = ["a", Text.A, 1, True, 1.0, NotPlain(1), b"a", (1,), (True,), ("a",), (Text.A,), "b", ["c"], None, 2**63]
BY_NUMBER = {
    "every": lambda row: KEYS[row.number % len(KEYS)],
    "equal": lambda row: KEYS[:6][row.number % 6],
    "few": lambda row: row.number % 3,
    "one": lambda row: "one",
}


class Kept:
    def __init__(self):
        self.count = 0
        self.notes = []


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


def state_step(kind, number):
    def keep(row, kept):
        kept.count += 1
        kept.notes.append(row.shown())
        row.note(f"s{number}/{kept.count} ")
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


stateless = st.lists(st.sampled_from(["note", "drop", "fail", "twice", "batch", "diamond"]), max_size=3)
ways = st.deferred(lambda: st.tuples(stateless, st.lists(tails, min_size=1, max_size=3)))
keyed = st.tuples(st.sampled_from(sorted(BY_NUMBER)), st.lists(st.sampled_from(["single", "several"]), max_size=2))
windows = st.sampled_from([None, None, "range", "count"])
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
            else:
                p = p.to(step(kind, self._number()))
        return p

    def _tail(self, p, keyed, below, sinks):
        if keyed is not None:
            (key, states), window = keyed
            p = p.key_by(wallaroo.key_extractor(BY_NUMBER[key]))
            for kind in states:
                p = p.to(state_step(kind, self._number()))
            if window is not None:
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
                    yield group, index, row.number

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
        return {
            (table.name, key): (table.live[key].count, table.live[key].notes)
            for table, key in self._tables.live()
            if isinstance(table.live[key], Kept)
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
