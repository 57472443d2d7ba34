"""`wallaroo-orch top` on a terminal."""

import os
import signal

import pytest

from tests.harness.control import command, status, words
from tests.harness.orchestrator import Orchestrator
from tests.harness.places import APPS
from tests.harness.terminal import Terminal


@pytest.fixture
def run(consumer):
    with Orchestrator(APPS / "numbered.py", "--in", "127.0.0.1:0", "--out", consumer.place, workers=2) as run:
        yield run.ready()


def top(run, *options, **size):
    return Terminal(words("top", "--control", run.control, *options), **size)


@pytest.mark.parametrize("keys", [b"q", b"\x1b", b"\x03"], ids=["q", "escape", "ctrl-c"])
def test_it_shows_the_workers_and_leaves_when_asked(run, keys):
    pids = [str(worker["pid"]) for worker in status(run)["workers"]]
    with top(run) as terminal:
        terminal.wait_for("Numbered", "slot 0", "slot 1", "P99", "q quits", *pids)
        terminal.press(keys)
        assert terminal.wait() == 0
        assert terminal.is_restored()
    assert status(run)["state"] == "running"


def test_it_follows_what_happens(run):
    with top(run, "--interval", "20ms", columns=120) as terminal:
        terminal.wait_for("q quits")
        victim = next(worker["pid"] for worker in status(run)["workers"] if worker["seat"])
        os.kill(victim, signal.SIGKILL)
        # Only changes are drawn. This was blank before, so it is drawn completely.
        terminal.wait_for("SIGKILL")


def test_it_ends_with_the_application(run):
    with top(run, "--interval", "20ms") as terminal:
        terminal.wait_for("q quits")
        run.stop()
        assert terminal.wait() == 0
        assert terminal.is_restored()
        assert terminal.text.rstrip().endswith("Numbered has ended")


def test_a_signal_leaves_the_terminal_as_it_was(run):
    with top(run) as terminal:
        terminal.wait_for("q quits")
        terminal.signal(signal.SIGTERM)
        assert terminal.wait() == 0
        assert terminal.is_restored()


def test_keys_are_heard_while_the_application_does_not_answer(run):
    with top(run, "--interval", "1ms") as terminal:
        terminal.wait_for("q quits")
        run.signal(signal.SIGSTOP)
        try:
            terminal.press(b"q")
            assert terminal.wait() == 0
        finally:
            run.signal(signal.SIGCONT)


def test_without_a_terminal_it_says_what_to_use(run):
    refused = command("top", "--control", run.control)
    assert refused.returncode == 2
    assert refused.stderr.splitlines() == [
        "error: standard output is not a terminal",
        "hint: `wallaroo-orch status --watch` prints the same as lines",
    ]


def test_without_an_application_the_screen_is_not_touched(tmp_path):
    with Terminal(words("top", "--control", tmp_path / "none.sock")) as terminal:
        assert terminal.wait() == 5
        assert "no application answers" in terminal.text
        assert "\x1b" not in terminal.drawn
