"""The application gives the expected output."""

from __future__ import annotations

import pathlib

import word_count_fluent

import wallaroo.testing

FOLDER = pathlib.Path(__file__).resolve().parent
ARGS = ["--in", "127.0.0.1:0", "--out", "127.0.0.1:1"]


def test_expected_output() -> None:
    messages = (FOLDER / "input.txt").read_text(encoding="utf-8").splitlines()
    outcome = wallaroo.testing.run(word_count_fluent, messages, args=ARGS)
    expected = (FOLDER / "expected.txt").read_text(encoding="utf-8").splitlines()
    # There is no order between different words of a line.
    assert sorted(outcome.lines) == sorted(expected)
    assert outcome.dead_letters == []


def test_split() -> None:
    assert word_count_fluent.split('"To be," he said --') == ["to", "be", "he", "said"]
