"""Files of sinks that are appended to."""

import signal

import pytest

from tests.harness.orchestrator import Orchestrator

LINES = """
import wallaroo as w


def application_setup(args):
    lines = w.source("lines", w.file("in.txt", w.lines()))
    return w.application("copied", lines.sink(w.file("out.txt", w.lines(), append=True)))
"""


@pytest.fixture
def folder(tmp_path):
    """A folder with an application, and a file to which it appends."""
    (tmp_path / "app.py").write_text(LINES)
    (tmp_path / "in.txt").write_text("one\ntwo\n")
    (tmp_path / "out.txt").write_text("before\n")
    return tmp_path


def run(folder, *options):
    """Runs the application to its end. Returns what is in its sink then."""
    with Orchestrator("app.py", options=options, cwd=folder) as run:
        assert run.wait() == 0, f"{run.text()}\n{run.log()}"
    return (folder / "out.txt").read_text()


def test_what_earlier_runs_have_written_stays(folder):
    assert run(folder) == "before\none\ntwo\n"
    assert run(folder) == "before\none\ntwo\none\ntwo\n"


def test_a_file_that_is_not_there_is_made(folder):
    (folder / "out.txt").unlink()
    assert run(folder) == "one\ntwo\n"


def test_with_state_each_message_comes_once_behind_what_was_there(folder):
    assert run(folder, "--state", "state") == "before\none\ntwo\n"
    with open(folder / "in.txt", "a") as source, open(folder / "out.txt", "a") as sink:
        source.write("three\n")
        sink.write("appended by others")
    assert run(folder, "--state", "state") == "before\none\ntwo\nthree\n"


def test_what_was_there_stays_when_the_first_run_is_killed(folder):
    """It is killed in the middle, several times: what has been written is cut back to behind what was there."""
    count = 30_000
    (folder / "in.txt").write_text("".join(f"{number}\n" for number in range(count)))
    path = folder / "out.txt"
    for _ in range(3):
        before = path.stat().st_size
        with Orchestrator("app.py", options=["--state", "state"], cwd=folder) as run_:
            while path.stat().st_size <= before and run_.process.poll() is None:
                pass
            run_.process.kill()
            assert run_.wait() in (-signal.SIGKILL, 0), run_.log()
    assert run(folder, "--state", "state") == "before\n" + "".join(f"{number}\n" for number in range(count))


def test_the_beginning_is_known_before_anything_is_written(folder):
    """A run that has recorded nothing leaves where the file began."""
    (folder / "in.txt").write_text("")
    assert run(folder, "--state", "state") == "before\n"
    with open(folder / "out.txt", "a") as sink:
        sink.write("appended by others")
    (folder / "in.txt").write_text("one\n")
    assert run(folder, "--state", "state") == "before\none\n"
