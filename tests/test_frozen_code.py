"""The code of an edition is frozen: a worker that replaces a dead one runs what the dead one ran.

Outputs are under way for a while, so what was seen is compared at the end of a run. Code that must never run gives
outputs with an arrow of its own.
"""

import os
import signal

import pytest

from tests.changes import READY, Changes
from tests.harness.control import command, status
from tests.harness.processes import command_line

OLD, NEW, NEVER = "=>", "~>", "=!"
LINE = 'return f"{key} {number} => {state.count}", True'
LAZY_LINE = 'import beside\n        return f"{key} {number} {beside.ARROW} {state.count}", True'


class Watched(Changes):
    """A run that notes by which code its outputs were made."""

    def __init__(self, folder):
        super().__init__(folder)
        self._seen = set()

    def _take(self, lines):
        self._seen.update(arrow for arrow in (OLD, NEW, NEVER) if f" {arrow} ".encode() in lines)
        super()._take(lines)

    def workers(self):
        return {worker["pid"] for worker in status(self.run)["workers"] if worker["state"] in READY}

    def kill_workers(self):
        """Kills every worker and waits until others have their places."""
        killed, seats = self.workers(), len(self.seated())
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        while killed & self.workers() or len(self.seated()) < seats:
            self.goes_on()
        self.goes_on()

    def finish_and_see(self):
        """Ends the run; returns the arrows of all of its outputs."""
        self.finish()
        return self._seen


@pytest.fixture
def changes(tmp_path):
    with Watched(tmp_path) as changes:
        yield changes


LATER = {
    "changed": lambda path: path.write_text(path.read_text().replace(OLD, NEVER)),
    "half written": lambda path: path.write_text(path.read_text()[:-20] + "("),
    "deleted": lambda path: path.unlink(),
}


@pytest.mark.parametrize("later", LATER)
def test_a_worker_started_later_runs_the_code_of_its_edition(changes, later):
    LATER[later](changes.application)
    for _ in range(2):
        changes.kill_workers()
    assert changes.finish_and_see() == {OLD}


def test_more_workers_run_the_code_of_the_edition(changes):
    changes.edit(OLD, NEVER)
    changes.scale(4)
    changes.kill_workers()
    assert changes.finish_and_see() == {OLD}


def test_a_swap_begins_an_edition_that_reads_the_disk_anew(changes):
    changes.edit(OLD, NEVER)
    changes.kill_workers()
    changes.reload(NEVER, NEW)
    changes.edit(NEW, NEVER)
    changes.kill_workers()
    assert changes.finish_and_see() == {OLD, NEW}


def test_a_swap_that_fails_leaves_the_old_code(changes):
    changes.edit(OLD, NEVER)
    changes.edit("import wallaroo\n", "import wallaroo, no_such_module\n")
    done = command("swap", "--app", "--control", changes.run.control)
    assert done.returncode == 1, done.stderr
    changes.kill_workers()
    changes.edit("import wallaroo, no_such_module\n", "import wallaroo\n")
    changes.kill_workers()
    changes.reload(NEVER, NEW)
    assert changes.finish_and_see() == {OLD, NEW}


def test_a_module_that_a_step_imports_is_frozen(tmp_path):
    beside = tmp_path / "beside.py"
    beside.write_text(f'ARROW = "{OLD}"\n')
    changes = Watched(tmp_path)
    changes.edit(LINE, LAZY_LINE)
    with changes:
        beside.write_text(f'ARROW = "{NEVER}"\n')
        changes.kill_workers()
        beside.unlink()
        changes.kill_workers()
        beside.write_text(f'ARROW = "{NEW}"\n')
        changes.change("swap", "--app")
        beside.unlink()
        changes.kill_workers()
        assert changes.finish_and_see() == {OLD, NEW}


def test_the_copies_of_an_edition_are_deleted_with_it(changes):
    first = copies(changes)
    assert os.path.exists(os.path.join(first, "numbered_copy.py"))
    assert os.stat(first).st_mode & 0o777 == 0o700
    changes.reload(OLD, NEW)
    assert not os.path.exists(first)
    second = copies(changes)
    assert second != first
    changes.finish()
    assert not os.path.exists(second)


def copies(changes):
    """The folder that the workers of a run share, from their command lines."""
    lines = [command_line(pid) for pid in changes.workers()]
    (folder,) = {line[line.index("--code") + 1] for line in lines}
    return folder
