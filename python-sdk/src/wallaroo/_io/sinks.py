"""Sink configs: where a pipeline's results go.

A config is checked when it is made. It holds no socket or file: the orchestrator opens those, from the description that
``describe`` returns; only the encoder is called in a worker.
"""

from __future__ import annotations

import os
from typing import Any, Callable, ClassVar, Generic, TypeVar

from wallaroo._errors import WallarooParameterError
from wallaroo._io.addresses import Description, Port, check_flag, check_host, check_path, check_port, shown_place
from wallaroo._io.codecs import check_called
from wallaroo._io.encoders import EncoderLike, Message
from wallaroo._steps.objects import as_object, class_name, method, shown_type

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)


class SinkConfig(Generic[T_contra]):
    """What every sink config has: its encoder and its description for the orchestrator.

    Generic in the values that the sink takes. Name it to annotate a function that chooses a sink.

    Example:
        >>> import wallaroo
        >>> @wallaroo.encoder
        ... def line(data: str) -> str:
        ...     return data
        >>> def lines_to(path: str) -> wallaroo.SinkConfig[str]:
        ...     return wallaroo.StdoutSinkConfig(line) if path == "-" else wallaroo.FileSinkConfig(path, line)
        >>> lines_to("-").describe()
        {'kind': 'stdout'}
    """

    encoder: Any
    encode: Callable[[T_contra], Message]
    side: ClassVar[str] = "sink"

    def describe(self) -> Description:
        """Return the ``sink`` map of the topology."""
        raise NotImplementedError

    def _set_encoder(self, encoder: Any) -> None:
        where = f"{type(self).__name__} encoder"
        check_called(where, encoder)
        self.encoder = as_object(where, encoder, "@wallaroo.encoder")
        self.encode = method(where, self.encoder, "encode", "data")

    @property
    def shown_name(self) -> str:
        """The name of the sink's node: its kind and place."""
        return shown_place(self)

    @property
    def encoder_name(self) -> str:
        """The name of the encoder's class."""
        return class_name(self.encoder)


class TCPSinkConfig(SinkConfig[T]):
    r"""Connect to a TCP port and write to it; while it is down, messages are kept and sources held back.

    Args:
        host: Address to connect to.
        port: Port to connect to, as ``int`` or as digits.
        encoder: A function decorated with :func:`encoder`, or a class or instance with ``encode(data)``; it returns
            ``str`` (written as UTF-8), ``bytes``, or ``None`` to write nothing.

    Raises:
        WallarooParameterError: An argument is unusable, or the encoder lacks its method.

    Example:
        >>> class Line:
        ...     def encode(self, data):
        ...         return f"{data}\n"
        >>> TCPSinkConfig("127.0.0.1", 7002, Line).describe()
        {'kind': 'tcp', 'host': '127.0.0.1', 'port': 7002}
    """

    def __init__(self, host: str, port: Port, encoder: EncoderLike[T]) -> None:
        self.host = check_host("TCPSinkConfig", host)
        self.port = check_port("TCPSinkConfig", port)
        self._set_encoder(encoder)

    def describe(self) -> Description:
        """Return the ``sink`` map of the topology."""
        return {"kind": "tcp", "host": self.host, "port": self.port}


class FileSinkConfig(SinkConfig[T]):
    r"""Write to a file.

    Args:
        path: The file to write; a relative path is relative to where ``wallaroo-orch`` was started.
        encoder: As for :class:`TCPSinkConfig`.
        append: Keep what the file has, and write behind it. Otherwise a run without ``--state`` empties the file first.

    Raises:
        WallarooParameterError: The path is empty, ``append`` is not a bool, or the encoder lacks its method.

    Example:
        >>> class Line:
        ...     def encode(self, data):
        ...         return f"{data}\n"
        >>> FileSinkConfig("counts.txt", Line()).describe()
        {'kind': 'file', 'path': 'counts.txt'}
        >>> FileSinkConfig("counts.txt", Line(), append=True).describe()
        {'kind': 'file', 'path': 'counts.txt', 'append': True}
    """

    def __init__(self, path: str | os.PathLike[str], encoder: EncoderLike[T], *, append: bool = False) -> None:
        self.path = check_path("FileSinkConfig", path)
        self.append = check_flag("FileSinkConfig", "append", append)
        self._set_encoder(encoder)

    def describe(self) -> Description:
        """Return the ``sink`` map of the topology."""
        described = {"kind": "file", "path": self.path}
        return {**described, "append": True} if self.append else described


class StdoutSinkConfig(SinkConfig[T]):
    r"""Write to the orchestrator's standard output.

    Args:
        encoder: As for :class:`TCPSinkConfig`.

    Raises:
        WallarooParameterError: The encoder lacks its method.

    Example:
        >>> class Line:
        ...     def encode(self, data):
        ...         return f"{data}\n"
        >>> StdoutSinkConfig(Line).describe()
        {'kind': 'stdout'}
    """

    def __init__(self, encoder: EncoderLike[T]) -> None:
        self._set_encoder(encoder)

    def describe(self) -> Description:
        """Return the ``sink`` map of the topology."""
        return {"kind": "stdout"}


def check_sink_config(where: str, sink_config: Any) -> SinkConfig[Any]:
    """Return ``sink_config``, or raise an error unless it is a sink config.

    Raises:
        WallarooParameterError: It is not a sink config.
    """
    if getattr(sink_config, "side", None) == "source" and not isinstance(sink_config, SinkConfig):
        raise WallarooParameterError(
            f"{where}: the argument reads messages, and a sink writes them: it is {shown_place(sink_config)}",
            hint="give a codec, or an encoder, to wallaroo.stdout, wallaroo.file or wallaroo.tcp",
        )
    if not isinstance(sink_config, SinkConfig):
        raise WallarooParameterError(
            f"{where}: the argument is {shown_type(sink_config)}, not a sink config",
            hint="for example wallaroo.TCPSinkConfig(host, port, encoder)",
        )
    if getattr(sink_config, "follow", False):
        raise WallarooParameterError(
            f"{where}: follow is for sources, and this is a sink: {shown_place(sink_config)}",
            hint="leave follow out of a sink",
        )
    return sink_config
