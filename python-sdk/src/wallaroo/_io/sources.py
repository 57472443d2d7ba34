"""Source configs: where a pipeline's messages come from.

A config is checked when it is made. It holds no socket or file: the orchestrator opens those, from the description that
``describe`` returns; only the decoder is called in a worker.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Callable, ClassVar, Generic, Protocol, TypeVar, Union, overload

from wallaroo._errors import WallarooParameterError
from wallaroo._io.addresses import Description, Port, check_flag, check_host, check_path, check_port, shown_place
from wallaroo._io.codecs import check_called
from wallaroo._io.decoders import DecoderLike
from wallaroo._io.framing import Framing, framing_of
from wallaroo._steps.durations import in_nanoseconds
from wallaroo._steps.objects import as_object, check_arity, check_not_async, class_name, method, shown_type

if TYPE_CHECKING:
    from datetime import datetime

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

EventTime = Union["datetime", float]
"""When a message happened: a ``datetime`` with a time zone; or since the Unix epoch, seconds as a ``float`` or
nanoseconds as an ``int``."""


MAX_AHEAD = timedelta(days=1)
"""How much later than its arrival a message may have happened, unless something else is said."""

_LEAST_AHEAD = 1_000_000
"""Nanoseconds. Who writes less has meant seconds."""


class SourceConfig(Generic[T_co]):
    r"""What every source config has: the steps it runs in a worker and its description for the orchestrator.

    Generic in the messages of the source. Name it to annotate a function that chooses a source.

    Example:
        >>> import wallaroo
        >>> @wallaroo.decoder(delimiter=b"\n")
        ... def line(bs: bytes) -> str:
        ...     return bs.decode()
        >>> def lines_of(path: str) -> wallaroo.SourceConfig[str]:
        ...     return wallaroo.StdinSourceConfig(line) if path == "-" else wallaroo.FileSourceConfig(path, line)
        >>> lines_of("-").describe()
        {'kind': 'stdin'}
    """

    decoder: Any = None
    framing: Framing | None = None
    decode: Callable[[bytes], T_co | None] | None = None
    event_time: Callable[[Any], EventTime] | None = None
    frame_time: Callable[[bytes], int | None] | None = None
    """From a frame to its message's event time in nanoseconds, or ``None`` for the time of arrival. Where there is no
    ``event_time``."""
    max_ahead: int | None = None
    """How much later than the message's arrival an event time may be, in nanoseconds."""
    takes_any_time = False
    """Whether event times may be what :data:`EventTime` is and not nanoseconds alone; early ones are warned of."""
    described_as: ClassVar[str | None] = None
    """The name in errors of what made it; ``None``: its class."""
    side: ClassVar[str] = "source"

    @property
    def has_event_times(self) -> bool:
        """Whether messages have event times; otherwise their time is that of their arrival."""
        return self.event_time is not None or self.frame_time is not None

    def describe(self) -> Description:
        """Return the ``source`` map of the topology."""
        raise NotImplementedError

    def _set_decoder(self, decoder: Any) -> None:
        where = f"{self.described_as or type(self).__name__} decoder"
        check_called(where, decoder)
        self.decoder = as_object(where, decoder, "@wallaroo.decoder(...)")
        self.decode = method(where, self.decoder, "decode", "bs")
        self.framing = framing_of(where, self.decoder)

    def _set_event_time(self, event_time: Callable[[Any], EventTime] | None, max_ahead: Any = None) -> None:
        if event_time is None:
            return
        where = f"{self.described_as or type(self).__name__} event_time"
        if not callable(event_time):
            time = "when it happened: a datetime, or seconds as a float"
            raise WallarooParameterError(
                f"{where} is {shown_type(event_time)}, not a function",
                hint="give a function from a message to "
                + (time if self.takes_any_time else "nanoseconds since the Unix epoch"),
            )
        check_not_async(f"{where}: {class_name(event_time)}", event_time, "event_time(data)")
        check_arity(f"{where}: {class_name(event_time)}", event_time, "event_time(data)", ("data",))
        self.event_time = event_time
        self._set_max_ahead(max_ahead)

    def _set_max_ahead(self, max_ahead: Any) -> None:
        where = f"{self.described_as or type(self).__name__} max_ahead"
        self.max_ahead = None if max_ahead is None else _nanoseconds(where, max_ahead)


def _nanoseconds(where: str, max_ahead: Any) -> int:
    nanoseconds = in_nanoseconds(max_ahead)
    if type(nanoseconds) is not int or nanoseconds < 0:
        given = repr(max_ahead) if type(nanoseconds) is int else shown_type(max_ahead)
        raise WallarooParameterError(
            f"{where} is a timedelta, a whole number of nanoseconds or None, not {given}",
            hint="for example max_ahead=timedelta(hours=1)",
        )
    if 0 < nanoseconds < _LEAST_AHEAD:
        raise WallarooParameterError(
            f"{where}={nanoseconds} is less than a millisecond: durations are in nanoseconds",
            hint="for example max_ahead=timedelta(hours=1)",
        )
    return nanoseconds


class TCPSourceConfig(SourceConfig[T]):
    r"""Listen on a TCP port; every connection may send any number of messages.

    Args:
        host: Address to listen on.
        port: Port to listen on, as ``int`` or as digits; 0 lets the system choose.
        decoder: A function decorated with :func:`decoder`; or a class or instance with ``decode(bs)`` and either
            ``header_length()`` and ``payload_length(bs)``, in bytes, or ``delimiter``, the bytes that end a message.
        parallelism: Accepted for older applications and ignored: there is no limit to the number of connections.
        event_time: From a message, as the decoder returned it, to when it happened: nanoseconds since the Unix epoch,
            as an ``int``. Windows go by it; without it, by when the message arrived.
        acknowledged: Clients are :class:`wallaroo.client.Sender` or ``wallaroo-orch send --stream``, and are told which
            of their messages are durable. Messages come one by one: the decoder's header or delimiter is not sent.

    As in the last versions of Wallaroo, a name may come before the host; it is ignored, for the source has one.

    Raises:
        WallarooParameterError: An argument is unusable, or the decoder lacks a method.

    Example:
        >>> class Lines:
        ...     delimiter = b"\n"
        ...     def decode(self, bs):
        ...         return bs.decode("utf-8")
        >>> TCPSourceConfig("127.0.0.1", "7010", Lines).describe()
        {'kind': 'tcp', 'host': '127.0.0.1', 'port': 7010}
    """

    @overload
    def __init__(
        self,
        host: str,
        port: Port,
        decoder: DecoderLike[T | None],
        parallelism: int = 10,
        *,
        event_time: Callable[[T], int] | None = None,
        acknowledged: bool = False,
    ) -> None: ...
    @overload
    def __init__(
        self,
        name: str,
        host: str,
        port: Port,
        decoder: DecoderLike[T | None],
        /,
        *,
        event_time: Callable[[T], int] | None = None,
        acknowledged: bool = False,
    ) -> None: ...
    def __init__(
        self,
        host: Any,
        port: Any,
        decoder: Any,
        parallelism: Any = 10,
        *,
        event_time: Callable[[T], int] | None = None,
        acknowledged: bool = False,
    ) -> None:
        if isinstance(decoder, (str, int)) and not isinstance(parallelism, int):
            host, port, decoder, parallelism = port, decoder, parallelism, 10
        self.host = check_host("TCPSourceConfig", host)
        self.port = check_port("TCPSourceConfig", port)
        self.parallelism = parallelism
        self.acknowledged = bool(acknowledged)
        self._set_decoder(decoder)
        self._set_event_time(event_time)

    def describe(self) -> Description:
        """Return the ``source`` map of the topology."""
        described = {"kind": "tcp", "host": self.host, "port": self.port}
        return {**described, "acknowledged": True} if self.acknowledged else described


class FileSourceConfig(SourceConfig[T]):
    r"""Read messages from a file; the source ends with the file, unless it follows it.

    Args:
        path: The file to read; a relative path is relative to where ``wallaroo-orch`` was started.
        decoder: As for :class:`TCPSourceConfig`.
        event_time: As for :class:`TCPSourceConfig`.
        follow: Wait for more at the end of the file, also when it is rotated, and for a file that does not exist yet.

    Raises:
        WallarooParameterError: The path is empty, ``follow`` is not a bool, the decoder lacks a method, or a file is
            followed whose header only the decoder can read.

    Example:
        >>> class Lines:
        ...     delimiter = b"\n"
        ...     def decode(self, bs):
        ...         return bs.decode("utf-8")
        >>> FileSourceConfig("text.txt", Lines()).describe()
        {'kind': 'file', 'path': 'text.txt'}
        >>> FileSourceConfig("app.log", Lines(), follow=True).describe()
        {'kind': 'file', 'path': 'app.log', 'follow': True}
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        decoder: DecoderLike[T | None],
        *,
        event_time: Callable[[T], int] | None = None,
        follow: bool = False,
    ) -> None:
        self.path = check_path("FileSourceConfig", path)
        self.follow = check_flag(self.described_as or "FileSourceConfig", "follow", follow)
        self._set_decoder(decoder)
        self._set_event_time(event_time)
        if follow and self.framing is not None and self.framing["kind"] == "decoder":
            raise WallarooParameterError(
                f"{self.described_as or 'FileSourceConfig'}: {class_name(self.decoder)} has a header that only it can "
                "read, and a file is followed in messages that end with a delimiter or begin with their length",
                hint="give it a delimiter, as lines() has",
            )

    def describe(self) -> Description:
        """Return the ``source`` map of the topology."""
        described = {"kind": "file", "path": self.path}
        return {**described, "follow": True} if self.follow else described


class StdinSourceConfig(SourceConfig[T]):
    r"""Read messages from the orchestrator's standard input; the source ends with it.

    Args:
        decoder: As for :class:`TCPSourceConfig`.
        event_time: As for :class:`TCPSourceConfig`.

    Raises:
        WallarooParameterError: The decoder lacks a method.

    Example:
        >>> class Lines:
        ...     def delimiter(self):
        ...         return b"\n"
        ...     def decode(self, bs):
        ...         return bs.decode("utf-8")
        >>> StdinSourceConfig(Lines).framing
        {'kind': 'delimiter', 'delimiter': b'\n'}
    """

    def __init__(self, decoder: DecoderLike[T | None], *, event_time: Callable[[T], int] | None = None) -> None:
        self._set_decoder(decoder)
        self._set_event_time(event_time)

    def describe(self) -> Description:
        """Return the ``source`` map of the topology."""
        return {"kind": "stdin"}


class Generates(Protocol[T]):
    """An object that makes each message from the one before. ``None`` ends them."""

    def initial_value(self) -> T | None:
        """Return the first message."""
        ...

    def apply(self, previous: T, /) -> T | None:
        """Return the message after ``previous``."""
        ...


GeneratorLike = Union[Generates[T], Callable[[], Generates[T]]]
"""Such an object, or a class of such objects."""


class GenSourceConfig(SourceConfig[T]):
    """Generate messages in the application itself.

    Args:
        generator: Class or instance with ``initial_value()``, the first message, and ``apply(previous)``, the message
            after ``previous``. ``None`` from either ends the source. The object is state: it is pickled with the last
            message, so that a worker's death neither repeats nor skips one.
        event_time: As for :class:`TCPSourceConfig`.

    As in the last versions of Wallaroo, a name may come before the generator; it is ignored.

    Raises:
        WallarooParameterError: The generator lacks a method.

    Example:
        >>> class Countdown:
        ...     def initial_value(self):
        ...         return 3
        ...     def apply(self, previous):
        ...         return previous - 1 if previous > 1 else None
        >>> GenSourceConfig(Countdown()).describe()
        {'kind': 'generator'}
    """

    @overload
    def __init__(self, generator: GeneratorLike[T], *, event_time: Callable[[T], int] | None = None) -> None: ...
    @overload
    def __init__(
        self, name: str, generator: GeneratorLike[T], /, *, event_time: Callable[[T], int] | None = None
    ) -> None: ...
    def __init__(self, generator: Any, _named: Any = None, *, event_time: Callable[[T], int] | None = None) -> None:
        if isinstance(generator, str) and _named is not None:
            generator = _named
        where = "GenSourceConfig generator"
        self.generator = as_object(where, generator, None)
        method(where, self.generator, "initial_value")
        method(where, self.generator, "apply", "previous")
        self._set_event_time(event_time)

    def describe(self) -> Description:
        """Return the ``source`` map of the topology."""
        return {"kind": "generator"}


def check_source_config(where: str, source_config: Any) -> SourceConfig[Any]:
    """Return ``source_config``. Raise an error unless it is a source config.

    Raises:
        WallarooParameterError: It is not a source config.
    """
    if getattr(source_config, "side", None) == "sink" and not isinstance(source_config, SourceConfig):
        raise WallarooParameterError(
            f"{where}: the argument writes messages, and a source reads them: it is {shown_place(source_config)}",
            hint="give a codec, or a decoder, to wallaroo.stdin, wallaroo.file or wallaroo.tcp",
        )
    if not isinstance(source_config, SourceConfig):
        raise WallarooParameterError(
            f"{where}: source_config is {shown_type(source_config)}, not a source config",
            hint="for example wallaroo.TCPSourceConfig(host, port, decoder)",
        )
    if getattr(source_config, "append", False):
        raise WallarooParameterError(
            f"{where}: append is for sinks, and this is a source: {shown_place(source_config)}",
            hint="leave append out of a source",
        )
    return source_config


def decoder_name(source: SourceConfig[Any]) -> str | None:
    """Return the name of the decoder's class, or ``None`` for a source without one."""
    return None if source.decoder is None else class_name(source.decoder)
