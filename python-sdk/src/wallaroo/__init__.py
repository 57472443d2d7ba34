"""Stream processing in Python: user classes run in a pool of worker processes that ``wallaroo-orch`` owns.

An application is a module with ``application_setup(args)`` that returns what :meth:`ApplicationBuilder.build` returns::

    wallaroo-orch run word_count.py --in 127.0.0.1:7010 --out 127.0.0.1:7002
"""

import importlib as _importlib

from wallaroo import metrics
from wallaroo._errors import WallarooParameterError
from wallaroo._hooks import on_start, on_stop
from wallaroo._io.addresses import tcp_parse_input_addrs, tcp_parse_output_addrs
from wallaroo._io.codecs import Codec, length_prefixed, lines, raw
from wallaroo._io.connectors import RejectedMessageError, Sink, Source
from wallaroo._io.csv_codec import csv_lines
from wallaroo._io.decoders import Decoder, decoder
from wallaroo._io.encoders import Encoder, encoder
from wallaroo._io.json_codec import json_lines
from wallaroo._io.short_configs import file, stdin, stdout, tcp
from wallaroo._io.sinks import FileSinkConfig, SinkConfig, StdoutSinkConfig, TCPSinkConfig
from wallaroo._io.sources import FileSourceConfig, GenSourceConfig, SourceConfig, StdinSourceConfig, TCPSourceConfig
from wallaroo._legacy.builder import ApplicationBuilder
from wallaroo._legacy.kafka import KafkaSinkCLIParser, KafkaSinkConfig, KafkaSourceCLIParser, KafkaSourceConfig
from wallaroo._pipeline.application import application, build_application
from wallaroo._pipeline.branches import Branches
from wallaroo._pipeline.joining import Table
from wallaroo._pipeline.keyed import KeyedPipeline
from wallaroo._pipeline.pipeline import Pipeline, source
from wallaroo._pipeline.topology import Application
from wallaroo._pipeline.windowed import WindowedPipeline
from wallaroo._steps.computations import Computation
from wallaroo._steps.decorators import (
    computation,
    computation_batch,
    computation_multi,
    state_computation,
    state_computation_multi,
)
from wallaroo._steps.durations import hours, microseconds, milliseconds, minutes, nanoseconds, seconds
from wallaroo._steps.key_functions import KeyExtractor, key_extractor, partition
from wallaroo._steps.shapes import Keyed
from wallaroo._steps.state_versions import state
from wallaroo._version import __version__
from wallaroo._windows.aggregations import collect_list, count, mean, reduce
from wallaroo._windows.aggregations import max as max
from wallaroo._windows.aggregations import min as min
from wallaroo._windows.aggregations import sum as sum
from wallaroo._windows.spans import sessions, sliding, tumbling
from wallaroo._windows.windowed import Window, Windowed
from wallaroo._windows.windows import Aggregation, count_windows, range_windows, session_windows

# A package takes its name here when it is loaded. That of the processes of connectors has the name of a function: it is
# loaded now, so that nothing takes that name later. It is empty: its modules are loaded by those processes.
_importlib.import_module("wallaroo.connector")
from wallaroo._io.connectors import connector as connector  # noqa: E402

# `max`, `min` and `sum` are public too, but no part of `import *`: they would hide Python's own.
__all__ = [
    "Aggregation",
    "Application",
    "ApplicationBuilder",
    "Branches",
    "Codec",
    "Computation",
    "Decoder",
    "Encoder",
    "FileSinkConfig",
    "FileSourceConfig",
    "GenSourceConfig",
    "KafkaSinkCLIParser",
    "KafkaSinkConfig",
    "KafkaSourceCLIParser",
    "KafkaSourceConfig",
    "KeyExtractor",
    "Keyed",
    "KeyedPipeline",
    "Pipeline",
    "RejectedMessageError",
    "Sink",
    "SinkConfig",
    "Source",
    "SourceConfig",
    "StdinSourceConfig",
    "StdoutSinkConfig",
    "TCPSinkConfig",
    "TCPSourceConfig",
    "Table",
    "WallarooParameterError",
    "Window",
    "Windowed",
    "WindowedPipeline",
    "__version__",
    "application",
    "build_application",
    "collect_list",
    "computation",
    "computation_batch",
    "computation_multi",
    "connector",
    "count",
    "count_windows",
    "csv_lines",
    "decoder",
    "encoder",
    "file",
    "hours",
    "json_lines",
    "key_extractor",
    "length_prefixed",
    "lines",
    "mean",
    "metrics",
    "microseconds",
    "milliseconds",
    "minutes",
    "nanoseconds",
    "on_start",
    "on_stop",
    "partition",
    "range_windows",
    "raw",
    "reduce",
    "seconds",
    "session_windows",
    "sessions",
    "sliding",
    "source",
    "state",
    "state_computation",
    "state_computation_multi",
    "stdin",
    "stdout",
    "tcp",
    "tcp_parse_input_addrs",
    "tcp_parse_output_addrs",
    "tumbling",
]
