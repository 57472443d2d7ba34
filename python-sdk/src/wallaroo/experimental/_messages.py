"""Messages on the way between an application and a connector script, and the decorators that write and read them.

A frame has four bytes of length, eight of event time, and the message. Length and time are little-endian, and the
length counts the time and the message. Such are the frames of Wallaroo 0.6.
"""

from __future__ import annotations

import struct
from typing import Any, Callable, Generic, Protocol, TypeVar

from wallaroo._io.encoders import Message
from wallaroo._steps.decorated import Decorated, shown_name
from wallaroo._steps.wrapping import calling
from wallaroo.experimental._times import SentTime, in_milliseconds

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)
Returned = TypeVar("Returned", covariant=True)
M = TypeVar("M", bound=Message)
M_co = TypeVar("M_co", bound=Message, covariant=True)

_LENGTH = struct.Struct("<I")
_TIME = struct.Struct("<q")
_HEAD = struct.Struct("<Iq")
_LARGEST = 2**32 - 1 - _TIME.size
_NANOSECONDS = 1_000_000

FRAMING = {"kind": "length", "header": 4, "width": 4, "offset": 0, "order": "little", "signed": False, "adjust": 0}
"""How these frames are cut, as the topology says it."""


class WritesFrames(Protocol[T_contra]):
    """An object with ``encode(data, event_time)``, which turns a message into a frame, header included."""

    def encode(self, data: T_contra, event_time: Any = ..., /) -> Message:
        """Return the frame, or ``None`` to write nothing."""
        ...


class EncodesFrame(Protocol[T_contra]):
    """A function that writes frames."""

    def __call__(self, data: T_contra, /, event_time: SentTime = ...) -> bytes | None:
        """Return the frame, or ``None`` to write nothing."""
        ...


class StreamMessageEncoder(Decorated[Callable[[T_contra], M_co]], Generic[T_contra, M_co]):
    r"""A function decorated with :func:`stream_message_encoder`: called like the function.

    ``encode(data, event_time=0)`` returns the frame.

    Example:
        >>> @stream_message_encoder
        ... def encode_feed(data: str) -> str:
        ...     return data
        >>> encode_feed("tea"), encode_feed.encode("tea")
        ('tea', b'\x0b\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00tea')
    """

    def __init__(self, function: Callable[[T_contra], M_co]) -> None:
        super().__init__("experimental.stream_message_encoder", function, "data")
        # No method that calls it: the worker's loops call it once for each message.
        self.encode: EncodesFrame[T_contra] = _frame_encoder(function)

    def __call__(self, data: T_contra, /) -> M_co:
        """Call the function."""
        return self.function(data)


class StreamMessageDecoder(Decorated[Callable[[bytes], Returned]], Generic[Returned]):
    r"""A function decorated with :func:`stream_message_decoder`: called like the function.

    ``decode(bs)`` takes a frame without its length.

    Example:
        >>> @stream_message_decoder
        ... def decode_feed(bs: bytes) -> str:
        ...     return bs.decode("utf-8")
        >>> decode_feed(b"tea"), decode_feed.decode(b"\x00\x00\x00\x00\x00\x00\x00\x00tea")
        ('tea', 'tea')
    """

    def __init__(self, function: Callable[[bytes], Returned]) -> None:
        super().__init__("experimental.stream_message_decoder", function, "bs")
        self.decode = _frame_decoder(function)

    def __call__(self, bs: bytes, /) -> Returned:
        """Call the function."""
        return self.function(bs)

    def header_length(self) -> int:
        """Return how many bytes come before each frame."""
        return _LENGTH.size

    def payload_length(self, bs: bytes) -> int:
        """Read the length of time and message from the header.

        Args:
            bs: The header.
        """
        return int(_LENGTH.unpack(bs)[0])


def stream_message_encoder(function: Callable[[T], M]) -> StreamMessageEncoder[T, M]:
    r"""Make a connector's encoder of a function ``f(data)``; length and event time are put before what it returns.

    Args:
        function: Returns the message as ``bytes``, as ``str``, which is sent as UTF-8, or ``None`` to send nothing.

    Raises:
        WallarooParameterError: The function cannot be called with one argument.

    Example:
        >>> @stream_message_encoder
        ... def encode_conversion(data: float) -> str:
        ...     return f"{data:.1f}"
        >>> encode_conversion(35.6)
        '35.6'
    """
    return StreamMessageEncoder(function)


def stream_message_decoder(function: Callable[[bytes], T]) -> StreamMessageDecoder[T]:
    r"""Make a connector's decoder of a function ``f(bs)``, which is given the message without length and event time.

    Args:
        function: Returns the message, or ``None`` to discard it.

    Raises:
        WallarooParameterError: The function cannot be called with one argument.

    Example:
        >>> import struct
        >>> @stream_message_decoder
        ... def decode_feed(bs: bytes) -> float:
        ...     return float(struct.unpack(">f", bs)[0])
        >>> decode_feed(b"\x40\x00\x00\x00")
        2.0
    """
    return StreamMessageDecoder(function)


def event_time_of(frame: bytes) -> int | None:
    """Return the event time of a frame without its length, in nanoseconds; ``None`` if it has none."""
    milliseconds: int = _TIME.unpack_from(frame)[0]
    return milliseconds * _NANOSECONDS if milliseconds else None


def _frame_encoder(function: Callable[[T], Any]) -> EncodesFrame[T]:
    name, pack, before = shown_name(function), _HEAD.pack, _TIME.size

    @calling(function)
    def encode(data: T, /, event_time: SentTime = 0) -> bytes | None:
        payload = function(data)
        if payload.__class__ is not bytes:
            if payload is None:
                return None
            payload = _as_bytes(name, payload)
        size = len(payload)
        if size > _LARGEST:
            raise ValueError(f"{name} returned {size} bytes; a connector's message has at most {_LARGEST}")
        time = in_milliseconds(event_time) if event_time else 0
        frame: bytes = pack(size + before, time) + payload
        return frame

    return encode


def _as_bytes(name: str, payload: Any) -> bytes:
    if isinstance(payload, str):
        return payload.encode("utf-8")
    if isinstance(payload, (bytes, bytearray, memoryview)):
        return bytes(payload)
    raise TypeError(
        f"{name} returned {type(payload).__name__}; a function with stream_message_encoder returns bytes, str or None"
    )


def _frame_decoder(function: Callable[[bytes], T]) -> Callable[[bytes], T]:
    before = _TIME.size

    @calling(function)
    def decode(bs: bytes) -> T:
        if len(bs) < before:
            raise ValueError(
                f"a frame of {len(bs)} bytes has no event time, which takes the first {before}: was it written by a"
                " function with stream_message_encoder?"
            )
        return function(bs[before:])

    return decode
