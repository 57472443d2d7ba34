"""The application gives the expected output, though the service refuses some requests."""

from __future__ import annotations

import pathlib
import subprocess
import sys
from collections.abc import Iterator

import async_enrichment
import pytest

import wallaroo.testing

FOLDER = pathlib.Path(__file__).resolve().parent


@pytest.fixture
def place() -> Iterator[str]:
    command = [sys.executable, str(FOLDER / "service.py"), "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        yield f"127.0.0.1:{service.stdout.readline().split()[1]}"
        service.kill()


@pytest.mark.parametrize("batch", [1, 100])
def test_expected_output(place: str, batch: int) -> None:
    clicks = (FOLDER / "input.txt").read_text(encoding="utf-8").splitlines()
    outcome = wallaroo.testing.run(async_enrichment, clicks, args=[place], batch=batch)
    expected = (FOLDER / "expected.txt").read_text(encoding="utf-8").splitlines()
    assert sorted(outcome.lines) == sorted(expected)
    assert outcome.dead_letters == []
