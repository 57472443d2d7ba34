"""The application gives the expected output."""

from __future__ import annotations

import pathlib
from datetime import timedelta

import carts
import pytest

import wallaroo as w
import wallaroo.testing

FOLDER = pathlib.Path(__file__).resolve().parent


@pytest.mark.parametrize("batch", [1, 50])
def test_expected_output(batch: int) -> None:
    messages = (FOLDER / "input.txt").read_text(encoding="utf-8").splitlines()
    outcome = wallaroo.testing.run(carts, messages, args=["input.txt"], batch=batch, restart_every=1)
    expected = (FOLDER / "expected.txt").read_text(encoding="utf-8").splitlines()
    # There is no order between different users.
    assert sorted(outcome.lines) == sorted(expected)
    assert outcome.dead_letters == []


def test_by_the_clock() -> None:
    clicks = w.source("clicks", w.stdin(carts.decode)).key_by(lambda click: click.user)
    reminders = clicks.stateful(carts.change, carts.Cart, on_timer=carts.remind)
    app = wallaroo.testing.InProcess(w.application("carts", reminders.sink(w.stdout(w.lines()))))
    app.send(["2026-03-02T08:00:00+00:00 ada add tea", "2026-03-02T08:00:00+00:00 eve add cup"])
    app.advance(timedelta(minutes=29))
    app.send(["2026-03-02T08:29:00+00:00 eve pay"])
    assert app.outcome.lines == []
    app.advance(timedelta(minutes=1))
    assert app.outcome.lines == ["00:30 ada: tea"]
