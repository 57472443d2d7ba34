"""Petals get the expected scores, and a malformed message becomes a dead letter."""

from __future__ import annotations

import pathlib

import pytest

import wallaroo.testing

pytest.importorskip("sklearn", reason="needs the environment of the model: see README.md")

import model_scoring
import train

FOLDER = pathlib.Path(__file__).resolve().parent
ARGS = ["--in", "127.0.0.1:0", "--out", "127.0.0.1:1"]


def test_expected_output() -> None:
    if not train.MODEL.exists():
        train.main()
    messages = (FOLDER / "input.txt").read_text(encoding="utf-8").splitlines()
    outcome = wallaroo.testing.run(model_scoring, messages, args=ARGS, batch=50)
    kinds = [line.rpartition(",")[0] for line in outcome.lines]
    assert kinds == (FOLDER / "expected.txt").read_text(encoding="utf-8").splitlines()
    assert [letter.value for letter in outcome.dead_letters] == [b"p100x,not a number,0.2"]
