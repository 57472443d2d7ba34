"""Converts degrees Celsius to degrees Fahrenheit, between two connectors as Wallaroo 0.6 had them."""

from __future__ import annotations

import argparse
import struct

import wallaroo
import wallaroo.experimental


def application_setup(args: list[str]) -> wallaroo.Application:
    # The scripts of the connectors call this too, with their own words.
    parser = argparse.ArgumentParser(prog="celsius_connectors", allow_abbrev=False)
    parser.add_argument("--feed-port", type=int, default=7100)
    parser.add_argument("--conversion-port", type=int, default=7200)
    ports, _ = parser.parse_known_args(args)
    celsius_feed = wallaroo.experimental.SourceConnectorConfig(
        "celsius_feed", encoder=encode_feed, decoder=decode_feed, port=ports.feed_port
    )
    fahrenheit_conversion = wallaroo.experimental.SinkConnectorConfig(
        "fahrenheit_conversion", encoder=encode_conversion, decoder=decode_conversion, port=ports.conversion_port
    )
    pipeline = wallaroo.source("temperatures", celsius_feed).to(multiply).to(add).to_sink(fahrenheit_conversion)
    return wallaroo.build_application("Celsius to Fahrenheit", pipeline)


@wallaroo.computation(name="multiply by 1.8")
def multiply(data: float) -> float:
    return data * 1.8


@wallaroo.computation(name="add 32")
def add(data: float) -> float:
    return data + 32


@wallaroo.experimental.stream_message_encoder
def encode_feed(data: float) -> bytes:
    return struct.pack(">f", data)


@wallaroo.experimental.stream_message_decoder
def decode_feed(bs: bytes) -> float:
    (celsius,) = struct.unpack(">f", bs)
    return float(celsius)


@wallaroo.experimental.stream_message_encoder
def encode_conversion(data: float) -> str:
    return f"{data:.2f}"


@wallaroo.experimental.stream_message_decoder
def decode_conversion(bs: bytes) -> str:
    return bs.decode("utf-8")
