"""Stream processing in Python: user classes run in a pool of worker processes that ``wallaroo-orch`` owns.

An application is a module with ``application_setup(args)`` that returns what :meth:`ApplicationBuilder.build` returns::

    wallaroo-orch run word_count.py --in 127.0.0.1:7010 --out 127.0.0.1:7002
"""

from wallaroo._errors import WallarooParameterError
from wallaroo._io.addresses import tcp_parse_input_addrs, tcp_parse_output_addrs
from wallaroo._io.decoders import Decoder, decoder
from wallaroo._io.encoders import Encoder, encoder
from wallaroo._io.sinks import FileSinkConfig, SinkConfig, StdoutSinkConfig, TCPSinkConfig
from wallaroo._io.sources import FileSourceConfig, GenSourceConfig, SourceConfig, StdinSourceConfig, TCPSourceConfig
from wallaroo._legacy.builder import ApplicationBuilder
from wallaroo._legacy.kafka import KafkaSinkCLIParser, KafkaSinkConfig, KafkaSourceCLIParser, KafkaSourceConfig
from wallaroo._pipeline.pipeline import Pipeline, build_application, source
from wallaroo._pipeline.topology import Application
from wallaroo._steps.computations import Computation
from wallaroo._steps.decorators import (
    computation,
    computation_batch,
    computation_multi,
    state_computation,
    state_computation_multi,
)
from wallaroo._steps.key_functions import KeyExtractor, key_extractor, partition
from wallaroo._version import __version__
from wallaroo._windows.durations import hours, microseconds, milliseconds, minutes, nanoseconds, seconds
from wallaroo._windows.windows import Aggregation, count_windows, range_windows, session_windows

__all__ = [
    "Aggregation",
    "Application",
    "ApplicationBuilder",
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
    "Pipeline",
    "SinkConfig",
    "SourceConfig",
    "StdinSourceConfig",
    "StdoutSinkConfig",
    "TCPSinkConfig",
    "TCPSourceConfig",
    "WallarooParameterError",
    "__version__",
    "build_application",
    "computation",
    "computation_batch",
    "computation_multi",
    "count_windows",
    "decoder",
    "encoder",
    "hours",
    "key_extractor",
    "microseconds",
    "milliseconds",
    "minutes",
    "nanoseconds",
    "partition",
    "range_windows",
    "seconds",
    "session_windows",
    "source",
    "state_computation",
    "state_computation_multi",
    "tcp_parse_input_addrs",
    "tcp_parse_output_addrs",
]
