"""The fixtures of ``wallaroo.testing``. ``test_same_results.py`` tests its runs in one process."""

import os
import subprocess
import sys

from tests.harness.orchestrator import PATIENCE, orchestrator_command
from tests.harness.places import WORD_COUNT

FIXTURES = """
from wallaroo.testing import frames

def test_a_worker_may_die(wallaroo_orch, wallaroo_sink):
    app = wallaroo_orch({app!r}, "--in", "127.0.0.1:0", "--out", wallaroo_sink.address, workers=2)
    app.send(frames(["to be or", b"\\xff"]))
    assert sorted(wallaroo_sink.wait_lines(3)) == ["be => 1", "or => 1", "to => 1"]
    killed = app.kill_worker()
    app.send(frames(["not to be"]))
    lines = wallaroo_sink.wait_lines(6)
    assert sorted(lines[3:]) == ["be => 2", "not => 1", "to => 2"]
    app.wait_for("killed by SIGKILL")
    assert killed not in app.workers()
    app.stop()
    (letter,) = app.dead_letters()
    assert letter["exception"] == "UnicodeDecodeError"

def test_what_cannot_run_says_why(wallaroo_orch):
    import pytest
    app = wallaroo_orch({app!r})
    with pytest.raises(AssertionError, match="--in is missing"):
        app.address()
"""


def test_the_fixtures(tmp_path):
    (tmp_path / "test_app.py").write_text(FIXTURES.format(app=str(WORD_COUNT)))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "wallaroo._pytest_plugin", "-p", "no:cacheprovider"]
    # If the wheel is installed, pytest would load the plugin twice.
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "WALLAROO_ORCH": orchestrator_command()}
    ran = subprocess.run(
        [*command, tmp_path],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "2 passed" in ran.stdout
