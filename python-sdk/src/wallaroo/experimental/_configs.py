"""Configs of connectors: how an application names what scripts are connected to."""

from __future__ import annotations

from enum import Enum
from typing import Any, Callable, TypeVar

from wallaroo._errors import WallarooParameterError
from wallaroo._io.addresses import Port, check_host, check_port
from wallaroo._io.codecs import check_called
from wallaroo._io.decoders import DecoderLike, DecodesFrames
from wallaroo._io.encoders import Encoder, EncoderLike
from wallaroo._io.framing import framing_of
from wallaroo._io.sinks import TCPSinkConfig
from wallaroo._io.sources import MAX_AHEAD, EventTime, TCPSourceConfig
from wallaroo._steps.durations import Duration
from wallaroo._steps.objects import as_object, check_name, class_name, method
from wallaroo.experimental._messages import (
    FRAMING,
    StreamMessageDecoder,
    StreamMessageEncoder,
    WritesFrames,
    event_time_of,
)

T = TypeVar("T")

_ENCODER = "@wallaroo.experimental.stream_message_encoder"
_DECODER = "@wallaroo.experimental.stream_message_decoder"


class _Times(Enum):
    SENT = "sent"

    def __repr__(self) -> str:
        return "SENT"


SENT = _Times.SENT
"""Event times are those that the script has sent."""


class SourceConnectorConfig(TCPSourceConfig[T]):
    r"""Listen on a TCP port for a script that has a :class:`SourceConnector`.

    Args:
        name: The connector's name, by which the script finds it.
        encoder: What the script writes messages with: a function decorated with :func:`stream_message_encoder`; or an
            object with ``encode(data, event_time)``, which returns a whole frame with its header.
        decoder: What the application reads them with: a function decorated with :func:`stream_message_decoder`; or as
            for :class:`wallaroo.TCPSourceConfig`.
        port: Port to listen on, as ``int`` or as digits.
        host: Address to listen on, and for the script to connect to.
        event_time: When a message happened: a function of the message, as for :func:`wallaroo.tcp`. If it is left out,
            what the script has said in ``write(message, event_time)``, or the time of arrival where it said nothing.
            ``None``: the time of arrival, whatever was said.
        max_ahead: As for :func:`wallaroo.tcp`.

    Raises:
        WallarooParameterError: An argument is unusable, or encoder and decoder do not go together.

    Example:
        >>> from wallaroo import experimental
        >>> @experimental.stream_message_encoder
        ... def encode_feed(data: str) -> str:
        ...     return data
        >>> @experimental.stream_message_decoder
        ... def decode_feed(bs: bytes) -> str:
        ...     return bs.decode("utf-8")
        >>> feed = experimental.SourceConnectorConfig("feed", encode_feed, decode_feed, 7100)
        >>> feed.describe()
        {'kind': 'tcp', 'host': '127.0.0.1', 'port': 7100}
    """

    described_as = "SourceConnectorConfig"
    takes_any_time = True

    def __init__(
        self,
        name: str,
        encoder: WritesFrames[Any],
        decoder: DecoderLike[T | None],
        port: Port,
        host: str = "127.0.0.1",
        *,
        event_time: Callable[[T], EventTime] | _Times | None = SENT,
        max_ahead: Duration | None = MAX_AHEAD,
    ) -> None:
        self.name = check_name("SourceConnectorConfig: name", name)
        where = f"SourceConnectorConfig({name!r})"
        self.host = check_host(where, host)
        self.port = _port(where, port)
        self.parallelism = 1
        self.acknowledged = False
        self._set_decoder(decoder)
        self.encoder = _object(f"{where} encoder", encoder, _ENCODER)
        # Names the decorator of connectors in its error, and not that of other sinks.
        _check_not_plain(f"{where} encoder", self.encoder)
        method(f"{where} encoder", self.encoder, "encode", "data", "event_time")
        _check_pair(where, self.encoder, self.decoder, self.framing)
        if not isinstance(event_time, _Times):
            self._set_event_time(event_time, max_ahead)
        elif isinstance(self.decoder, StreamMessageDecoder):
            self.frame_time = event_time_of
            self._set_max_ahead(max_ahead)
        if max_ahead is not MAX_AHEAD and not self.has_event_times:
            raise WallarooParameterError(
                f"{where}: max_ahead limits event times, and there are none", hint="give event_time too"
            )


class SinkConnectorConfig(TCPSinkConfig[T]):
    """Connect to a script that has a :class:`SinkConnector`; while it is down, messages are kept.

    Args:
        name: The connector's name, by which the script finds it.
        encoder: What the application writes messages with: a function decorated with :func:`stream_message_encoder`; or
            an object with ``encode(data)``, which returns a whole frame with its header.
        decoder: What the script reads them with: a function decorated with :func:`stream_message_decoder`; or an object
            with ``header_length()``, ``payload_length(bs)`` and ``decode(bs)``.
        port: Port of the script, as ``int`` or as digits.
        host: Address of the script.

    Raises:
        WallarooParameterError: An argument is unusable, or encoder and decoder do not go together.

    Example:
        >>> from wallaroo import experimental
        >>> @experimental.stream_message_encoder
        ... def encode_conversion(data: float) -> str:
        ...     return str(data)
        >>> @experimental.stream_message_decoder
        ... def decode_conversion(bs: bytes) -> str:
        ...     return bs.decode("utf-8")
        >>> conversion = experimental.SinkConnectorConfig("conversion", encode_conversion, decode_conversion, 7200)
        >>> conversion.describe()
        {'kind': 'tcp', 'host': '127.0.0.1', 'port': 7200}
    """

    def __init__(
        self,
        name: str,
        encoder: EncoderLike[T],
        decoder: DecodesFrames[Any],
        port: Port,
        host: str = "127.0.0.1",
    ) -> None:
        self.name = check_name("SinkConnectorConfig: name", name)
        where = f"SinkConnectorConfig({name!r})"
        self.host = check_host(where, host)
        self.port = _port(where, port)
        self._set_encoder(encoder)
        self.decoder = _object(f"{where} decoder", decoder, _DECODER)
        method(f"{where} decoder", self.decoder, "header_length")
        method(f"{where} decoder", self.decoder, "payload_length", "bs")
        method(f"{where} decoder", self.decoder, "decode", "bs")
        if isinstance(self.decoder, StreamMessageDecoder):
            _check_not_plain(f"{where} encoder", self.encoder)
        _check_pair(where, self.encoder, self.decoder, framing_of(f"{where} decoder", self.decoder))

    @property
    def shown_name(self) -> str:
        """The name of the sink's node: the connector's."""
        return self.name


def _port(where: str, port: Any) -> int:
    number = check_port(where, port)
    if number == 0:
        raise WallarooParameterError(
            f"{where}: port is 0, and the script could not know which one the system chose",
            hint="give a number above 0",
        )
    return number


def _object(where: str, thing: Any, decorator: str) -> Any:
    check_called(where, thing)
    return as_object(where, thing, decorator)


def _check_not_plain(where: str, encoder: Any) -> None:
    if isinstance(encoder, Encoder):
        raise WallarooParameterError(
            f"{where}: {class_name(encoder)} is decorated with @wallaroo.encoder, which writes no length and time",
            hint=f"decorate it with {_ENCODER}",
        )


def _check_pair(where: str, encoder: Any, decoder: Any, framing: Any) -> None:
    if isinstance(encoder, StreamMessageEncoder) and framing != FRAMING:
        raise WallarooParameterError(
            f"{where}: {class_name(decoder)} does not read what {class_name(encoder)} writes: four bytes of length,"
            " little-endian, eight of event time, and the message",
            hint=f"decorate {class_name(decoder)} with {_DECODER}",
        )
