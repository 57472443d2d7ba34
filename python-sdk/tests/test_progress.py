"""The marker's sign of life, and what it says of a state that is being saved."""

from __future__ import annotations

import struct
import time

import msgpack
import pytest

import wallaroo
from stages import Runner, build
from wallaroo._codec.protocol import CAREFUL
from wallaroo.worker import _progress
from wallaroo.worker._marker import Marker
from wallaroo.worker._state import StateTables

WORDS = struct.Struct("=6Q")


def words(file):
    file.seek(0)
    return WORDS.unpack(file.read(WORDS.size))


@pytest.fixture
def marked(tmp_path):
    with open(tmp_path / "marker", "w+b", buffering=0) as file:
        yield file


def test_the_reporter_tells_a_loop_that_moves_on_from_one_that_stands():
    values = list(range(5))
    loop = _progress.watched(values)
    seen = [_progress.position()]
    for _ in loop:
        assert _progress.position() != seen[-1]
        seen.append(_progress.position())
        assert _progress.position() == seen[-1]
    assert _progress.watched(values) is not loop
    assert _progress.position() != seen[0]


def test_progress_is_reported_as_long_as_there_is_some(marked):
    marker = Marker(marked.fileno())
    _progress.report_progress(marker, 0.001)
    before = words(marked)[3]
    deadline = time.monotonic() + 60
    while words(marked)[3] < before + 3:
        _progress.advance()
        assert time.monotonic() < deadline


@wallaroo.computation(name="look")
def look(data):
    looked.append(_progress.position())
    return data


looked = []


@pytest.mark.parametrize("flags", [0, CAREFUL])
def test_every_message_is_progress(flags):
    looked.clear()
    application = build(lambda builder: builder.to(look))
    Runner(application, ("frames", 0, [2])).run(0, [b"a", b"b", b"c"], flags=flags)
    assert len(set(looked)) == 3


def test_the_marker_names_the_key_whose_state_is_saved(marked):
    marker = Marker(marked.fileno())
    noted = []

    class State:
        def __reduce__(self):
            _, step, number, _, length, _ = words(marked)
            noted.append((step >> 32, number, msgpack.unpackb(marked.read(length))))
            return State, ()

    tables = StateTables(marker)
    table = tables.table("t", State)
    for key in ("a", ("b", 1)):
        table.open(key)
        table.changed([key], 1)
    list(tables.snapshot(9))
    assert noted == [(2, 1, ["t", "a"]), (2, 2, ["t", ["b", 1]])]
    assert words(marked)[1] == 0


@pytest.mark.parametrize(("values", "group"), [(7, None), (3, 4)])
def test_a_standstill_names_the_group(marked, monkeypatch, values, group):
    """In a loop over all values of a batch the position says which group it is, in a loop over one group's the loop."""
    monkeypatch.setattr(_progress, "LONG", 0)
    marker = Marker(marked.fileno())
    _progress.report_progress(marker, 0.001)
    loop = _progress.watched(list(range(values)), group)
    next(loop)
    next(loop)
    next(loop)
    marker.entering(values, 1)
    deadline = time.monotonic() + 60
    while (stood := _progress.standstill()) is None or stood.batch != values:
        assert time.monotonic() < deadline
    assert stood.group_of([2, 2, 3]) == (1 if group is None else group)
