"""Decoders: what a source config accepts, and the decorator that makes a decoder from a function."""

from __future__ import annotations

import struct
from functools import partial
from typing import Any, Callable, Generic, Protocol, TypeVar, Union

from wallaroo._errors import WallarooParameterError
from wallaroo._steps.decorated import Decorated

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Returned = TypeVar("Returned", covariant=True)


_WHERE = "@wallaroo.decoder"
_EXAMPLE = 'for a big-endian integer of four bytes, ">I"'


class DecodesFrames(Protocol[T_co]):
    """An object with ``decode(bs)``, which turns a frame into a message, or into ``None`` to discard it.

    It says how to cut frames by ``delimiter``, or by ``header_length()`` and ``payload_length(bs)``.
    """

    def decode(self, bs: bytes, /) -> T_co | None:
        """Return the message in a frame."""
        ...


DecoderLike = Union[DecodesFrames[T], Callable[[], DecodesFrames[T]]]
"""Such an object, or a class of such objects."""


class Decoder(Decorated[Callable[[bytes], Returned]], Generic[Returned]):
    r"""A function decorated with :func:`decoder`: called like the function.

    Generic in what the function returns. Name it to annotate a function that makes decoders.

    Example:
        >>> import wallaroo
        >>> def lines(encoding: str) -> wallaroo.Decoder[str]:
        ...     @wallaroo.decoder(delimiter=b"\n")
        ...     def decode(bs: bytes) -> str:
        ...         return bs.decode(encoding)
        ...     return decode
        >>> lines("latin-1")(b"caf\xe9")
        'café'
    """

    def __init__(self, function: Callable[[bytes], Returned]) -> None:
        super().__init__("decoder", function, "bs")
        # The function itself, and no method that calls it, nor a property, which pyright takes for no method.
        self.decode = function

    def __call__(self, bs: bytes, /) -> Returned:
        """Call the function."""
        return self.function(bs)


class DelimiterDecoder(Decoder[Returned]):
    """A decoder whose frames end with ``delimiter``."""

    def __init__(self, function: Callable[[bytes], Returned], delimiter: bytes) -> None:
        super().__init__(function)
        self.delimiter = delimiter


class LengthDecoder(Decoder[Returned]):
    """A decoder whose frames come after a header that holds their length and nothing else."""

    def __init__(self, function: Callable[[bytes], Returned], header_length: int, length: struct.Struct) -> None:
        super().__init__(function)
        self._header_length = header_length
        self._length = length

    def header_length(self) -> int:
        """Return how many bytes come before each payload."""
        return self._header_length

    def payload_length(self, bs: bytes) -> int:
        """Read a payload's length from its header."""
        return int(self._length.unpack(bs)[0])


def decoder(
    header_length: int | None = None, length_fmt: str | None = None, *, delimiter: bytes | None = None
) -> Callable[[Callable[[bytes], T]], Decoder[T]]:
    r"""Make a decoder of a function ``f(bs)``, which returns a frame's message, or ``None`` to discard the frame.

    Give ``header_length`` and ``length_fmt``, or ``delimiter``.

    Args:
        header_length: Bytes of the header that comes before each frame.
        length_fmt: How to read the frame's length, in bytes, from the header: a :mod:`struct` format of one integer.
        delimiter: The bytes that end each frame.

    Raises:
        WallarooParameterError: Neither or both are given, the format does not fit the header, or the function cannot be
            called with one argument.

    Example:
        >>> @decoder(header_length=4, length_fmt=">I")
        ... def text(bs: bytes) -> str:
        ...     return bs.decode("utf-8")
        >>> text(b"tea")
        'tea'
        >>> @decoder(delimiter=b"\n")
        ... def number(bs: bytes) -> int:
        ...     return int(bs)
        >>> number(b"42")
        42
    """
    if delimiter is not None:
        if header_length is not None or length_fmt is not None:
            raise WallarooParameterError(
                f"{_WHERE}: got a delimiter and a header", hint="give header_length and length_fmt, or delimiter"
            )
        if not isinstance(delimiter, bytes) or not delimiter:
            raise WallarooParameterError(
                f"{_WHERE}: delimiter must be non-empty bytes, got {delimiter!r}",
                hint=r'for messages that are lines, delimiter=b"\n"',
            )
        return partial(DelimiterDecoder, delimiter=delimiter)
    if header_length is None or length_fmt is None:
        raise WallarooParameterError(
            f"{_WHERE}: how frames are cut is not said",
            hint=r'write @wallaroo.decoder(header_length=4, length_fmt=">I"), or @wallaroo.decoder(delimiter=b"\n")',
        )
    return partial(LengthDecoder, header_length=header_length, length=_length(header_length, length_fmt))


def length_struct(where: str, length_fmt: Any) -> struct.Struct:
    """Return the compiled ``length_fmt``.

    Raises:
        WallarooParameterError: It is not a format of :mod:`struct` that reads one integer.
    """
    try:
        length = struct.Struct(length_fmt)
        fields = length.unpack(bytes(length.size))
    except (struct.error, TypeError) as error:
        raise WallarooParameterError(
            f"{where}: length_fmt {length_fmt!r} is no format of struct: {error}", hint=_EXAMPLE
        ) from None
    if len(fields) != 1 or type(fields[0]) is not int:
        raise WallarooParameterError(f"{where}: length_fmt {length_fmt!r} does not read one integer", hint=_EXAMPLE)
    return length


def _length(header_length: Any, length_fmt: Any) -> struct.Struct:
    if type(header_length) is not int or header_length <= 0:
        raise WallarooParameterError(
            f"{_WHERE}: header_length must be an int above 0, got {header_length!r}",
            hint="give the number of bytes that come before each payload",
        )
    length = length_struct(_WHERE, length_fmt)
    if length.size != header_length:
        raise WallarooParameterError(
            f"{_WHERE}: length_fmt {length_fmt!r} reads {length.size} bytes, header_length is {header_length}",
            hint='skip bytes with x, as in ">xxI" for the last four of six',
        )
    return length
