"""Positions of a partition as bytes: what the user gave comes back as it was."""

from __future__ import annotations

from typing import Any, Callable

import msgpack

from wallaroo._steps.objects import shown_type

LONGEST = 4096
"""Bytes of a position, at most. The log keeps one for each partition and batch."""

_KINDS = (bytes, str, int)


Pack = Callable[[Any], bytes]


def packer() -> Pack:
    """Return what packs positions, for one thread: making it takes longer than packing."""
    pack: Pack = msgpack.Packer(strict_types=True, default=list).pack
    return pack


def pack_position(position: Any, pack: Pack | None = None) -> bytes:
    """Return a position as bytes.

    Args:
        position: What the user's code has said.
        pack: What :func:`packer` has returned to this thread.

    Raises:
        TypeError: It would not come back as it is: it is not of bytes, str, int, and tuples of these.
        ValueError: It is too long.
    """
    if type(position) not in _KINDS:
        _check(position, position)
    try:
        packed = (pack or packer())(position)
    except (OverflowError, ValueError) as error:
        raise ValueError(f"the position {position!r} cannot be kept: {error}") from None
    if len(packed) > LONGEST:
        raise ValueError(f"a position has {len(packed)} bytes, and may have {LONGEST}")
    return packed


def unpack_position(packed: bytes) -> Any:
    """Return a position that was packed; ``None`` for no bytes."""
    return msgpack.unpackb(packed, use_list=False) if packed else None


def _check(value: Any, position: Any) -> None:
    kind = type(value)
    if kind is tuple:
        for part in value:
            _check(part, position)
    elif kind not in _KINDS:
        of = "is" if value is position else "has a part that is"
        raise TypeError(
            f"the position {position!r} {of} {shown_type(value)}; it is bytes, str, int or a tuple of these"
        )
