"""The application gives the expected output."""

from __future__ import annotations

import pathlib

import celsius
import celsius_data

import wallaroo.testing

FOLDER = pathlib.Path(__file__).resolve().parent
ARGS = ["--in", "127.0.0.1:0", "--out", "127.0.0.1:1"]


def test_expected_output() -> None:
    messages = celsius_data.messages()
    outcome = wallaroo.testing.run(celsius, messages, args=ARGS)
    assert outcome.lines == (FOLDER / "expected.txt").read_text(encoding="utf-8").splitlines()
    assert outcome.dead_letters == []
