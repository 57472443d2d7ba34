"""If nobody reads the log, or the reader of a command goes away, nothing stops and nothing panics."""

import os
import subprocess
import sys

import pytest

from tests.harness.orchestrator import PATIENCE, orchestrator_command

NOISY = """
import sys, wallaroo

def application_setup(args):
    lines = wallaroo.source("lines", wallaroo.FileSourceConfig(args[0], decode)).to(noisy)
    return wallaroo.build_application("noisy", lines.to_sink(wallaroo.FileSinkConfig(args[1], encode)))

@wallaroo.decoder(delimiter=b"\\n")
def decode(bs): return bs.decode()

@wallaroo.computation(name="noisy")
def noisy(line):
    print(line * 300, file=sys.stderr)
    return line

@wallaroo.encoder
def encode(line): return line + "\\n"
"""


@pytest.mark.parametrize("unread", ["a pipe that nobody reads", "a pipe whose reader has gone"])
def test_a_log_that_is_not_read_stops_nothing(tmp_path, unread):
    (tmp_path / "noisy.py").write_text(NOISY)
    lines = [f"line {number}" for number in range(2000)]
    (tmp_path / "in.txt").write_text("".join(f"{line}\n" for line in lines))
    reading, writing = os.pipe()
    if unread == "a pipe whose reader has gone":
        os.close(reading)
    command = [orchestrator_command(), "run", "--workers", "1", "--python", sys.executable, "-v", "noisy.py"]
    with subprocess.Popen(
        [*command, "in.txt", "out.txt"], cwd=tmp_path, stdin=subprocess.DEVNULL, stderr=writing
    ) as run:
        os.close(writing)
        assert run.wait(PATIENCE) == 0
    if unread == "a pipe that nobody reads":
        os.close(reading)
    assert (tmp_path / "out.txt").read_text().splitlines() == lines


@pytest.mark.parametrize("words", [["init", "new"], ["check", "noisy.py", "in.txt", "out.txt"], ["--help"]])
def test_a_reader_that_goes_away_makes_no_command_panic(tmp_path, words):
    (tmp_path / "noisy.py").write_text(NOISY)
    reading, writing = os.pipe()
    os.close(reading)
    options = ["--python", sys.executable] if words[0] == "check" else []
    command = [orchestrator_command(), words[0], *options, *words[1:]]
    done = subprocess.run(command, cwd=tmp_path, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert "panicked" not in done.stderr
    assert done.returncode == 0, done.stderr
