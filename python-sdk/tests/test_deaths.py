"""What the marker says of a worker that died: the batch, and the step or what the step's input was read by."""

from __future__ import annotations

import os

import pytest

from orchestrator import MARKER, WHOLE, WorkerProcess, echo

STATEFUL = """
class Keep:
    def build(self):
        return []
    def compute(self, data, state):
        return str(data), False

class Deadly:
    # Kills the worker that pickles it, or the one that unpickles it.
    def __init__(self, where):
        self.where = where
    def __str__(self):
        return self.where
    def __reduce__(self):
        if self.where == "pickling":
            os._exit(9)
        return unpickled, (self.where,)

def unpickled(where):
    if where == "unpickling":
        os._exit(9)
    return Deadly(where)
"""
DEADLY = echo("return Deadly(data)").replace("ab.to(Step)", "ab.to(Step).to_stateful(Keep, Keep, 'kept')") + STATEFUL
STAGES = [[0, "frames", 0, [2]], [1, "groups", 2, [4]]]


@pytest.fixture
def dead(app, tmp_path):
    """Run one batch that kills its worker and return what the marker says then."""

    def run(source, stages, *batch, flags=0, first=None):
        with open(tmp_path / "marker", "w+b") as marker, WorkerProcess(marker=marker.fileno()) as worker:
            worker.start(app(source), stages=stages)
            if first is not None:
                batch = (*batch, worker.batch(1, *first)[0][2])
            worker.send(4, 7, batch[0], flags, [], [], batch[1])
            assert worker.receive() is None
            assert worker.process.wait(60) == 9
            return MARKER.unpack(os.pread(marker.fileno(), MARKER.size, 0))

    return run


@pytest.mark.parametrize(("flags", "message"), [(0, (WHOLE, WHOLE)), (2, (1, 0))])
def test_in_a_step(dead, flags, message):
    source = echo("os._exit(9) if data == 'bad' else None; return data")
    assert dead(source, [[0, "frames", 0, [2]]], 0, [b"a", b"bad"], flags=flags) == (7, 1, 1, *message)


@pytest.mark.parametrize(("flags", "message"), [(0, (WHOLE, WHOLE)), (2, (1, 0))])
def test_in_pickling_a_value_for_the_next_stage(dead, flags, message):
    assert dead(DEADLY, STAGES, 0, [b"a", b"pickling"], flags=flags) == (7, 2, 1, *message)


@pytest.mark.parametrize(("flags", "message"), [(0, (WHOLE, WHOLE)), (2, (0, WHOLE))])
def test_in_unpickling_a_group(dead, flags, message):
    given = (0, [b"a", b"unpickling"])
    assert dead(DEADLY, STAGES, 1, flags=flags, first=given) == (7, 2, 1, *message)


def test_in_cutting_frames(dead):
    source = echo("return data").replace(
        'delimiter = b"\\n"',
        "def header_length(self): return 3\n"
        "    def payload_length(self, bs): return bs[0] & 127 if bs != b'die' else os._exit(9)",
    )
    assert dead(source, [[5, "cut", 0, []]], 5, b"\x01..adie") == (7, 0, 1, WHOLE, WHOLE)


@pytest.mark.parametrize(("flags", "message"), [(0, (WHOLE, WHOLE)), (2, (1, 0))])
def test_in_a_generator(dead, flags, message):
    source = """
import os
import wallaroo

class Count:
    def initial_value(self):
        return 0
    def apply(self, previous):
        os._exit(9)

class Text:
    def encode(self, data):
        return str(data)

def application_setup(args):
    ab = wallaroo.ApplicationBuilder("count").new_pipeline("p", wallaroo.GenSourceConfig(Count()))
    return ab.to_sink(wallaroo.StdoutSinkConfig(Text)).build()
"""
    assert dead(source, [[0, "generate", 0, [1]]], 0, 5, flags=flags) == (7, 0, 1, *message)
