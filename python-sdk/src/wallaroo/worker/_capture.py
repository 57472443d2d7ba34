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
from wallaroo._values import ValueCodec
from wallaroo.worker._batch import BatchRun
from wallaroo.worker._contracts import key_explained, too_large
from wallaroo.worker._depth_first import Place, Push
from wallaroo.worker._failures import StepContractError
from wallaroo.worker._forked import in_child, leave_if_child
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
        groups, function, encode, is_fixed = self._groups, self._key, self._codec.encode, self._codec.is_fixed

        def capture(value: Any) -> None:
            key = None
            try:
                if function is not None:
                    key = function.call(value)
                    if in_child:
                        leave_if_child()
                    problem = function.problem(key)
                    if problem is not None:
                        place.fail(self.node, StepContractError(problem), value, sendable(key))
                        return
            except BaseException as error:  # noqa: BLE001
                place.fail(self.node, key_explained(error), value)
                return
            captured = value
            if not is_fixed(value):
                try:
                    captured = Captured(*encode([value]))
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
                values = group.values[start:end]
                if is_captured:
                    for codec, data in values:
                        flat += (key, 1, codec, data)
                else:
                    flat += (key, len(values), *self._codec.encode(values))
        return flat

    def entries(self, run: BatchRun, largest: int) -> Iterator[tuple[int, Entry]]:
        """Return groups; one too large is cut into several of the same key."""
        for key, group in self._groups.items():
            position = 0
            for size, entry in self._pieces(key, group.values, largest):
                if size <= largest:
                    yield size, entry
                else:
                    value = self._read_back(*entry[2:])
                    run.fail(self.node, group.origins[position], too_large("a value", size, largest), value, key)
                position += entry[1]

    def _read_back(self, codec: int, data: bytes) -> Any:
        try:
            return self._codec.decode(codec, data, 1)[0]
        except BaseException:  # noqa: BLE001 - the user's unpickling or deserialize
            return Captured(codec, data)

    def _pieces(self, key: Any, values: list[Any], largest: int) -> Iterator[tuple[int, Entry]]:
        for is_captured, start, end in _stretches(values):
            if is_captured:
                for codec, data in values[start:end]:
                    yield group_size(key, data), [key, 1, codec, data]
            else:
                for size, _, entry in halves(self._codec, key, values[start:end], largest):
                    yield size, entry


def _stretches(values: list[Any]) -> Iterator[tuple[bool, int, int]]:
    """Return the stretches of neighbours that are captured, or are not: whether, and from where to where."""
    start = 0
    for is_captured, neighbours in groupby(values, lambda value: value.__class__ is Captured):
        end = start + sum(1 for _ in neighbours)
        yield is_captured, start, end
        start = end
