"""Copies of values: each branch of a pipeline may change what it is given, and no other branch sees the change."""

from __future__ import annotations

import pickle
from collections.abc import Collection
from typing import Any

from wallaroo._codec.plain import SCALAR_TYPES

PICKLE_PROTOCOL = min(5, pickle.HIGHEST_PROTOCOL)
"""Known to every supported interpreter, so that values and states may cross between interpreters."""


def is_immutable(value: Any) -> bool:
    """Whether nothing can change ``value``: a scalar, or a tuple of scalars."""
    kind = type(value)
    return kind in SCALAR_TYPES or (kind is tuple and SCALAR_TYPES.issuperset(map(type, value)))


def pickled_copy(value: Any) -> Any:
    """Return a copy of ``value`` that shares nothing with it which could change.

    Raises:
        Exception: ``value`` cannot be pickled, or the pickle cannot be read.
    """
    return value if is_immutable(value) else pickle.loads(pickle.dumps(value, PICKLE_PROTOCOL))


def copy_of(value: Any) -> Any:
    """Return a copy of ``value``, or ``value`` itself if it can be neither pickled nor deep-copied."""
    try:
        return pickled_copy(value)
    except BaseException:  # noqa: BLE001 - the user's __reduce__
        pass
    try:
        from copy import deepcopy  # Imported here because most workers never need it.

        return deepcopy(value)
    except BaseException:  # noqa: BLE001 - the user's __deepcopy__
        return value


def has_repeats(values: Collection[Any]) -> bool:
    """Whether some object is in ``values`` more than once."""
    return len(values) > 1 and len(set(map(id, values))) < len(values)


def each_its_own(values: list[Any]) -> list[Any]:
    """Return ``values`` with a copy in place of each mutable object that came before."""
    seen: set[int] = set()
    own = []
    for value in values:
        own.append(copy_of(value) if id(value) in seen else value)
        seen.add(id(value))
    return own


def copies_of(values: list[Any]) -> list[Any]:
    """Return a copy of each of ``values``; by one pickle, where that is possible."""
    try:
        return pickle.loads(pickle.dumps(values, PICKLE_PROTOCOL))  # type: ignore[no-any-return]
    except BaseException:  # noqa: BLE001
        return list(map(copy_of, values))
