"""Running aggregates: the state of a key, and the functions that take a message in and return ``((key, value), True)``.

The functions are what a worker calls for each message. So the state knows its key: a state computation is told none.
Classes of states are found by their names when a snapshot is loaded, and their attributes are part of snapshots.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Callable

from wallaroo._codec.copies import copy_of
from wallaroo._codec.plain import SCALAR_TYPES
from wallaroo._steps.wrapping import calling

Call = Callable[[Any, Any], Any]
Value = Callable[[Any], Any]


class Count:
    """How many messages a key has had."""

    def __init__(self, key: Any) -> None:
        self.key = key
        self.count = 0


def count(message: Any, state: Count) -> tuple[Any, bool]:
    """Count a message."""
    state.count += 1
    return (state.key, state.count), True


class Total:
    """The sum of a key's values, ``None`` before the first, and how many there were."""

    def __init__(self, key: Any) -> None:
        self.key = key
        self.total: Any = None
        self.count = 0


def summing(value_of: Value) -> Call:
    """Return what adds ``value_of(message)``."""

    @calling(value_of)
    def add(message: Any, state: Total) -> tuple[Any, bool]:
        value = value_of(message)
        if value is None:
            return None, False
        total = state.total = first_of_sum(value) if state.total is None else state.total + value
        return (state.key, total if total.__class__ in SCALAR_TYPES else copy_of(total)), True

    return add


def first_of_sum(value: Any) -> Any:
    """Return the first value of a sum.

    Raises:
        TypeError: It is text, which would be joined.
    """
    if isinstance(value, (str, bytes)):
        raise TypeError(
            f"sum adds numbers, and got {type(value).__name__}; convert it first, for example with sum(float)"
        )
    return value


def averaging(value_of: Value) -> Call:
    """Return what takes ``value_of(message)`` into the mean."""

    @calling(value_of)
    def average(message: Any, state: Total) -> tuple[Any, bool]:
        value = value_of(message)
        if value is None:
            return None, False
        total = value if state.total is None else state.total + value
        mean = total / (state.count + 1)
        state.total = total
        state.count += 1
        return (state.key, mean), True

    return average


class Held:
    """The value that a key holds, ``None`` before the first."""

    def __init__(self, key: Any) -> None:
        self.key = key
        self.value: Any = None


def least(value_of: Value) -> Call:
    """Return what keeps the least ``value_of(message)``; of equal ones the first."""

    @calling(value_of)
    def keep_least(message: Any, state: Held) -> tuple[Any, bool]:
        value = value_of(message)
        if value is None:
            return None, False
        if state.value is None or value < state.value:
            state.value = value
        return _given(state), True

    return keep_least


def greatest(value_of: Value) -> Call:
    """Return what keeps the greatest ``value_of(message)``; of equal ones the first."""

    @calling(value_of)
    def keep_greatest(message: Any, state: Held) -> tuple[Any, bool]:
        value = value_of(message)
        if value is None:
            return None, False
        if state.value is None or state.value < value:
            state.value = value
        return _given(state), True

    return keep_greatest


def reducing(function: Callable[[Any, Any], Any]) -> Call:
    """Return what combines a message with what the key holds. ``None`` from ``function``: it has changed that."""

    @calling(function)
    def reduce(message: Any, state: Held) -> tuple[Any, bool]:
        if state.value is None:
            state.value = message
        else:
            reduced = function(state.value, message)
            if reduced is not None:
                state.value = reduced
        return _given(state), True

    return reduce


def _given(state: Held) -> tuple[Any, Any]:
    """Return key and value. Steps below may change what they are given, and must not change the state by that."""
    value = state.value
    return state.key, value if value.__class__ in SCALAR_TYPES else copy_of(value)


class Collected:
    """All values of a key, in the order in which they came."""

    def __init__(self, key: Any) -> None:
        self.key = key
        self.values: list[Any] = []


def collect(message: Any, state: Collected) -> tuple[Any, bool]:
    """Add a message to the list."""
    values = state.values
    values.append(message)
    return (state.key, values.copy() if SCALAR_TYPES.issuperset(map(type, values)) else copy_of(values)), True


class Seen:
    """What a key's messages are told apart by, of all that have come."""

    def __init__(self, key: Any) -> None:
        self.key = key
        self.seen: set[Hashable] = set()


def deduplicating(identity_of: Value) -> Call:
    """Return what gives a message unless one with the same ``identity_of(message)`` has come before."""

    @calling(identity_of)
    def give_first(message: Any, state: Seen) -> tuple[Any, bool]:
        identity = identity_of(message)
        try:
            is_new = identity not in state.seen
        except TypeError:
            raise without_hash(identity) from None
        if not is_new:
            return None, False
        state.seen.add(identity)
        return (state.key, message), True

    return give_first


class Row:
    """The latest row of a key in a table, ``None`` before the first."""

    def __init__(self) -> None:
        self.row: Any = None


def looking_up(marked: tuple[int, Any, Any], state: Row) -> tuple[Any, bool]:
    """Take a row of the table, side 1, or give a message with its row."""
    side, _, message = marked
    if side:
        state.row = message
        return None, True
    row = state.row
    return (message, row if row.__class__ in SCALAR_TYPES else copy_of(row)), False


def without_hash(identity: Any) -> TypeError:
    """Return the error for what cannot tell messages apart."""
    return TypeError(
        f"dedup cannot tell values of type {type(identity).__name__} apart, which have no hash; give by= a "
        "function that returns what identifies a message"
    )


def itself(message: Any) -> Any:
    """Return the message."""
    return message
