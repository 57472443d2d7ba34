"""The Kafka names of the original API, so that an application that uses them is told rather than puzzled."""

from __future__ import annotations

from typing import Any

from wallaroo._errors import WallarooParameterError


class _NotYet:
    """A name that exists in the original API and cannot be used yet."""

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        raise WallarooParameterError(
            f"{type(self).__name__}: Kafka is not supported yet",
            hint="read and write Kafka in scripts of your own until it is: wallaroo.experimental connects them",
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
        hint: read and write Kafka in scripts of your own until it is: wallaroo.experimental connects them
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
        hint: read and write Kafka in scripts of your own until it is: wallaroo.experimental connects them
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
        hint: read and write Kafka in scripts of your own until it is: wallaroo.experimental connects them
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
        hint: read and write Kafka in scripts of your own until it is: wallaroo.experimental connects them
    """


class CustomKafkaSourceCLIParser(_NotYet):
    """Read from Kafka, with the options of :func:`kafka_parse_source_options` in ``args``: not supported yet.

    Raises:
        WallarooParameterError: Always.

    Example:
        >>> CustomKafkaSourceCLIParser(["--kafka_source_topic", "orders"], None)
        Traceback (most recent call last):
        ...
        wallaroo._errors.WallarooParameterError: CustomKafkaSourceCLIParser: Kafka is not supported yet
        hint: read and write Kafka in scripts of your own until it is: wallaroo.experimental connects them
    """


class DefaultKafkaSourceCLIParser(_NotYet):
    """Read from Kafka, with such options among the application's arguments: not supported yet.

    Raises:
        WallarooParameterError: Always.

    Example:
        >>> DefaultKafkaSourceCLIParser(None, name="kafka_source")
        Traceback (most recent call last):
        ...
        wallaroo._errors.WallarooParameterError: DefaultKafkaSourceCLIParser: Kafka is not supported yet
        hint: read and write Kafka in scripts of your own until it is: wallaroo.experimental connects them
    """


class CustomKafkaSinkCLIParser(_NotYet):
    """Write to Kafka, with the options of :func:`kafka_parse_sink_options` in ``args``: not supported yet.

    Raises:
        WallarooParameterError: Always.

    Example:
        >>> CustomKafkaSinkCLIParser(["--kafka_sink_topic", "counts"], None)
        Traceback (most recent call last):
        ...
        wallaroo._errors.WallarooParameterError: CustomKafkaSinkCLIParser: Kafka is not supported yet
        hint: read and write Kafka in scripts of your own until it is: wallaroo.experimental connects them
    """


class DefaultKafkaSinkCLIParser(_NotYet):
    """Write to Kafka, with such options among the application's arguments: not supported yet.

    Raises:
        WallarooParameterError: Always.

    Example:
        >>> DefaultKafkaSinkCLIParser(None, name="kafka_sink")
        Traceback (most recent call last):
        ...
        wallaroo._errors.WallarooParameterError: DefaultKafkaSinkCLIParser: Kafka is not supported yet
        hint: read and write Kafka in scripts of your own until it is: wallaroo.experimental connects them
    """
