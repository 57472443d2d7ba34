"""The Kafka names of the original API, so that an application that uses them is told rather than puzzled."""

from __future__ import annotations

from typing import Any

from wallaroo._errors import WallarooParameterError


class _NotYet:
    """A name that exists in the original API and cannot be used yet."""

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        raise WallarooParameterError(
            f"{type(self).__name__}: Kafka is not supported yet",
            hint="use TCPSourceConfig and TCPSinkConfig, and a bridge between Kafka and TCP, until it is",
        )


class KafkaSourceConfig(_NotYet):
    """Read from Kafka: not supported yet.

    Raises:
        WallarooParameterError: Always.

    Example:
        >>> KafkaSourceConfig("orders", [("127.0.0.1", "9092")])
        Traceback (most recent call last):
        ...
        wallaroo._errors.WallarooParameterError: KafkaSourceConfig: Kafka is not supported yet
        hint: use TCPSourceConfig and TCPSinkConfig, and a bridge between Kafka and TCP, until it is
    """


class KafkaSinkConfig(_NotYet):
    """Write to Kafka: not supported yet.

    Raises:
        WallarooParameterError: Always.

    Example:
        >>> KafkaSinkConfig("counts", [("127.0.0.1", "9092")])
        Traceback (most recent call last):
        ...
        wallaroo._errors.WallarooParameterError: KafkaSinkConfig: Kafka is not supported yet
        hint: use TCPSourceConfig and TCPSinkConfig, and a bridge between Kafka and TCP, until it is
    """


class KafkaSourceCLIParser(_NotYet):
    """Read a Kafka source's settings from the command line: not supported yet.

    Raises:
        WallarooParameterError: Always.

    Example:
        >>> KafkaSourceCLIParser(["--kafka_source_topic", "orders"])
        Traceback (most recent call last):
        ...
        wallaroo._errors.WallarooParameterError: KafkaSourceCLIParser: Kafka is not supported yet
        hint: use TCPSourceConfig and TCPSinkConfig, and a bridge between Kafka and TCP, until it is
    """


class KafkaSinkCLIParser(_NotYet):
    """Read a Kafka sink's settings from the command line: not supported yet.

    Raises:
        WallarooParameterError: Always.

    Example:
        >>> KafkaSinkCLIParser(["--kafka_sink_topic", "counts"])
        Traceback (most recent call last):
        ...
        wallaroo._errors.WallarooParameterError: KafkaSinkCLIParser: Kafka is not supported yet
        hint: use TCPSourceConfig and TCPSinkConfig, and a bridge between Kafka and TCP, until it is
    """
