"""``wallaroo-orch init``, and the steps of a new user: install, init, run, test."""

import os
import subprocess
import sys
import time

import pytest

from tests.harness.interpreters import empty_environment
from tests.harness.orchestrator import PATIENCE, orchestrator_command
from tests.harness.places import REQUIREMENTS, wheel

COUNTED = ["be => 1", "be => 2", "is => 1", "not => 1", "or => 1", "question => 1", "that => 1", "the => 1"]
COUNTED += ["to => 1", "to => 2"]


def init(*words, cwd):
    command = [orchestrator_command(), "init", *words]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=PATIENCE, check=False)


def run_pytest(folder, python=sys.executable, *flags, **variables):
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *flags]
    environment = {**os.environ, **variables}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


@pytest.mark.parametrize("template", ["lines", "tcp"])
def test_a_new_application_passes_its_test(template, tmp_path):
    made = init("word count", "--template", template, cwd=tmp_path)
    assert (made.returncode, made.stderr) == (0, "")
    assert made.stdout.startswith(
        "word count: app.py, test_app.py, README.md, input.txt\n\n  cd word count\n  wallaroo"
    )
    folder = tmp_path / "word count"
    assert (folder / "README.md").read_text().startswith("# word count\n")
    assert 'application("word count", ' in (folder / "app.py").read_text()
    # If the wheel is installed, pytest would load the plugin twice.
    variables = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "WALLAROO_ORCH": orchestrator_command()}
    ran = run_pytest(folder, sys.executable, "-p", "wallaroo._pytest_plugin", **variables)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "app.py").write_text("mine")
    made = init(".", cwd=tmp_path)
    assert made.returncode == 4
    assert made.stderr == "error: ./app.py exists already\nhint: nothing was written: give the name of a new folder\n"
    assert [path.name for path in tmp_path.iterdir()] == ["app.py"]


def test_a_new_user_has_output_within_a_minute(tmp_path):
    """A user with only the wheel installs it, creates an application, runs it and tests it."""
    started = time.monotonic()
    python = empty_environment(tmp_path / "environment")
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, wheel()], check=True)
    # Only installed files may be found, nothing of this tree.
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "WALLAROO_ORCH")}
    environment["PATH"] = f"{python.parent}{os.pathsep}{environment['PATH']}"
    subprocess.run(["wallaroo-orch", "init", "counts"], cwd=tmp_path, env=environment, check=True, capture_output=True)
    folder = tmp_path / "counts"
    with open(folder / "input.txt") as lines:
        command = ["wallaroo-orch", "run", "--quiet", "app.py"]
        ran = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=lines,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        )
    seconds = time.monotonic() - started
    assert sorted(ran.stdout.splitlines()) == COUNTED
    assert seconds < 60
    subprocess.run([*install, "-r", REQUIREMENTS], check=True)
    tested = subprocess.run(
        [python, "-m", "pytest", "-q"], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr
    # pytest finds the plugin by itself.
    subprocess.run(["wallaroo-orch", "init", "--template", "tcp", "tcp"], cwd=tmp_path, env=environment, check=True)
    tested = subprocess.run(
        [python, "-m", "pytest", "-q"],
        cwd=tmp_path / "tcp",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr
