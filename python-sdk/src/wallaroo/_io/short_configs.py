"""Short constructors of sources and sinks, which take a codec: ``stdin``, ``stdout``, ``file`` and ``tcp``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Callable, Generic, TypeVar, Union, overload

from wallaroo._errors import WallarooParameterError
from wallaroo._io.addresses import Description, check_flag, check_path, check_port
from wallaroo._io.codecs import Codec, CodecOfFile, check_called
from wallaroo._io.csv_codec import CsvCodec, Row
from wallaroo._io.decoders import DecoderLike
from wallaroo._io.encoders import EncoderLike
from wallaroo._io.sinks import FileSinkConfig, SinkConfig, StdoutSinkConfig, TCPSinkConfig
from wallaroo._io.sources import (
    MAX_AHEAD,
    EventTime,
    FileSourceConfig,
    SourceConfig,
    StdinSourceConfig,
    TCPSourceConfig,
)
from wallaroo._steps.durations import Duration
from wallaroo._steps.objects import as_object, class_name

_GIVE_A_CODEC = "give a codec, such as wallaroo.lines()"

T = TypeVar("T")
R = TypeVar("R")
W = TypeVar("W")

Address = Union[str, tuple[str, Any], tuple[str, str, Any]]
"""``"HOST:PORT"``, or what :func:`tcp_parse_input_addrs` and :func:`tcp_parse_output_addrs` return."""


class _StdinConfig(StdinSourceConfig[T]):
    takes_any_time = True
    described_as = "stdin"

    def __init__(self, codec: Any, event_time: Callable[[T], EventTime] | None, max_ahead: Any) -> None:
        self._set_decoder(codec)
        self._set_event_time(event_time, max_ahead)


class _FileSource(FileSourceConfig[R]):
    takes_any_time = True
    described_as = "file"

    def __init__(
        self, path: Any, codec: Any, event_time: Callable[[R], EventTime] | None, max_ahead: Any, follow: Any
    ) -> None:
        super().__init__(path, codec, follow=follow)
        self._set_event_time(event_time, max_ahead)


class _TCPSource(TCPSourceConfig[R]):
    takes_any_time = True
    described_as = "tcp"

    def __init__(
        self,
        host: Any,
        port: Any,
        codec: Any,
        event_time: Callable[[R], EventTime] | None,
        max_ahead: Any,
        acknowledged: bool = False,
    ) -> None:
        super().__init__(host, port, codec, acknowledged=acknowledged)
        self._set_event_time(event_time, max_ahead)


class FileConfig(_FileSource[R], FileSinkConfig[W], Generic[R, W]):
    """A file to read or to write: its codec does both."""

    def __init__(
        self,
        path: Any,
        codec: Any,
        event_time: Callable[[R], EventTime] | None,
        max_ahead: Any,
        follow: Any,
        append: Any,
    ) -> None:
        _FileSource.__init__(self, path, codec, event_time, max_ahead, follow)
        # The decoder's object, for the codec may be a class, of which one object is enough.
        FileSinkConfig.__init__(self, path, self.decoder, append=append)

    def describe(self) -> Description:
        """Return the map of the side it is used on: options of the other side are refused there."""
        return {**_FileSource.describe(self), **FileSinkConfig.describe(self)}


class TCPConfig(_TCPSource[R], TCPSinkConfig[W], Generic[R, W]):
    """An address to listen at or to connect to: its codec decodes and encodes."""

    def __init__(
        self, host: Any, port: Any, codec: Any, event_time: Callable[[R], EventTime] | None, max_ahead: Any
    ) -> None:
        _TCPSource.__init__(self, host, port, codec, event_time, max_ahead)
        self._set_encoder(self.decoder)


def stdin(
    codec: DecoderLike[T | None],
    *,
    event_time: Callable[[T], EventTime] | None = None,
    max_ahead: Duration | None = MAX_AHEAD,
) -> SourceConfig[T]:
    """Return the source of standard input, which ends with it.

    Args:
        codec: How messages are read: :func:`lines` and its like, or a decoder.
        event_time: From a message to when it happened, which windows go by: a ``datetime`` with a time zone; or since
            the Unix epoch, seconds as a ``float``, or nanoseconds, as :func:`nanoseconds` returns. A warning says if a
            time is before 1980. Without it windows go by when the message arrived.
        max_ahead: How much later than its arrival a message may have happened: a ``timedelta`` or nanoseconds; a day,
            if it is left out; ``None``: any time. A message with a later time is a dead letter, and the watermark
            stays: otherwise all messages that follow would be late.

    Raises:
        WallarooParameterError: The codec cannot read messages, or an argument is unusable.

    Example:
        >>> import wallaroo
        >>> wallaroo.source("lines", wallaroo.stdin(wallaroo.lines()))
        <Pipeline 'lines'>
    """
    codec, reads, _ = _sides("stdin", codec, event_time, max_ahead)
    if not reads:
        raise WallarooParameterError(
            f"stdin: codec: {class_name(codec)} has no method decode, and a source reads", hint=_GIVE_A_CODEC
        )
    return _StdinConfig(codec, event_time, max_ahead)


def stdout(codec: EncoderLike[T]) -> SinkConfig[T]:
    """Return the sink that writes to the standard output of ``wallaroo-orch``.

    Args:
        codec: How messages are written: :func:`lines` and its like, or an encoder.

    Raises:
        WallarooParameterError: The codec cannot write messages.

    Example:
        >>> import wallaroo
        >>> wallaroo.source("lines", wallaroo.stdin(wallaroo.lines())).to_sink(wallaroo.stdout(wallaroo.lines()))
        <Pipeline 'lines'>
    """
    codec, _, writes = _sides("stdout", codec, None, MAX_AHEAD)
    if not writes:
        raise WallarooParameterError(
            f"stdout: codec: {class_name(codec)} has no method encode, and a sink writes", hint=_GIVE_A_CODEC
        )
    return StdoutSinkConfig(codec)


@overload
def file(
    path: str | os.PathLike[str],
    codec: CsvCodec,
    *,
    event_time: Callable[[Row], EventTime] | None = None,
    max_ahead: Duration | None = MAX_AHEAD,
    follow: bool = False,
    append: bool = False,
) -> FileConfig[Row, Mapping[str, Any]]: ...
@overload
def file(
    path: str | os.PathLike[str],
    codec: CodecOfFile[T],
    *,
    event_time: Callable[[T], EventTime] | None = None,
    max_ahead: Duration | None = MAX_AHEAD,
    follow: bool = False,
) -> SourceConfig[T]: ...
@overload
def file(
    path: str | os.PathLike[str],
    codec: Codec[T],
    *,
    event_time: Callable[[T], EventTime] | None = None,
    max_ahead: Duration | None = MAX_AHEAD,
    follow: bool = False,
    append: bool = False,
) -> FileConfig[T, T]: ...
@overload
def file(
    path: str | os.PathLike[str],
    codec: DecoderLike[T | None],
    *,
    event_time: Callable[[T], EventTime] | None = None,
    max_ahead: Duration | None = MAX_AHEAD,
    follow: bool = False,
) -> SourceConfig[T]: ...
@overload
def file(path: str | os.PathLike[str], codec: EncoderLike[T], *, append: bool = False) -> SinkConfig[T]: ...
def file(
    path: Any,
    codec: Any,
    *,
    event_time: Callable[[Any], EventTime] | None = None,
    max_ahead: Duration | None = MAX_AHEAD,
    follow: bool = False,
    append: bool = False,
) -> Any:
    """Return a file, as a source or as a sink: a source ends with the file, a sink empties the file first.

    Args:
        path: The file; a relative path is relative to where ``wallaroo-orch`` was started.
        codec: How messages are read and written: :func:`lines` and its like. A decoder and
            ``csv_lines(header=True)`` make a source, an encoder a sink.
        event_time: As for :func:`stdin`; sources only.
        max_ahead: As for :func:`stdin`; sources only.
        follow: Wait for more at the end of the file, also when it is rotated, and for a file that does not exist yet;
            sources only.
        append: Keep what the file has, and write behind it; sinks only.

    Raises:
        WallarooParameterError: An argument is unusable, or is for the other side.

    Example:
        >>> import wallaroo
        >>> orders = wallaroo.source("orders", wallaroo.file("orders.jsonl", wallaroo.json_lines()))
        >>> orders.to_sink(wallaroo.file("copy.jsonl", wallaroo.json_lines(), append=True))
        <Pipeline 'orders'>
    """
    check_flag("file", "append", append)
    check_flag("file", "follow", follow)
    if isinstance(codec, CodecOfFile):
        _refuse_option("append", append, "sink", str(codec))
        _refuse_without_times("file", event_time, max_ahead)
        return _FileSource[Any](path, codec.of_file(check_path("file", path)), event_time, max_ahead, follow)
    codec, reads, writes = _sides("file", codec, event_time, max_ahead)
    if reads and writes:
        return FileConfig[Any, Any](path, codec, event_time, max_ahead, follow, append)
    if writes:
        _refuse_option("follow", follow, "source", class_name(codec))
        return FileSinkConfig(path, codec, append=append)
    _refuse_option("append", append, "sink", class_name(codec))
    return _FileSource(path, codec, event_time, max_ahead, follow)


@overload
def tcp(
    address: Address,
    codec: CsvCodec,
    *,
    event_time: Callable[[Row], EventTime] | None = None,
    max_ahead: Duration | None = MAX_AHEAD,
) -> TCPConfig[Row, Mapping[str, Any]]: ...
@overload
def tcp(
    address: Address,
    codec: Codec[T],
    *,
    event_time: Callable[[T], EventTime] | None = None,
    max_ahead: Duration | None = MAX_AHEAD,
) -> TCPConfig[T, T]: ...
@overload
def tcp(
    address: Address,
    codec: DecoderLike[T | None],
    *,
    event_time: Callable[[T], EventTime] | None = None,
    max_ahead: Duration | None = MAX_AHEAD,
    acknowledged: bool = False,
) -> SourceConfig[T]: ...
@overload
def tcp(address: Address, codec: EncoderLike[T]) -> SinkConfig[T]: ...
def tcp(
    address: Any,
    codec: Any,
    *,
    event_time: Callable[[Any], EventTime] | None = None,
    max_ahead: Duration | None = MAX_AHEAD,
    acknowledged: bool = False,
) -> Any:
    """Return a TCP address, as a source, which listens there, or as a sink, which connects to it.

    Args:
        address: ``"HOST:PORT"``, or ``(host, port)``, as :func:`tcp_parse_input_addrs` returns. A source with port 0
            lets the system choose.
        codec: As for :func:`file`.
        event_time: As for :func:`stdin`; sources only.
        max_ahead: As for :func:`stdin`; sources only.
        acknowledged: Clients are :class:`wallaroo.client.Sender` or ``wallaroo-orch send --stream``, and are told which
            of their messages are durable; sources only. Messages come one by one: the codec's length or delimiter is
            not sent.

    Raises:
        WallarooParameterError: As for :func:`file`.

    Example:
        >>> import wallaroo
        >>> received = wallaroo.source("received", wallaroo.tcp("127.0.0.1:7010", wallaroo.lines()))
        >>> received.to_sink(wallaroo.tcp(("localhost", 7002), wallaroo.length_prefixed(">I", wallaroo.lines())))
        <Pipeline 'received'>
    """
    host, port = _host_and_port(address)
    codec, reads, writes = _sides("tcp", codec, event_time, max_ahead)
    if acknowledged and not reads:
        raise WallarooParameterError(
            f"tcp: acknowledged is for sources, and {class_name(codec)} has no method decode",
            hint="leave acknowledged out of a sink",
        )
    if reads and writes and not acknowledged:
        return TCPConfig[Any, Any](host, port, codec, event_time, max_ahead)
    if not reads:
        return TCPSinkConfig(host, port, codec)
    return _TCPSource(host, port, codec, event_time, max_ahead, acknowledged)


def _sides(call: str, codec: Any, event_time: Any, max_ahead: Any) -> tuple[Any, bool, bool]:
    """Return a codec as an object, and whether it reads and whether it writes."""
    where = f"{call}: codec"
    check_called(where, codec)
    codec = as_object(where, codec, "@wallaroo.decoder(...) or @wallaroo.encoder")
    reads, writes = (callable(getattr(codec, name, None)) for name in ("decode", "encode"))
    if not reads and not writes:
        raise WallarooParameterError(
            f"{where}: {class_name(codec)} has no method decode or encode",
            hint=_GIVE_A_CODEC,
        )
    if event_time is not None and not reads:
        raise WallarooParameterError(
            f"{call}: event_time is for sources, and {class_name(codec)} has no method decode",
            hint="leave event_time out of a sink",
        )
    _refuse_without_times(call, event_time, max_ahead)
    return codec, reads, writes


def _refuse_without_times(call: str, event_time: Any, max_ahead: Any) -> None:
    """Raise an error if event times are limited where there are none."""
    if event_time is None and max_ahead is not MAX_AHEAD:
        raise WallarooParameterError(
            f"{call}: max_ahead limits event times, and there is no event_time", hint="give event_time too"
        )


def _refuse_option(option: str, given: bool, side: str, codec: str) -> None:
    """Raise an error if an option for one side is given with a codec for the other."""
    if given:
        method, other = ("encode", "source") if side == "sink" else ("decode", "sink")
        raise WallarooParameterError(
            f"file: {option} is for {side}s, and {codec} has no method {method}",
            hint=f"leave {option} out of a {other}",
        )


def _host_and_port(address: Any) -> tuple[Any, Any]:
    hint = 'give "HOST:PORT", for example "127.0.0.1:7010"'
    if isinstance(address, tuple) and len(address) in (2, 3):
        return address[-2:]
    if not isinstance(address, str):
        raise WallarooParameterError(f"tcp: address must be a str, got {address!r}", hint=hint)
    # From the right, so that an IPv6 host may contain colons: [::1]:7010.
    host, colon, port = address.rpartition(":")
    if not (colon and host):
        raise WallarooParameterError(f"tcp: {address!r} is not an address", hint=hint)
    check_port(f"tcp: {address!r}", port)
    return host.strip("[]"), port
