"""What README.md shows is what comes out."""

import re
import subprocess
import sys

from tests.harness.orchestrator import PATIENCE
from tests.harness.places import ROOT, orchestrator_command

README = (ROOT / "README.md").read_text()


def test_the_application_prints_what_is_shown(tmp_path):
    (application,) = re.findall(r"```python\n(import wallaroo\n.*?)```", README, re.DOTALL)
    shown = re.search(r"\$ printf '(.*?)\\n' \| wallaroo-orch (run .*?) app\.py\n(.*?)```", README, re.DOTALL)
    (tmp_path / "app.py").write_text(application)
    command = [orchestrator_command(), *shown[2].split(), "--python", sys.executable, "app.py"]
    ran = subprocess.run(
        command, cwd=tmp_path, input=shown[1] + "\n", capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    assert sorted(ran.stdout.splitlines()) == sorted(shown[3].splitlines())


def test_the_test_passes(tmp_path):
    (application,) = re.findall(r"```python\n(import wallaroo\n.*?)```", README, re.DOTALL)
    (test,) = re.findall(r"```python\n(import app, wallaroo.testing\n.*?)```", README, re.DOTALL)
    (tmp_path / "app.py").write_text(application)
    (tmp_path / "test_app.py").write_text(test)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
