"""The groups of a stage that runs message by message: values are encoded as they come.

What a state computation returned may be changed by its next message, so it is encoded at once, unless nothing can
change it: scalars, and tuples of scalars, are kept and encoded together. Each value encoded at once is a group by
itself.

On CPython 3.11, from a state to the next key, a scalar takes 0.3 µs more than it would when whole groups
were encoded at the end of the batch; an object takes 1 µs more, where every value has a key of its own either way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from typing import Any

from wallaroo._codec.protocol import GROUPS
from wallaroo._codec.values import ValueCodec
from wallaroo.worker._batch import BatchRun
from wallaroo.worker._contracts import key_explained, too_large
from wallaroo.worker._depth_first import Position, Push
from wallaroo.worker._failures import StepContractError
from wallaroo.worker._forked import in_child, leave_if_child
from wallaroo.worker._outlets import PIECE, PLAIN_KEYS, Entry, KeyFunction, Outlet, group_size, halves, sendable


class EncodedValue(tuple[int, bytes]):
    """A value as it was when it came: codec and bytes. Not a named tuple, for that takes 150 ns more to make."""

    __slots__ = ()


class EagerGroupOutlet(Outlet):
    """A ``key_by`` or ``collect`` node, or one whose values cross.

    Args:
        node: Its id.
        codec: Encodes the values.
        key: The key function, or ``None`` to put all values under the key ``None``.
        crosses: Values cross into another pool, in small pieces under the keys they came with; see ``_pool_outlet``.
    """

    kind = GROUPS

    def __init__(self, node: int, codec: ValueCodec, key: KeyFunction | None, *, crosses: bool = False) -> None:
        super().__init__(node)
        self._codec = codec
        self._key = key
        self._crosses = crosses
        # The values of each key, some of them captured, and of all values together in order: key, and where it came of.
        self._groups: dict[Any, list[Any]] = {}
        self._keys: list[Any] = []
        self._origins: list[int] = []
        self._has_captured = False

    def begin(self) -> None:
        """Forget the batch before."""
        self._groups.clear()
        self._keys.clear()
        self._origins.clear()
        self._has_captured = False

    def push(self, below: Push, place: Position) -> Push:
        """Return the push of this outlet; nothing is below it."""
        groups, function, crosses, encode = self._groups, self._key, self._crosses, self._codec.encode_objects
        append_key, append_origin = self._keys.append, self._origins.append
        plain = PLAIN_KEYS
        fixed_types, is_fixed = self._codec.fixed_types, self._codec.is_fixed

        def capture(value: Any) -> None:
            key = None
            try:
                if function is not None:
                    key = function.call(value)
                    if in_child:
                        leave_if_child()
                elif crosses:
                    key = place.key
                # A str that is here already is a sound key; an int may be equal to what is none, as 1 is to True.
                group = groups.get(key) if key.__class__ is str else None
                if group is None:
                    problem = None
                    if function is not None:
                        if key.__class__ in plain:
                            problem = function.problem(key)
                        else:
                            key, problem = function.sent(key)
                    if problem is not None:
                        place.fail(self.node, StepContractError(problem), value, sendable(key))
                        return
                    group = groups.get(key)
            except BaseException as error:  # noqa: BLE001
                place.fail(self.node, key_explained(error), value)
                return
            if value.__class__ not in fixed_types and not is_fixed(value):
                try:
                    value = EncodedValue(encode([value]))
                    self._has_captured = True
                except BaseException as error:  # noqa: BLE001 - the user's __reduce__ or serialize
                    place.fail(self.node, error, value, key)
                    return
            if group is None:
                groups[key] = [value]
            else:
                group.append(value)
            append_key(key)
            append_origin(place.origin)

        return capture

    def data(self, run: BatchRun) -> list[Any]:
        """Return flat ``key, count, codec, values``."""
        run.enter(self.node)
        flat: list[Any] = []
        for key, values in self._groups.items():
            for stretch in self._stretches(values):
                if stretch[0].__class__ is EncodedValue:
                    for codec, data in stretch:
                        flat += (key, 1, codec, data)
                else:
                    flat += (key, len(stretch), *self._codec.encode(stretch))
        return flat

    def entries(self, run: BatchRun, largest: int) -> Iterator[tuple[int, Entry]]:
        """Return groups; one too large is cut into several of the same key."""
        for key, values in self._groups.items():
            position = 0
            for size, entry in self._pieces(key, values, largest):
                if size <= largest:
                    yield size, entry
                else:
                    value = self._read_back(*entry[2:])
                    run.fail(self.node, self._origin(key, position), too_large("a value", size, largest), value, key)
                position += entry[1]

    def _origin(self, key: Any, position: int) -> int:
        """Return where the value at ``position`` of the group of ``key`` came of."""
        origins = (origin for own, origin in zip(self._keys, self._origins) if own == key)
        return next(islice(origins, position, None))

    def _read_back(self, codec: int, data: bytes) -> Any:
        try:
            return self._codec.decode(codec, data, 1)[0]
        except BaseException:  # noqa: BLE001 - the user's unpickling or deserialize
            return EncodedValue((codec, data))

    def _pieces(self, key: Any, values: list[Any], largest: int) -> Iterator[tuple[int, Entry]]:
        for stretch in self._stretches(values):
            if stretch[0].__class__ is EncodedValue:
                for codec, data in stretch:
                    yield group_size(key, data), [key, 1, codec, data]
            else:
                for size, _, entry in halves(self._codec, key, stretch, largest):
                    yield size, entry

    def _stretches(self, values: list[Any]) -> Iterable[list[Any]]:
        """Return the stretches of neighbours that are all captured, or all not."""
        if len(values) == 1 or not (self._has_captured or self._crosses):
            return (values,)
        stretches = [
            list(neighbours) for _, neighbours in groupby(values, lambda value: value.__class__ is EncodedValue)
        ]
        if not self._crosses:
            return stretches
        return [stretch[at : at + PIECE] for stretch in stretches for at in range(0, len(stretch), PIECE)]
