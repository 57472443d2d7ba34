"""The groups of a stage that runs message by message: values are encoded as they come.

What a state computation returned may be changed by its next message, so it is encoded at once, unless nothing can
change it. Each value encoded so is a group by itself: 1.1 µs more a value than pickling a whole list would cost, on
CPython 3.11, where that would be right.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any, NamedTuple

from wallaroo._protocol import GROUPS
from wallaroo._values import SCALAR_TYPES, ValueCodec
from wallaroo.worker._batch import BatchRun
from wallaroo.worker._contracts import key_explained, too_large
from wallaroo.worker._depth_first import Place, Push
from wallaroo.worker._failures import StepContractError
from wallaroo.worker._outlets import Entry, KeyFunction, Outlet, group_size, halves, sendable


class Captured(NamedTuple):
    """A value as it was when it came."""

    codec: int
    data: bytes


class _Group(NamedTuple):
    """The values of a key, some of them ``Captured``, and where each came of."""

    values: list[Any]
    origins: list[int]


class CapturingGroupOutlet(Outlet):
    """A ``key_by`` or ``collect`` node.

    Args:
        node: Its id.
        codec: Encodes the values.
        key: The key function, or ``None`` to put all values under the key ``None``.
    """

    kind = GROUPS

    def __init__(self, node: int, codec: ValueCodec, key: KeyFunction | None) -> None:
        super().__init__(node)
        self._codec = codec
        self._key = key
        self._groups: dict[Any, _Group] = {}

    def begin(self) -> None:
        """Forget the batch before."""
        self._groups.clear()

    def push(self, below: Push, place: Place) -> Push:
        """Return the push of this outlet; nothing is below it."""
        groups, codec, function = self._groups, self._codec, self._key

        def capture(value: Any) -> None:
            key = None
            try:
                if function is not None:
                    key = function.call(value)
                    problem = function.problem(key)
                    if problem is not None:
                        place.fail(self.node, StepContractError(problem), value, sendable(key))
                        return
            except BaseException as error:  # noqa: BLE001
                place.fail(self.node, key_explained(error), value)
                return
            captured = value
            if value.__class__ not in SCALAR_TYPES:
                try:
                    captured = Captured(*codec.encode([value]))
                except BaseException as error:  # noqa: BLE001 - the user's __reduce__ or serialize
                    place.fail(self.node, error, value, key)
                    return
            group = groups.get(key)
            if group is None:
                group = groups[key] = _Group([], [])
            group.values.append(captured)
            group.origins.append(place.origin)

        return capture

    def data(self, run: BatchRun) -> list[Any]:
        """Return flat ``key, count, codec, values``."""
        run.enter(self.node)
        flat: list[Any] = []
        for key, group in self._groups.items():
            for is_captured, start, end in _stretches(group.values):
                if is_captured:
                    for codec, data in group.values[start:end]:
                        flat += (key, 1, codec, data)
                else:
                    values = self._encodable(run, key, group, start, end)
                    if values:
                        flat += (key, len(values), *self._codec.encode(values))
        return flat

    def _encodable(self, run: BatchRun, key: Any, group: _Group, start: int, end: int) -> list[Any]:
        """Return the plain values between ``start`` and ``end`` that can be encoded, and fail the others.

        Plain values are pickled or given to ``serialize`` only where MessagePack cannot have them, an int beyond 64
        bits for instance; only the latter can fail.
        """
        values = group.values[start:end]
        try:
            self._codec.encode(values)
        except BaseException:  # noqa: BLE001
            return [value for index, value in enumerate(values) if self._is_encodable(run, key, value, group.origins[start + index])]
        return values

    def entries(self, run: BatchRun, largest: int) -> Iterator[tuple[int, Entry]]:
        """Return groups; one too large is cut into several of the same key."""
        for key, group in self._groups.items():
            for is_captured, start, end in _stretches(group.values):
                position = start
                if is_captured:
                    pieces = ((group_size(key, data), [key, 1, codec, data]) for codec, data in group.values[start:end])
                else:
                    pieces = ((size, entry) for size, _, entry in halves(self._codec, key, group.values[start:end], largest))
                for size, entry in pieces:
                    if size <= largest:
                        yield size, entry
                    else:
                        self._fail_too_large(run, key, group.origins[position], size, largest, entry)
                    position += entry[1]


def _stretches(values: list[Any]) -> Iterator[tuple[bool, int, int]]:
    """Return the stretches of neighbours that are captured, or are not: whether, and from where to where."""
    start = 0
    for is_captured, neighbours in groupby(values, lambda value: value.__class__ is Captured):
        end = start + sum(1 for _ in neighbours)
        yield is_captured, start, end
        start = end
