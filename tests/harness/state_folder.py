"""A second reader of the log in a state folder, as ``spec/log.md`` describes it. It changes nothing."""

import struct
import zlib
from pathlib import Path
from typing import NamedTuple

_HEADER = struct.Struct("<8sIIQQ")
_RECORD = struct.Struct("<IIQQ")


class Record(NamedTuple):
    """A record, and where it begins in its file."""

    offset: int
    lsn: int
    durable: int
    payload: bytes

    @property
    def end(self) -> int:
        return self.offset + _RECORD.size + len(self.payload)


class Segment(NamedTuple):
    """A file of the log, with its valid records."""

    path: Path
    first: int
    records: "list[Record]"

    @property
    def end(self) -> int:
        """Where its last record ends."""
        return self.records[-1].end if self.records else _HEADER.size


def segments(folder: Path) -> "list[Segment]":
    """The segments of a state folder, the oldest first."""
    return [segment(path, path.read_bytes()) for path in sorted((folder / "log").glob("*.log"))]


def segment(path: Path, data: bytes) -> Segment:
    """Reads a segment up to the first record that is not valid.

    Raises:
        ValueError: The header is not valid.
    """
    magic, version, checksum, first, salt = _HEADER.unpack_from(data)
    if (magic, version) != (b"wallaroo", 2) or checksum != zlib.crc32(data[16:32], zlib.crc32(data[:12])):
        raise ValueError(f"{path} has no valid header")
    records, lsn, offset, salt = [], first, _HEADER.size, struct.pack("<Q", salt)
    while (found := record(data, offset, salt)) is not None and found.lsn == lsn:
        records.append(found)
        offset, lsn = found.end, lsn + 1
    return Segment(path, first, records)


def record(data: bytes, offset: int, salt: bytes) -> "Record | None":
    """The record at an offset, if there is a valid one."""
    if offset + _RECORD.size > len(data):
        return None
    length, checksum, lsn, durable = _RECORD.unpack_from(data, offset)
    end = offset + _RECORD.size + length
    covered = zlib.crc32(data[offset + 8 : end], zlib.crc32(data[offset : offset + 4], zlib.crc32(salt)))
    if end > len(data) or covered != checksum:
        return None
    return Record(offset, lsn, durable, data[offset + _RECORD.size : end])
