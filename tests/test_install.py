"""``pip install ./python-sdk`` into an empty environment gives a working ``wallaroo-orch``."""

import subprocess

from tests.harness.clients import frames, send
from tests.harness.interpreters import empty_environment
from tests.harness.orchestrator import Orchestrator
from tests.harness.places import ROOT, WORD_COUNT


def test_pip_install(consumer, tmp_path, monkeypatch):
    python = empty_environment(tmp_path / "environment")
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", ROOT / "python-sdk"]
    subprocess.run(install, check=True)
    command = python.parent / "wallaroo-orch"
    said = subprocess.run([command, "--version"], capture_output=True, text=True, check=True).stdout
    assert said.startswith("wallaroo-orch ")
    monkeypatch.setenv("WALLAROO_ORCH", str(command))
    # Without --python, the interpreter beside the command is used.
    with Orchestrator(WORD_COUNT, "--in", "127.0.0.1:0", "--out", consumer.place, python=None) as run:
        send(run.address(), frames(["hello hello"]))
        consumer.wait_count(2)
        run.stop()
    assert consumer.lines() == ["hello => 1", "hello => 2"]
