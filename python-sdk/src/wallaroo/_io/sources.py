"""Source configs: where a pipeline's messages come from.

A config is checked when it is made. It holds no socket or file: the orchestrator opens those, from the description that
``describe`` returns; only the decoder is called in a worker.
"""

from __future__ import annotations

import os
from typing import Any, Callable, Generic, Protocol, TypeVar, Union, overload

from wallaroo._errors import WallarooParameterError
from wallaroo._io.addresses import Description, Port, check_host, check_path, check_port
from wallaroo._io.decoders import DecoderLike
from wallaroo._io.framing import Framing, framing_of
from wallaroo._steps.objects import as_object, check_arity, check_not_async, class_name, method, shown_type

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


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
    event_time: Callable[[Any], int] | None = None

    def describe(self) -> Description:
        """Return the ``source`` map of the topology."""
        raise NotImplementedError

    def _set_decoder(self, decoder: Any) -> None:
        where = f"{type(self).__name__} decoder"
        self.decoder = as_object(where, decoder, "@wallaroo.decoder(...)")
        self.decode = method(where, self.decoder, "decode", "bs")
        self.framing = framing_of(where, self.decoder)

    def _set_event_time(self, event_time: Callable[[Any], int] | None) -> None:
        if event_time is None:
            return
        where = f"{type(self).__name__} event_time"
        if not callable(event_time):
            raise WallarooParameterError(
                f"{where} is {shown_type(event_time)}, not a function",
                hint="give a function from a message to nanoseconds since the Unix epoch",
            )
        check_not_async(f"{where}: {class_name(event_time)}", event_time, "event_time(data)")
        check_arity(f"{where}: {class_name(event_time)}", event_time, "event_time(data)", ("data",))
        self.event_time = event_time


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
    ) -> None: ...
    def __init__(
        self,
        host: Any,
        port: Any,
        decoder: Any,
        parallelism: Any = 10,
        *,
        event_time: Callable[[T], int] | None = None,
    ) -> None:
        if isinstance(decoder, (str, int)) and not isinstance(parallelism, int):
            host, port, decoder, parallelism = port, decoder, parallelism, 10
        self.host = check_host("TCPSourceConfig", host)
        self.port = check_port("TCPSourceConfig", port)
        self.parallelism = parallelism
        self._set_decoder(decoder)
        self._set_event_time(event_time)

    def describe(self) -> Description:
        """Return the ``source`` map of the topology."""
        return {"kind": "tcp", "host": self.host, "port": self.port}


class FileSourceConfig(SourceConfig[T]):
    r"""Read messages from a file; the source ends with the file.

    Args:
        path: The file to read; a relative path is relative to where ``wallaroo-orch`` was started.
        decoder: As for :class:`TCPSourceConfig`.
        event_time: As for :class:`TCPSourceConfig`.

    Raises:
        WallarooParameterError: The path is empty, or the decoder lacks a method.

    Example:
        >>> class Lines:
        ...     delimiter = b"\n"
        ...     def decode(self, bs):
        ...         return bs.decode("utf-8")
        >>> FileSourceConfig("text.txt", Lines()).describe()
        {'kind': 'file', 'path': 'text.txt'}
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        decoder: DecoderLike[T | None],
        *,
        event_time: Callable[[T], int] | None = None,
    ) -> None:
        self.path = check_path("FileSourceConfig", path)
        self._set_decoder(decoder)
        self._set_event_time(event_time)

    def describe(self) -> Description:
        """Return the ``source`` map of the topology."""
        return {"kind": "file", "path": self.path}


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
    if not isinstance(source_config, SourceConfig):
        raise WallarooParameterError(
            f"{where}: source_config is {shown_type(source_config)}, not a source config",
            hint="for example wallaroo.TCPSourceConfig(host, port, decoder)",
        )
    return source_config


def decoder_name(source: SourceConfig[Any]) -> str | None:
    """Return the name of the decoder's class, or ``None`` for a source without one."""
    return None if source.decoder is None else class_name(source.decoder)
