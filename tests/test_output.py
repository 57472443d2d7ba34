"""The application's prints and logs; files in the current folder do not shadow Python's own modules."""

import os
import subprocess
import sys

import pytest

from tests.harness.orchestrator import PATIENCE, Orchestrator, orchestrator_command
from tests.harness.places import APPS

APP = APPS / "logs.py"
LEVELS = {"DEBUG": "DEBUG", "INFO": "INFO", "WARNING": "WARN", "ERROR": "ERROR"}


def run(tmp_path, *args, options=()):
    """Send one line through the application, and return the worker's log lines: level and message."""
    source = tmp_path / "in"
    source.write_text("tea\n")
    with open(source) as stdin, Orchestrator(APP, *args, workers=1, stdin=stdin, options=options) as run:
        assert run.wait() == 0, run.log()
        return [(event["level"], event["message"]) for event in run.events if event.get("target") == "worker"]


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_levels_of_pythons_logging_arrive_as_they_are(tmp_path, stream):
    logged = run(tmp_path, stream, options=["-v"])
    assert [line for line in logged if "tea" in line[1]] == [
        (LEVELS[name], f"app: tea at {name} (step say)") for name in LEVELS
    ]


def test_without_a_handler_warnings_and_errors_arrive_as_python_shows_them(tmp_path):
    logged = run(tmp_path)
    assert [line for line in logged if "tea" in line[1]] == [
        ("WARN", "app: tea at WARNING (step say)"),
        ("ERROR", "app: tea at ERROR (step say)"),
    ]


def test_a_record_with_a_traceback_is_one_record_of_the_log(tmp_path):
    logged = run(tmp_path, "traceback")
    (record,) = [(level, text) for level, text in logged if "Traceback" in text]
    first, *traceback = record[1].split("\\n")
    assert (record[0], first) == ("ERROR", "app: cannot read tea (step say)")
    assert traceback[0] == "Traceback (most recent call last):"
    assert traceback[-1] == "ValueError: invalid literal for int() with base 10: 'tea'"


def test_quiet_drops_no_warning_and_no_error_of_the_application(tmp_path):
    logged = run(tmp_path, "stderr", options=["--quiet"])
    assert logged == [
        ("WARN", "app: tea at WARNING (step say)"),
        ("ERROR", "app: tea at ERROR (step say)"),
        ("WARN", "printed to stderr"),
    ]


@pytest.mark.parametrize("name", ["types", "msgpack", "wallaroo", "enum", "encodings"])
def test_files_of_the_current_folder_are_not_taken_for_modules_of_others(tmp_path, name):
    (tmp_path / f"{name}.py").write_text("raise SystemExit('the file in the current folder was run')")
    command = [orchestrator_command(), "run", "--quiet", "--workers", "1", "--python", sys.executable, APP]
    ran = subprocess.run(
        command, input="tea\n", cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert (ran.returncode, ran.stdout) == (0, "tea\n"), ran.stderr


def test_a_module_is_found_in_the_current_folder_as_python_m_would(tmp_path):
    (tmp_path / "mine.py").write_text(APP.read_text())
    command = [orchestrator_command(), "run", "--quiet", "--workers", "1", "--python", sys.executable, "mine"]
    ran = subprocess.run(
        command, input="tea\n", cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert (ran.returncode, ran.stdout) == (0, "tea\n"), ran.stderr


def test_an_application_finds_the_modules_beside_it(tmp_path):
    (tmp_path / "beside.py").write_text("from logs import application_setup\n")
    (tmp_path / "logs.py").write_text(APP.read_text())
    elsewhere = tmp_path / "elsewhere"
    os.mkdir(elsewhere)
    command = [orchestrator_command(), "run", "--quiet", "--workers", "1", "--python", sys.executable]
    ran = subprocess.run(
        [*command, tmp_path / "beside.py"],
        input="tea\n",
        cwd=elsewhere,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (0, "tea\n"), ran.stderr
