"""Commands about a running application."""

import json
import subprocess

from tests.harness.orchestrator import PATIENCE, orchestrator_command


def words(*arguments) -> "list[str]":
    """The command line of ``wallaroo-orch ARGUMENTS...``."""
    return [orchestrator_command(), *map(str, arguments)]


def command(*arguments, environment=None, timeout=PATIENCE) -> "subprocess.CompletedProcess[str]":
    """Runs it to its end, whatever that is."""
    line = words(*arguments)
    return subprocess.run(line, env=environment, capture_output=True, text=True, timeout=timeout, check=False)


def output(*arguments, environment=None, timeout=PATIENCE) -> str:
    """What it prints; fails unless it succeeds."""
    done = command(*arguments, environment=environment, timeout=timeout)
    assert done.returncode == 0, f"exit code {done.returncode}: {done.stderr}"
    return done.stdout


def status(run) -> dict:
    """The status of a run."""
    return json.loads(output("status", "--json", "--control", run.control))
