"""Commands for a running application."""

import json
import subprocess

from tests.harness.orchestrator import PATIENCE, orchestrator_command


def words(*arguments) -> "list[str]":
    """The command line of ``wallaroo-orch ARGUMENTS...``."""
    return [orchestrator_command(), *map(str, arguments)]


def command(*arguments, environment=None, cwd=None, timeout=PATIENCE) -> "subprocess.CompletedProcess[str]":
    """Runs a command to its end; any exit code is accepted."""
    line = words(*arguments)
    return subprocess.run(line, env=environment, cwd=cwd, capture_output=True, text=True, timeout=timeout, check=False)


def output(*arguments, environment=None, timeout=PATIENCE) -> str:
    """The output of a command; fails unless the command succeeds."""
    done = command(*arguments, environment=environment, timeout=timeout)
    assert done.returncode == 0, f"exit code {done.returncode}: {done.stderr}"
    return done.stdout


def status(run) -> dict:
    """The status of a run."""
    return json.loads(output("status", "--json", "--control", run.control))
