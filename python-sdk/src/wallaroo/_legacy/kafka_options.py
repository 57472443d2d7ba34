"""The command line of applications that read from Kafka or write to it, as Wallaroo 0.2 to 0.6 had it."""

from __future__ import annotations

from collections.abc import Mapping

from wallaroo._errors import WallarooParameterError

Brokers = list[tuple[str, str]]

_PORT = "9092"
_LOG_LEVELS = ("Fine", "Info", "Warn", "Error")


def kafka_parse_source_options(args: list[str]) -> tuple[str, Brokers, str]:
    """Read the options of a Kafka source: ``--kafka_source_topic``, ``--kafka_source_brokers`` and ``..._log_level``.

    Args:
        args: The words after the application on the command line, as ``application_setup`` receives them.

    Returns:
        The topic; the brokers, each ``(host, port)``, both ``str``, with port 9092 where none is given; and the log
        level, ``Warn`` if it is left out.

    Raises:
        WallarooParameterError: An option is missing, has no value, or has one that is not of its kind.

    Example:
        >>> words = ["--kafka_source_topic", "orders", "--kafka_source_brokers", "10.0.0.1,10.0.0.2:9093"]
        >>> kafka_parse_source_options(words)
        ('orders', [('10.0.0.1', '9092'), ('10.0.0.2', '9093')], 'Warn')
    """
    return _common("kafka_source", _options(args, "kafka_source"))


def kafka_parse_sink_options(args: list[str]) -> tuple[str, Brokers, str, int, int]:
    """Read the options of a Kafka sink: as of a source, and ``..._max_produce_buffer_ms`` and ``..._max_message_size``.

    Args:
        args: As for :func:`kafka_parse_source_options`.

    Returns:
        Topic, brokers and log level as of a source; the milliseconds for which messages are gathered, 0 if left out;
        and the greatest size of a message in bytes, 100,000 if left out.

    Raises:
        WallarooParameterError: As for :func:`kafka_parse_source_options`.

    Example:
        >>> words = ["--kafka_sink_topic=counts", "--kafka_sink_brokers=10.0.0.1", "--kafka_sink_max_message_size=5000"]
        >>> kafka_parse_sink_options(words)
        ('counts', [('10.0.0.1', '9092')], 'Warn', 0, 5000)
    """
    options = _options(args, "kafka_sink")
    number = {name: _whole(f"--kafka_sink_{name}", options.get(name, default)) for name, default in _NUMBERS.items()}
    return (*_common("kafka_sink", options), number["max_produce_buffer_ms"], number["max_message_size"])


_NUMBERS = {"max_produce_buffer_ms": "0", "max_message_size": "100000"}


def _options(args: list[str], prefix: str) -> dict[str, str]:
    """Return the values of the options that begin with ``--PREFIX_``; of several the last, as argparse does."""
    start = f"--{prefix}_"
    found = {}
    for word, following in zip(args, [*args[1:], None]):
        if not word.startswith(start):
            continue
        name, equals, value = word[len(start) :].partition("=")
        if not equals and following is None:
            raise WallarooParameterError(f"{word} is the last word and has no value", hint=f"write {word} VALUE")
        found[name] = value if equals else str(following)
    return found


def _common(prefix: str, options: Mapping[str, str]) -> tuple[str, Brokers, str]:
    topic, brokers = (_required(prefix, options, name) for name in ("topic", "brokers"))
    level = options.get("log_level", "Warn")
    if level not in _LOG_LEVELS:
        raise WallarooParameterError(
            f"--{prefix}_log_level {level}: there is no such level", hint=f"give one of {', '.join(_LOG_LEVELS)}"
        )
    return topic, [_broker(f"--{prefix}_brokers {brokers}", each.strip()) for each in brokers.split(",")], level


def _required(prefix: str, options: Mapping[str, str], name: str) -> str:
    if not options.get(name):
        example = {"topic": "orders", "brokers": "127.0.0.1:9092"}[name]
        raise WallarooParameterError(
            f"--{prefix}_{name} is missing from the application's arguments",
            hint=f"add it after the application, for example --{prefix}_{name} {example}",
        )
    return options[name]


def _broker(where: str, place: str) -> tuple[str, str]:
    host, colon, port = place.rpartition(":")
    # An IPv6 host with a port is in brackets, as [::1]:9092.
    if not colon or place.endswith("]") or (":" in host and not host.endswith("]")):
        host, port = place, _PORT
    if not host or not (port.isascii() and port.isdigit()):
        raise WallarooParameterError(
            f"{where}: {place!r} is not a broker", hint="a broker is HOST or HOST:PORT, several are separated by commas"
        )
    return host.strip("[]"), port


def _whole(where: str, number: str) -> int:
    if not (number.isascii() and number.isdigit()):
        raise WallarooParameterError(f"{where} {number}: it is not a whole number", hint=f"for example {where} 1000")
    return int(number)
