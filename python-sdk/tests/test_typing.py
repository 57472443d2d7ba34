"""mypy and pyright accept what they should, with the types they should, and refuse the rest."""

from __future__ import annotations

import json
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


ACCEPTED = sorted(file.name for file in FOLDER.glob("*accepted*.py"))
REFUSED = sorted(file.name for file in FOLDER.glob("*refused*.py"))


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_is_accepted(name, tmp_path):
    assert mypy(name, tmp_path) == []


def refused(name):
    lines = (FOLDER / name).read_text().splitlines()
    return [(number, line.rpartition("# E: ")[2]) for number, line in enumerate(lines, 1) if "  # E: " in line]


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name, tmp_path):
    found = [re.search(r":(\d+): error: .*\[([a-z-]+)\]$", line) for line in mypy(name, tmp_path)]
    assert [(int(match[1]), match[2]) for match in found] == refused(name)


def pyright(name, tmp_path):
    """Return the numbers of the lines that pyright refuses."""
    pytest.importorskip("basedpyright", reason="basedpyright is not in every interpreter's environment")
    settings = {"typeCheckingMode": "strict", "pythonVersion": "3.10", "extraPaths": [str(ROOT / "src")]}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    (tmp_path / name).write_text((FOLDER / name).read_text())
    command = [sys.executable, "-m", "basedpyright", "--outputjson", "-p", tmp_path]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    return sorted({found["range"]["start"]["line"] + 1 for found in json.loads(ran.stdout)["generalDiagnostics"]})


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_pyright_accepts(name, tmp_path):
    assert pyright(name, tmp_path) == []


@pytest.mark.parametrize("name", REFUSED)
def test_what_pyright_refuses(name, tmp_path):
    assert pyright(name, tmp_path) == [number for number, _ in refused(name)]
