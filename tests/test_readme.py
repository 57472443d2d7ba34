"""The commands and programs in README.md give the output shown there."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from tests.harness.interpreters import discover
from tests.harness.orchestrator import PATIENCE, orchestrator_command
from tests.harness.places import ROOT, wheel

TEXT = {"capture_output": True, "text": True, "timeout": PATIENCE, "check": True}
README = (ROOT / "README.md").read_text()


def test_the_application_prints_what_is_shown(tmp_path):
    (application,) = re.findall(r"```python\n(import wallaroo as w\n.*?)```", README, re.DOTALL)
    shown = re.search(r"\$ printf '(.*?)\\n' \| wallaroo-orch (run .*?) app\.py\n(.*?)```", README, re.DOTALL)
    (tmp_path / "app.py").write_text(application)
    command = [orchestrator_command(), *shown[2].split(), "--python", sys.executable, "app.py"]
    ran = subprocess.run(
        command, cwd=tmp_path, input=shown[1] + "\n", capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    assert sorted(ran.stdout.splitlines()) == sorted(shown[3].splitlines())


def test_word_count_has_ten_lines():
    (application,) = re.findall(r"```python\n(import wallaroo as w\n.*?)```", README, re.DOTALL)
    assert len([line for line in application.splitlines() if line]) <= 10


def test_the_test_passes(tmp_path):
    (application,) = re.findall(r"```python\n(import wallaroo as w\n.*?)```", README, re.DOTALL)
    (test,) = re.findall(r"```python\n(import app, wallaroo.testing\n.*?)```", README, re.DOTALL)
    (tmp_path / "app.py").write_text(application)
    (tmp_path / "test_app.py").write_text(test)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_python_is_swapped_under_a_running_stream(tmp_path):
    (commands,) = re.findall(r"## Swap Python under a running stream\n.*?```\n(.*?)```", README, re.DOTALL)
    out, where_in = free_port(), free_port()
    others = [interpreter.path for interpreter in discover() if interpreter.name.startswith("cpython")]
    places = {
        # `pip install ./python-sdk` is slow and has its own test: test_install.py.
        "./python-sdk ": f"--quiet --disable-pip-version-check {wheel()} ",
        "python3.13": others[-1],
        "$PWD/target/venv/bin": Path(orchestrator_command()).parent,
        "3000000": 200_000,
        "/tmp/py313": tmp_path / "py313",
        "/tmp/counts.txt": tmp_path / "counts.txt",
        "127.0.0.1:7002": f"127.0.0.1:{out}",
        "127.0.0.1:7010": f"127.0.0.1:{where_in}",
    }
    for shown, here in places.items():
        assert shown in commands, f"{shown} is not in the README any more"
        commands = commands.replace(shown, str(here))
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path), "VIRTUAL_ENV": sys.prefix}
    with open(tmp_path / "log", "w+") as log:
        shell = subprocess.Popen(
            ["bash", "-e", "-c", commands],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
        try:
            # The receiver does not keep the pipe open, because its output goes to a file.
            said, _ = shell.communicate(timeout=5 * PATIENCE)
            log.seek(0)
            assert shell.returncode == 0, said + log.read()
            wait_until_exact(tmp_path / "counts.txt")
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
    version = subprocess.run([others[-1], "-c", "import platform; print(platform.python_version())"], **TEXT).stdout
    assert said.count(f"cpython {version.strip()}") >= 3, said
    assert "slot 2" in said


def wait_until_exact(path):
    """Waits until every accepted line is counted completely: ``the`` occurs in it twice, the other words once."""
    deadline = time.monotonic() + PATIENCE
    while True:
        counts = Counter()
        in_order = True
        for line in path.read_text().splitlines():
            word, _, count = line.partition(" => ")
            counts[word] += 1
            in_order = in_order and count == str(counts[word])
        lines = counts["fox"]
        words = dict.fromkeys(["quick", "brown", "fox", "jumps", "over", "lazy", "dog"], lines)
        if lines > 0 and in_order and counts == {**words, "the": 2 * lines}:
            return
        assert time.monotonic() < deadline, f"not exact: {counts}"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]
