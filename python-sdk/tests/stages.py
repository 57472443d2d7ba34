"""Running compiled stages without a process: from a batch's input to a reply's outputs and failures."""

from __future__ import annotations

from typing import NamedTuple

import msgpack

import wallaroo
from wallaroo._codec import protocol as protocol
from wallaroo._codec.keys import key_from_wire
from wallaroo._codec.values import ValueCodec
from wallaroo.worker._batch import BatchRun
from wallaroo.worker._compile import Compiler
from wallaroo.worker._marker import Marker
from wallaroo.worker._results import result_bodies, snapshot_bodies
from wallaroo.worker._state import StateTables


class Failure(NamedTuple):
    """The fields of a failure, in the protocol's order."""

    node: int
    origin: int
    key: object
    exception: str
    message: str
    traceback: str
    value: str
    payload: bytes
    codec: int


class Outcome(NamedTuple):
    """All parts of a reply together."""

    outputs: dict
    failures: list
    ended: int
    parts: int
    reached: int | None
    late: int
    timers: dict


class Lines:
    """Decoder and encoder of text."""

    delimiter = b"\n"

    def decode(self, bs):
        return bs.decode()

    def encode(self, data):
        return str(data)


def build(*steps):
    """Build an application from functions that each add to the builder, between standard input and output."""
    ab = wallaroo.ApplicationBuilder("test")
    ab.new_pipeline("p", wallaroo.StdinSourceConfig(Lines))
    for step in steps:
        step(ab)
    ab.to_sink(wallaroo.StdoutSinkConfig(Lines))
    return ab.build()


class Runner:
    """The stages of a plan: ``(input, root, outlets)`` each."""

    def __init__(self, application, *stages, codec=None, max_body=protocol.DEFAULT_MAX_BODY, marker=None):
        self.codec = codec or ValueCodec()
        self.tables = StateTables()
        self.max_body = max_body
        self.marker = Marker(marker)
        compiler = Compiler(application, self.tables, self.codec, max_body)
        self.stages = [compiler.compile(*stage) for stage in stages]
        self.batch = 0

    def run(self, stage, given, *, flags=0, skip=(), batch=None, times=()):
        self.batch = self.batch + 1 if batch is None else batch
        self.tables.begin_batch(self.batch)
        message = protocol.Batch(self.batch, stage, flags, list(skip), list(times), given)
        run = BatchRun(message, self.codec, self.marker)
        compiled = self.stages[stage]
        gathered = compiled.run(given, run)
        outputs, failures, ended, parts = {}, [], False, 0
        reached, late, timers = None, 0, {}
        for body in result_bodies(run, gathered, lambda: 5, ended=compiled.ended, max_body=self.max_body):
            assert len(body) <= self.max_body
            kind, batch, more, elapsed, flat, failed, ended, timing, _ = msgpack.unpackb(body)
            assert (kind, batch, elapsed) == (37, self.batch, 0 if more else 5)
            parts += 1
            fields = iter(flat)
            for outlet, _, data in zip(fields, fields, fields):
                outputs.setdefault(outlet, []).extend(data)
            failures += [Failure(*fields) for fields in failed]
            if timing is not None:
                reached, late = timing[0], timing[1]
                timers.update(zip(map(key_from_wire, timing[2][0::2]), timing[2][1::2]))
        assert not more
        return Outcome(outputs, failures, ended, parts, reached, late, timers)

    def groups(self, *keys_and_values):
        """Encode ``(key, values)`` pairs as a batch's groups."""
        flat = []
        for key, values in keys_and_values:
            number, data = self.codec.encode(values)
            flat += [key, len(values), number, data]
        return flat

    def read(self, flat):
        """Decode groups to ``(key, values)`` pairs."""
        fields = iter(flat)
        return [(key, self.codec.decode(codec, data, count)) for key, count, codec, data in zip(fields, *[fields] * 3)]

    def snapshot(self, max_keys, keys=None):
        """Return entries, failures, the oldest dirty batch and the number of parts."""
        entries, failures, parts = [], [], 0
        request = protocol.Snapshot(1, max_keys) if keys is None else protocol.SnapshotKeys(1, keys)
        for body in snapshot_bodies(self.tables, request, self.max_body):
            assert len(body) <= self.max_body
            _, _, _, part, failed, oldest = msgpack.unpackb(body)
            entries += part
            failures += failed
            parts += 1
        return entries, failures, oldest, parts
