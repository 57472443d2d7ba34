"""Positions of a partition as bytes: what the user gave comes back as it was."""

from __future__ import annotations

from typing import Any

import msgpack

from wallaroo._steps.objects import shown_type

LONGEST = 4096
"""Bytes of a position, at most. The log keeps one for each partition and batch."""


def pack_position(position: Any) -> bytes:
    """Return a position as bytes.

    Raises:
        TypeError: It is none.
        ValueError: It is too long.
    """
    try:
        packed: bytes = msgpack.packb(position, strict_types=True, default=_refuse)
    except (TypeError, OverflowError) as error:
        raise TypeError(f"the position {position!r} cannot be kept: {error}") from None
    if position is None:
        raise TypeError("the position is None; it is bytes, str, int or a tuple of these")
    if len(packed) > LONGEST:
        raise ValueError(f"a position has {len(packed)} bytes, and may have {LONGEST}")
    return packed


def unpack_position(packed: bytes) -> Any:
    """Return a position that was packed; ``None`` for no bytes."""
    return msgpack.unpackb(packed, use_list=False) if packed else None


def _refuse(value: Any) -> Any:
    if type(value) is tuple:
        return list(value)
    raise TypeError(f"a part of it is {shown_type(value)}, and not bytes, str, int or a tuple of these")
