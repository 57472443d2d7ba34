"""The application gives the expected output."""

from __future__ import annotations

import pathlib

import reverse

import wallaroo.testing

FOLDER = pathlib.Path(__file__).resolve().parent
ARGS = ["--in", "127.0.0.1:0", "--out", "127.0.0.1:1"]


def test_expected_output() -> None:
    messages = (FOLDER / "input.txt").read_text(encoding="utf-8").splitlines()
    outcome = wallaroo.testing.run(reverse, messages, args=ARGS)
    assert outcome.lines == (FOLDER / "expected.txt").read_text(encoding="utf-8").splitlines()
    assert outcome.dead_letters == []


def test_reverse() -> None:
    assert reverse.reverse("stressed") == "desserts"
