"""What type checkers refuse: `E:` names the code of the error on its line. Checked by `test_typing.py`, never run."""

from __future__ import annotations

import wallaroo
from wallaroo import experimental


@experimental.stream_message_encoder
def encode_number(data: float) -> bytes:
    return bytes(int(data))


@experimental.stream_message_decoder
def decode_number(bs: bytes) -> float:
    return float(len(bs))


@wallaroo.encoder
def plain(data: float) -> str:
    return str(data)


def when(text: str) -> float:
    return float(text)


experimental.stream_message_encoder(lambda data: 3)  # E: type-var
experimental.SourceConnectorConfig("feed", plain, decode_number, 7100)  # E: arg-type
experimental.SourceConnectorConfig("feed", encode_number, encode_number, 7100)  # E: arg-type
experimental.SourceConnectorConfig("feed", encode_number, decode_number, 7100, event_time=when)  # E: misc
experimental.SinkConnectorConfig("out", decode_number, decode_number, 7200)  # E: arg-type

numbers = wallaroo.source("in", experimental.SourceConnectorConfig("feed", encode_number, decode_number, 7100))
numbers.map(str).to_sink(experimental.SinkConnectorConfig("out", encode_number, decode_number, 7200))  # E: arg-type
experimental.SourceConnector().write(3.0, event_time="noon")  # E: arg-type
