"""mypy accepts what it should, with the types it should, and refuses the rest."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "typing"
ROOT = Path(__file__).parents[1]


def mypy(name, tmp_path):
    pytest.importorskip("mypy", reason="mypy is not in every interpreter's environment")
    command = [sys.executable, "-m", "mypy", "--config-file", ROOT / "pyproject.toml", "--cache-dir", tmp_path]
    command += ["--no-error-summary", "--show-error-codes", FOLDER / name]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.stderr == ""
    return [line for line in ran.stdout.splitlines() if ": note: " not in line]


def test_what_is_accepted(tmp_path):
    assert mypy("accepted.py", tmp_path) == []


def test_what_is_refused(tmp_path):
    lines = (FOLDER / "refused.py").read_text().splitlines()
    expected = [(number, line.rpartition("# E: ")[2]) for number, line in enumerate(lines, 1) if "  # E: " in line]
    found = [re.search(r":(\d+): error: .*\[([a-z-]+)\]$", line) for line in mypy("refused.py", tmp_path)]
    assert [(int(match[1]), match[2]) for match in found] == expected
