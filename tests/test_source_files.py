"""With ``--state``, a file is read on only if it is the one that an earlier run has read."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness.control import command
from tests.harness.orchestrator import Orchestrator

LINES = """
import wallaroo as w


def application_setup(args):
    lines = w.source("the lines", w.file("in.txt", w.lines()))
    return w.application("copied", lines.sink(w.file("out.txt", w.lines())))
"""
BEFORE = "one\ntwo\nthree\n"


@pytest.fixture
def folder(tmp_path):
    """A folder in which a run has read a file to its end."""
    (tmp_path / "app.py").write_text(LINES)
    (tmp_path / "in.txt").write_text(BEFORE)
    assert run(tmp_path)[0] == 0
    assert (tmp_path / "out.txt").read_text() == BEFORE
    return tmp_path


def run(folder: Path) -> "tuple[int, str]":
    """Runs the application to its end: its exit code and what it says."""
    with Orchestrator("app.py", options=["--state", "state"], cwd=folder) as run:
        return run.wait(), run.text()


def replace(path: Path) -> str:
    before = path.stat()
    other = path.with_name("other")
    other.write_text(BEFORE + "four\n")
    other.rename(path)
    found = path.stat()
    device = found.st_dev
    return (
        f"it was replaced: its inode is {found.st_ino} on device {device}, and was {before.st_ino} on device {device}"
    )


def truncate(path: Path) -> str:
    os.truncate(path, 4)
    return f"it was truncated: it has 4 bytes, and {len(BEFORE)} were read"


def overwrite(path: Path) -> str:
    path.write_text(BEFORE.upper())
    return f"it was overwritten: its first {len(BEFORE)} bytes are others"


def test_a_file_that_has_grown_is_read_on(folder):
    with open(folder / "in.txt", "a") as file:
        file.write("four\n")
    assert run(folder)[0] == 0
    assert (folder / "out.txt").read_text() == BEFORE + "four\n"


@pytest.mark.parametrize("change", [replace, truncate, overwrite])
def test_another_file_is_refused_and_nothing_is_changed(folder, change: "Callable[[Path], str]"):
    difference = change(folder / "in.txt")
    content = (folder / "in.txt").read_text()
    for _ in range(2):
        code, text = run(folder)
        assert code == 4, text
        assert f'error: source "the lines": in.txt is not as an earlier run has read it: {difference}\n' in text
        command = 'wallaroo-orch state reset state --source "the lines" --to start'
        hint = f"hint: restore the file, or read what is there now: `{command}` (--to {len(BEFORE)} goes on"
        assert hint in text
        assert (folder / "out.txt").read_text() == BEFORE
    reset_to(folder, "start")
    assert run(folder)[0] == 0
    assert (folder / "out.txt").read_text() == BEFORE + content


def test_a_copy_is_read_on_after_a_reset_to_its_position(folder):
    replace(folder / "in.txt")
    reset_to(folder, str(len(BEFORE)))
    assert run(folder)[0] == 0
    assert (folder / "out.txt").read_text() == BEFORE + "four\n"


def reset_to(folder: Path, to: str) -> None:
    """Has the next run go on elsewhere in the file that is there."""
    reset = command("state", "reset", "state", "--source", "the lines", "--to", to, cwd=folder)
    assert reset.returncode == 0, reset.stderr
    assert f"it was at byte {len(BEFORE)}" in reset.stdout
