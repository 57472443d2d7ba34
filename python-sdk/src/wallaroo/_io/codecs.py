"""Codecs: how messages are written as bytes and read from them, in both directions.

A codec is given to a source, which decodes with it, or to a sink, which encodes. Its ``decode`` and ``encode`` are
plain functions that are made once, so that a message costs no more than with a decorated decoder or encoder.
"""

from __future__ import annotations

import codecs
import struct
from typing import Any, Callable, Generic, NoReturn, TypeVar, Union

from wallaroo._errors import WallarooParameterError
from wallaroo._io.decoders import length_struct
from wallaroo._io.encoders import Message
from wallaroo._steps.objects import shown_type

T = TypeVar("T")

Payload = Union[str, bytes]
"""A message as text or bytes, without its line end or header; ``str`` stands for UTF-8."""


class Codec(Generic[T]):
    r"""Reads and writes messages of type ``T``: what :func:`lines`, :func:`json_lines` and their like return.

    Name it to annotate a function that chooses a codec. A source decodes with it, a sink encodes.

    Example:
        >>> import wallaroo
        >>> def codec_of(path: str) -> wallaroo.Codec[str]:
        ...     return wallaroo.lines(encoding="latin-1" if path.endswith(".old") else "utf-8")
        >>> codec_of("names.old")
        lines(encoding='latin-1')
    """

    # Functions and no methods, for the worker's loops call them. ``decode`` and ``encode`` deal with frames; the other
    # two with messages that are framed otherwise: a line end is not part of these.
    def __init__(
        self,
        name: str,
        decode: Callable[[bytes], T | None],
        encode: Callable[[T], Message],
        from_payload: Callable[[bytes], T | None],
        to_payload: Callable[[T], Payload],
    ) -> None:
        self.decode = decode
        self.encode = encode
        self.from_payload = from_payload
        self.to_payload = to_payload
        # The name of the source's decoder and the sink's encoder, in the topology.
        self.__name__ = name

    def __repr__(self) -> str:
        return self.__name__


class LineCodec(Codec[T]):
    """A codec whose messages are lines."""

    delimiter = b"\n"


class LengthCodec(Codec[T]):
    """A codec whose messages come after a header that holds their length and nothing else."""

    def __init__(self, name: str, codec: Codec[T], length_fmt: str) -> None:
        self._length = length_struct(name, length_fmt)
        pack, to_payload = self._length.pack, codec.to_payload

        def encode(data: T) -> bytes:
            payload = to_payload(data)
            if isinstance(payload, str):
                payload = payload.encode("utf-8")
            try:
                return pack(len(payload)) + payload
            except struct.error:
                raise ValueError(
                    f"{name}: a message of {len(payload)} bytes is longer than a header {length_fmt!r} can say;"
                    ' use a wider one, such as ">I"'
                ) from None

        super().__init__(name, codec.from_payload, encode, codec.from_payload, to_payload)

    def header_length(self) -> int:
        """Return how many bytes come before each payload."""
        return self._length.size

    def payload_length(self, bs: bytes) -> int:
        """Read a payload's length from its header."""
        return int(self._length.unpack(bs)[0])


class RawCodec(Codec[bytes]):
    """Bytes as they are, which do not say where a message ends."""

    def header_length(self) -> NoReturn:
        """Raise an error: a source cannot cut bytes into messages by this codec alone.

        Raises:
            WallarooParameterError: Always.
        """
        raise WallarooParameterError(
            "raw() does not say where a message ends, so a source cannot use it alone",
            hint='write length_prefixed(">I", raw()) if a length comes before each message, or lines() for lines',
        )


def lines(encoding: str = "utf-8", *, max_length: int | None = None, on_long: str = "fail") -> Codec[str]:
    r"""Return the codec of lines of text: a message is a ``str`` without its line end.

    Lines end with ``\n`` or ``\r\n`` when read, and with ``\n`` when written. A byte order mark at the start of a line
    is left out. A message that holds ``\n`` is written as several lines.

    Args:
        encoding: The name of the text's encoding. In it ``\n`` must be the byte 0x0A, and no other character may
            contain that byte: UTF-8, Latin-1, Shift JIS and most others, but not UTF-16.
        max_length: The greatest length of a line that is read, in bytes, without its end. ``None``: as long as
            ``wallaroo-orch run --max-frame`` lets it be.
        on_long: What to do with a longer line: ``"fail"``, it becomes a dead letter, or ``"skip"``, it is left out.

    Raises:
        WallarooParameterError: The encoding is unknown or cannot be cut into lines, or an argument is unusable.

    Example:
        >>> import wallaroo
        >>> codec = wallaroo.lines("latin-1")
        >>> codec.decode(b"caf\xe9\r")
        'café'
        >>> codec.encode("café")
        b'caf\xe9\n'
    """
    given = [] if encoding == "utf-8" else [f"encoding={encoding!r}"]
    given += [] if max_length is None else [f"max_length={max_length}", f"on_long={on_long!r}"]
    name = f"lines({', '.join(given)})"
    encoding = check_encoding(name, encoding)
    decode: Callable[[bytes], str | None] = line_decoder(encoding)
    from_payload: Callable[[bytes], str | None] = text_decoder(encoding)
    if max_length is not None or on_long != "fail":
        decode = _limited(name, decode, max_length, on_long)
        from_payload = _limited(name, from_payload, max_length, on_long)
    encode, to_payload = _line_encoders(name, encoding)
    return LineCodec(name, decode, encode, from_payload, to_payload)


def length_prefixed(length_fmt: str, codec: Codec[T]) -> Codec[T]:
    r"""Return a codec for messages that come after their length.

    Args:
        length_fmt: How the length, in bytes, is read and written: a :mod:`struct` format of one integer, such as
            ``">I"`` for a big-endian one of four bytes.
        codec: Of the message itself, for example :func:`raw`. Text of :func:`lines` is read and written as it is then,
            without a line end.

    Raises:
        WallarooParameterError: The format is not one of :mod:`struct` with one integer, or ``codec`` is not a codec or
            has a length already.

    Example:
        >>> import wallaroo
        >>> codec = wallaroo.length_prefixed(">I", wallaroo.lines())
        >>> codec.encode("tea")
        b'\x00\x00\x00\x03tea'
        >>> codec.decode(b"tea")
        'tea'
    """
    check_called("length_prefixed: codec", codec)
    if not isinstance(codec, Codec):
        raise WallarooParameterError(
            f"length_prefixed: codec is {shown_type(codec)}, not a codec",
            hint='write length_prefixed(">I", raw()) for bytes, length_prefixed(">I", lines()) for text',
        )
    if isinstance(codec, LengthCodec):
        raise WallarooParameterError(
            f"length_prefixed: {codec} has a length before each message already", hint="use it as it is"
        )
    return LengthCodec(f"length_prefixed({length_fmt!r}, {codec})", codec, length_fmt)


def raw() -> Codec[bytes]:
    r"""Return the codec of bytes as they are.

    A sink writes them one after another. A source has to be told where each message ends: by :func:`length_prefixed`.

    Example:
        >>> import wallaroo
        >>> wallaroo.raw().encode(b"\x00\x01")
        b'\x00\x01'
        >>> wallaroo.length_prefixed(">H", wallaroo.raw()).encode(b"\x00\x01")
        b'\x00\x02\x00\x01'
    """

    def same(data: bytes) -> bytes:
        if data.__class__ is bytes:
            return data
        if isinstance(data, (bytes, bytearray, memoryview)):
            return bytes(data)
        raise refused("raw()", "bytes", data)

    return RawCodec("raw()", same, same, same, same)


def check_encoding(where: str, encoding: Any) -> str:
    """Return the name that Python has for an encoding of lines.

    Raises:
        WallarooParameterError: It is unknown, or a line end in it is not the byte 0x0A.
    """
    try:
        name = codecs.lookup(encoding).name
        ends = "\r\n".encode("utf-8" if name == "utf-8-sig" else name)
    except (LookupError, TypeError, ValueError):
        raise WallarooParameterError(
            f"{where}: encoding {encoding!r} is not a text encoding that Python knows",
            hint='for example "utf-8", "latin-1" or "cp1252"',
        ) from None
    if ends != b"\r\n":
        raise WallarooParameterError(
            f"{where}: a line end in {encoding} is not the byte 0x0A, by which lines are cut",
            hint="convert the data to UTF-8 first",
        )
    # Python's utf-8-sig would write a byte order mark before every line, and is slow. Reading leaves marks out anyway.
    return "utf-8" if name == "utf-8-sig" else name


class CodecOfFile(Generic[T]):
    """What a codec is made from once its file is known. It is given to :func:`file`, which calls ``of_file``."""

    def __init__(self, name: str, of_file: Callable[[str], Codec[T]]) -> None:
        self.of_file = of_file
        self.__name__ = name

    def __repr__(self) -> str:
        return self.__name__


def check_called(where: str, thing: Any) -> None:
    """Raise an error if ``thing`` cannot be a codec here.

    Raises:
        WallarooParameterError: It is a function such as :func:`lines` that was not called, or the codec of a file.
    """
    if isinstance(thing, CodecOfFile):
        raise WallarooParameterError(
            f"{where}: {thing} reads the names of the columns from a file, and only the source file(...) is one",
            hint='name the columns: csv_lines("time", "price"); a line that holds these names is left out',
        )
    if str(getattr(thing, "__module__", "")).startswith("wallaroo._io") and hasattr(thing, "__code__"):
        raise WallarooParameterError(
            f"{where}: {thing.__name__} is a function that returns a codec", hint=f"call it: {thing.__name__}(...)"
        )


def refused(codec: str, expected: str, data: Any) -> TypeError:
    """Return the error for a message that a codec cannot write."""
    return TypeError(f"{codec} writes {expected}, and was given {type(data).__name__}")


def text_decoder(encoding: str) -> Callable[[bytes], str]:
    """Return a function from bytes to their text."""

    def decode(bs: bytes) -> str:
        return bs.decode(encoding)

    return decode


def line_decoder(encoding: str) -> Callable[[bytes], str]:
    """Return a function from a line to its text, without a carriage return at its end and a byte order mark.

    One ``strip`` looks for both: it returns the same object where there is neither, and costs 7 ns on CPython 3.11 for
    a line whose decoding takes 54 ns. Looking at both ends takes 60 ns.
    """

    def decode(bs: bytes) -> str:
        text = bs.decode(encoding)
        return text if text.strip("\r\ufeff") == text else _trimmed(text)

    return decode


def _trimmed(text: str) -> str:
    start = 1 if text[:1] == "\ufeff" else 0
    return text[start:-1] if text[-1:] == "\r" else text[start:]


def _line_encoders(name: str, encoding: str) -> tuple[Callable[[str], Message], Callable[[str], Payload]]:
    def to_payload(data: str) -> Payload:
        if not isinstance(data, str):
            raise refused(name, "str", data)
        return data if encoding == "utf-8" else data.encode(encoding)

    def encode_utf8(data: str) -> str:
        # The orchestrator writes str as UTF-8.
        try:
            return data + "\n"
        except TypeError:
            raise refused(name, "str", data) from None

    def encode(data: str) -> bytes:
        try:
            return (data + "\n").encode(encoding)
        except TypeError:
            raise refused(name, "str", data) from None

    return encode_utf8 if encoding == "utf-8" else encode, to_payload


def _limited(
    name: str, decode: Callable[[bytes], str | None], max_length: Any, on_long: Any
) -> Callable[[bytes], str | None]:
    if on_long not in ("fail", "skip"):
        raise WallarooParameterError(
            f'{name}: on_long must be "fail" or "skip", got {on_long!r}',
            hint='"fail" makes a longer line a dead letter, "skip" leaves it out',
        )
    if max_length is None:
        raise WallarooParameterError(
            f"lines: on_long={on_long!r} says what to do with long lines, and max_length is missing",
            hint="give the greatest length of a line in bytes, as max_length=65536",
        )
    if type(max_length) is not int or max_length < 1:
        raise WallarooParameterError(
            f"lines: max_length must be an int above 0, got {max_length!r}",
            hint="give the greatest length of a line in bytes",
        )
    skip = on_long == "skip"
    longest: int = max_length

    def decode_limited(bs: bytes) -> str | None:
        if len(bs) > longest and len(bs) - bs.endswith(b"\r") > longest:
            if skip:
                return None
            raise ValueError(f"{name}: a line of {len(bs)} bytes is longer than {longest}")
        return decode(bs)

    return decode_limited
