"""What type checkers accept of connectors. Checked by `test_typing.py`, never run."""

from __future__ import annotations

import struct
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import wallaroo
from wallaroo import experimental

if TYPE_CHECKING:
    from typing_extensions import assert_type


@experimental.stream_message_encoder
def encode_number(data: float) -> bytes:
    return struct.pack(">f", data)


@experimental.stream_message_decoder
def decode_number(bs: bytes) -> float | None:
    return float(struct.unpack(">f", bs)[0]) if bs else None


@experimental.stream_message_encoder
def encode_text(data: object) -> str | None:
    return str(data) or None


@experimental.stream_message_decoder
def decode_text(bs: bytes) -> str:
    return bs.decode()


class Own:
    def header_length(self) -> int:
        return 1

    def payload_length(self, bs: bytes) -> int:
        return bs[0]

    def encode(self, data: bytes, event_time: Any = 0) -> bytes:
        return bytes([len(data)]) + data

    def decode(self, bs: bytes) -> bytes:
        return bs


def when(number: float) -> float:
    return number


assert_type(encode_number, experimental.StreamMessageEncoder[float, bytes])
assert_type(encode_number(3.0), bytes)
assert_type(encode_number.encode(3.0, datetime.now()), "bytes | None")
assert_type(decode_text, experimental.StreamMessageDecoder[str])
assert_type(decode_text.decode(b""), str)

feed = experimental.SourceConnectorConfig("feed", encode_number, decode_number, "7100")
assert_type(feed, experimental.SourceConnectorConfig[float])
numbers = wallaroo.source("numbers", feed)
assert_type(numbers, wallaroo.Pipeline[float])
experimental.SourceConnectorConfig(
    "feed", encode_number, decode_number, 7100, host="0.0.0.0", event_time=when, max_ahead=timedelta(hours=1)
)
experimental.SourceConnectorConfig("feed", encode_number, decode_number, 7100, event_time=None)
assert_type(
    wallaroo.source("own", experimental.SourceConnectorConfig("own", Own(), Own, 7101)), wallaroo.Pipeline[bytes]
)
numbers.to_sink(experimental.SinkConnectorConfig("texts", encode_text, decode_text, port=7200))
numbers.to_sink(experimental.SinkConnectorConfig("numbers", encode_number, decode_number, 7201))


def feed_all(messages: list[float]) -> None:
    with experimental.SourceConnector(["--connector", "feed"], required_params=["host"]) as connector:
        connector.connect()
        connector.connect(connector.params.host, "7100")
        for message in messages:
            connector.write(message)
            connector.write(message, event_time=datetime.now())
            connector.write(message, 1_777_636_800_000)


def take_all() -> None:
    connector = experimental.SinkConnector(optional_params=["unit"])
    connector.listen()
    assert_type(connector.address, tuple[str, int])
    print(connector.read(timeout=1.5), connector.params.unit)
