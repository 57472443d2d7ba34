"""Hooks in real workers: run in each before it is ready and when it is told to stop; one that fails ends the run."""

import os
import signal
from collections import defaultdict

import pytest

from tests.harness.orchestrator import Orchestrator
from tests.harness.places import APPS

APP = APPS / "hooks.py"
STARTED = ["on_start", "setup"]
STOPPED = ["teardown", "on_stop"]


def noted(notes):
    """The hooks that each worker has run, in order, by its process id."""
    hooks = defaultdict(list)
    for line in notes.read_text().splitlines():
        hook, pid = line.split()
        hooks[int(pid)].append(hook)
    return hooks


def test_every_worker_runs_them_and_one_that_is_killed_runs_none_at_its_end(tmp_path):
    notes = tmp_path / "notes"
    with Orchestrator(APP, notes, workers=1, options=["--standbys", "0", "-v"]) as run:
        run.wait_until_ready()
        (killed,) = noted(notes)
        os.kill(killed, signal.SIGKILL)
        run.wait_for("worker took a slot", count=2)
        run.stop()
    hooks = noted(notes)
    assert hooks.pop(killed) == STARTED
    assert list(hooks.values()) == [STARTED + STOPPED]


def test_standbys_run_them_too(tmp_path):
    notes = tmp_path / "notes"
    with Orchestrator(APP, notes, workers=2, options=["--standbys", "1", "-v"]) as run:
        run.wait_for("standby is ready", count=3)
        run.stop()
    assert list(noted(notes).values()) == [STARTED + STOPPED] * 3


@pytest.mark.parametrize(
    ("hook", "what", "function"),
    [
        ("on_start", "on_start function load", "in load"),
        ("setup", "step 'shout': setup() of Shout", "in setup"),
    ],
)
def test_one_that_fails_ends_the_run_as_any_failure_to_load(tmp_path, hook, what, function):
    with Orchestrator(APP, tmp_path / "notes", hook) as run:
        assert run.wait() == 3, run.log()
        text = run.text()
    parts = ["Traceback", function, f"LookupError: {hook} finds nothing", f"error: {what} failed: LookupError"]
    positions = [text.find(part) for part in parts]
    assert -1 not in positions, text
    assert positions == sorted(positions), text
    assert "wallaroo/worker" not in text, "only the user's own lines"


def test_one_that_fails_at_the_stop_is_logged_and_changes_nothing_else(tmp_path):
    with Orchestrator(APP, tmp_path / "notes", "teardown", workers=1, options=["--standbys", "0"]) as run:
        run.wait_until_ready()
        run.stop()
    (record,) = [event for event in run.events if "teardown() of Shout" in event["message"]]
    assert record["level"] == "ERROR"
    assert record["message"].startswith("step 'shout': teardown() of Shout failed\\nTraceback")
    assert record["message"].endswith("LookupError: teardown finds nothing")
    assert noted(tmp_path / "notes").popitem()[1] == STARTED + STOPPED
