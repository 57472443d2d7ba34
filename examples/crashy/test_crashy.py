"""Words beside those that kill their worker are counted exactly once."""

from __future__ import annotations

import pathlib
from typing import Any

from wallaroo.testing import Sink, frames

FOLDER = pathlib.Path(__file__).resolve().parent
WORDS = (FOLDER / "input.txt").read_text().splitlines()
EXPECTED = (FOLDER / "expected.txt").read_text().splitlines()


def test_only_the_guilty_become_dead_letters(wallaroo_orch: Any, wallaroo_sink: Sink) -> None:
    app = wallaroo_orch(
        FOLDER / "crashy.py",
        *("--in", "127.0.0.1:0", "--out", wallaroo_sink.address),
        options=["--step-timeout", "1s"],
    )
    app.send(frames(WORDS))
    lines = wallaroo_sink.wait_lines(len(EXPECTED))
    app.stop()
    assert sorted(lines) == sorted(EXPECTED)
    letters = {letter["key"]: letter["message"] for letter in app.dead_letters()}
    assert sorted(letters) == ["'exit'", "'hang'", "'raise'", "'segfault'"]
    assert "exit code 7" in letters["'exit'"]
    assert "SIGSEGV" in letters["'segfault'"]
    assert letters["'raise'"] == "this word is not wanted"
