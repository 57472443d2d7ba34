"""The process of a connector as the orchestrator starts it: its command line, and how it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import wallaroo
from connector_peers import HELLO, PATIENCE, Running

APPLICATION = """
import wallaroo

class Numbers(wallaroo.Source):
    def open(self, partition, position):
        raise OSError("no numbers today")
    def read(self, limit, timeout):
        return None

def application_setup(args):
    if args:
        raise ValueError(args[0])
    return wallaroo.application("a", wallaroo.source("numbers", Numbers()).sink(wallaroo.stdout(wallaroo.lines())))
"""


def test_the_function_is_no_package():
    """The package of the process has the same name."""
    said = "from wallaroo._connector.__main__ import main; import wallaroo; print(callable(wallaroo.connector))"
    ran = subprocess.run([sys.executable, "-c", said], env=environment(), capture_output=True, text=True, check=True)
    assert ran.stdout == "True\n"


def environment():
    return {**os.environ, "PYTHONPATH": str(Path(wallaroo.__file__).parents[1])}


def run_process(*words):
    command = [sys.executable, "-m", "wallaroo._connector", *map(str, words)]
    return subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True)


def test_the_process_says_why_it_ends(tmp_path):
    application = tmp_path / "numbers_app.py"
    application.write_text(APPLICATION)
    with Running(lambda address: None) as running:
        process = run_process("--node", 0, "--socket", running.address[1:], "--application", application, "--")
        peer = running.accept()
        assert peer.receive()[0] == HELLO
        peer.welcome()
        said = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 1
    assert "no numbers today" in said
    assert 'numbers_app.py", line 6, in open' in said


def test_an_application_that_cannot_be_loaded(tmp_path):
    application = tmp_path / "numbers_app.py"
    application.write_text(APPLICATION)
    process = run_process("--node", 0, "--socket", "nowhere", "--application", application, "--", "not like this")
    said = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 3
    assert "not like this" in said


def test_its_command_line():
    process = run_process("--node", 0)
    assert "usage: python -m wallaroo._connector --node N" in process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 1
