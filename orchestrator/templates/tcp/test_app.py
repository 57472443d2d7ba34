"""Tests for pytest: ``pip install pytest``, then ``python -m pytest``."""

from __future__ import annotations

import pathlib
from typing import Any

import app

import wallaroo.testing

APP = pathlib.Path(__file__).with_name("app.py")


def test_words_are_counted() -> None:
    args = ["--in", "127.0.0.1:0", "--out", "127.0.0.1:1"]
    outcome = wallaroo.testing.run(app, ["to be", "or not to be"], args=args)
    assert sorted(outcome.lines) == ["be => 1", "be => 2", "not => 1", "or => 1", "to => 1", "to => 2"]
    assert outcome.dead_letters == []


def test_a_worker_may_die(wallaroo_orch: Any, wallaroo_sink: wallaroo.testing.Sink) -> None:
    running = wallaroo_orch(APP, "--in", "127.0.0.1:0", "--out", wallaroo_sink.address, workers=2)
    running.send(wallaroo.testing.frames(["to be"]))
    wallaroo_sink.wait_lines(2)
    running.kill_worker()
    running.send(wallaroo.testing.frames(["or not to be"]))
    counted = wallaroo_sink.wait_lines(6)
    running.stop()
    assert sorted(counted[2:]) == ["be => 2", "not => 1", "or => 1", "to => 2"]
