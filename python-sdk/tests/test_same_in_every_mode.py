"""One application gives the same in every way of running it, though steps change their values in place.

A worker runs a stage column by column, message by message, in one fused loop, or with times, and a batch after a death
carefully. Hypothesis makes applications, cuts their input into batches of any size, and marks any of the batches as
careful.
"""

from __future__ import annotations

import enum

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import wallaroo
from wallaroo._codec.protocol import CAREFUL, DISCARD, Batch
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


class Maker:
    """Makes the pipelines of one application."""

    def __init__(self, make):
        self._make, self._steps, self._sinks = make, 0, 0

    def application(self, way):
        @wallaroo.decoder(delimiter=b"\n")
        def decode(bs):
            return self._make(int(bs))

        source = wallaroo.FileSourceConfig("in", decode, event_time=lambda row: row.number)
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
    """Marks batches as careful, and writes down what each stage is given."""

    def __init__(self, application, batch, careful):
        super().__init__(application, batch=batch)
        self._careful = careful
        self.ran = []

    def _run_stage(self, root, given):
        self._flags = CAREFUL if self._careful(len(self.ran)) else 0
        self.ran.append((root, self._times.of_batch(root, given), given))
        super()._run_stage(root, given)

    def replay(self, ran):
        """Run batches for what they change alone."""
        for number, (root, times, messages) in enumerate(ran, 1):
            self._tables.begin_batch(number)
            self._stages[root].run(
                messages, BatchRun(Batch(number, root, DISCARD, [], times, messages), self._codec, Marker(None))
            )

    def states(self):
        return {
            (name, key): (state.count, state.notes)
            for name, table in self._tables._tables.items()
            for key, state in table.live.items()
            if isinstance(state, Kept)
        }


def outcome_of(application, batch, careful, numbers):
    running = InAnyMode(application, batch, careful)
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
)
def test_the_result_is_the_same_in_every_mode(make, way, numbers, batch, careful):
    application = Maker(make).application(way)
    one_by_one, expected = outcome_of(application, 1, lambda number: True, numbers)
    running, got = outcome_of(application, batch, lambda number: careful[number % len(careful)], numbers)
    assert got == expected
    assert running.states() == one_by_one.states()
    replayed = InAnyMode(application, 1, lambda number: False)
    replayed.replay(running.ran)
    assert replayed.states() == running.states()
