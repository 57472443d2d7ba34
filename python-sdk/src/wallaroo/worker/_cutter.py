"""Cuts frames by calling the decoder, if its header is not a plain length prefix."""

from __future__ import annotations

from typing import Any, Callable, NamedTuple

from wallaroo.worker._failures import exception_message, exception_type, user_traceback
from wallaroo.worker._forked import leave_if_child

_MOST_FRAMES = 65_536
"""In one reply: keeps it well under any cap when frames are tiny. The rest is asked for again."""


class Cut(NamedTuple):
    """Where the frames are: flat ``start, end``, and the other fields of ``cut_result``."""

    frames: list[int]
    consumed: int
    need: int
    error: list[str] | None


class Cutter:
    """Cuts one connection's bytes into frames.

    Args:
        header_length: Bytes before each payload.
        payload_length: The decoder's method: from a header to the bytes of its payload.
        largest: The greatest payload accepted, in bytes.
    """

    def __init__(self, header_length: int, payload_length: Callable[[bytes], Any], largest: int) -> None:
        self._header_length = header_length
        self._payload_length = payload_length
        self._largest = largest

    def cut(self, data: bytes) -> Cut:
        """Find the frames in ``data``, which begins at a header."""
        header_length = self._header_length
        frames: list[int] = []
        consumed = 0
        for _ in range(_MOST_FRAMES):
            start = consumed + header_length
            if start > len(data):
                return Cut(frames, consumed, header_length, None)
            try:
                length = self._checked(self._payload_length(data[consumed:start]))
                leave_if_child()
            except BaseException as error:  # noqa: BLE001 - the user's payload_length
                leave_if_child(error)
                described = [exception_type(error), exception_message(error), user_traceback(error)]
                return Cut(frames, consumed, header_length, described)
            if start + length > len(data):
                return Cut(frames, consumed, header_length + length, None)
            frames += (start, start + length)
            consumed = start + length
        return Cut(frames, consumed, header_length, None)

    def _checked(self, length: Any) -> int:
        if type(length) is not int:
            raise TypeError(f"payload_length returned {type(length).__name__}, not int")
        if length < 0:
            raise ValueError(f"payload_length returned {length}, which is negative")
        if length > self._largest:
            raise ValueError(
                f"a message of {length} bytes is beyond the cap of {self._largest} bytes; raise it with --max-frame"
            )
        if length + self._header_length == 0:
            raise ValueError("a message without header and payload has no end")
        return length
