"""A second reader of state folders, after ``spec/log.md`` alone: ``python -m tests.log_reader DIR`` prints the records.

It reads ``FORMAT`` and the records of the log. It leaves the store aside, and changes nothing.
"""

import json
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgpack

VERSION = 2
MAGIC = b"wallaroo"
TIMER = 15
_HEADER = struct.Struct("<8sII")
_FIRST = struct.Struct("<Q")
_SEGMENT_HEADER = 32
_RECORD_HEADER = struct.Struct("<IIQQ")
_TIME = struct.Struct("<q")


class LogFormatError(Exception):
    """A state folder is not as ``spec/log.md`` lays down."""


class Segment(NamedTuple):
    """A file of the log: the lsn of its first record, and its payloads with their lsn and what was durable before."""

    path: Path
    first: int
    payloads: "list[tuple[int, int, bytes]]"
    end: int


class Group(NamedTuple):
    """Values of a key. ``watermark`` is that of a timer."""

    key: Any
    count: int
    codec: int
    values: bytes
    watermark: "int | None"


class Position(NamedTuple):
    """A place in a file: bytes behind it, and which file it is. ``checksum`` is that of its first ``head`` bytes."""

    offset: int
    device: int
    inode: int
    head: int
    checksum: int


class Consumed(NamedTuple):
    """What a batch was made of: ``kind`` is ``Frames``, ``Groups``, ``Values`` or ``Generated``."""

    kind: str
    source: "int | None" = None
    position: "Position | None" = None
    streams: "dict[str, int] | None" = None
    marks: "dict[str, tuple[int, bytes]] | None" = None
    groups: "list[Group] | None" = None
    count: "int | None" = None
    ended: bool = False


class Journaled(NamedTuple):
    """What a replay of a batch needs."""

    messages: int
    skip: "list[tuple[int, int]]"
    times: "list[tuple[int, int]]"
    elapsed: int


class Routed(NamedTuple):
    """Groups for stages: ``to`` has each stage, and its watermark if it has windows."""

    to: "list[tuple[int, int | None]]"
    groups: "list[Group]"


class Written(NamedTuple):
    """Messages for a sink."""

    sink: int
    messages: "list[bytes]"


class Letter(NamedTuple):
    """A message that could not be processed."""

    node: int
    key: Any
    exception: str
    message: str
    traceback: str
    value: str
    payload: bytes
    payload_index: "int | None"
    codec: int
    limit: "str | None"
    source: "int | None"
    connection: "int | None"


class Timing(NamedTuple):
    """What an answer says of time. ``timers`` has keys with their deadline, or None if they have no open window."""

    time: "int | None"
    late: int
    timers: "list[tuple[Any, int | None]]"


class Record(NamedTuple):
    """A batch that was answered."""

    lsn: int
    batch: int
    stage: int
    at: int
    consumed: Consumed
    journaled: "Journaled | None"
    routed: "list[Routed]"
    written: "list[Written]"
    letters: "list[Letter]"
    timing: Timing
    unloadable: "list[tuple[str, Any]]"
    delivered: "list[tuple[int, int]]"
    kept: "tuple[int, int] | None"


def read_format(folder: Path) -> "dict[str, Any]":
    """``FORMAT``."""
    content = json.loads((folder / "FORMAT").read_text())
    if content.get("version") != VERSION:
        raise LogFormatError(f"FORMAT has version {content.get('version')!r}, not {VERSION}")
    if sorted(content) != ["about", "application", "id", "topology", "version"]:
        raise LogFormatError(f"FORMAT has the fields {sorted(content)}")
    return content


def read_segments(folder: Path) -> "Iterator[Segment]":
    """The segments of a folder, the oldest first. One that was being made, which is the last, is left out."""
    paths = sorted((folder / "log").glob("*.log"))
    for path in paths:
        content = path.read_bytes()
        if path == paths[-1] and not is_header(content) and not any(content[_SEGMENT_HEADER:]):
            return
        yield read_segment(content, path)


def is_header(content: bytes) -> bool:
    """Whether a segment begins with a header whose checksum is right."""
    if len(content) < _SEGMENT_HEADER:
        return False
    magic, version, checksum = _HEADER.unpack_from(content)
    return (magic, version) == (MAGIC, VERSION) and checksum == zlib.crc32(content[:12] + content[16:32])


def read_segment(content: bytes, path: Path) -> Segment:
    """The valid records of a segment. Its end is where the first byte behind them is."""
    if not is_header(content):
        raise LogFormatError(f"{path} begins with {content[:32]!r}, which is no header")
    (first,) = _FIRST.unpack_from(content, _HEADER.size)
    if path.name != f"{first:020}.log":
        raise LogFormatError(f"{path}: its first record is {first}")
    payloads: list[tuple[int, int, bytes]] = []
    offset = _SEGMENT_HEADER
    while (found := record_at(content, offset, content[24:32])) is not None and found[0] == first + len(payloads):
        payloads.append(found)
        offset += _RECORD_HEADER.size + len(found[2])
    return Segment(path, first, payloads, offset)


def record_at(content: bytes, offset: int, salt: bytes) -> "tuple[int, int, bytes] | None":
    """The record at an offset of a segment: lsn, durable and payload. None if it is torn or has another checksum."""
    if offset + _RECORD_HEADER.size > len(content):
        return None
    length, checksum, lsn, durable = _RECORD_HEADER.unpack_from(content, offset)
    end = offset + _RECORD_HEADER.size + length
    if end > len(content) or checksum != zlib.crc32(salt + content[offset : offset + 4] + content[offset + 8 : end]):
        return None
    if durable >= lsn:
        raise LogFormatError(f"record {lsn} says that {durable} was durable")
    return lsn, durable, content[offset + _RECORD_HEADER.size : end]


def read_records(folder: Path) -> "Iterator[Record]":
    """The records of a folder in order. Raises unless their numbers have no gaps."""
    expected = None
    for segment in read_segments(folder):
        if expected not in (None, segment.first):
            raise LogFormatError(f"{segment.path}: the record before it is {expected - 1}")
        for lsn, _, payload in segment.payloads:
            record = decode_record(payload)
            if record.lsn != lsn:
                raise LogFormatError(f"{segment.path}: record {lsn} says that it is {record.lsn}")
            yield record
        expected = segment.first + len(segment.payloads)


def decode_record(payload: bytes) -> Record:
    """A record. Raises unless it has the fields of :class:`Record`, each of the form that is laid down."""
    form = _array(_unpacked(payload), 13)
    lsn, batch, stage, at = map(_integer, form[:4])
    return Record(
        lsn,
        batch,
        stage,
        at,
        _consumed(form[4]),
        _optional(_journaled)(form[5]),
        [Routed(_pairs(to, _integer, _optional(_integer)), _groups(groups)) for to, groups in _arrays(form[6], 2)],
        [_written(sink, chunk) for sink, chunk in _arrays(form[7], 2)],
        [_letter(letter) for letter in _array(form[8])],
        _timing(form[9]),
        [_state_name(name) for name in _array(form[10])],
        _pairs(form[11], _integer, _integer),
        _optional(lambda kept: tuple(map(_integer, _array(kept, 2))))(form[12]),
    )


def _consumed(form: Any) -> Consumed:
    if not isinstance(form, dict) or len(form) != 1:
        raise LogFormatError(f"consumed is {form!r}")
    ((kind, content),) = form.items()
    if kind == "Frames":
        source, position = _array(content, 2)
        return Consumed(kind, source=_integer(source), **_position(position))
    if kind == "Groups":
        return Consumed(kind, groups=_groups(content))
    if kind == "Values":
        return Consumed(kind, count=_integer(content))
    if kind == "Generated":
        source, wanted, ended = _array(content, 3)
        return Consumed(kind, source=_integer(source), count=_integer(_unpacked(_typed(wanted, bytes))), ended=ended)
    raise LogFormatError(f"consumed is of the kind {kind!r}")


def _position(form: Any) -> "dict[str, Any]":
    if form == "Unknown":
        return {}
    if not isinstance(form, dict) or len(form) != 1:
        raise LogFormatError(f"a position is {form!r}")
    ((kind, content),) = form.items()
    if kind == "File":
        offset, file = _array(content, 2)
        return {"position": Position(_integer(offset), *map(_integer, _array(file, 4)))}
    if kind == "Messages":
        return {"streams": {_typed(name, str): _integer(count) for name, count in _typed(content, dict).items()}}
    if kind == "Marks":
        return {"marks": {_typed(name, str): _mark(form) for name, form in _typed(content, dict).items()}}
    raise LogFormatError(f"a position is of the kind {kind!r}")


def _mark(form: Any) -> "tuple[int, bytes]":
    messages, mark = _array(form, 2)
    return _integer(messages), _typed(mark, bytes)


def _journaled(form: Any) -> Journaled:
    messages, skip, times, elapsed = _array(form, 4)
    skips = _pairs(skip, _integer, _integer)
    return Journaled(_integer(messages), skips, _pairs(times, _integer, _integer), _integer(elapsed))


def _written(sink: Any, chunk: Any) -> Written:
    content, lengths = _array(chunk, 2)
    content, offset, messages = _typed(content, bytes), 0, []
    for length in map(_integer, _array(lengths)):
        messages.append(content[offset : offset + length])
        offset += length
    if offset != len(content):
        raise LogFormatError(f"messages of {offset} bytes are in {len(content)} bytes")
    return Written(_integer(sink), messages)


def _letter(form: Any) -> Letter:
    letter = Letter(*_array(form, len(Letter._fields)))
    texts = (letter.exception, letter.message, letter.traceback, letter.value)
    for text in texts:
        _typed(text, str)
    for number in (letter.node, letter.codec):
        _integer(number)
    for number in (letter.payload_index, letter.source, letter.connection):
        _optional(_integer)(number)
    key = _optional(lambda key: _unpacked(_typed(key, bytes)))(letter.key)
    return letter._replace(key=key, payload=_typed(letter.payload, bytes))


def _timing(form: Any) -> Timing:
    time, late, timers = _array(form, 3)
    key = lambda key: _unpacked(_typed(key, bytes))  # noqa: E731
    return Timing(_optional(_integer)(time), _integer(late), _pairs(timers, key, _optional(_integer)))


def _groups(content: Any) -> "list[Group]":
    flat = _array(_unpacked(_typed(content, bytes)))
    if len(flat) % 4 != 0:
        raise LogFormatError(f"groups have {len(flat)} elements")
    return [_group(*flat[index : index + 4]) for index in range(0, len(flat), 4)]


def _group(key: Any, count: Any, codec: Any, values: Any) -> Group:
    watermark = _TIME.unpack(values)[0] if codec == TIMER else None
    return Group(key, _integer(count), _integer(codec), _typed(values, bytes), watermark)


def _state_name(name: Any) -> "tuple[str, Any]":
    table, key = _array(_unpacked(_typed(name, bytes)), 2)
    return _typed(table, str), key


def _unpacked(content: bytes) -> Any:
    return msgpack.unpackb(content, use_list=False, strict_map_key=False, unicode_errors="surrogatepass")


def _array(form: Any, length: "int | None" = None) -> "tuple[Any, ...]":
    if not isinstance(form, tuple) or length not in (None, len(form)):
        raise LogFormatError(f"{form!r} is no array of {'any' if length is None else length} elements")
    return form


def _arrays(form: Any, length: int) -> "list[tuple[Any, ...]]":
    return [_array(element, length) for element in _array(form)]


def _pairs(form: Any, first: "Callable[[Any], Any]", second: "Callable[[Any], Any]") -> "list[tuple[Any, Any]]":
    return [(first(one), second(two)) for one, two in _arrays(form, 2)]


def _optional(read: "Callable[[Any], Any]") -> "Callable[[Any], Any]":
    return lambda form: None if form is None else read(form)


def _integer(form: Any) -> int:
    return _typed(form, int)


def _typed(form: Any, kind: type) -> Any:
    if type(form) is not kind:
        raise LogFormatError(f"{form!r} is no {kind.__name__}")
    return form


if __name__ == "__main__":
    for each in read_records(Path(sys.argv[1])):
        print(each)
