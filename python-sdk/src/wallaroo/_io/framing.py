"""Finds out how a decoder cuts frames, so that the orchestrator can cut them without calling Python.

A generation 1 decoder has a method that returns a frame's length. Nearly all of them read one integer of fixed width
from the header. So the method is called with headers whose bytes are known, and the one integer format that explains
every answer is sent to the orchestrator. If no format does, a worker cuts the frames by calling the method: slower,
never wrong.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, Callable, NamedTuple

from wallaroo._errors import WallarooParameterError
from wallaroo._steps.objects import class_name, method, optional_method

Framing = dict[str, Any]

_WIDEST_HEADER = 64
"""Bytes; a longer header is left to the decoder, as asking would take too long."""

_WIDEST_INTEGER = 8
_GREATEST_ADJUST = 2**31
_RANDOM_SAMPLES = 32
_SEED = 1
"""Every worker asks about the same headers, for all must describe the same topology."""


class _Integer(NamedTuple):
    """One way to read an integer from a header."""

    offset: int
    width: int
    order: str
    signed: bool

    def read(self, header: bytes) -> int:
        field = header[self.offset : self.offset + self.width]
        return int.from_bytes(field, "big" if self.order == "big" else "little", signed=self.signed)


def framing_of(where: str, decoder: Any) -> Framing:
    """Describe how ``decoder`` cuts frames, in the form of the topology's ``framing``.

    Args:
        where: Which source the decoder belongs to, for the error.
        decoder: An object with ``delimiter``, or with ``header_length()`` and ``payload_length(bs)``.

    Raises:
        WallarooParameterError: The decoder has neither, or its header length or delimiter is unusable.
    """
    if getattr(decoder, "delimiter", None) is not None:
        return {"kind": "delimiter", "delimiter": _delimiter(where, decoder)}
    header_length = method(where, decoder, "header_length")()
    payload_length = method(where, decoder, "payload_length", "bs")
    if type(header_length) is not int or header_length < 0:
        raise WallarooParameterError(
            f"{where}: {class_name(decoder)}.header_length() must return an int of 0 or more, got {header_length!r}",
            hint="return the number of bytes that come before each payload",
        )
    return recognise(payload_length, header_length) or {"kind": "decoder", "header": header_length}


def _delimiter(where: str, decoder: Any) -> bytes:
    delimiter = decoder.delimiter
    if callable(delimiter):
        found = optional_method(where, decoder, "delimiter")
        delimiter = found() if found is not None else None
    if not isinstance(delimiter, bytes) or not delimiter:
        raise WallarooParameterError(
            f"{where}: {class_name(decoder)}.delimiter must be non-empty bytes, got {delimiter!r}",
            hint=r'for messages that are lines, delimiter = b"\n"',
        )
    return delimiter


def recognise(payload_length: Callable[[bytes], Any], header_length: int) -> Framing | None:
    """Return the length prefix that explains ``payload_length`` on every sample, or ``None``."""
    if not 0 < header_length <= _WIDEST_HEADER:
        return None
    candidates: dict[_Integer, int] | None = None
    for header in _samples(header_length):
        try:
            answer = payload_length(header)
        except BaseException:  # noqa: BLE001 - it checks its headers somehow: only it can tell
            return None
        if type(answer) is not int:
            return None
        if candidates is None:
            candidates = {integer: answer - integer.read(header) for integer in _integers(header_length)}
        else:
            candidates = {i: adjust for i, adjust in candidates.items() if i.read(header) + adjust == answer}
        if not candidates:
            return None
    assert candidates is not None, "there is at least one sample"
    # More than one remains only where they cannot be told apart, as the two byte orders of a single byte.
    integer, adjust = next(iter(candidates.items()))
    if abs(adjust) > _GREATEST_ADJUST:
        return None
    return {"kind": "length", "header": header_length, **_integer_fields(integer), "adjust": adjust}


def _integer_fields(integer: _Integer) -> Framing:
    return {
        "width": integer.width,
        "offset": integer.offset,
        "order": integer.order,
        "signed": integer.signed,
    }


def _integers(header_length: int) -> Iterator[_Integer]:
    for width in range(1, min(_WIDEST_INTEGER, header_length) + 1):
        for offset in range(header_length - width + 1):
            for order in ("big", "little") if width > 1 else ("big",):
                for signed in (False, True):
                    yield _Integer(offset, width, order, signed)


def _samples(header_length: int) -> Iterator[bytes]:
    """Headers that tell any two integers apart: every byte small, at its carry, with its high bit set, and random."""
    rng = random.Random(_SEED)
    yield bytes(header_length)
    for number in (1, 255, 256, 65_535, 65_536):
        if number < 256**header_length:
            yield number.to_bytes(header_length, "big")
            yield number.to_bytes(header_length, "little")
    for index in range(header_length):
        for byte in (1, 0x7F, 0x80, 0xFF):
            header = bytearray(header_length)
            header[index] = byte
            yield bytes(header)
    yield b"\x7f" * header_length
    yield b"\x80" * header_length
    yield b"\xff" * header_length
    for _ in range(_RANDOM_SAMPLES):
        yield bytes(rng.getrandbits(8) for _ in range(header_length))
