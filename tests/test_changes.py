"""Workers are changed under full load; ``python -m tests.changes`` runs longer."""

import random
import subprocess

import pytest

from tests.changes import Changes, Killer, other_interpreters
from tests.harness.control import command, status, words
from tests.harness.interpreters import empty_environment


@pytest.fixture
def changes(tmp_path):
    with Changes(tmp_path) as changes:
        yield changes


def test_more_workers_and_fewer(changes):
    for size in (3, 1, 4, 2):
        report = changes.scale(size)
        assert report["moved_partitions"] > 0
        assert len(changes.seated()) == size
    changes.finish()
    assert changes.run.summary()["worker_deaths"] == 0


def test_scaling_to_what_there_is(changes):
    assert changes.scale(2)["moved_partitions"] == 0
    changes.finish()


def test_another_interpreter_and_back(changes):
    first = changes.seated()[0]["interpreter"]["executable"]
    for python in [*other_interpreters()[:2], first]:
        changes.swap(python)
    changes.finish()


def test_new_code(changes):
    assert b" => " in changes.latest
    changes.reload("=>", "~>")
    assert status(changes.run)["worker_deaths"] == 0
    changes.finish()
    assert b" ~> " in changes.latest


@pytest.mark.parametrize("seed", [1, 2])
def test_workers_killed_meanwhile(changes, seed):
    with Killer(changes.run, random.Random(seed), period=0.5) as killer:
        changes.reload()
        changes.scale(3)
        changes.reload()
        changes.scale(2)
    assert killer.kills > 0
    changes.finish()


FAILURES = {
    "import": ("import wallaroo\n", "import wallaroo, no_such_module\n", "no module named 'no_such_module'"),
    "topology": ('"numbers", Key', '"numbered", Key', "describes another application"),
    "state class": ("class Numbers:", "class Counts:", 'table_type: "numbered_copy.Counts"'),
    "state": (
        "def build(self):",
        "def __setstate__(self, state):\n        raise KeyError('gone')\n\n    def build(self):",
        "the new workers cannot load the state of the old ones: state of key 'k",
    ),
    "hangs": ("import wallaroo\n", "import wallaroo, threading\nthreading.Event().wait()\n", "was not ready within 2s"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_change_of_code_that_fails(changes, name):
    old, new, reason = FAILURES[name]
    changes.edit(old, new)
    if name == "state class":
        changes.edit("state=Numbers", "state=Counts")
    before = {worker["pid"] for worker in changes.seated()}
    done = command(
        "swap", "--app", "--control", changes.run.control, "--start-timeout", "2s" if name == "hangs" else "60s"
    )
    assert done.returncode == 1
    assert reason.lower() in done.stderr.lower(), done.stderr
    assert ("--start-timeout sets this limit" in done.stderr) == (name == "hangs"), done.stderr
    assert {worker["pid"] for worker in changes.seated()} == before, "the old workers are untouched"
    changes.goes_on()
    changes.finish()


def test_an_interpreter_without_the_sdk(changes, tmp_path, monkeypatch):
    python = empty_environment(tmp_path / "empty")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    done = command("swap", "--python", python, "--control", changes.run.control)
    assert done.returncode == 3
    assert "has no wallaroo module" in done.stderr
    changes.goes_on()
    changes.finish()


def test_one_change_at_a_time(changes):
    changes.edit("import wallaroo\n", "import wallaroo, threading\nthreading.Event().wait(5)\n")
    swap = ["swap", "--app", "--control", changes.run.control, "--start-timeout", "60s"]
    with subprocess.Popen(words(*swap), stdout=subprocess.DEVNULL) as first:
        changes.run.wait_for("replacing the workers")
        second = command("scale", "3", "--control", changes.run.control)
        assert second.returncode == 1
        assert "another change of the workers is in progress" in second.stderr
        assert first.wait() == 0
    changes.finish()
