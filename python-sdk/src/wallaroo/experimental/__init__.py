"""Connectors as Wallaroo 0.6 had them: scripts that feed an application, and scripts that take its results.

An application names its connectors, with their encoders, decoders and ports. A script, which is a process of its own,
imports the application, finds its connector by name, and is connected with ``wallaroo-orch run`` over TCP.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wallaroo.experimental._configs import SinkConnectorConfig, SourceConnectorConfig
from wallaroo.experimental._errors import ConnectorError
from wallaroo.experimental._messages import (
    StreamMessageDecoder,
    StreamMessageEncoder,
    stream_message_decoder,
    stream_message_encoder,
)

if TYPE_CHECKING:
    from wallaroo.experimental._arguments import parse_connector_args
    from wallaroo.experimental._sink import SinkConnector
    from wallaroo.experimental._source import SourceConnector
else:

    def __getattr__(name: str) -> object:
        # Workers import the application, and so this package, and need neither sockets nor the reading of words.
        if name not in _OF_SCRIPTS:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        value = globals()[name] = getattr(import_module(_OF_SCRIPTS[name]), name)
        return value


_OF_SCRIPTS = {
    "SinkConnector": "wallaroo.experimental._sink",
    "SourceConnector": "wallaroo.experimental._source",
    "parse_connector_args": "wallaroo.experimental._arguments",
}
"""What scripts alone use, and where it is."""

UnexpectedSocketError = ConnectorError
"""Its name in 0.6."""

__all__ = [
    "ConnectorError",
    "SinkConnector",
    "SinkConnectorConfig",
    "SourceConnector",
    "SourceConnectorConfig",
    "StreamMessageDecoder",
    "StreamMessageEncoder",
    "parse_connector_args",
    "stream_message_decoder",
    "stream_message_encoder",
]
