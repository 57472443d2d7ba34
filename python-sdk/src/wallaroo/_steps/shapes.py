"""Types of what verbs take and give."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

K = TypeVar("K")
V = TypeVar("V")

Keyed = tuple[K, V]
"""What an aggregate gives: ``(key, value)``. Subscribe it, as ``Keyed[str, int]``, to annotate a function."""


class Addable(Protocol):
    """A value that can be added to others of its kind. Text can be joined, but not subtracted."""

    def __add__(self, other: Any, /) -> Any: ...

    def __sub__(self, other: Any, /) -> Any: ...


class Ordered(Protocol):
    """A value that can be compared with others of its kind."""

    def __lt__(self, other: Any, /) -> bool: ...
