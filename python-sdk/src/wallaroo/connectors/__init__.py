"""Connectors that come with the SDK and need the standard library alone.

:class:`HttpSource`, :class:`HttpSink` and :class:`SqliteSink`. Each is a :class:`wallaroo.Source` or a
:class:`wallaroo.Sink`, for :func:`wallaroo.source`, ``.sink(...)`` and :func:`wallaroo.connector`.
"""

from wallaroo.connectors._http_sink import HttpSink
from wallaroo.connectors._http_source import HttpSource
from wallaroo.connectors._sqlite_sink import SqliteSink

__all__ = ["HttpSink", "HttpSource", "SqliteSink"]
