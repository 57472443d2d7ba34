"""The options of applications that name Kafka, and the names that refuse it."""

import pytest

import wallaroo
from wallaroo import WallarooParameterError, kafka_parse_sink_options, kafka_parse_source_options

SOURCE = ["--kafka_source_topic", "in", "--kafka_source_brokers", "h:1"]
SINK = ["--kafka_sink_topic", "out", "--kafka_sink_brokers", "h:1"]


def test_options_of_both_and_of_others():
    words = [
        "--metrics",
        "x",
        *SOURCE,
        *SINK,
        "--kafka_source_log_level=Info",
        "--kafka_sink_max_produce_buffer_ms",
        "9",
    ]
    assert kafka_parse_source_options(words) == ("in", [("h", "1")], "Info")
    assert kafka_parse_sink_options(words) == ("out", [("h", "1")], "Warn", 9, 100_000)


@pytest.mark.parametrize(
    ("given", "brokers"),
    [
        ("a", [("a", "9092")]),
        ("a:1, b,c:3", [("a", "1"), ("b", "9092"), ("c", "3")]),
        ("[::1]:2,[::1],::1", [("::1", "2"), ("::1", "9092"), ("::1", "9092")]),
    ],
)
def test_brokers(given, brokers):
    assert kafka_parse_source_options([*SOURCE, f"--kafka_source_brokers={given}"])[1] == brokers


REFUSED = {
    "no topic": (
        SOURCE[2:],
        "--kafka_source_topic is missing from the application's arguments\n"
        "hint: add it after the application, for example --kafka_source_topic orders",
    ),
    "no brokers": (
        [*SOURCE, "--kafka_source_brokers="],
        "--kafka_source_brokers is missing from the application's arguments\n"
        "hint: add it after the application, for example --kafka_source_brokers 127.0.0.1:9092",
    ),
    "no value": (
        [*SOURCE, "--kafka_source_log_level"],
        "--kafka_source_log_level is the last word and has no value\nhint: write --kafka_source_log_level VALUE",
    ),
    "no such level": (
        [*SOURCE, "--kafka_source_log_level", "Debug"],
        "--kafka_source_log_level Debug: there is no such level\nhint: give one of Fine, Info, Warn, Error",
    ),
    "a port that is none": (
        [*SOURCE, "--kafka_source_brokers", "h:x"],
        "--kafka_source_brokers h:x: 'h:x' is not a broker\n"
        "hint: a broker is HOST or HOST:PORT, several are separated by commas",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name):
    words, message = REFUSED[name]
    with pytest.raises(WallarooParameterError) as refused:
        kafka_parse_source_options(words)
    assert str(refused.value) == message


@pytest.mark.parametrize("option", ["max_produce_buffer_ms", "max_message_size"])
def test_what_is_no_number(option):
    with pytest.raises(WallarooParameterError, match=f"--kafka_sink_{option} 1k: it is not a whole number"):
        kafka_parse_sink_options([*SINK, f"--kafka_sink_{option}", "1k"])


@pytest.mark.parametrize("name", ["DefaultKafkaSourceCLIParser", "DefaultKafkaSinkCLIParser"])
def test_the_application_of_0_6_is_told(name):
    with pytest.raises(
        WallarooParameterError, match=f"{name}: Kafka is not supported yet\nhint: read and write Kafka in"
    ):
        getattr(wallaroo, name)(object())
