"""The application gives the expected output."""

from __future__ import annotations

import pathlib

import pytest
import sessions

import wallaroo.testing

FOLDER = pathlib.Path(__file__).resolve().parent


@pytest.mark.parametrize("batch", [1, 50])
def test_expected_output(batch: int) -> None:
    messages = (FOLDER / "input.txt").read_text(encoding="utf-8").splitlines()
    outcome = wallaroo.testing.run(sessions, messages, args=["input.txt"], batch=batch)
    expected = (FOLDER / "expected.txt").read_text(encoding="utf-8").splitlines()
    # There is no order between different users.
    assert sorted(outcome.lines) == sorted(expected)
    (late,) = outcome.dead_letters
    assert (late.exception, late.key, late.value.path) == ("wallaroo.LateValueError", "eve", "/old")
