"""Connectors that an application writes itself: what reads a source or writes a sink, in a process of its own.

:class:`Source` and :class:`Sink` are what the user's classes derive from; :func:`connector` makes a source or sink
config of one. ``spec/connectors.md`` says how their processes and the orchestrator talk.
"""

from __future__ import annotations

import pickle
import struct
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Sequence
from typing import Any, Callable, Generic, TypeVar, Union, overload

from wallaroo._errors import WallarooParameterError
from wallaroo._io.addresses import Description
from wallaroo._io.codecs import Codec
from wallaroo._io.sinks import SinkConfig
from wallaroo._io.sources import MAX_AHEAD, EventTime, SourceConfig
from wallaroo._steps.durations import Duration
from wallaroo._steps.objects import check_arity, qualified_name, shown_type

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
T_contra = TypeVar("T_contra", contravariant=True)
R = TypeVar("R")

Position = Union[bytes, str, int, tuple[Any, ...]]
"""Where a partition goes on, as its :class:`Source` says it; it comes back as it was given, from disk too."""

Maybe = Union[R, Awaitable[R]]
"""What a method returns, or an awaitable of it: the methods of a connector may be ``async``."""

LENGTH = struct.Struct(">I")
"""The header of a message between a worker and the process of a sink."""


class Source(ABC, Generic[T_co]):
    """What reads a source, written by the user. Generic in its messages.

    It runs in a process of its own. Each partition is read by a copy of the object, in a thread of its own, so nothing
    has to be thread-safe. An exception ends the process; another one is started after a pause, and goes on where the
    orchestrator has received messages up to. Nothing is lost or doubled by that. Any method may be ``async``.

    Example:
        >>> import wallaroo
        >>> class Numbers(wallaroo.Source[int]):
        ...     def __init__(self, end: int) -> None:
        ...         self.end = end
        ...     def open(self, partition, position):
        ...         self.next = 0 if position is None else position + 1
        ...     def read(self, limit, timeout):
        ...         if self.next == self.end:
        ...             return None
        ...         numbers = range(self.next, min(self.next + limit, self.end))
        ...         self.next = numbers.stop
        ...         return [(number, number) for number in numbers]
        >>> wallaroo.source("numbers", Numbers(1_000)).map(str)
        <Pipeline 'numbers'>
    """

    def partitions(self) -> Maybe[Sequence[str]]:
        """Return the names of the partitions, which are read side by side, each in order. One, if it is left out.

        Called once in each process. A name that is missing later is not read then; its position is kept.
        """
        return ("",)

    @abstractmethod
    def open(self, partition: str, position: Any) -> Maybe[None]:
        """Begin to read a partition.

        Args:
            partition: One of :meth:`partitions`.
            position: That of the last message that was received, behind which reading goes on; ``None``: at the
                beginning.
        """

    @abstractmethod
    def read(self, limit: int, timeout: float) -> Maybe[Sequence[tuple[T_co, Position]] | None]:
        """Return the next messages, in order, each with its position.

        Args:
            limit: How many, at most.
            timeout: How long to wait for the first of them, in seconds. :meth:`acknowledge` is called between two
                calls of this method, so one that waits longer delays it.

        Returns:
            Messages and positions; an empty list if there are none now; ``None`` if the partition has ended. A position
            is all that reading needs to go on behind its message: ``bytes``, ``str``, ``int``, or a tuple of these.
            With a codec, a message is the ``bytes`` that it decodes.
        """

    def acknowledge(self, position: Any) -> Maybe[None]:
        """Note that everything up to a position is durable and is never asked for again.

        With ``--state`` it outlives the orchestrator; without it, everything that was made of the messages has been
        written by the sinks.

        Args:
            position: That of a message; those before it are durable too, and are not named.
        """

    def close(self) -> Maybe[None]:
        """Close what :meth:`open` has opened: the partition has ended, or reading is over. Not called after a crash."""


class Sink(ABC, Generic[T_contra]):
    r"""What writes a sink, written by the user. Generic in the messages it takes.

    It runs in a process of its own. An exception ends the process; another one is started after a pause and is given
    again what :meth:`write` had not returned from. A sink that stores the position together with what it writes, in one
    transaction, and returns it from :meth:`open`, is exactly once. Any method may be ``async``.

    Example:
        >>> import wallaroo
        >>> class Lines(wallaroo.Sink[str]):
        ...     def __init__(self, path: str) -> None:
        ...         self.path = path
        ...     def open(self):
        ...         self.file = open(self.path, "a")
        ...     def write(self, position, messages):
        ...         self.file.writelines(f"{message}\n" for message in messages)
        ...         self.file.flush()
        ...     def close(self):
        ...         self.file.close()
        >>> wallaroo.source("in", wallaroo.stdin(wallaroo.lines())).to_sink(Lines("out.txt"))
        <Pipeline 'in'>
    """

    @abstractmethod
    def open(self) -> Maybe[str | None]:
        """Get ready to write.

        Returns:
            The position that was committed last with what was written up to it, or ``None`` if the sink stores none:
            messages may come twice then.
        """

    @abstractmethod
    def write(self, position: str, messages: list[T_contra]) -> Maybe[None]:
        """Write messages. They count as written, for good, when this returns.

        Args:
            position: Where the sink is behind these messages; to be stored with them, as it is.
            messages: What the step before has given, in order; with a codec, the ``bytes`` that it has written.

        Raises:
            RejectedMessageError: One of them can never be written.
        """

    def close(self) -> Maybe[None]:
        """Close what :meth:`open` has opened. Not called after a crash."""


class RejectedMessageError(Exception):
    r"""Raised by :meth:`Sink.write`: a message can never be written, and becomes a dead letter.

    None of the messages of that call may have been written: :meth:`Sink.write` is called again with the others.

    Args:
        index: Which message of the list.
        reason: Why; the dead letter has it.

    Example:
        >>> import wallaroo
        >>> def write(position, messages):
        ...     for index, message in enumerate(messages):
        ...         if "\0" in message:
        ...             raise wallaroo.RejectedMessageError(index, "the database takes no NUL")
    """

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(reason)
        self.index = index


class _Objects:
    """Messages between workers and the processes of connectors: objects, pickled."""

    def decode(self, frame: bytes) -> Any:
        return pickle.loads(frame)


class ConnectorSourceConfig(SourceConfig[T]):
    """The config of a source that the user's code reads."""

    takes_any_time = True
    described_as = "connector"
    framing = {"kind": "length", "header": 4, "width": 4, "offset": 0, "order": "big", "signed": False, "adjust": 0}

    def __init__(
        self,
        source: Source[Any],
        codec: Codec[T] | None,
        event_time: Callable[[T], EventTime] | None,
        max_ahead: Duration | None,
        pool: str | None,
    ) -> None:
        self.connector = source
        self.codec, self.pool = codec, pool
        self.decoder = _Objects() if codec is None else codec
        self.decode = self.decoder.decode if codec is None else codec.from_payload
        self._set_event_time(event_time, max_ahead)

    def describe(self) -> Description:
        """Return the ``source`` map of the topology."""
        return _described(self.connector, self.pool)

    def to_payload(self, message: Any) -> bytes:
        """Return a message as it goes to the worker.

        Raises:
            TypeError: There is a codec, and the message is not bytes.
        """
        if self.codec is None:
            return pickle.dumps(message, 4)
        if isinstance(message, str):
            return message.encode("utf-8")
        if not isinstance(message, (bytes, bytearray, memoryview)):
            raise TypeError(
                f"{type(self.connector).__name__}.read returned a message that is {shown_type(message)}; it returns the"
                f" bytes that {self.codec} decodes"
            )
        return bytes(message)


class ConnectorSinkConfig(SinkConfig[T_contra]):
    """The config of a sink that the user's code writes."""

    def __init__(self, sink: Sink[Any], codec: Codec[Any] | None, pool: str | None) -> None:
        self.connector = sink
        self.codec, self.pool = codec, pool
        self.encoder = _Objects() if codec is None else codec
        self.encode = _framed(codec)

    def describe(self) -> Description:
        """Return the ``sink`` map of the topology."""
        return _described(self.connector, self.pool)

    def from_payload(self, payload: bytes) -> Any:
        """Return a message as it is given to the sink, without its length."""
        return pickle.loads(payload) if self.codec is None else payload


def _framed(codec: Codec[Any] | None) -> Callable[[Any], bytes]:
    pack = LENGTH.pack
    if codec is None:

        def encode(data: Any) -> bytes:
            payload = pickle.dumps(data, 4)
            return pack(len(payload)) + payload

        return encode
    to_payload = codec.to_payload

    def encode_with_codec(data: Any) -> bytes:
        payload = to_payload(data)
        if isinstance(payload, str):
            payload = payload.encode("utf-8")
        return pack(len(payload)) + payload

    return encode_with_codec


def _described(connector: object, pool: str | None) -> Description:
    described: Description = {"kind": "connector", "class": qualified_name(type(connector))}
    return described if pool is None else {**described, "pool": pool}


@overload
def connector(
    source_or_sink: Source[T],
    codec: None = None,
    *,
    event_time: Callable[[T], EventTime] | None = None,
    max_ahead: Duration | None = MAX_AHEAD,
    pool: str | None = None,
) -> SourceConfig[T]: ...
@overload
def connector(
    source_or_sink: Source[bytes],
    codec: Codec[T],
    *,
    event_time: Callable[[T], EventTime] | None = None,
    max_ahead: Duration | None = MAX_AHEAD,
    pool: str | None = None,
) -> SourceConfig[T]: ...
@overload
def connector(source_or_sink: Sink[T], codec: None = None, *, pool: str | None = None) -> SinkConfig[T]: ...
@overload
def connector(source_or_sink: Sink[bytes], codec: Codec[T], *, pool: str | None = None) -> SinkConfig[T]: ...
def connector(
    source_or_sink: Any,
    codec: Any = None,
    *,
    event_time: Callable[[Any], EventTime] | None = None,
    max_ahead: Duration | None = MAX_AHEAD,
    pool: str | None = None,
) -> Any:
    """Return the config of a source or sink whose code is the user's. Without options, the object itself will do.

    Args:
        source_or_sink: A :class:`Source` or a :class:`Sink`.
        codec: Of the messages, which are bytes to the connector then. Without it they are objects, which are pickled on
            their way between the connector's process and the workers.
        event_time: For a source, as for :func:`stdin`.
        max_ahead: For a source, as for :func:`stdin`.
        pool: The name of the pool whose interpreter and memory limit the connector has.

    Raises:
        WallarooParameterError: An argument is unusable, or a method of the class takes other arguments.

    Example:
        >>> import wallaroo
        >>> class Nothing(wallaroo.Source[bytes]):
        ...     def open(self, partition, position):
        ...         pass
        ...     def read(self, limit, timeout):
        ...         return None
        >>> wallaroo.connector(Nothing(), wallaroo.json_lines()).describe()["kind"]
        'connector'
    """
    where = f"connector({type(source_or_sink).__name__})"
    if codec is not None and not isinstance(codec, Codec):
        raise WallarooParameterError(
            f"{where}: codec is {shown_type(codec)}, not a codec", hint="for example wallaroo.json_lines()"
        )
    if pool is not None and (not isinstance(pool, str) or not pool):
        raise WallarooParameterError(
            f"{where}: pool must be a non-empty str, got {pool!r}", hint="for example pool='kafka'"
        )
    if isinstance(source_or_sink, Source):
        _check_methods(where, source_or_sink, {"open": ("partition", "position"), "read": ("limit", "timeout")})
        _check_methods(where, source_or_sink, {"acknowledge": ("position",), "partitions": (), "close": ()})
        return ConnectorSourceConfig(source_or_sink, codec, event_time, max_ahead, pool)
    if isinstance(source_or_sink, Sink):
        if event_time is not None:
            raise WallarooParameterError(
                f"{where}: event_time is for sources, and this is a sink", hint="leave event_time out of a sink"
            )
        _check_methods(where, source_or_sink, {"open": (), "write": ("position", "messages"), "close": ()})
        return ConnectorSinkConfig(source_or_sink, codec, pool)
    shown = "a class" if isinstance(source_or_sink, type) else shown_type(source_or_sink)
    raise WallarooParameterError(
        f"connector: the argument is {shown}, and neither a Source nor a Sink",
        hint="give an object of a class that derives from wallaroo.Source or wallaroo.Sink",
    )


def _check_methods(where: str, connector: object, methods: dict[str, tuple[str, ...]]) -> None:
    for name, arguments in methods.items():
        method = getattr(connector, name)
        check_arity(f"{where}: {name}", method, f"{name}({', '.join(arguments)})", arguments)


def config_of(given: Any) -> Any:
    """Return the config of a connector that is given in place of one, or what else was given."""
    return connector(given) if isinstance(given, (Source, Sink)) else given
