"""An application goes on with other steps: its states, positions and deliveries are known by name."""

import signal
import time

import pytest

from tests.harness.clients import Consumer
from tests.harness.control import command, status
from tests.harness.orchestrator import PATIENCE, Orchestrator

#: Words are counted. ``{above}`` are steps in front of the count, ``{below}`` what becomes of it.
APP = """
import sys

import wallaroo as w


class Total:
    def __init__(self):
        self.number = 0


def total(word, state):
    state.number += 1
    return f"{{word}} {{state.number}}"


def application_setup(args):
    words = w.source("words", w.file("in.txt", w.lines())){above}
    counts = words.key_by(str, name="word").stateful(total, state=Total, name="{count}")
    return w.application("tally", {below})
"""
BELOW = 'counts.sink(w.file("out.txt", w.lines()))'
OLD = APP.format(above="", count="count", below=BELOW)
#: A step more in front, and a second sink.
NEW = APP.format(
    above='.filter(lambda word: word != "milk").map(str.lower)',
    count="count",
    below=f'{BELOW}, counts.map(str.upper).sink(w.file("loud.txt", w.lines(), append=True))',
)
RENAMED = APP.format(above="", count="tally", below=BELOW)
#: The same to a consumer.
TO_CONSUMER = APP.format(above="", count="count", below="counts.sink(w.tcp(args[0], w.lines()))")


@pytest.fixture
def folder(tmp_path):
    """Where the application is. Its first version has counted two words."""
    (tmp_path / "in.txt").write_text("tea\ncup\n")
    (tmp_path / "loud.txt").write_text("before\n")
    finish(tmp_path, OLD)
    assert read(tmp_path / "out.txt") == ["cup 1", "tea 1"]
    return tmp_path


def run(folder, application, *options, args=()):
    (folder / "app.py").write_text(application)
    return Orchestrator("app.py", *args, options=["--state", "state", *options], cwd=folder)


def finish(folder, application, *options, args=()):
    with run(folder, application, *options, args=args) as ended:
        assert ended.wait() == 0, ended.text()


def refused(folder, application, *options, args=()):
    with run(folder, application, *options, args=args) as ended:
        assert ended.wait() == 4, ended.text()
        return ended.text()


def read(path):
    return sorted(path.read_text().splitlines())


def add(folder, text):
    with (folder / "in.txt").open("a") as file:
        file.write(text)


def content(folder):
    """All files but those that a look into them changes."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path: path.read_bytes() for path in paths if path.name not in ("app.py", "store.redb", "LOCK")}


def test_steps_are_added(folder):
    add(folder, "TEA\nmilk\n")
    finish(folder, NEW)
    assert read(folder / "out.txt") == ["cup 1", "tea 1", "tea 2"]
    assert (folder / "loud.txt").read_text() == "before\nTEA 2\n"
    shown = command("state", "show", folder / "state").stdout
    assert "loud.txt" in shown
    # And taken away again.
    add(folder, "cup\n")
    finish(folder, OLD)
    assert read(folder / "out.txt") == ["cup 1", "cup 2", "tea 1", "tea 2"]
    assert (folder / "loud.txt").read_text() == "before\nTEA 2\n"


def test_a_change_that_was_not_written_down_to_its_end(folder):
    """The run that changed the steps died after its checkpoint and before it wrote FORMAT."""
    written = (folder / "state" / "FORMAT").read_text()
    add(folder, "tea\n")
    finish(folder, NEW)
    changed = (folder / "state" / "FORMAT").read_text()
    assert "loud.txt" in changed
    (folder / "state" / "FORMAT").write_text(written)
    assert "loud.txt" in command("state", "show", folder / "state").stdout
    add(folder, "tea\n")
    finish(folder, NEW)
    assert (folder / "state" / "FORMAT").read_text() == changed
    assert (folder / "loud.txt").read_text() == "before\nTEA 2\nTEA 3\n"


def test_states_that_no_step_takes_over_must_be_named(folder):
    before = content(folder)
    text = refused(folder, RENAMED)
    assert 'no step goes on with the states of 2 keys in table "count"' in text
    assert '--drop-state "count"' in text
    assert content(folder) == before
    add(folder, "tea\n")
    finish(folder, RENAMED, "--drop-state", "count")
    assert read(folder / "out.txt") == ["cup 1", "tea 1", "tea 1"]
    # A dropped state does not come back.
    add(folder, "tea\n")
    finish(folder, OLD, "--drop-state", "tally")
    assert read(folder / "out.txt") == ["cup 1", "tea 1", "tea 1", "tea 1"]
    finish(folder, OLD, "--drop-state", "count")
    add(folder, "tea\n")
    finish(folder, OLD)
    assert read(folder / "out.txt")[-1] == "tea 2", "an option that is left in place drops nothing"


def test_another_file_is_another_source(folder):
    (folder / "other.txt").write_text("tea\n")
    other = OLD.replace("in.txt", "other.txt")
    assert "the position of source" in refused(folder, other)
    finish(folder, other, "--drop-state", "words")
    assert read(folder / "out.txt") == ["cup 1", "tea 1", "tea 2"]


def test_a_second_step_of_the_same_name_needs_one_of_its_own(folder):
    more = 'more = words.key_by(len).stateful(total, state=Total, name="count")\n    return w'
    second = OLD.replace("return w", more).replace("counts.sink", "counts.merge(more).sink")
    text = refused(folder, second)
    assert "told apart by number alone" in text
    assert "name=" in text
    finish(folder, second.replace('state=Total, name="count")\n    return', 'state=Total, name="lengths")\n    return'))


def test_work_that_is_left_is_settled_by_the_old_steps(tmp_path):
    (tmp_path / "in.txt").write_text("tea\ncup\ntea\n")
    with Consumer(listening=False) as consumer:
        place = consumer.place
        with run(tmp_path, TO_CONSUMER, args=[place]) as killed:
            killed.ready()
            until(lambda: status(killed)["sinks"][0]["pending_bytes"] == len("tea 1\ncup 1\ntea 2\n"))
            killed.signal(signal.SIGKILL)
            assert killed.wait() == -signal.SIGKILL
        new = TO_CONSUMER.replace(".key_by", ".map(str.upper).key_by")
        before = content(tmp_path)
        text = refused(tmp_path, new, args=[place])
        assert "are left to the steps that began them" in text
        assert "--settle" in text
        assert content(tmp_path) == before
        add(tmp_path, "cup\n")
        consumer.come_back()
        finish(tmp_path, TO_CONSUMER, "--settle", args=[place])
        consumer.wait_count(3)
        assert sorted(consumer.lines()) == ["cup 1", "tea 1", "tea 2"], "nothing more is read"
        finish(tmp_path, new, args=[place])
        consumer.wait_count(4)
        assert sorted(consumer.lines()) == ["CUP 1", "cup 1", "tea 1", "tea 2"]


def until(happened):
    """Waits until something is so."""
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


#: Sums by a quarter of an hour. A message is a time in seconds, and counts once.
WINDOWS = """
from datetime import timedelta

import wallaroo as w


def application_setup(args):
    times = w.source("times", w.file("in.txt", w.lines(), follow=True, event_time=float))
    shown = times.sink(w.tcp(args[0], w.lines()))
    windows = times{above}.key_by(lambda time: "all", name="key").window(w.tumbling(timedelta(minutes=15)))
    quarters = windows.aggregate(w.count(), name="quarter")
    counts = quarters.map(lambda result: str(result.value))
    return w.application("quarters", shown, counts.sink(w.file("out.txt", w.lines())))
"""


def test_windows_stay_open_for_other_steps(tmp_path):
    source = tmp_path / "in.txt"
    source.write_text("1700000100\n1700000101\n")
    with Consumer() as consumer:
        with run(tmp_path, WINDOWS.format(above=""), args=[consumer.place]) as first:
            consumer.wait_count(2)
            first.signal(signal.SIGTERM)
            assert first.wait() == 0, first.text()
        assert (tmp_path / "out.txt").read_text() == ""
        with run(tmp_path, WINDOWS.format(above=".map(str.strip)"), args=[consumer.place]) as second:
            second.ready()
            add(tmp_path, "1700000102\n1700002000\n")
            until(lambda: (tmp_path / "out.txt").read_text() == "3\n")
            second.stop()
