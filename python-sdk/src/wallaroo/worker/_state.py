"""State tables: a state object for each key, which keys changed since their last snapshot, and snapshots themselves.

The worker holds live objects; the orchestrator owns the truth about them as snapshots, which it may install here
(``restore``) and asks for (``snapshot``). A snapshot is a pickle, or for a plain object its class and attributes; which
one its first byte says. Before that comes the version of the state, unless it is 1. A snapshot is made an object again,
and that one of the present version, when its key is first needed.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator
from heapq import merge
from itertools import filterfalse, islice, repeat
from typing import Any, Callable, NamedTuple

import msgpack

from wallaroo._codec.attributes import StatePickler
from wallaroo._codec.copies import PICKLE_PROTOCOL
from wallaroo._codec.key_tags import untagged
from wallaroo._codec.keys import key_size
from wallaroo._codec.plain import PlainObjects
from wallaroo._steps.state_versions import VersionedState
from wallaroo.worker._failures import RestoreError, StepContractError, exception_message, exception_type, shown
from wallaroo.worker._marker import Marker
from wallaroo.worker._migration import as_loaded, problem_of

NO_STATE = b""
"""In place of a snapshot: the key has no state in the table any more."""

LARGEST_STATE = 1 << 30
"""Bytes of a snapshot of one state, at most."""

_KILLS = "it has killed or hung the worker that tried"


Parts = Callable[[Any], Iterable[tuple[Any, Any]]]


class Snapshotted(NamedTuple):
    """One state of a snapshot: pickled, or ``None`` and why it could not be; such a state stays dirty.

    ``size`` is no less than what it takes in a reply, in bytes.
    """

    table: StateTable
    key: Any
    pickled: bytes | None
    problem: str
    size: int


class StateTable:
    """The states of one table that this worker holds.

    Args:
        name: The table's name.
        build: Makes the state of a key that has none, and may say of which version. It is given the key if
            ``builds_of_key``.
        is_empty: Says of a state that it is as good as none: what ``build`` would make takes its place without loss.
        parts: Returns the user's parts of a state, each with a new one, where what ``build`` makes has none yet.
        marker: Told before a state is unpickled, which is user code.

    ``live`` and ``dirty`` are read directly by the loops over state steps.
    """

    def __init__(
        self,
        name: str,
        build: Callable[..., Any],
        is_empty: Callable[[Any], bool] | None = None,
        parts: Parts | None = None,
        marker: Marker | None = None,
        *,
        builds_of_key: bool = False,
    ) -> None:
        self.name = name
        self.live: dict[Any, Any] = {}
        # Key to the batch that first changed it since its snapshot; in that order, for batches come in order.
        self.dirty: dict[Any, int] = {}
        self._build = build
        self._builds_of_key = builds_of_key
        self._versioned = build if isinstance(build, VersionedState) else None
        self._prefix = _prefix_of(self.version)
        self._is_empty = is_empty
        self._parts = parts
        # A state as the present code makes one, to compare others with.
        self._sample: tuple[Any] | tuple[()] = ()
        self._restored: dict[Any, bytes | bytearray] = {}
        self._marker = marker or Marker(None)
        self._unloadable: frozenset[Any] = frozenset()

    @property
    def version(self) -> int:
        """The version of the states that the present code has."""
        return FIRST_VERSION if self._versioned is None else self._versioned.version

    def open(self, key: Any) -> Any:
        """Return the state of ``key``, which is not in ``live``: of its snapshot, or newly built.

        A snapshot that cannot be unpickled is kept, and no state is built in its place: that would be taken for the
        key's true state, and replace it in the next snapshot.

        Raises:
            RestoreError: The user's unpickling raised.
            Exception: What the user's ``build`` raised.
        """
        if key in self._unloadable:
            # Also where a replay has brought no snapshot of it: what came since has failed.
            raise RestoreError(f"state of key {shown(key)} in table {self.name} is not loaded: {_KILLS}")
        snapshot = self._restored.get(key)
        if snapshot is None:
            state = self._new(key)
        else:
            before = self._marker.loading(self.name, key)
            try:
                state = self._load(key, snapshot)
            finally:
                self._marker.loaded(before)
            del self._restored[key]
        self.live[key] = state
        return state

    def _new(self, key: Any) -> Any:
        return self._build(untagged(key)) if self._builds_of_key else self._build()

    def _load(self, key: Any, snapshot: bytes | bytearray) -> Any:
        version, saved = _version_and_state(snapshot)
        what = f"state of key {shown(key)} in table {self.name}"
        if version > self.version:
            raise RestoreError(
                f"{what} has version {version}, and the application knows versions up to {self.version}: "
                "run the newer code"
            )
        try:
            state = state_of(saved)
            return state if version == self.version else self._migrated(state, version)
        except BaseException as error:
            reason = f"{exception_type(error)}: {exception_message(error)}"
            raise RestoreError(f"{what} could not be restored: {reason}") from error

    def _migrated(self, state: Any, version: int) -> Any:
        assert self._versioned is not None, "no version is older than the first"
        migrated = self._versioned.migrate(state, version)
        if migrated is None:
            raise TypeError(f"migrate returned None for a state of version {version}; return the new state")
        return migrated

    def try_out(self, key: Any, snapshot: bytes) -> str | None:
        """Return why the present code could not go on with the snapshot of ``key``; ``None`` if it could.

        Nothing is kept of it. A state that lacks an attribute which a new one has was made by older code.
        """
        try:
            state = self._load(key, snapshot)
        except RestoreError as error:
            return str(error)
        try:
            if not self._sample:
                self._sample = (as_loaded(self._new(key)),)
            pairs = [(state, *self._sample), *(self._parts(state) if self._parts is not None else ())]
        except BaseException:  # noqa: BLE001 - the user's build: says nothing about the snapshot
            return None
        problem = next(filter(None, (problem_of(*pair) for pair in pairs)), None)
        return None if problem is None else f"state of key {shown(key)} in table {self.name} {problem}"

    def restore(self, key: Any, snapshot: bytes) -> None:
        """Install the snapshot of ``key`` in place of any state it has."""
        self.live.pop(key, None)
        self.dirty.pop(key, None)
        self._restored[key] = snapshot

    def restore_more(self, key: Any, piece: bytes) -> None:
        """Install the next piece of the snapshot of ``key``, which was too large for one message."""
        snapshot = self._restored[key]
        if not isinstance(snapshot, bytearray):
            snapshot = self._restored[key] = bytearray(snapshot)
        snapshot += piece

    def changed(self, keys: Iterable[Any], batch: int) -> None:
        """Note that ``batch`` has changed the states of ``keys``."""
        self.dirty.update(zip(filterfalse(self.dirty.__contains__, keys), repeat(batch)))

    def do_not_load(self, states: Iterable[tuple[str, Any]]) -> None:
        """Load those of ``states`` no more, each a table and a key, that are of this table."""
        self._unloadable = frozenset(key for table, key in states if table == self.name)

    def forget(self, key: Any) -> None:
        """Drop the state of ``key``: it is another worker's now."""
        self.live.pop(key, None)
        self.dirty.pop(key, None)
        self._restored.pop(key, None)

    def pickled(self, key: Any) -> bytes:
        """Return the state of ``key``, pickled; nothing, if it is empty.

        Raises:
            Exception: What the user's pickling raised.
        """
        state = self.live[key]
        return NO_STATE if self._is_empty is not None and self._is_empty(state) else self._snapshot_of(state)

    def _snapshot_of(self, state: Any) -> bytes:
        return self._prefix + _PICKLER.dumps(state)

    def with_version(self, snapshots: list[bytes]) -> list[bytes]:
        """Return snapshots of the present states, of which only the version is missing."""
        return [self._prefix + snapshot for snapshot in snapshots] if self._prefix else snapshots

    def copied(self, key: Any) -> bytes:
        """Return what :meth:`put_back` makes the present state of ``key`` of.

        Raises:
            StepContractError: The state cannot be pickled.
        """
        try:
            return self._snapshot_of(self.live[key])
        except BaseException as error:
            reason = f"{exception_type(error)}: {exception_message(error)}"
            raise StepContractError(
                f"state of key {shown(key)} in table {self.name} cannot be pickled, as atomic=True needs before each"
                f" message: {reason}"
            ) from error

    def put_back(self, key: Any, copied: bytes) -> None:
        """Put what was copied in place of the state of ``key``.

        Raises:
            RestoreError: The user's unpickling raised. The state stays as it is.
        """
        self.live[key] = self._load(key, copied)

    def reloaded(self, key: Any) -> Any:
        """Return the state of ``key`` as another worker would have it; ``None``, if it is empty. This one stays.

        Raises:
            RestoreError: The user's unpickling raised.
            Exception: What the user's pickling raised.
        """
        snapshot = self.pickled(key)
        return self._load(key, snapshot) if snapshot else None

    def saved(self, key: Any) -> None:
        """Note that a snapshot has the state of ``key``. An empty one is kept no longer."""
        del self.dirty[key]
        if self._is_empty is not None and self._is_empty(self.live[key]):
            del self.live[key]


class StateTables:
    """All tables of a worker, by name.

    Args:
        marker: Told before a state is pickled or unpickled, which is user code.
    """

    def __init__(self, marker: Marker | None = None) -> None:
        self._marker = marker or Marker(None)
        self._tables: dict[str, StateTable] = {}
        self._unsaved: set[tuple[str, Any]] = set()
        self._unloadable: list[tuple[str, Any]] = []
        self._latest_batch = 0
        self._in_order = True

    def table(
        self,
        name: str,
        build: Callable[..., Any],
        is_empty: Callable[[Any], bool] | None = None,
        parts: Parts | None = None,
        *,
        builds_of_key: bool = False,
    ) -> StateTable:
        """Return the table ``name``, made when it is first asked for: steps that share a name share the table."""
        made = StateTable(name, build, is_empty, parts, self._marker, builds_of_key=builds_of_key)
        table = self._tables.setdefault(name, made)
        table.do_not_load(self._unloadable)
        return table

    def find(self, name: str) -> StateTable | None:
        """Return the table ``name``, or ``None``."""
        return self._tables.get(name)

    def live(self) -> Iterator[tuple[StateTable, Any]]:
        """Return the table and the key of each state that is an object here, and no snapshot."""
        return ((table, key) for table in self._tables.values() for key in table.live)

    def do_not_save(self, states: Iterable[tuple[str, Any]]) -> None:
        """Make no snapshots of ``states`` from now on, each a table and a key."""
        self._unsaved = set(states)

    def do_not_load(self, states: Iterable[tuple[str, Any]]) -> None:
        """Load ``states`` no more, each a table and a key: what needs them fails."""
        self._unloadable = list(states)
        for table in self._tables.values():
            table.do_not_load(self._unloadable)

    def begin_batch(self, batch: int) -> None:
        """Notice a batch that is older than one before it, as a replay for another slot may be."""
        if batch < self._latest_batch:
            self._in_order = False
        self._latest_batch = batch

    def plain_snapshot(self, max_keys: int, largest: int) -> tuple[StateTable, list[Any], list[bytes]] | None:
        """Do what :meth:`snapshot` does by columns, a fifth of the work, where that is possible.

        Returns:
            The table, keys and their snapshots; ``None`` when several tables have changed, when some state is no plain
            object, or when all do not fit ``largest`` bytes together.
        """
        changed = [table for table in self._ordered() if table.dirty]
        if len(changed) != 1 or self._unsaved:
            return None
        (table,) = changed
        keys = list(islice(table.dirty, max_keys))
        states = list(map(table.live.__getitem__, keys))
        if not _PLAIN.are(set(map(type, states))):
            return None
        snapshots = _PLAIN.encode([[state] for state in states])
        if snapshots is None:
            return None
        snapshots = table.with_version(snapshots)
        size = sum(map(len, snapshots)) + sum(map(key_size, keys)) + len(keys) * _envelope(table)
        return (table, keys, snapshots) if size <= largest else None

    def snapshot(self, max_keys: int) -> Iterator[Snapshotted]:
        """Pickle the changed states of up to ``max_keys`` keys, those that have been dirty longest first.

        A state that takes more than ``LARGEST_STATE`` bytes is one that could not be pickled.

        All tables of a key are taken together. The caller marks a state clean, with :meth:`StateTable.saved`, once the
        iteration is over.
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
            states = [self._pickled(table, key) for table in tables if key in table.dirty]
            # A snapshot is of a whole key or of none of it: a replay leaves a key out or runs it, in all its tables.
            failed = [state for state in states if state.pickled is None]
            # A key that cannot be pickled stays dirty longest, and must not take the place of those that can.
            taken += not failed
            yield from failed or states

    def snapshot_of(self, keys: list[Any]) -> Iterator[Snapshotted]:
        """Pickle the changed states of ``keys``, as :meth:`snapshot` does those of the keys it takes."""
        tables = self._ordered()
        for key in keys:
            states = [self._pickled(table, key) for table in tables if key in table.dirty]
            yield from [state for state in states if state.pickled is None] or states

    @property
    def oldest_dirty(self) -> int | None:
        """The first batch whose changes are in no snapshot."""
        return min((next(iter(table.dirty.values())) for table in self._ordered() if table.dirty), default=None)

    def _pickled(self, table: StateTable, key: Any) -> Snapshotted:
        envelope = _envelope(table) + key_size(key)
        if (table.name, key) in self._unsaved:
            return Snapshotted(table, key, None, _KILLS, envelope + 4 * len(_KILLS))
        self._marker.saving(table.name, key)
        try:
            pickled = table.pickled(key)
            size = envelope + len(pickled)
            if size <= LARGEST_STATE:
                return Snapshotted(table, key, pickled, "", size)
            problem = f"a state of {size} bytes, more than the {LARGEST_STATE} that can be saved"
        except BaseException as error:  # noqa: BLE001 - the user's __reduce__ or __getstate__
            problem = f"{exception_type(error)}: {exception_message(error)}"
        finally:
            self._marker.saved()
        return Snapshotted(table, key, None, problem, envelope + 4 * len(problem))

    def _ordered(self) -> list[StateTable]:
        tables = list(self._tables.values())
        if not self._in_order:
            for table in tables:
                table.dirty = dict(sorted(table.dirty.items(), key=lambda item: item[1]))
            self._in_order = True
        return tables


_PLAIN = PlainObjects(lasting=True)
_PICKLER = StatePickler(PICKLE_PROTOCOL)
# How the list of one plain object begins; pickles begin otherwise.
_ONE_PLAIN = b"\x92"
# How a snapshot with a version begins: MessagePack's uint32 follows, and then what others begin with.
_VERSION = b"\xce"
_VERSION_SIZE = 5
FIRST_VERSION = 1
"""Of states whose step names no version."""


def state_of(snapshot: bytes | bytearray) -> Any:
    """Return the state that a snapshot was made of, in the version that it has.

    Raises:
        Exception: What the user's unpickling raised.
    """
    _, snapshot = _version_and_state(snapshot)
    if snapshot[:1] != _ONE_PLAIN:
        return pickle.loads(snapshot)
    (state,) = _PLAIN.decode(msgpack.unpackb(snapshot, strict_map_key=False))
    return state


def _prefix_of(version: int) -> bytes:
    return b"" if version == FIRST_VERSION else _VERSION + version.to_bytes(_VERSION_SIZE - 1, "big")


def _version_and_state(snapshot: bytes | bytearray) -> tuple[int, bytes | bytearray]:
    if snapshot[:1] != _VERSION:
        return FIRST_VERSION, snapshot
    return int.from_bytes(snapshot[1:_VERSION_SIZE], "big"), snapshot[_VERSION_SIZE:]


def _envelope(table: StateTable) -> int:
    """Return no less than what a state in a reply takes beyond itself and its key, in bytes."""
    return 4 * len(table.name) + 16


def _by_age(table: StateTable) -> Iterator[tuple[int, Any]]:
    return ((batch, key) for key, batch in table.dirty.items())
