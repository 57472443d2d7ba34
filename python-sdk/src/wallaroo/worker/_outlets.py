"""The ends of a stage: values leave as groups by key, or as the bytes of a sink.

An outlet gathers what reaches it, along however many branches, until the batch is over.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from operator import length_hint
from typing import Any, Callable, NamedTuple

from wallaroo._codec.key_tags import tagged, untagged
from wallaroo._codec.keys import KEY_TYPES, PLAIN_KEY_TYPES, key_problem, key_size
from wallaroo._codec.protocol import GROUPS, MESSAGES
from wallaroo._codec.values import ValueCodec
from wallaroo.worker._batch import BatchRun
from wallaroo.worker._columns import Column, ColumnStep
from wallaroo.worker._contracts import key_explained, plain_message, too_large
from wallaroo.worker._depth_first import Position, Push
from wallaroo.worker._failures import StepContractError, shown
from wallaroo.worker._forked import in_child, leave_if_child
from wallaroo.worker._lineage import Lineage, Recorded
from wallaroo.worker._progress import watched

PIECE = 16
"""Values in a group that crosses into another pool, at most."""

_LONGEST_KEY_LIST = 200

Entry = list[Any]
"""One element of a result's data, as it can be split: ``[key, count, codec, values]``, or ``[message]``."""


PLAIN_KEYS = frozenset((str, bytes, int))
"""Types of keys that no key of another of these types is equal to."""


class Outlet(ColumnStep):
    """What all kinds of outlet have.

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

    def fail_unencodable(self, run: BatchRun) -> None:
        """Fail what turned out to be no valid Unicode when the result was packed."""


class KeyFunction:
    """The key of a ``key_by`` node, and which keys it may give.

    Args:
        call: The application's key function.
        known_keys: The only keys there are, or ``None``.
        only_plain: Keys of further types are refused, as in the older generations.
    """

    def __init__(
        self, call: Callable[[Any], Any], known_keys: Sequence[Any] | None = None, *, only_plain: bool = False
    ) -> None:
        self.call = call
        self._only_plain = only_plain
        self._types = PLAIN_KEY_TYPES if only_plain else KEY_TYPES
        self._known = None if known_keys is None else {known: type(known) for known in known_keys}

    def sent(self, key: Any) -> tuple[Any, str | None]:
        """Return a key of any type as it is sent, and why it cannot be a key of this node."""
        if self._only_plain and (unfit := key_problem(key)) is not None:
            return key, f"{unfit}; a key is {self._types}"
        try:
            key = tagged(key)
        except ValueError as error:
            return key, str(error)
        return key, self.problem(key)

    def problem(self, key: Any) -> str | None:
        """Say why ``key``, as it is sent, cannot be a key of this node, or return ``None`` when it can."""
        known = self._known
        # Most keys are short str: what they need is checked here, the rest where it is explained.
        fit = known.get(key) is type(key) if known is not None else key.__class__ is str and key.isascii()
        if fit and key.__class__ is not tuple:
            return None
        problem = key_problem(key)
        if problem is not None:
            return f"{problem}; a key is {self._types}"
        if known is not None and known.get(key) is not type(key):
            listed = repr(list(map(untagged, known)))
            if len(listed) > _LONGEST_KEY_LIST:
                listed = listed[:_LONGEST_KEY_LIST] + "…"
            return f"key {shown(untagged(key))} is not in the list of partition keys: {listed}"
        return None

    def fits_all(self, keys: Collection[Any]) -> bool:
        """Whether all ``keys`` certainly can be keys. ``run`` has refused those of other types."""
        if self._known is not None:
            return list(map(self._known.get, keys)) == list(map(type, keys)) and tuple not in self._known.values()
        try:
            return "".join(keys).isascii()
        except TypeError:
            return False


def sendable(key: Any) -> Any:
    """Return ``key`` as a failure may carry it: ``None`` for one that is none."""
    return key if key_problem(key) is None else None


class GroupOutlet(Outlet):
    """A ``key_by`` or ``collect`` node below steps without state: values are encoded when the batch is over.

    Which value has which position is not kept on the way; when one turns out to be unfit to leave, it is looked up by
    identity.

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
        self.begin()

    def begin(self) -> None:
        """Forget the batch before."""
        self._groups: dict[Any, list[Any]] = defaultdict(list)
        self._columns: list[Column] = []

    def run(self, column: Column, run: BatchRun) -> None:
        """Sort the values by key."""
        self._columns.append(column)
        groups = self._groups
        if self._key is None:
            groups[None].extend(column.values)
            return
        key, text, plain = self._key.call, str, PLAIN_KEYS
        run.enter(self.node, column.values)
        remaining = watched(column.values)
        while True:
            try:
                for value in remaining:
                    own_key = key(value)
                    # A key of another type may be equal to one of these types, as True is to 1.
                    if own_key.__class__ is not text and own_key.__class__ not in plain:
                        own_key, problem = self._key.sent(own_key)
                        if problem is not None:
                            self._fail(run, column, _position(column, remaining), StepContractError(problem), own_key)
                            continue
                    groups[own_key].append(value)
                break
            except BaseException as error:  # noqa: BLE001
                origin = column.lineage.origin(_position(column, remaining))
                run.fail(self.node, origin, key_explained(error), value)

    def data(self, run: BatchRun) -> list[Any]:
        """Return flat ``key, count, codec, values``."""
        run.enter(self.node)
        groups = self._groups
        if self._key is None or self._key.fits_all(groups):
            encoded = self._codec.encode_groups(groups.values(), self._types())
            if encoded is not None:
                return flat_groups(groups, *encoded)
        return self._one_by_one(run)

    def _one_by_one(self, run: BatchRun) -> list[Any]:
        """Return the same, but find out which keys and values cannot leave, and encode each group as suits it."""
        encode = self._codec.encode
        flat: list[Any] = []
        for key, values in list(self._groups.items()):
            problem = None if self._key is None else self._key.problem(key)
            if problem is not None:
                for column, position in self._positions(self._groups.pop(key)):
                    self._fail(run, column, position, StepContractError(problem), key)
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

    def _fail(self, run: BatchRun, column: Column, position: int, error: BaseException, key: Any) -> None:
        run.fail(self.node, column.lineage.origin(position), error, column.values[position], sendable(key))

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
            self._fail(run, column, position, reason, key)
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
            for size, piece, entry in halves(self._codec, key, values, largest):
                if size <= largest:
                    yield size, entry
                else:
                    column, position = next(self._positions(piece))
                    what, large = ("a key", key_size(key)) if key_size(key) > largest else ("a value", size)
                    self._fail(run, column, position, too_large(what, large, largest), key)


def _position(column: Column, remaining: Iterator[Any]) -> int:
    """Return the position of the value that a loop over ``remaining`` is at."""
    return len(column.values) - length_hint(remaining) - 1


def halves(codec: ValueCodec, key: Any, values: list[Any], largest: int) -> Iterator[tuple[int, list[Any], Entry]]:
    """Encode ``values`` as one group, or as several of at most ``largest`` bytes.

    Returns:
        The size, values and entry of each; larger only when it is a single value.
    """
    number, data = codec.encode(values)
    size = group_size(key, data)
    if size <= largest or len(values) == 1:
        yield size, values, [key, len(values), number, data]
    else:
        middle = len(values) // 2
        yield from halves(codec, key, values[:middle], largest)
        yield from halves(codec, key, values[middle:], largest)


def flat_groups(groups: dict[Any, list[Any]], codec: int, lists: list[bytes]) -> list[Any]:
    """Return flat ``key, count, codec, values``, filled by columns."""
    flat: list[Any] = [codec] * (4 * len(groups))
    flat[0::4] = groups
    flat[1::4] = map(len, groups.values())
    flat[3::4] = lists
    return flat


def group_size(key: Any, data: bytes) -> int:
    """Return no less than the bytes of a group on the wire."""
    return len(data) + key_size(key) + 16


class Encoded(NamedTuple):
    """Messages for a sink, ``None`` in place of one that was not to be written: there is none of these unless ``gaps``.

    ``values`` are what they were encoded from, where that is kept: what a state computation returned may have changed
    since, and the message stands for it.
    """

    messages: list[Any]
    lineage: Lineage
    values: list[Any] | None
    gaps: bool


class SinkOutlet(Outlet):
    """A ``sink`` node: values are encoded and leave as messages."""

    kind = MESSAGES

    def __init__(self, node: int, encode: Callable[[Any], Any]) -> None:
        super().__init__(node)
        self.encode = encode
        # Filled one by one, value by value, by the push.
        self._pushed: list[Any] = []
        self._origins: list[int] = []
        self.begin()

    def begin(self) -> None:
        """Forget the batch before."""
        self._pushed.clear()
        self._origins.clear()
        self._parts: list[Encoded] = []

    def run(self, column: Column, run: BatchRun) -> None:
        """Encode the values of a column."""
        run.enter(self.node, column.values)
        encode = self.encode
        messages: list[Any] = []
        append = messages.append
        remaining = watched(column.values)
        gaps = False
        while True:
            try:
                for value in remaining:
                    message = encode(value)
                    kind = message.__class__
                    if kind is not str and kind is not bytes:
                        message = plain_message(message)
                        gaps = gaps or message is None
                    append(message)
                break
            except BaseException as error:  # noqa: BLE001
                run.fail(self.node, column.lineage.origin(len(messages)), error, value)
                append(None)
                gaps = True
        self.take(Encoded(messages, column.lineage, column.values, gaps))

    def take(self, encoded: Encoded) -> None:
        """Take in messages that were encoded elsewhere."""
        self._parts.append(encoded)

    def push(self, below: Push, place: Position) -> Push:
        """Return the push of this outlet; nothing is below it."""
        encode, append, append_origin = self.encode, self._pushed.append, self._origins.append

        def encode_and_append(value: Any) -> None:
            try:
                message = encode(value)
                if in_child:
                    leave_if_child()
                kind = message.__class__
                if kind is not str and kind is not bytes:
                    message = plain_message(message)
            except BaseException as error:  # noqa: BLE001
                place.fail(self.node, error, value)
                return
            if message is not None:
                append(message)
                append_origin(place.origin)

        return encode_and_append

    def _all_parts(self) -> list[Encoded]:
        if not self._pushed:
            return self._parts
        return [*self._parts, Encoded(self._pushed, Recorded(self._origins), None, None in self._pushed)]

    def data(self, run: BatchRun) -> list[Any]:
        """Return the messages."""
        parts = self._all_parts()
        if len(parts) == 1 and not parts[0].gaps:
            return parts[0].messages
        return [message for part in parts for message in part.messages if message is not None]

    def fail_unencodable(self, run: BatchRun) -> None:
        """Fail the messages that are ``str`` but no valid Unicode: found out only when the result is packed."""
        for part in self._all_parts():
            for position, message in enumerate(part.messages):
                if type(message) is str:
                    try:
                        message.encode("utf-8")
                    except UnicodeEncodeError as error:
                        self._fail(run, part, position, error)
                        part.messages[position] = None
        self._parts = [part._replace(gaps=True) for part in self._parts]

    def _fail(self, run: BatchRun, part: Encoded, position: int, error: BaseException) -> None:
        value = part.messages[position] if part.values is None else part.values[position]
        run.fail(self.node, part.lineage.origin(position), error, value)

    def entries(self, run: BatchRun, largest: int) -> Iterator[tuple[int, Entry]]:
        """Return the messages one by one."""
        for part in self._all_parts():
            for position, message in enumerate(part.messages):
                if message is None:
                    continue
                size = (len(message.encode("utf-8")) if type(message) is str else len(message)) + 5
                if size <= largest:
                    yield size, [message]
                else:
                    self._fail(run, part, position, too_large("a message for the sink", size, largest))
