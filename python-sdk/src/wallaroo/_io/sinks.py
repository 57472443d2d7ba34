"""Sink configs: where a pipeline's results go.

A config is checked when it is made. It holds no socket or file: the orchestrator opens those, from the description that
``describe`` returns; only the encoder is called in a worker.
"""

from __future__ import annotations

import os
from typing import Any, Callable, Generic, TypeVar

from wallaroo._errors import WallarooParameterError
from wallaroo._io.addresses import Description, Port, check_host, check_path, check_port
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

    def describe(self) -> Description:
        """Return the ``sink`` map of the topology."""
        raise NotImplementedError

    def _set_encoder(self, encoder: Any) -> None:
        where = f"{type(self).__name__} encoder"
        self.encoder = as_object(where, encoder, "@wallaroo.encoder")
        self.encode = method(where, self.encoder, "encode", "data")

    @property
    def shown_name(self) -> str:
        """The name of the sink's node: its kind and place."""
        kind, *place = self.describe().values()
        return f"{kind} {':'.join(map(str, place))}".rstrip()

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

    Raises:
        WallarooParameterError: The path is empty, or the encoder lacks its method.

    Example:
        >>> class Line:
        ...     def encode(self, data):
        ...         return f"{data}\n"
        >>> FileSinkConfig("counts.txt", Line()).describe()
        {'kind': 'file', 'path': 'counts.txt'}
    """

    def __init__(self, path: str | os.PathLike[str], encoder: EncoderLike[T]) -> None:
        self.path = check_path("FileSinkConfig", path)
        self._set_encoder(encoder)

    def describe(self) -> Description:
        """Return the ``sink`` map of the topology."""
        return {"kind": "file", "path": self.path}


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
    if not isinstance(sink_config, SinkConfig):
        raise WallarooParameterError(
            f"{where}: the argument is {shown_type(sink_config)}, not a sink config",
            hint="for example wallaroo.TCPSinkConfig(host, port, encoder)",
        )
    return sink_config
