"""Each of the application's three modes gives the expected output."""

from __future__ import annotations

import pathlib

import alerts
import pytest

import wallaroo.testing

FOLDER = pathlib.Path(__file__).resolve().parent
ARGS = ["--in", "127.0.0.1:0", "--out", "127.0.0.1:1"]


@pytest.mark.parametrize("kind", ["stateless", "stateful", "windowed"])
@pytest.mark.parametrize("batch", [1, 50])
def test_expected_output(kind: str, batch: int) -> None:
    messages = (FOLDER / "input.txt").read_text(encoding="utf-8").splitlines()
    outcome = wallaroo.testing.run(alerts, messages, args=[kind, *ARGS], batch=batch)
    expected = (FOLDER / f"expected_{kind}.txt").read_text(encoding="utf-8").splitlines()
    # There is no order between different users.
    assert sorted(outcome.lines) == sorted(expected)
    assert (outcome.dead_letters, outcome.late) == ([], 0)


def test_an_amount_that_is_no_cause_for_alarm() -> None:
    assert alerts.alert("ada", 1_000.0, "at once") is None
