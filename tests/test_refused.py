"""Applications that cannot run are refused with one clear message, a hint and a specific exit code."""

import os
import signal
import socket
import subprocess
import sys

import pytest

from tests.harness.interpreters import empty_environment
from tests.harness.orchestrator import PATIENCE, Orchestrator, orchestrator_command
from tests.harness.places import APPS, WORD_COUNT

USAGE, LOAD, BUSY = 2, 3, 4
ADDRESSES = ["--in", "127.0.0.1:0", "--out", "127.0.0.1:1"]


def refuse(app, *args, code, **options):
    """Runs an application that cannot run; returns the error message."""
    with Orchestrator(app, *args, **options) as run:
        assert run.wait() == code, run.log()
        return run.text()


def order(text, *parts):
    """Fails unless the text contains all parts in this order."""
    at = -1
    for part in parts:
        found = text.find(part, at + 1)
        assert found > at, f"{part!r} is missing, or too early, in:\n{text}"
        at = found


def test_the_traceback_of_an_application_that_fails_to_import_comes_first():
    text = refuse(APPS / "import_fails.py", code=LOAD)
    order(
        text, "Traceback", "lay_foundations", "LookupError: the foundations are missing", "error: ", "import_fails.py"
    )
    assert "wallaroo/worker" not in text, "only the user's own lines"
    assert text.count("Traceback") == 1


def test_no_application_setup():
    text = refuse(APPS / "no_setup.py", code=LOAD)
    order(text, "error: ", "no_setup.py has no application_setup", "hint: define application_setup(args)")


def test_application_setup_fails():
    text = refuse(APPS / "setup_fails.py", code=LOAD)
    order(text, "Traceback", "in application_setup", "KeyError: 'the key'", "error: ")


def test_arguments_are_missing():
    text = refuse(WORD_COUNT, code=LOAD)
    order(text, "error: ", "hint: ", "--in")


def test_a_topology_that_cannot_run():
    text = refuse(APPS / "bad_topology.py", code=LOAD)
    order(text, "error: ", "pipeline 'lines' has not ended", "hint: end it with to_sink(...)")


@pytest.mark.parametrize("app", ["nowhere.py", "no_such_module"])
def test_no_such_application(app, tmp_path):
    text = refuse(app, code=LOAD, cwd=tmp_path)
    order(text, "error: ", app, "hint: ")


@pytest.mark.parametrize(
    ("app", "said"),
    [
        ("", "the name of the application is empty"),
        (".", "is a folder"),
        ("folder", "is a folder"),
        ("./folder", "is a folder"),
        ("folder/", "is a folder"),
        ("..py", "is not a file"),
        (".app", ".app is not the name of a module"),
    ],
)
def test_an_application_that_is_no_file(app, said, tmp_path):
    (tmp_path / "folder").mkdir()
    text = refuse(app, code=LOAD, cwd=tmp_path)
    order(text, "error: ", said, "hint: give the path of the application's .py file")
    assert "Traceback" not in text


@pytest.mark.parametrize(
    ("source", "sink"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "localhost"),
        ("localhost", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("0.0.0.0", "localhost"),
        ("127.0.0.1", "0.0.0.0"),
    ],
)
def test_a_sink_that_is_the_applications_own_source(source, sink):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    arguments = ["--in", f"{source}:{port}", "--out", f"{sink}:{port}"]
    text = refuse(APPS / "numbered.py", *arguments, code=BUSY)
    order(text, "error: ", "sink", f"{sink}:{port}", "source", "hint: ")


def test_a_port_that_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        text = refuse(WORD_COUNT, "--in", place, "--out", "127.0.0.1:1", code=BUSY)
    order(text, "error: ", place, "in use", "hint: another process listens there")


def test_a_dead_letter_file_that_cannot_be_written(tmp_path):
    path = tmp_path / "no folder" / "dead.jsonl"
    text = refuse(WORD_COUNT, *ADDRESSES, options=["--dead-letters", path], code=BUSY)
    order(text, "error: ", str(path))


def test_an_input_file_that_is_not_there(tmp_path):
    text = refuse(APPS / "files.py", tmp_path / "nothing.txt", tmp_path / "out.txt", code=BUSY)
    order(text, "error: ", "nothing.txt", "No such file")


@pytest.mark.parametrize("python", ["/nowhere/python", "python0.1"])
def test_no_such_interpreter(python):
    text = refuse(WORD_COUNT, *ADDRESSES, python=python, code=LOAD)
    order(text, "error: ", python, "hint: ")


def test_an_interpreter_without_the_sdk(tmp_path):
    python = empty_environment(tmp_path / "empty")
    text = refuse(WORD_COUNT, *ADDRESSES, python=python, code=LOAD)
    order(text, "error: ", "has no wallaroo module", "hint: install it there", f"{python} -m pip install wallaroo-sdk")


@pytest.mark.parametrize(
    "words",
    [
        ["run"],
        ["run", "--no-such-option", "app.py"],
        ["run", "--workers", "0", "app.py"],
        ["run", "--step-timeout", "soon", "app.py"],
        ["run", "--control", "", "app.py"],
        ["run", "--control=", "app.py"],
        ["fly"],
        [],
    ],
)
def test_a_command_line_that_is_wrong(words):
    command = [orchestrator_command(), *words]
    run = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (run.returncode, run.stdout) == (USAGE, "")
    assert "Usage:" in run.stderr or "try '--help'" in run.stderr


def test_check_refuses_what_run_refuses():
    command = [orchestrator_command(), "check", "--python", sys.executable, str(APPS / "bad_topology.py")]
    run = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert run.returncode == LOAD
    order(run.stderr, "error: ", "has not ended", "hint: ")


def test_interrupted_while_the_application_loads(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    app = tmp_path / "waits.py"
    app.write_text(f"open({str(fifo)!r}).read()\n")
    # Opening the file succeeds once a worker has opened its other end.
    with Orchestrator(app) as run, open(fifo, "w"):
        run.signal(signal.SIGINT)
        assert run.wait() == 130
