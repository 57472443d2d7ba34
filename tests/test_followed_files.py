"""Files that are followed while they grow and are rotated."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.harness.control import output as command_output
from tests.harness.orchestrator import PATIENCE, Orchestrator

FOLLOWED = """
import wallaroo as w


def application_setup(args):
    lines = w.source("lines", w.file("app.log", w.lines(), follow=True))
    return w.application("followed", lines.sink(w.file("out.txt", w.lines())))
"""
#: Seconds between two looks at the output.
POLL = 0.01
STATE = ["--state", "state"]


class Log:
    """The log that an application follows, and what has come of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "app.py").write_text(FOLLOWED)
        self.expected = ""

    def run(self, *options) -> Orchestrator:
        return Orchestrator("app.py", options=options, cwd=self.folder)

    def write(self, text: str, name: str = "app.log") -> None:
        """Appends to a file."""
        with open(self.folder / name, "a") as file:
            file.write(text)
        self.expected += text

    def rotate(self) -> None:
        """Renames the files, each to the next older name."""
        for number in (2, 1):
            if (self.folder / f"app.log.{number}").exists():
                os.rename(self.folder / f"app.log.{number}", self.folder / f"app.log.{number + 1}")
        os.rename(self.folder / "app.log", self.folder / "app.log.1")

    def output(self) -> str:
        path = self.folder / "out.txt"
        return path.read_text() if path.exists() else ""

    def wait(self, run: Orchestrator) -> None:
        """Waits until all that was written has come out."""
        deadline = time.monotonic() + PATIENCE
        while self.output() != self.expected:
            assert run.process.poll() is None, run.log()
            assert time.monotonic() < deadline, f"{self.output()}\n{run.log()}"
            time.sleep(POLL)


@pytest.fixture
def log(tmp_path):
    return Log(tmp_path)


def test_a_file_is_waited_for_and_followed_through_rotation(log):
    with log.run() as run:
        run.wait_for_event(lambda event: event["message"] == "waiting for app.log, which does not exist")
        for number in range(3):
            log.write(f"first {number}\n")
            log.wait(run)
            log.rotate()
            log.write(f"late {number}\n", "app.log.1")
        log.write("last\n")
        log.wait(run)
        run.stop()


def test_the_last_line_of_a_rotated_file_needs_no_end(log):
    log.write("one\n")
    with log.run() as run:
        log.wait(run)
        with open(log.folder / "app.log", "a") as file:
            file.write("two")
        log.rotate()
        log.expected += "two\n"
        log.write("three\n")
        log.wait(run)
        run.stop()


def test_a_suspended_run_goes_on_with_the_rest_of_a_line(log):
    with log.run(*STATE) as run:
        log.write("one\n")
        log.wait(run)
        with open(log.folder / "app.log", "a") as file:
            file.write("tw")
        run.signal(signal.SIGTERM)
        assert run.wait() == 0, run.log()
    assert log.output() == "one\n"
    with log.run(*STATE) as run:
        log.expected += "tw"
        log.write("o\n")
        log.wait(run)
        command_output("drain", "--control", run.control)
        assert run.wait() == 0, run.log()


def test_a_killed_run_goes_on_with_rotated_files(log):
    for number in range(4):
        with log.run(*STATE) as run:
            log.write(f"written while it ran {number}\n")
            log.wait(run)
            run.process.kill()
            run.process.wait()
        log.write(f"rest of {number}\n")
        log.rotate()
        log.write(f"begin of {number + 1}\n")
    with log.run(*STATE) as run:
        log.wait(run)
        run.stop()


def test_a_log_that_is_truncated_after_it_was_copied(log):
    with log.run(*STATE) as run:
        log.write("one\n")
        log.wait(run)
        run.process.kill()
        run.process.wait()
    log.write("two\n")
    (log.folder / "app.log.1").write_bytes((log.folder / "app.log").read_bytes())
    os.truncate(log.folder / "app.log", 0)
    log.write("three\n")
    with log.run(*STATE) as run:
        log.wait(run)
        run.stop()


def test_a_missing_file_is_refused(log):
    log.write("one\n")
    with log.run(*STATE) as run:
        log.wait(run)
        run.stop()
    inode = (log.folder / "app.log").stat().st_ino
    os.rename(log.folder / "app.log", log.folder / "app.log.gz")
    log.write("another\n")
    with log.run(*STATE) as run:
        assert run.wait() == 4, run.log()
        text = run.text()
    assert (
        'error: source "lines": app.log is not as an earlier run has read it: '
        f"the file that was read (inode {inode}, 4 bytes) is neither there nor among the rotated files beside it\n"
    ) in text
    assert 'wallaroo-orch state reset state --source "lines" --to start' in text
