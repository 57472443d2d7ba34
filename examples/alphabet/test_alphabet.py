"""The application gives the expected output."""

from __future__ import annotations

import pathlib

import alphabet
import alphabet_data

import wallaroo.testing

FOLDER = pathlib.Path(__file__).resolve().parent
ARGS = ["--in", "127.0.0.1:0", "--out", "127.0.0.1:1"]


def test_expected_output() -> None:
    messages = alphabet_data.messages()
    outcome = wallaroo.testing.run(alphabet, messages, args=ARGS)
    assert outcome.lines == (FOLDER / "expected.txt").read_text(encoding="utf-8").splitlines()
    assert outcome.dead_letters == []
