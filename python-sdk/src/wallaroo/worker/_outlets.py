"""The ends of a stage: values leave as groups by key, or as the bytes of a sink.

An outlet gathers what reaches it, along however many branches, until the batch is over. Which value has which position
is not kept on the way; when one of them turns out to be unfit to leave, it is looked up by identity.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from operator import length_hint
from typing import Any, Callable

from wallaroo._keys import KEY_TYPES, key_problem
from wallaroo._protocol import GROUPS, MESSAGES
from wallaroo._values import ValueCodec
from wallaroo.worker._batch import BatchRun, Column
from wallaroo.worker._failures import StepContractError, only_in_sdk, shown
from wallaroo.worker._steps import Step

_WIRE_TYPES = frozenset((str, bytes))
_LONGEST_KEY_LIST = 200

Entry = list[Any]
"""One element of a result's data, as it can be split: ``[key, count, codec, values]``, or ``[message]``."""


class Outlet(Step):
    """What both kinds of outlet have.

    Args:
        node: Id of the ``key_by``, ``collect`` or ``sink`` node.
    """

    kind: int

    def begin(self) -> None:
        """Forget the batch before."""
        raise NotImplementedError

    def data(self, run: BatchRun) -> list[Any]:
        """Return the ``data`` of this outlet in a result, and record what cannot leave as failures of ``run``."""
        raise NotImplementedError

    def entries(self, run: BatchRun, largest: int) -> Iterator[tuple[int, Entry]]:
        """Return the same data in pieces of at most ``largest`` bytes, with their sizes; larger ones fail."""
        raise NotImplementedError

    def run(self, column: Column, run: BatchRun) -> None:
        """Take in what reached the stage's end."""
        raise NotImplementedError


class GroupOutlet(Outlet):
    """A ``key_by`` or ``collect`` node.

    Args:
        node: Its id.
        codec: Encodes the values.
        key: The application's key function, or ``None`` to put all values under the key ``None``.
        known_keys: The only keys there are, or ``None``.
    """

    kind = GROUPS

    def __init__(
        self,
        node: int,
        codec: ValueCodec,
        key: Callable[[Any], Any] | None = None,
        known_keys: Sequence[Any] | None = None,
    ) -> None:
        super().__init__(node)
        self._codec = codec
        self._key = key
        self._known = None if known_keys is None else {known: type(known) for known in known_keys}
        self.begin()

    def begin(self) -> None:
        """Forget the batch before."""
        self._groups: dict[Any, list[Any]] = defaultdict(list)
        self._columns: list[Column] = []

    def run(self, column: Column, run: BatchRun) -> None:
        """Sort the values by key."""
        self._columns.append(column)
        key = self._key
        groups = self._groups
        if key is None:
            groups[None].extend(column.values)
            return
        run.enter(self.node)
        remaining = iter(column.values)
        while True:
            try:
                for value in remaining:
                    groups[key(value)].append(value)
                break
            except BaseException as error:  # noqa: BLE001
                position = len(column.values) - length_hint(remaining) - 1
                run.fail(self.node, column.lineage, position, _explained(error), column.values[position])

    def data(self, run: BatchRun) -> list[Any]:
        """Return flat ``key, count, codec, values``."""
        known = self._known
        encode = self._codec.encoder_for(self._types())
        flat: list[Any] = []
        for key, values in list(self._groups.items()):
            # Most keys are short str: what they need is checked here, the rest where it is explained.
            fit = known.get(key) is type(key) if known is not None else key.__class__ is str and key.isascii()
            if not fit or key.__class__ is tuple:
                problem = None if self._key is None else self._problem(key)
                if problem is not None:
                    self._reject(run, key, problem)
                    continue
            try:
                codec, data = encode(values)
            except BaseException as error:  # noqa: BLE001
                values = self._encodable(run, key, values, error)
                if not values:
                    continue
                codec, data = encode(values)
            flat += (key, len(values), codec, data)
        return flat

    def _types(self) -> frozenset[type]:
        columns = self._columns
        return columns[0].types if len(columns) == 1 else frozenset().union(*(column.types for column in columns))

    def _problem(self, key: Any) -> str | None:
        problem = key_problem(key)
        if problem is not None:
            return f"{problem}; a key is {KEY_TYPES}"
        if self._known is not None and self._known.get(key) is not type(key):
            listed = repr(list(self._known))
            if len(listed) > _LONGEST_KEY_LIST:
                listed = listed[:_LONGEST_KEY_LIST] + "…"
            return f"key {shown(key)} is not in the list of partition keys: {listed}"
        return None

    def _reject(self, run: BatchRun, key: Any, problem: str) -> None:
        sendable = key if key_problem(key) is None else None
        for column, position in self._positions(self._groups.pop(key)):
            run.fail(self.node, column.lineage, position, StepContractError(problem), column.values[position], sendable)

    def _encodable(self, run: BatchRun, key: Any, values: list[Any], error: BaseException) -> list[Any]:
        """Keep the values that can be encoded, each by itself, and fail the others."""
        kept, failed, errors = [], [], []
        for value in values:
            try:
                self._codec.encode([value])
            except BaseException as own:  # noqa: BLE001
                failed.append(value)
                errors.append(own)
            else:
                kept.append(value)
        if not failed:
            # Each can be, but not all together: as good as none, for they belong to one batch.
            kept, failed, errors = [], values, [error] * len(values)
        for (column, position), reason in zip(self._positions(failed), errors):
            run.fail(self.node, column.lineage, position, reason, column.values[position], key)
        self._groups[key] = kept
        return kept

    def _positions(self, wanted: list[Any]) -> Iterator[tuple[Column, int]]:
        """Find where ``wanted`` values are. One object met twice has one key, so that either position will do."""
        places: dict[int, list[tuple[Column, int]]] = defaultdict(list)
        ids = set(map(id, wanted))
        for column in self._columns:
            for position, value in enumerate(column.values):
                if id(value) in ids:
                    places[id(value)].append((column, position))
        for value in wanted:
            yield places[id(value)].pop(0)

    def entries(self, run: BatchRun, largest: int) -> Iterator[tuple[int, Entry]]:
        """Return groups; one too large is cut into several of the same key."""
        for key, values in list(self._groups.items()):
            yield from self._halves(run, key, values, largest)

    def _halves(self, run: BatchRun, key: Any, values: list[Any], largest: int) -> Iterator[tuple[int, Entry]]:
        codec, data = self._codec.encode(values)
        size = len(data) + _key_size(key) + 16
        if size <= largest:
            yield size, [key, len(values), codec, data]
        elif len(values) > 1:
            middle = len(values) // 2
            yield from self._halves(run, key, values[:middle], largest)
            yield from self._halves(run, key, values[middle:], largest)
        else:
            column, position = next(self._positions(values))
            run.fail(self.node, column.lineage, position, too_large("a value", size, largest), values[0], key)


class SinkOutlet(Outlet):
    """A ``sink`` node: values are encoded and leave as messages."""

    kind = MESSAGES

    def __init__(self, node: int, encode: Callable[[Any], Any]) -> None:
        super().__init__(node)
        self._encode = encode
        self.begin()

    def begin(self) -> None:
        """Forget the batch before."""
        # With each column what its values were encoded to, position for position; None where nothing is written.
        self._parts: list[tuple[Column, list[Any]]] = []
        self._has_gaps = False

    def run(self, column: Column, run: BatchRun) -> None:
        """Encode the values."""
        run.enter(self.node)
        encode = self._encode
        values = column.values
        messages: list[Any] = []
        append = messages.append
        remaining = iter(values)
        while True:
            try:
                for value in remaining:
                    append(encode(value))
                break
            except BaseException as error:  # noqa: BLE001
                run.fail(self.node, column.lineage, len(messages), error, values[len(messages)])
                append(None)
        if not frozenset(map(type, messages)) <= _WIRE_TYPES:
            self._put_right(run, column, messages)
            self._has_gaps = True
        self._parts.append((column, messages))

    def _put_right(self, run: BatchRun, column: Column, messages: list[Any]) -> None:
        """Make plain ``str`` and ``bytes`` of their like and fail what is neither."""
        for position, message in enumerate(messages):
            if message is None or type(message) in _WIRE_TYPES:
                continue
            messages[position] = _plain(message)
            if messages[position] is None:
                kind = type(message).__name__
                error = StepContractError(f"the encoder returned {kind}; it returns str, bytes or None")
                run.fail(self.node, column.lineage, position, error, column.values[position])

    def data(self, run: BatchRun) -> list[Any]:
        """Return the messages."""
        if len(self._parts) == 1 and not self._has_gaps:
            return self._parts[0][1]
        return [message for _, messages in self._parts for message in messages if message is not None]

    def fail_unencodable(self, run: BatchRun) -> None:
        """Fail the messages that are ``str`` but no valid Unicode: found out only when the result is packed."""
        for column, messages in self._parts:
            for position, message in enumerate(messages):
                if type(message) is str:
                    try:
                        message.encode("utf-8")
                    except UnicodeEncodeError as error:
                        run.fail(self.node, column.lineage, position, error, column.values[position])
                        messages[position] = None
                        self._has_gaps = True

    def entries(self, run: BatchRun, largest: int) -> Iterator[tuple[int, Entry]]:
        """Return the messages one by one."""
        for column, messages in self._parts:
            for position, message in enumerate(messages):
                if message is None:
                    continue
                size = (len(message.encode("utf-8")) if type(message) is str else len(message)) + 5
                if size <= largest:
                    yield size, [message]
                else:
                    run.fail(
                        self.node,
                        column.lineage,
                        position,
                        too_large("a message for the sink", size, largest),
                        column.values[position],
                    )


def too_large(what: str, size: int, largest: int) -> StepContractError:
    """Return the failure of a value that no frame can carry."""
    return StepContractError(f"{what} of {size} bytes is beyond the cap of {largest} bytes; raise it with --max-frame")


def _plain(message: Any) -> str | bytes | None:
    if isinstance(message, str):
        return str.__str__(message)
    if isinstance(message, (bytes, bytearray, memoryview)):
        return bytes(message)
    return None


def _key_size(key: Any) -> int:
    """Return no less than the bytes of ``key`` on the wire."""
    if isinstance(key, str):
        return 5 + 4 * len(key)
    if isinstance(key, bytes):
        return 5 + len(key)
    if isinstance(key, tuple):
        return 5 + sum(map(_key_size, key))
    return 9


def _explained(error: BaseException) -> BaseException:
    if isinstance(error, TypeError) and only_in_sdk(error.__traceback__):
        return StepContractError(f"the key function returned what cannot be a key ({error}); a key is {KEY_TYPES}")
    return error
