"""The application gives the expected output."""

from __future__ import annotations

import pathlib

import celsius_connectors

import wallaroo.testing

FOLDER = pathlib.Path(__file__).resolve().parent
LENGTH = 4
"""Bytes before each frame, which is what a test gives and gets."""


def test_expected_output() -> None:
    encode, decode = celsius_connectors.encode_feed.encode, celsius_connectors.decode_conversion.decode
    temperatures = (FOLDER / "input.txt").read_text(encoding="utf-8").split()
    frames = [encode(float(temperature)) or b"" for temperature in temperatures]
    outcome = wallaroo.testing.run(celsius_connectors, [frame[LENGTH:] for frame in frames])
    written = [f"{decode(message[LENGTH:])} °F" for message in outcome.messages]
    assert written == (FOLDER / "expected.txt").read_text(encoding="utf-8").splitlines()
    assert outcome.dead_letters == []
