"""State tables: a state object for each key, which keys changed since their last snapshot, and snapshots themselves.

The worker holds live objects; the orchestrator owns the truth about them as pickled snapshots, which it may install
here (``restore``) and asks for (``snapshot``). A snapshot is unpickled when its key is first needed.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from heapq import merge
from typing import Any, Callable, NamedTuple

from wallaroo._values import PICKLE_PROTOCOL
from wallaroo.worker._failures import exception_message, exception_type


class Snapshotted(NamedTuple):
    """One state of a snapshot: pickled, or ``None`` and why it could not be; such a state stays dirty."""

    table: StateTable
    key: Any
    pickled: bytes | None
    problem: str


class StateTable:
    """The states of one table that this worker holds.

    Args:
        name: The table's name.
        build: Makes the state of a key that has none.

    ``live`` and ``dirty`` are read directly by the loops over state steps.
    """

    def __init__(self, name: str, build: Callable[[], Any]) -> None:
        self.name = name
        self.live: dict[Any, Any] = {}
        # Key to the batch that first changed it since its snapshot; in that order, for batches come in order.
        self.dirty: dict[Any, int] = {}
        self._build = build
        self._restored: dict[Any, bytes] = {}

    def open(self, key: Any) -> Any:
        """Return the state of ``key``, which is not in ``live``: of its snapshot, or newly built.

        Raises:
            Exception: What the user's ``build`` or unpickling raised.
        """
        snapshot = self._restored.get(key)
        state = self._build() if snapshot is None else pickle.loads(snapshot)
        self.live[key] = state
        self._restored.pop(key, None)
        return state

    def restore(self, key: Any, snapshot: bytes) -> None:
        """Install the snapshot of ``key`` in place of any state it has."""
        self.live.pop(key, None)
        self.dirty.pop(key, None)
        self._restored[key] = snapshot

    def pickled(self, key: Any) -> bytes:
        """Return the state of ``key``, pickled.

        Raises:
            Exception: What the user's pickling raised.
        """
        return pickle.dumps(self.live[key], PICKLE_PROTOCOL)


class StateTables:
    """All tables of a worker, by name."""

    def __init__(self) -> None:
        self._tables: dict[str, StateTable] = {}
        self._latest_batch = 0
        self._in_order = True

    def table(self, name: str, build: Callable[[], Any]) -> StateTable:
        """Return the table ``name``, made when it is first asked for: steps that share a name share the table."""
        return self._tables.setdefault(name, StateTable(name, build))

    def find(self, name: str) -> StateTable | None:
        """Return the table ``name``, or ``None``."""
        return self._tables.get(name)

    def begin_batch(self, batch: int) -> None:
        """Notice a batch that is older than one before it, as a replay for another slot may be."""
        if batch < self._latest_batch:
            self._in_order = False
        self._latest_batch = batch

    def snapshot(self, max_keys: int) -> Iterator[Snapshotted]:
        """Pickle the changed states of up to ``max_keys`` keys, those that have been dirty longest first.

        All tables of a key are taken together. The caller marks a state clean, by removing its key from its table's
        ``dirty``, once the iteration is over.
        """
        tables = self._ordered()
        seen: set[Any] = set()
        taken = 0
        for _, key in merge(*map(_by_age, tables), key=lambda entry: entry[0]):
            if key in seen:
                continue
            if taken == max_keys:
                return
            seen.add(key)
            states = [_pickled(table, key) for table in tables if key in table.dirty]
            # One that cannot be pickled stays dirty longest, and must not take the place of those that can.
            taken += any(state.pickled is not None for state in states)
            yield from states

    @property
    def oldest_dirty(self) -> int | None:
        """The first batch whose changes are in no snapshot."""
        return min((next(iter(table.dirty.values())) for table in self._ordered() if table.dirty), default=None)

    def _ordered(self) -> list[StateTable]:
        tables = list(self._tables.values())
        if not self._in_order:
            for table in tables:
                table.dirty = dict(sorted(table.dirty.items(), key=lambda item: item[1]))
            self._in_order = True
        return tables


def _by_age(table: StateTable) -> Iterator[tuple[int, Any]]:
    return ((batch, key) for key, batch in table.dirty.items())


def _pickled(table: StateTable, key: Any) -> Snapshotted:
    try:
        return Snapshotted(table, key, table.pickled(key), "")
    except BaseException as error:  # noqa: BLE001 - the user's __reduce__ or __getstate__
        return Snapshotted(table, key, None, f"{exception_type(error)}: {exception_message(error)}")
