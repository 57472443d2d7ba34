"""Replies to a batch or a snapshot request, cut so that each stays under the cap."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, Callable

from wallaroo._codec.keys import key_from_wire, key_size
from wallaroo._codec.protocol import Result, Snapshot, SnapshotKeys, SnapshotPart, encode
from wallaroo.worker._batch import BatchRun
from wallaroo.worker._outlets import Outlet
from wallaroo.worker._state import StateTable, StateTables

_ENVELOPE = 64
"""Bytes that the fields around outputs and failures take at most, and a margin."""

_KEEP_TEXT = 200
_FAILURE_KEY = 2
_FAILURE_TEXTS = (3, 4, 5, 6)
_FAILURE_PAYLOAD, _FAILURE_CODEC = 7, 8

Elapsed = Callable[[], int]


def result_bodies(
    run: BatchRun, outlets: Sequence[Outlet], elapsed: Elapsed, *, ended: int, max_body: int
) -> Iterator[bytes]:
    """Return the ``result`` messages that answer a batch.

    Args:
        run: The batch, with the failures so far; more may be found while packing.
        outlets: Where its outputs were gathered.
        elapsed: Nanoseconds since the batch was received.
        ended: Values that a generator made, if it has ended; otherwise ``False``.
        max_body: The cap of a body in bytes.
    """
    body = _in_one(run, outlets, elapsed, ended=ended)
    if len(body) <= max_body:
        yield body
    else:
        del body
        yield from _in_parts(run, outlets, elapsed, ended=ended, max_body=max_body)


def _in_one(run: BatchRun, outlets: Sequence[Outlet], elapsed: Elapsed, *, ended: int) -> bytes:
    outputs: list[Any] = []
    for outlet in outlets:
        data = outlet.data(run)
        if data:
            outputs += (outlet.node, outlet.kind, data)
    try:
        return encode(Result(run.batch, False, elapsed(), outputs, run.failures, ended, _timing(run), run.slow))
    except UnicodeEncodeError:
        # Keys and failures are known to be sound, so a sink's message is not.
        for outlet in outlets:
            outlet.fail_unencodable(run)
        return _in_one(run, outlets, elapsed, ended=ended)


def _in_parts(
    run: BatchRun, outlets: Sequence[Outlet], elapsed: Elapsed, *, ended: int, max_body: int
) -> Iterator[bytes]:
    largest = max_body - _ENVELOPE
    part = _Part(run.batch)
    for outlet in outlets:
        for size, entry in outlet.entries(run, largest):
            if part.size + size > largest:
                yield part.body()
                part = _Part(run.batch)
            part.add_output(outlet, size, entry)
    # Only now are all failures known: an entry too large is one.
    for fields in run.failures:
        size = _fit_failure(fields, largest)
        if part.size + size > largest:
            yield part.body()
            part = _Part(run.batch)
        part.failures.append(fields)
        part.size += size
    for key, deadline in run.timers:
        size = key_size(key) + 10
        if part.size + size > largest:
            yield part.body()
            part = _Part(run.batch)
        part.timers.append((key, deadline))
        part.size += size
    timing = _timing(run, part.timers)
    yield part.body(last=True, elapsed=elapsed(), ended=ended, timing=timing, slow=run.slow)


def _timing(run: BatchRun, timers: Sequence[tuple[Any, int | None]] | None = None) -> list[Any] | None:
    """Return what a result says of time, with all timers or those that are left; ``None`` when that is nothing."""
    timers = run.timers if timers is None else timers
    if run.discard or not (timers or run.late or run.time is not None):
        return None
    return [run.time, run.late, list(chain.from_iterable(timers))]


class _Part:
    """One ``result`` being filled."""

    def __init__(self, batch: int) -> None:
        self._batch = batch
        self._outputs: list[Any] = []
        self.failures: list[Any] = []
        self.timers: list[tuple[Any, int | None]] = []
        self.size = 0

    def add_output(self, outlet: Outlet, size: int, entry: list[Any]) -> None:
        if not self._outputs or self._outputs[-3] != outlet.node:
            self._outputs += (outlet.node, outlet.kind, [])
            self.size += 16
        self._outputs[-1] += entry
        self.size += size

    def body(
        self,
        *,
        last: bool = False,
        elapsed: int = 0,
        ended: int = False,
        timing: list[Any] | None = None,
        slow: int | None = None,
    ) -> bytes:
        if not last and self.timers:
            timing = [None, 0, list(chain.from_iterable(self.timers))]
        return encode(Result(self._batch, not last, elapsed, self._outputs, self.failures, ended, timing, slow))


def _fit_failure(fields: list[Any], largest: int) -> int:
    """Shorten a failure that no frame could carry, and return its size."""
    size = _failure_size(fields)
    if size > largest:
        fields[_FAILURE_PAYLOAD], fields[_FAILURE_CODEC] = b"", 0
        size = _failure_size(fields)
    if size > largest:
        for index in _FAILURE_TEXTS:
            fields[index] = fields[index][:_KEEP_TEXT]
        size = _failure_size(fields)
    if size > largest:
        fields[_FAILURE_KEY] = None
        size = _failure_size(fields)
    return size


def _failure_size(fields: list[Any]) -> int:
    texts = sum(len(fields[index]) * 4 for index in _FAILURE_TEXTS)
    return texts + key_size(fields[_FAILURE_KEY]) + len(fields[_FAILURE_PAYLOAD]) + 64


def snapshot_bodies(tables: StateTables, message: Snapshot | SnapshotKeys, max_body: int) -> Iterator[bytes]:
    """Return the ``snapshot_part`` messages that answer a request; the states in them are no longer dirty."""
    request = message.request
    largest = max_body - _ENVELOPE
    entries: list[Any] = []
    failures: list[Any] = []
    plain = tables.plain_snapshot(message.max_keys, largest) if isinstance(message, Snapshot) else None
    if plain is not None:
        changed, keys, snapshots = plain
        entries = [changed.name] * (3 * len(keys))
        entries[1::3], entries[2::3] = keys, snapshots
        for key in keys:
            changed.saved(key)
        yield encode(SnapshotPart(request, False, entries, failures, tables.oldest_dirty))
        return
    clean: list[tuple[StateTable, Any]] = []
    size = 0
    if isinstance(message, SnapshotKeys):
        states = tables.snapshot_of([key_from_wire(key) for key in message.keys])
    else:
        states = tables.snapshot(message.max_keys)
    for table, key, pickled, problem, added in states:
        if size + added > largest:
            yield encode(SnapshotPart(request, True, entries, failures, None))
            entries, failures, size = [], [], 0
        if pickled is None:
            failures += (table.name, key, problem)
        else:
            # A state that is larger than a message goes in pieces, one after another.
            room = largest - (added - len(pickled))
            while len(pickled) > room:
                yield encode(SnapshotPart(request, True, [table.name, key, pickled[:room]], [], None))
                pickled = pickled[room:]
                added -= room
            entries += (table.name, key, pickled)
            clean.append((table, key))
        size += added
    for table, key in clean:
        table.saved(key)
    yield encode(SnapshotPart(request, False, entries, failures, tables.oldest_dirty))
