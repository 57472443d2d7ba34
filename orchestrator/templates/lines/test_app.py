"""Tests for pytest that do not start wallaroo-orch: ``pip install pytest``, then ``python -m pytest``."""

from __future__ import annotations

import app

import wallaroo.testing


def test_words_are_counted() -> None:
    outcome = wallaroo.testing.run(app, ["to be", "or not to be"])
    assert sorted(outcome.lines) == ["be => 1", "be => 2", "not => 1", "or => 1", "to => 1", "to => 2"]
    assert outcome.dead_letters == []


def test_split() -> None:
    assert app.split("To be") == ["to", "be"]
