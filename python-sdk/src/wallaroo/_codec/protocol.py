"""The wire protocol of spec/protocol.md, version 1: message bodies to and from bytes. No I/O.

Each message is a named tuple with the fields of the spec in order; its type number goes before them on the wire.
It decodes what a worker receives and refuses what the spec refuses. Fields that grow with the traffic are checked by
columns (C code collects their types): a check for each message in Python would cost as much as the message itself.
"""

from __future__ import annotations

from typing import Any, Callable, NamedTuple, Union

import msgpack

from wallaroo._codec.keys import key_from_wire, key_problem

VERSION = 1
CAPABILITIES: tuple[str, ...] = ()
DEFAULT_MAX_BODY = 17 * 1024 * 1024
ENVELOPE = 1024 * 1024
"""Bytes by which ``max_body`` exceeds the largest message a client may send."""

DISCARD = 1
"""Flag of a batch: run for the effect on state, return nothing."""

CAREFUL = 2
"""Flag of a batch: run message by message, noting each in the marker before it runs."""

WHOLE = 0xFFFF_FFFF
"""In place of a value's index: the whole group. In the marker, in place of an origin: none."""

GROUPS = 0
MESSAGES = 1

TIMER = 15
"""Codec of a timer: the group's only value is the watermark."""

TIMES = 16
"""Bit of a codec: the values' event times go before them."""

WATERMARKS = 32
"""Bit of a codec: after the times, a watermark for each value."""

BEGINNING = -(2**63)
"""The time before everything: as a watermark, nothing is known yet."""

END = 2**63 - 1
"""The time after everything: the watermark when the sources have ended."""

_GROUP_CODECS = frozenset(
    (TIMER, *(codec | times for codec in (1, 2, 3, 4) for times in (0, TIMES, TIMES | WATERMARKS)))
)


class ProtocolError(Exception):
    """The peer sent a message that the protocol does not allow."""


class VersionError(ProtocolError):
    """The orchestrator speaks another version."""

    def __init__(self, protocol: int, version: str) -> None:
        super().__init__(f"wallaroo-orch {version} speaks protocol {protocol}, not {VERSION}")
        self.protocol = protocol
        self.version = version


class Hello(NamedTuple):
    """1: the orchestrator's greeting."""

    protocol: int
    version: str
    capabilities: list[str]
    max_body: int


class Load(NamedTuple):
    """2: import this application."""

    application: str
    args: list[str]
    slot: int
    generation: int


class Plan(NamedTuple):
    """3: the stages to compile, each ``[stage, input, root, outlets, pool]``."""

    stages: list[list[Any]]


class Batch(NamedTuple):
    """4: run a stage."""

    batch: int
    stage: int
    flags: int
    skip: list[int]
    times: list[int]
    input: Any


class Restore(NamedTuple):
    """5: install snapshots, flat ``table, key, state``."""

    entries: list[Any]


class Snapshot(NamedTuple):
    """6: send snapshots of states that changed."""

    request: int
    max_keys: int


class Stop(NamedTuple):
    """8: finish and close."""


class SnapshotKeys(NamedTuple):
    """9: send snapshots of the states of these keys that changed."""

    request: int
    keys: list[Any]


class Forget(NamedTuple):
    """10: drop states, flat ``table, key``."""

    states: list[Any]


class TryRestore(NamedTuple):
    """11: see whether snapshots can be loaded, flat ``table, key, state``."""

    request: int
    entries: list[Any]


class DoNotSave(NamedTuple):
    """12: make no snapshots of these states, each a table and a key: that has killed workers."""

    states: list[Any]


class DoNotLoad(NamedTuple):
    """13: do not load these states, each a table and a key: that has killed workers."""

    states: list[Any]


class WorkerHello(NamedTuple):
    """33: the worker's greeting."""

    protocol: int
    version: str
    capabilities: list[str]
    implementation: str
    python: str
    executable: str
    pid: int
    pickle_protocol: int


class Refused(NamedTuple):
    """34: the worker cannot serve, and why."""

    kind: str
    message: str
    hint: str | None
    traceback: str | None


class Topology(NamedTuple):
    """35: what the application described."""

    topology: dict[str, Any]


class Ready(NamedTuple):
    """36: the stages are compiled."""


class Result(NamedTuple):
    """37: what a batch gave."""

    batch: int
    more: bool
    elapsed: int
    outputs: list[Any]
    failures: list[Any]
    ended: int
    """Values that a generator made for this batch, if it has ended; otherwise ``False``."""
    timing: list[Any] | None
    slow: int | None = None


class CutResult(NamedTuple):
    """38: where the frames are in the bytes of a ``cut`` batch."""

    batch: int
    elapsed: int
    frames: list[int]
    consumed: int
    need: int
    error: list[str] | None


class SnapshotPart(NamedTuple):
    """39: pickled states."""

    request: int
    more: bool
    entries: list[Any]
    failures: list[Any]
    oldest_dirty: int | None


class Tried(NamedTuple):
    """40: whether snapshots could be loaded."""

    request: int
    problem: str | None


class Measured(NamedTuple):
    """41: what metrics of the application have measured, flat."""

    measurements: list[Any]


Received = Union[Hello, Load, Plan, Batch, Restore, Snapshot, Stop, SnapshotKeys, Forget, TryRestore]
Sent = Union[WorkerHello, Refused, Topology, Ready, Result, CutResult, SnapshotPart, Tried, Measured]
Check = Callable[[Any], bool]


def _uint(value: Any) -> bool:
    return type(value) is int and value >= 0


def _u32(value: Any) -> bool:
    return type(value) is int and 0 <= value <= WHOLE


def _int64(value: Any) -> bool:
    return type(value) is int and -(2**63) <= value < 2**63


def _flags(value: Any) -> bool:
    return type(value) is int and 0 <= value <= DISCARD | CAREFUL


def _str(value: Any) -> bool:
    return type(value) is str


def _bytes(value: Any) -> bool:
    return type(value) is bytes


def _optional_str(value: Any) -> bool:
    return value is None or type(value) is str


def _one_of(*words: str) -> Check:
    return lambda value: type(value) is str and value in words


def _array(check: Check) -> Check:
    return lambda value: type(value) is list and all(map(check, value))


def _record(*checks: Check) -> Check:
    """An array of exactly these fields."""
    return lambda value: (
        type(value) is list and len(value) == len(checks) and all(check(field) for check, field in zip(checks, value))
    )


def _flat(*checks: Check) -> Check:
    """An array of records without the inner arrays."""
    width = len(checks)
    return lambda value: (
        type(value) is list
        and len(value) % width == 0
        and (not value or all(check(field) for index, check in enumerate(checks) for field in value[index::width]))
    )


def _key(value: Any) -> bool:
    return value is None or key_problem(key_from_wire(value)) is None


def _table_and_key(value: Any) -> bool:
    return type(value) is list and len(value) == 2 and type(value[0]) is str and _key(value[1])


_PLAIN_KEYS = {str, bytes, type(None)}


def is_frames(value: Any) -> bool:
    """Whether ``value`` is an array of bin."""
    return type(value) is list and set(map(type, value)) <= {bytes}


def is_groups(value: Any) -> bool:
    """Whether ``value`` is flat ``key, count, codec, values``: by columns, as each message may be a group."""
    if type(value) is not list or len(value) % 4:
        return False
    keys, counts, codecs = value[0::4], value[1::4], value[2::4]
    return (
        (set(map(type, keys)) <= _PLAIN_KEYS or all(map(_key, keys)))
        and set(map(type, counts)) <= {int}
        and all(map(_u32, (min(counts, default=0), max(counts, default=0))))
        and set(map(type, codecs)) <= {int}
        and set(codecs) <= _GROUP_CODECS
        and set(map(type, value[3::4])) <= {bytes}
    )


def _batch_input(value: Any) -> bool:
    """An array is looked at by the stage, which knows whether it is :func:`is_frames` or :func:`is_groups`."""
    return type(value) is list or _bytes(value) or _uint(value)


_stage = _record(_u32, _one_of("frames", "generate", "cut", "groups"), _u32, _array(_u32), _optional_str)

_RECEIVED: dict[int, tuple[type[Any], tuple[Check, ...]]] = {
    1: (Hello, (_uint, _str, _array(_str), _uint)),
    2: (Load, (_str, _array(_str), _u32, _u32)),
    3: (Plan, (_array(_stage),)),
    4: (Batch, (_uint, _u32, _flags, _flat(_u32, _u32), _flat(_u32, _int64), _batch_input)),
    5: (Restore, (_flat(_str, _key, _bytes),)),
    6: (Snapshot, (_uint, _u32)),
    8: (Stop, ()),
    9: (SnapshotKeys, (_uint, _array(_key))),
    10: (Forget, (_flat(_str, _key),)),
    11: (TryRestore, (_uint, _flat(_str, _key, _bytes))),
    12: (DoNotSave, (_array(_table_and_key),)),
    13: (DoNotLoad, (_array(_table_and_key),)),
}
_TYPES: dict[type[Any], int] = {
    **{message: number for number, (message, _) in _RECEIVED.items()},
    WorkerHello: 33,
    Refused: 34,
    Topology: 35,
    Ready: 36,
    Result: 37,
    CutResult: 38,
    SnapshotPart: 39,
    Tried: 40,
    Measured: 41,
}

# Nothing is kept in it between bodies; making a packer for each would cost 0.3 µs.
_pack = msgpack.Packer(use_bin_type=True).pack


def encode(message: Sent | Received) -> bytes:
    """Return the body of ``message``.

    Raises:
        UnicodeEncodeError: A ``str`` is not valid Unicode.
        OverflowError: An ``int`` has more than 64 bits.
    """
    return _pack([_TYPES[type(message)], *message])  # type: ignore[no-any-return]


def packed_key(key: Any) -> bytes:
    """Return a key as it is in a message."""
    return _pack(key)  # type: ignore[no-any-return]


def frame(body: bytes) -> bytes:
    """Return ``body`` with its length before it.

    Example:
        >>> frame(encode(Stop())).hex()
        '000000029108'
    """
    return len(body).to_bytes(4, "big") + body


def decode(body: bytes | memoryview) -> Received:
    """Return the message in ``body``, one that a worker receives.

    Raises:
        VersionError: It is the ``hello`` of another version, whatever its other fields.
        ProtocolError: The body is not exactly one message that a worker receives.
    """
    fields = _unpack(body)
    if type(fields) is not list or not fields or type(fields[0]) is not int:
        raise ProtocolError("a message is not an array that begins with its type")
    known = _RECEIVED.get(fields[0])
    if known is None:
        raise ProtocolError(f"unknown message type {fields[0]}")
    message, checks = known
    if message is Hello and len(fields) > 1 and _uint(fields[1]) and fields[1] != VERSION:
        raise VersionError(fields[1], fields[2] if len(fields) > 2 and _str(fields[2]) else "?")
    if len(fields) != len(checks) + 1:
        raise ProtocolError(f"message {message.__name__}: {len(fields) - 1} fields, expected {len(checks)}")
    for index, check in enumerate(checks):
        if not check(fields[index + 1]):
            raise ProtocolError(f"message {message.__name__}: field {message._fields[index]} has the wrong type")
    return message(*fields[1:])  # type: ignore[no-any-return]


def _unpack(body: bytes | memoryview) -> Any:
    try:
        # msgpack's limits on lengths default to the length of the body.
        return msgpack.unpackb(body, strict_map_key=False)
    except msgpack.ExtraData as error:
        raise ProtocolError(f"{len(error.extra)} bytes after the message") from error
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError) as error:
        raise ProtocolError(f"a body is not MessagePack: {error or type(error).__name__}") from error


class LengthReader:
    """Reads frames' lengths, refusing those beyond the connection's cap before anything is allocated for them.

    Example:
        >>> LengthReader(max_body=100).read(bytes([0, 0, 0, 2]))
        2
    """

    def __init__(self, max_body: int = DEFAULT_MAX_BODY) -> None:
        self.max_body = max_body

    def read(self, header: bytes) -> int:
        """Return the length in ``header``, 4 bytes.

        Raises:
            ProtocolError: It is 0 or beyond the cap.
        """
        length = int.from_bytes(header, "big")
        if length == 0:
            raise ProtocolError("a frame of length 0")
        if length > self.max_body:
            raise ProtocolError(f"a frame of {length} bytes is beyond the cap of {self.max_body} bytes")
        return length
